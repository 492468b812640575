"""The growth curve of stars: what ties PSF fluxes to apertures, and apertures to the total flux."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import sep

from astrolake.photometry.psf_model import FieldBasis, Float64, PsfModel
from astrolake.photometry.psf_pixels import Canvas
from astrolake.photometry.zero_point import SIGMA_PER_MAD

#: Radius of the aperture that is taken for the total, in FWHM.
_TOTAL_FWHM = 5.0
#: Aperture with which the fluxes of single stars are compared, in FWHM: small enough to hold nothing else.
_CORE_FWHM = 1.5
#: Width of the annulus around it in which the sky is measured, in FWHM.
_ANNULUS_FWHM = 3.0
_CLIP_ROUNDS, _CLIP_SIGMA = 5, 3.0
#: Stars differ by this much anyway: the brightest few must not decide alone.
_FLOOR = 0.003
#: Stars needed for a ratio that varies over the field; how much it is expected to vary from centre to edge.
_MIN_FOR_SLOPE, _SLOPE_PRIOR = 6, 0.03
_SUBPIX = 5


@dataclass(frozen=True)
class Ratio:
    """A measured quantity over what the model says, as a function of position.

    Parameters
    ----------
    basis : FieldBasis
    coefficients : tuple of float
    error : float
        Error of the ratio at the centre of the field; NaN when it was not measured.
    n_stars : int
    scatter : float
        By how much single stars differ from it beyond their noise: the error of a flux that has none.
    """

    basis: FieldBasis = field(default_factory=FieldBasis)
    coefficients: tuple[float, ...] = (1.0,)
    error: float = float("nan")
    n_stars: int = 0
    scatter: float = 0.0

    def __call__(self, x: Float64, y: Float64) -> Float64:
        """Return the ratio at positions of shape (n,)."""
        return np.asarray(self.basis(x, y) @ np.asarray(self.coefficients))


@dataclass(frozen=True)
class StarFluxes:
    """The stars of the growth curve: positions and PSF fluxes with errors, arrays of shape (n,)."""

    x: Float64
    y: Float64
    flux: Float64
    flux_err: Float64


class Growth:
    """Growth curve of the stars of an image, on the picture from which all other sources are taken away.

    Parameters
    ----------
    canvas : Canvas
        With all sources drawn.
    model : PsfModel
    stars : StarFluxes

    Attributes
    ----------
    total : Ratio
        Measured over modelled flux in the aperture that is taken for the total.
    scatter : float
        Relative error of a PSF flux that has no noise, from the scatter of the stars.
    """

    def __init__(self, canvas: Canvas, model: PsfModel, stars: StarFluxes) -> None:
        self.model = model
        good = np.isfinite(stars.flux) & (stars.flux > 0)
        self.stars = StarFluxes(stars.x[good], stars.y[good], stars.flux[good], stars.flux_err[good])
        self._canvas, self._noise = canvas, canvas.typical_noise()
        inner = canvas.inner
        self._blocked = ~np.isfinite(canvas.variance[inner])
        self._residual = np.where(self._blocked, 0, canvas.image[inner] - canvas.drawn[inner])
        self.total_radius_px = min(_TOTAL_FWHM * model.fwhm_px, model.radius_px - 1)
        # A plain mean: it holds the light of sources too faint to be fitted, as the apertures do.
        inner_px, outer_px = self.total_radius_px, self.total_radius_px + _ANNULUS_FWHM * model.fwhm_px
        self._sky_area = np.pi * (outer_px**2 - inner_px**2)
        annulus = (self.stars.x, self.stars.y, inner_px, outer_px)
        self._sky = sep.sum_circann(self._residual, *annulus, subpix=1)[0] / self._sky_area
        self.total = self.ratio(self.total_radius_px)
        self.scatter = self.ratio(_CORE_FWHM * model.fwhm_px).scatter

    @property
    def relative_error(self) -> float:
        """Relative error of a total flux that has no noise: of the single star, and of the tie all share."""
        return float(np.hypot(self.scatter, np.nan_to_num(self.total.error)))

    def ratio(self, radius_px: float) -> Ratio:
        """Return the flux of stars in an aperture over that of the fitted model in the same aperture."""
        stars = self.stars
        if len(stars.x) == 0:
            return Ratio(FieldBasis.of_shape(0, self._canvas.shape))
        expected = stars.flux * self.model.growth(radius_px, stars.x, stars.y)
        left, _, _ = sep.sum_circle(self._residual, stars.x, stars.y, radius_px, subpix=_SUBPIX)
        area = np.pi * radius_px**2
        variance = (area + area**2 / self._sky_area) * self._noise**2
        if self._canvas.correlation is not None:
            variance *= float(self._canvas.correlation.in_circle(area))
        # The photon noise of the stars is common to both fluxes, but for the wings.
        error = np.sqrt(variance / expected**2 + _FLOOR**2)
        return self._fit(1 + (left - area * self._sky) / expected, error)

    def _fit(self, measured: Float64, error: Float64) -> Ratio:
        """Fit a plane, or a constant for few stars, and clip outliers."""
        stars = self.stars
        basis = FieldBasis.of_shape(1 if len(measured) >= _MIN_FOR_SLOPE else 0, self._canvas.shape)
        terms = basis(stars.x, stars.y)
        prior = np.diag([1e-9] + [1 / _SLOPE_PRIOR**2] * (basis.n_terms - 1))
        weight, scatter = 1 / error**2, 1.0
        used = np.abs(measured - np.median(measured)) < np.maximum(5 * error, 0.1)
        if not used.any():  # two groups of stars, and the median in neither
            used = np.ones(len(measured), dtype=bool)
        for round_ in range(_CLIP_ROUNDS):
            # Stars that differ by more than their noise tell the less of a slope.
            weights = np.where(used, weight / scatter**2, 0)
            matrix = (terms * weights[:, None]).T @ terms + prior
            rest = measured - terms @ np.linalg.solve(matrix, terms.T @ (weights * measured))
            scatter = max(1.0, float(np.sqrt(np.mean((rest / error)[used] ** 2))))
            limit = _CLIP_SIGMA * max(1.0, SIGMA_PER_MAD * float(np.median(np.abs(rest / error)[used])))
            kept = np.abs(rest) < limit * error
            if (round_ and (kept == used).all()) or not kept.any():
                break
            used = kept
        sigma = float(np.sqrt(np.linalg.inv(matrix)[0, 0]))
        # Squares in excess of the noise, weighted by the inverse variance of a square: bright stars tell.
        excess = rest**2 - (error**2 - _FLOOR**2)
        spread = float(np.average(excess[used], weights=weight[used] ** 2))
        plane = np.linalg.solve(matrix, terms.T @ (weights * measured))
        coefficients = tuple(float(value) for value in plane)
        return Ratio(basis, coefficients, sigma, int(used.sum()), max(0.0, spread) ** 0.5)

    def correction(self, radius_px: float) -> ApertureCorrection:
        """Return the aperture correction for one radius."""
        return ApertureCorrection(self.model, radius_px, self.ratio(radius_px), self.total)


@dataclass(frozen=True, eq=False)
class ApertureCorrection:
    """From the flux in an aperture to the total flux of a star.

    Parameters
    ----------
    model : PsfModel
    radius_px : float
    within, total : Ratio
        Measured over modelled flux in the aperture, and in the one taken for the total.
    """

    model: PsfModel
    radius_px: float
    within: Ratio
    total: Ratio

    def fraction(self, x: Float64, y: Float64) -> Float64:
        """Return the fraction of a star's flux within the aperture, at positions of shape (n,)."""
        return self.model.growth(self.radius_px, x, y) * self.within(x, y) / self.total(x, y)

    @property
    def error(self) -> float:
        """Relative error of the fraction; NaN without stars."""
        return float(np.hypot(self.within.error, self.total.error))

    def magnitudes(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Return what to add to an aperture magnitude, and its error, arrays of shape (n,)."""
        fraction = self.fraction(x, y)
        error = 2.5 / np.log(10) * self.error
        return 2.5 * np.log10(np.where(fraction > 0, fraction, np.nan)), np.full(len(x), error)
