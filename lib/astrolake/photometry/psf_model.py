"""The point-spread function of an image: tables that vary over the field, evaluated in batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.ndimage import uniform_filter1d

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.intp]

#: Terms of the separable expansion are dropped below this fraction of the peak.
_RANK_TOLERANCE = 2e-5
_MAX_RANK = 16
#: Phases of a pixel for which splines and their derivatives are kept; a series of second order from the
#: nearest is good to 5e-6 of the peak at a FWHM of 2 px.
_PHASES = 16


@dataclass(frozen=True)
class FieldBasis:
    """Polynomials over the field, up to a total degree.

    Parameters
    ----------
    degree : int
        0, 1 or 2: 1, 3 or 6 terms.
    centre, scale : (x, y) in px
        Positions enter as (position - centre) / scale, which lies in [-1, 1] on the image.
    """

    degree: int = 0
    centre: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def of_shape(cls, degree: int, shape: tuple[int, int]) -> FieldBasis:
        """Return the basis of an image of shape (ny, nx)."""
        half = ((shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0)
        return cls(degree, half, (max(half[0], 1.0), max(half[1], 1.0)))

    @property
    def n_terms(self) -> int:
        """Number of terms."""
        return (self.degree + 1) * (self.degree + 2) // 2

    def __call__(self, x: Float64, y: Float64) -> Float64:
        """Return the terms at positions of shape (n,), as (n, terms); the first is 1."""
        u = ((x - self.centre[0]) / self.scale[0]).clip(-1.1, 1.1)
        v = ((y - self.centre[1]) / self.scale[1]).clip(-1.1, 1.1)
        terms = [u**i * v**j for total in range(self.degree + 1) for i, j in _powers(total)]
        return np.stack(terms, axis=1)


def _powers(total: int) -> list[tuple[int, int]]:
    return [(total - j, j) for j in range(total + 1)]


@dataclass(frozen=True, eq=False)
class PsfModel:
    """A point-spread function, integrated over pixels and normalised to the total flux.

    Parameters
    ----------
    tables : (terms, m, m) float64
        One table for each term of `basis`; m is odd. `tables[0, j, i]` is the fraction of the flux in a
        pixel whose centre lies ((i, j) - m // 2) / oversampling px from the star.
    oversampling : int
        Samples per pixel and axis.
    basis : FieldBasis
        How the tables vary over the field.
    fwhm_px : float
        Full width at half maximum at the centre of the field, pixel included.
    kind : str
        'moffat', 'gaussian' or 'empirical'.
    n_stars : int
        Stars it was made from.
    outside : float
        Fraction of the flux beyond the tables.
    error : float
        Relative error of the profile in a pixel, from the residuals of its stars.
    """

    tables: Float64
    oversampling: int
    basis: FieldBasis
    fwhm_px: float
    kind: str
    n_stars: int = 0
    outside: float = 0.0
    error: float = 0.0

    @property
    def radius_px(self) -> float:
        """Half the side of the tables."""
        return float(self.tables.shape[-1] // 2 / self.oversampling)

    @cached_property
    def _factors(self) -> tuple[Float32, Float32]:
        """Vectors U (rank) and V (terms, rank) along y and x: table p is the sum over r of U_r V_pr.

        The rows of all tables share U, so that a stamp costs two short vectors a term and one small matrix
        product instead of a power for each pixel. Both are kept as (phase, pixel, derivative, vector).
        """
        gram = np.einsum("pij,pkj->ik", self.tables, self.tables)
        values, vectors = np.linalg.eigh(gram)
        strength = np.sqrt(values.clip(min=0))[::-1]
        rank = int(np.count_nonzero(strength > _RANK_TOLERANCE * strength[0]))
        u = vectors[:, ::-1][:, : min(rank, _MAX_RANK)]
        v = np.einsum("pij,ir->jpr", self.tables, u)
        return self._by_phase(u), self._by_phase(v.reshape(len(v), -1))

    def with_error(self, error: float) -> PsfModel:
        """Return the model with another relative error; what was computed for this one is kept."""
        out = replace(self, error=error)
        out.__dict__["_factors"] = self._factors
        return out

    def _by_phase(self, rows: Float64) -> Float32:
        """Return splines through rows (m, vectors) at all phases: (phase, pixel, 3, vectors).

        Pixel 0 is the first whose centre may lie in the tables; what lies outside is 0.
        """
        half, step = rows.shape[0] // 2, self.oversampling
        reach = int(np.ceil(half / step)) + 1
        pixel = np.arange(-reach, reach + 1) - np.arange(_PHASES)[:, None] / _PHASES
        position = pixel * step + half
        spline = make_interp_spline(np.arange(len(rows)), rows, k=3)
        inside = ((position >= 0) & (position <= len(rows) - 1))[..., None]
        position = position.clip(0, len(rows) - 1)
        values = [np.where(inside, spline(position, nu=nu), 0.0) * float(step) ** nu for nu in range(3)]
        return np.stack(values, axis=2).astype(np.float32)

    def profiles(
        self, x: Float64, y: Float64, corner: tuple[Index, Index], size: int, order: int = 1
    ) -> tuple[list[Float32], list[Float32]]:
        """Return the factors of the stamps of some stars and their derivatives along the axis, per px.

        Parameters
        ----------
        x, y : (n,) float64
            Positions of the stars.
        corner : (column, row) of (n,) int
            First pixel of each stamp.
        size : int
            Side of the stamps, px.
        order : int
            Highest derivative, up to 2.

        Returns
        -------
        along_y, along_x : lists of order + 1 arrays (n, size, rank)
            The stamp is ``along_y[0] @ along_x[0].T``.
        """
        u, v = self._factors
        along_y = _vectors(u, y - corner[1], size, order)
        along_x = _vectors(v, x - corner[0], size, order)
        if self.basis.degree:
            terms = self.basis(x, y).astype(np.float32)
            shape = (len(x), size, terms.shape[1], u.shape[-1])
            along_x = [np.einsum("nkpr,np->nkr", part.reshape(shape), terms) for part in along_x]
        return along_y, along_x

    def stamps(self, x: Float64, y: Float64, corner: tuple[Index, Index], size: int) -> Float32:
        """Return the stamps of stars of unit flux, (n, size, size); arguments as in `profiles`."""
        u, v = self.profiles(x, y, corner, size, 0)
        return _product(u[0], v[0])

    def gradients(
        self, x: Float64, y: Float64, corner: tuple[Index, Index], size: int
    ) -> tuple[Float32, Float32, Float32]:
        """Return the stamps of unit flux and their derivatives by x and by y of the star, (n, size, size)."""
        u, v = self.profiles(x, y, corner, size, 1)
        return _product(u[0], v[0]), -_product(u[0], v[1]), -_product(u[1], v[0])

    def laplacian(self, x: Float64, y: Float64, corner: tuple[Index, Index], size: int) -> Float32:
        """Return the Laplacian of the stamps of unit flux: twice their change by a wider second moment."""
        u, v = self.profiles(x, y, corner, size, 2)
        return _product(u[0], v[2]) + _product(u[2], v[0])

    def growth(self, radius_px: float, x: Float64, y: Float64) -> Float64:
        """Return the fraction of the flux that a circular aperture holds at positions of shape (n,).

        The mean over positions of the star within its pixel: pixels on the rim count by their area, which
        is one more average over a pixel.
        """
        return self.basis(x, y) @ self.growth_terms(radius_px)

    def growth_terms(self, radius_px: float) -> Float64:
        """Return the coefficients of `growth` in the terms of the basis."""
        step, half = 1.0 / self.oversampling, self.tables.shape[-1] // 2
        axis = (np.arange(-half, half + 1)) * step
        distance = np.hypot(axis[:, None], axis)
        # A sample stands for a square: on the rim for the part that a straight edge leaves.
        covered = ((radius_px - distance) / step + 0.5).clip(0, 1)
        for along in (0, 1):
            covered = uniform_filter1d(covered, self.oversampling, axis=along, mode="nearest")
            if self.oversampling % 2 == 0:  # the filter's window is off by half a sample
                covered = (covered + np.flip(covered, axis=along)) / 2
        return np.asarray(np.einsum("pij,ij->p", self.tables, covered) * step**2)

    def width(self) -> float:
        """Return the mean second moment of the core (pixels above a tenth of the peak), px^2."""
        table = self.tables[0]
        half = table.shape[-1] // 2
        axis = np.arange(-half, half + 1) / self.oversampling
        core = np.where(table > 0.1 * table.max(), table, 0)
        moments = (core.sum(axis=0) + core.sum(axis=1)) @ axis**2
        return float(moments / core.sum() / 2)


def _vectors(table: Float32, offset: Float64, size: int, order: int) -> list[Float32]:
    """Return vectors and derivatives at the pixels 0 to size - 1 of stamps whose star lies at `offset`."""
    nearest = np.rint(offset * _PHASES).astype(np.intp)
    whole, phase = np.divmod(nearest, _PHASES)
    rest = (nearest / _PHASES - offset).astype(np.float32)[:, None, None]
    reach = (table.shape[1] - 1) // 2
    pixel = (np.arange(size) - whole[:, None] + reach).clip(0, 2 * reach)
    # `take` of whole rows is several times faster than indexing by two arrays.
    rows = table.reshape(table.shape[0] * table.shape[1], -1)
    found = np.take(rows, phase[:, None] * table.shape[1] + pixel, axis=0, mode="clip")
    found = found.reshape(*pixel.shape, 3, -1)
    value, first, second = found[:, :, 0], found[:, :, 1], found[:, :, 2]
    out = [value + rest * (first + (rest / 2) * second)]
    if order > 0:
        out.append(first + rest * second)
    if order > 1:
        out.append(second)
    return out


def _product(u: Float32, v: Float32) -> Float32:
    return np.asarray(np.matmul(u, v.swapaxes(1, 2)))
