"""Analytic point-spread functions, integrated over pixels: elliptical Moffat and Gaussian."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astrolake.photometry.psf_model import FieldBasis, PsfModel

Float64 = NDArray[np.float64]
Real = NDArray[np.floating]

#: Samples of a table across the FWHM: a cubic spline is then good to 2e-5 of the peak.
_SAMPLES_PER_FWHM = 11.0
_OVERSAMPLING = (2, 16)
#: Nodes of the Gauss-Legendre sum over a pixel and axis, and for a FWHM below 2 px.
_NODES, _NODES_SHARP, _SHARP_FWHM = 3, 6, 2.0


@dataclass(frozen=True)
class Profile:
    """An elliptical profile without pixels.

    Parameters
    ----------
    fwhm : float
        Geometric mean of the widths along both axes of the ellipse, px.
    e1, e2 : float
        Ellipticity: the logarithm of the axis ratio times cos and sin of twice the position angle.
    beta : float
        Exponent of a Moffat profile (Moffat 1969, A&A 3, 455), (1 + (r/alpha)^2)^-beta; infinite for a
        Gaussian.
    """

    fwhm: float
    e1: float = 0.0
    e2: float = 0.0
    beta: float = np.inf

    @property
    def kind(self) -> str:
        """Name of the profile."""
        return "gaussian" if np.isinf(self.beta) else "moffat"

    def shifted(self, step: Float64) -> Profile:
        """Return the profile with steps added to ln(fwhm), e1, e2 and, for a Moffat, ln(beta - 1)."""
        beta = self.beta
        if np.isfinite(beta):
            beta = 1.0 + float(np.clip((beta - 1.0) * np.exp(step[3]), 0.3, 15.0))
        fwhm = float(np.clip(self.fwhm * np.exp(step[0]), 0.4, 100.0))
        e1, e2 = (float(np.clip(e + d, -1.0, 1.0)) for e, d in ((self.e1, step[1]), (self.e2, step[2])))
        return replace(self, fwhm=fwhm, e1=e1, e2=e2, beta=beta)

    @property
    def n_parameters(self) -> int:
        """Number of steps that `shifted` takes."""
        return 3 if np.isinf(self.beta) else 4

    def _form(self) -> tuple[float, float, float]:
        """Return xx, yy, xy of the quadratic form that is 1 at half of the peak.

        It is the inverse of (fwhm / 2)^2 exp([[e1, e2], [e2, -e1]]).
        """
        half = (self.fwhm / 2.0) ** 2
        size = float(np.hypot(self.e1, self.e2))
        stretch = np.sinh(size) / size if size > 0 else 1.0
        xx, yy = np.cosh(size) - stretch * self.e1, np.cosh(size) + stretch * self.e1
        return xx / half, yy / half, -2 * stretch * self.e2 / half

    @property
    def _peak(self) -> float:
        half = (self.fwhm / 2.0) ** 2
        if np.isinf(self.beta):
            return float(np.log(2) / (np.pi * half))
        return float((self.beta - 1) * (2 ** (1 / self.beta) - 1) / (np.pi * half))

    def __call__(self, dx: Real, dy: Real) -> Real:
        """Return the flux per square pixel of a star of unit flux at offsets from its centre."""
        xx, yy, xy = self._form()
        radius2 = xx * dx * dx + yy * dy * dy + xy * dx * dy
        if np.isinf(self.beta):
            return np.asarray(self._peak * np.exp2(-radius2))
        core = 2 ** (1 / self.beta) - 1
        return np.asarray(self._peak * np.exp(-self.beta * np.log1p(core * radius2)))

    def derivatives(self, dx: Real, dy: Real) -> list[Real]:
        """Return the flux per square pixel and its derivatives by dx, dy, ln(fwhm), e1, e2 and ln(beta - 1).

        Those by e1 and e2 are exact for a round profile and good for a step of Newton's method elsewhere.
        """
        xx, yy, xy = self._form()
        half = (self.fwhm / 2.0) ** 2
        radius2 = xx * dx * dx + yy * dy * dy + xy * dx * dy
        if np.isinf(self.beta):
            value = self._peak * np.exp2(-radius2)
            slope = -np.log(2) * value
        else:
            core = 2 ** (1 / self.beta) - 1
            logarithm = np.log1p(core * radius2)
            value = self._peak * np.exp(-self.beta * logarithm)
            slope = -self.beta * core * value / (1 + core * radius2)
        out = [
            value,
            slope * (2 * xx * dx + xy * dy),
            slope * (2 * yy * dy + xy * dx),
            -2 * (value + slope * radius2),
            slope * (dy * dy - dx * dx) / half,
            slope * (-2 / half) * dx * dy,
        ]
        if np.isfinite(self.beta):
            growth = -(2 ** (1 / self.beta)) * np.log(2) / self.beta**2
            by_beta = (
                1 / (self.beta - 1) + growth / core - logarithm
            ) * value + slope * radius2 * growth / core
            out.append((self.beta - 1) * by_beta)
        return [np.asarray(part, dtype=dx.dtype) for part in out]


def pixel_average(profile: Profile, dx: Real, dy: Real) -> tuple[Real, Real, Real, list[Real]]:
    """Return the value, its derivatives by dx and dy, and those by the shape, integrated over pixels."""
    kind, (nodes, weights) = dx.dtype.type, _nodes(profile)
    total = [np.zeros_like(dx) for _ in range(3 + profile.n_parameters)]
    for v, weight_v in zip(nodes, weights, strict=True):
        for u, weight_u in zip(nodes, weights, strict=True):
            parts = profile.derivatives(dx + kind(u), dy + kind(v))
            for i, part in enumerate(parts):
                total[i] += kind(weight_u * weight_v) * part
    return total[0], total[1], total[2], total[3:]


def _nodes(profile: Profile) -> tuple[Float64, Float64]:
    count = _NODES if profile.fwhm > _SHARP_FWHM else _NODES_SHARP
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes / 2, weights / 2


def oversampling_for(fwhm_px: float) -> int:
    """Return the samples per pixel that a profile of this width needs."""
    low, high = _OVERSAMPLING
    return int(np.clip(np.ceil(_SAMPLES_PER_FWHM / fwhm_px), low, high))


def pixel_table(profile: Profile, radius_px: float, oversampling: int) -> Float64:
    """Return the flux of a star of unit flux in pixels at offsets of 1 / oversampling px, (m, m)."""
    half = int(np.ceil(radius_px * oversampling))
    axis = np.arange(-half, half + 1) / oversampling
    nodes, weights = _nodes(profile)
    table = np.zeros((len(axis), len(axis)))
    for v, weight_v in zip(nodes, weights, strict=True):
        for u, weight_u in zip(nodes, weights, strict=True):
            table += weight_u * weight_v * profile(axis[None, :] + u, axis[:, None] + v)
    return table


def profile_model(profile: Profile, radius_px: float, *, n_stars: int = 0, error: float = 0.0) -> PsfModel:
    """Return a profile as a model that is the same all over the field."""
    oversampling = oversampling_for(profile.fwhm)
    table = pixel_table(profile, radius_px, oversampling)
    return PsfModel(
        tables=table[None],
        oversampling=oversampling,
        basis=FieldBasis(),
        fwhm_px=table_fwhm(table, oversampling),
        kind=profile.kind,
        n_stars=n_stars,
        outside=max(0.0, 1.0 - float(table.sum()) / oversampling**2),
        error=error,
    )


def table_fwhm(table: Float64, oversampling: int) -> float:
    """Return the FWHM of a circle with the area in which a table exceeds half of its peak, px."""
    half = table.max() / 2
    middle = table.shape[0] // 2
    row, column = table[middle], table[:, middle]
    widths = [_crossing(line, half, middle) for line in (row, row[::-1], column, column[::-1])]
    return float(np.sqrt((widths[0] + widths[1]) * (widths[2] + widths[3])) / oversampling)


def _crossing(line: Float64, level: float, middle: int) -> float:
    """Return how far from the middle a line falls below a level."""
    below = np.flatnonzero(line[middle:] < level)
    if len(below) == 0 or below[0] == 0:
        return float(len(line) - middle)
    i = int(below[0])
    outer, inner = line[middle + i], line[middle + i - 1]
    return float(i - 1 + (inner - level) / (inner - outer))
