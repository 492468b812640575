"""The stars of an image: how wide they are, and how far every source is from looking like one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Columns, Scene, sum_circles
from astrolake.photometry.zero_point import SIGMA_PER_MAD, extra_scatter, robust_sigma

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

#: What keeps a source from telling about the width of stars.
_UNFIT = (
    *(Flag.NEIGHBOURS, Flag.BLENDED, Flag.SATURATED, Flag.TRUNCATED, Flag.APERTURE_INCOMPLETE),
    *(Flag.SINGULAR, Flag.BAD_PIXELS, Flag.ISOPHOTAL_CENTROID, Flag.NO_KRON_RADIUS),
)
UNFIT = int(np.bitwise_or.reduce([int(flag) for flag in _UNFIT]))
_MIN_SNR, _MIN_STARS, _MOST_STARS = 20.0, 5, 100
#: Stars differ in half-light radius by less than this fraction.
_RADIUS_SPREAD = 0.1
#: Radii, in FWHM, of the circles whose fluxes are compared. Smaller ones tell a little more where stars are
#: well sampled, but depend on where in its pixel a star lies where they are not.
COMPACT, WIDE = 0.6, 1.5
_BIN_PX = 0.5
#: A trend over the field needs stars all over it.
_STARS_FOR_TREND = 30
_MAG_PER_RELATIVE_FLUX = 2.5 / np.log(10.0)


@dataclass(frozen=True)
class StarLocus:
    """What the stars of an image have in common.

    Parameters
    ----------
    fwhm_px : float
        Full width at half maximum of the mean profile of the stars; NaN when fewer than five stand out.
    noise_area_px : float
        1 / sum(p^2) of that profile p, normalised to 1: the number of pixels whose noise a matched filter
        adds up (King 1983, PASP 95, 163).
    n_stars : int
        Stars used.
    noise_excess : float
        Noise that the matched filter really adds up, over that of independent pixels.
    """

    fwhm_px: float
    noise_area_px: float
    n_stars: int
    noise_excess: float = 1.0

    @classmethod
    def mean(cls, parts: Sequence[StarLocus]) -> StarLocus:
        """Return the median of the parts of an image, by those that have stars."""
        known = [part for part in parts if np.isfinite(part.fwhm_px)]
        n_stars = sum(part.n_stars for part in parts)
        if not known:
            return cls(np.nan, np.nan, n_stars)
        fwhm, area, excess = np.median(
            [(part.fwhm_px, part.noise_area_px, part.noise_excess) for part in known], axis=0
        )
        return cls(float(fwhm), float(area), n_stars, float(excess))


def star_locus(scene: Scene, columns: Columns) -> tuple[StarLocus, Columns]:
    """Find the stars of an image and measure every source against them.

    Parameters
    ----------
    scene : Scene
    columns : dict of (n,) arrays
        x, y, flux_auto, flux_auto_err, flux_radius and flags of the sources, in the order of the segments.

    Returns
    -------
    StarLocus
    columns : dict of (n,) arrays
        `extension`: the magnitude within 0.6 FWHM less that within 1.5 FWHM, less the same of the image's
        stars (as a plane over the field where there are many): 0 for a star, positive for what is extended.
        `extension_err`: its error, from sky, photon noise and the scatter of bright stars. Both NaN where
        a flux is not positive, or the image has too few stars.
    """
    nothing = {name: np.full(len(columns["x"]), np.nan) for name in ("extension", "extension_err")}
    stars = _likely_stars(columns)
    if len(stars) < _MIN_STARS:
        return StarLocus(np.nan, np.nan, len(stars)), nothing
    fwhm, area = _profile(scene, columns, stars)
    if not (np.isfinite(fwhm) and fwhm > 0):
        return StarLocus(np.nan, np.nan, len(stars)), nothing
    correlation = scene.sky.correlation
    excess = 1.0 if correlation is None else correlation.in_profile(area) ** 0.5
    contrast, error = _contrast(scene, columns, fwhm)
    stars = stars[np.isfinite(contrast[stars])]
    if len(stars) < _MIN_STARS:
        return StarLocus(fwhm, area, len(stars), excess), nothing
    expected, scatter = _trend(columns, contrast, error, stars)
    extension = {"extension": contrast - expected, "extension_err": np.hypot(error, scatter)}
    return StarLocus(fwhm, area, len(stars), excess), extension


def _likely_stars(columns: Columns) -> NDArray[np.intp]:
    """Return the rows of unspoilt bright sources of the most common half-light radius, brightest first."""
    flux, radius = columns["flux_auto"], columns["flux_radius"]
    fit = ((columns["flags"] & UNFIT) == 0) & np.isfinite(radius) & (flux > 0)
    fit &= flux > _MIN_SNR * columns["flux_auto_err"]
    rows = np.flatnonzero(fit)
    if len(rows) < _MIN_STARS:
        return rows[:0]
    common = half_sample_mode(radius[rows])
    rows = rows[np.abs(radius[rows] / common - 1) < _RADIUS_SPREAD]
    return rows[np.argsort(-flux[rows], kind="stable")][:_MOST_STARS]


def half_sample_mode(values: Float64) -> float:
    """Return the mode of a sample: the densest half, and again of that (Bickel & Fruehwirth 2006)."""
    part = np.sort(values)
    while part.size > 3:
        half = (part.size + 1) // 2
        start = int(np.argmin(part[half - 1 :] - part[: part.size - half + 1]))
        part = part[start : start + half]
    return float(np.median(part))


def _profile(scene: Scene, columns: Columns, stars: NDArray[np.intp]) -> tuple[float, float]:
    """Return FWHM and noise area of the mean radial profile of some stars."""
    image = scene.sky.residual
    reach = int(np.ceil(3.0 * np.median(columns["flux_radius"][stars]))) + 1
    step = np.arange(-reach, reach + 1)
    x, y = columns["x"][stars], columns["y"][stars]
    column = np.rint(x).astype(np.intp)[:, np.newaxis, np.newaxis] + step
    row = np.rint(y).astype(np.intp)[:, np.newaxis, np.newaxis] + step[:, np.newaxis]
    row, column = np.broadcast_arrays(row, column)
    inside = (row >= 0) & (row < image.shape[0]) & (column >= 0) & (column < image.shape[1])
    row, column = row.clip(0, image.shape[0] - 1), column.clip(0, image.shape[1] - 1)
    if scene.segments is not None:
        owner = scene.segments[row, column]
        inside &= (owner == 0) | (owner == (stars + 1)[:, np.newaxis, np.newaxis])
    radius = np.hypot(column - x[:, np.newaxis, np.newaxis], row - y[:, np.newaxis, np.newaxis])
    value = image[row, column] / columns["flux_auto"][stars][:, np.newaxis, np.newaxis]
    use = inside & (radius < reach)
    which = (radius[use] / _BIN_PX).astype(np.intp)
    count = np.bincount(which)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(which, value[use]) / count
        at = np.sqrt(np.bincount(which, radius[use] ** 2) / count)
    known = count > 0
    return _half_maximum(at[known], mean[known]), _noise_area(at[known], mean[known])


def _half_maximum(radius: Float64, profile: Float64) -> float:
    """Return twice the radius at which a profile falls to half of its centre's value.

    The centre follows from the first two bins as a Gaussian; between bins ln p is linear in r^2.
    """
    if len(profile) < 3 or not (profile[:2] > 0).all() or profile[1] >= profile[0]:
        return float("nan")
    slope = np.log(profile[1] / profile[0]) / (radius[1] ** 2 - radius[0] ** 2)
    half = 0.5 * profile[0] * np.exp(-slope * radius[0] ** 2)
    below = np.flatnonzero(profile < half)
    if not below.size or profile[below[0]] <= 0:
        return float("nan")
    first = int(below[0])
    if first == 0:
        return 2.0 * float(np.sqrt(-np.log(2.0) / slope))
    inner, outer = np.log(profile[first - 1 : first + 1] / half)
    part = inner / (inner - outer)
    square = radius[first - 1] ** 2 + part * (radius[first] ** 2 - radius[first - 1] ** 2)
    return 2.0 * float(np.sqrt(square))


def _noise_area(radius: Float64, profile: Float64) -> float:
    """Return (sum p)^2 / sum p^2 of a radial profile over the plane."""
    r = np.concatenate([[0.0], radius])
    p = np.concatenate([profile[:1], profile]).clip(min=0.0)
    total, square = (np.trapezoid(2.0 * np.pi * r * weight, r) for weight in (p, p**2))
    return float(total**2 / square) if square > 0 else float("nan")


def _contrast(scene: Scene, columns: Columns, fwhm_px: float) -> tuple[Float64, Float64]:
    """Return the magnitude within the compact circle less that within the wide one, and its error.

    The circles share the pixels of the compact one, hence cov(F1, F2) = var(F1).
    """
    ids = np.arange(1, len(columns["x"]) + 1, dtype=np.int32)
    (f1, s1, _), (f2, s2, _) = (
        sum_circles(scene, columns["x"], columns["y"], ids, factor * fwhm_px) for factor in (COMPACT, WIDE)
    )
    positive = (f1 > 0) & (f2 > 0)
    f1, f2 = np.where(positive, f1, np.nan), np.where(positive, f2, np.nan)
    variance = s1**2 * (1 / f1**2 - 2 / (f1 * f2)) + s2**2 / f2**2
    return -2.5 * np.log10(f1 / f2), _MAG_PER_RELATIVE_FLUX * np.sqrt(np.maximum(variance, 0.0))


def _trend(
    columns: Columns, contrast: Float64, error: Float64, stars: NDArray[np.intp]
) -> tuple[Float64, float]:
    """Return the contrast of a star at each source, and how much more than their errors stars scatter."""
    x, y = columns["x"], columns["y"]
    terms = [np.ones(len(x))]
    if len(stars) >= _STARS_FOR_TREND:
        terms += [(axis - axis[stars].mean()) / max(np.ptp(axis[stars]), 1.0) for axis in (x, y)]
    design = np.stack(terms, axis=1)
    value = contrast[stars]
    keep = np.abs(value - np.median(value)) <= 3 * max(robust_sigma(value), 1e-4)
    parameters = np.zeros(len(terms))
    for _ in range(5):
        parameters[:] = np.linalg.lstsq(design[stars][keep], value[keep], rcond=None)[0]
        residual = value - design[stars] @ parameters
        scatter = SIGMA_PER_MAD * float(np.median(np.abs(residual[keep])))
        again = np.abs(residual) <= 3 * max(scatter, 1e-4)
        if (again == keep).all() or again.sum() < _MIN_STARS:
            break
        keep = again
    return design @ parameters, extra_scatter(residual[keep], error[stars][keep])
