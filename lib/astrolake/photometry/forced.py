"""Forced photometry: fluxes at given positions, whether anything was detected there or not."""

from __future__ import annotations

import math

import numpy as np
import sep
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from astrolake.errors import BadArguments
from astrolake.photometry.background import Sky, with_correlation
from astrolake.photometry.extraction import prepare_sky
from astrolake.photometry.flags import Flag, aperture_flags, where
from astrolake.photometry.magnitudes import magnitude
from astrolake.photometry.measure import Columns, Float64, Scene
from astrolake.photometry.options import ExtractionOptions

_FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
_SUBPIX = 5
#: Kernels narrower than this, px, would be smaller than a pixel knows.
_NARROWEST_SIGMA = 0.1
_REACH_SIGMA = 5.0
#: An aperture with this fraction of bad pixels holds nothing; it is known to a subpixel.
_EMPTY = 0.97


def forced_photometry(
    data: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    radius_px: float,
    *,
    bad: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    gain: float | None = None,
    smooth_sigma_px: float = 0.0,
) -> Columns:
    """Sum a circular aperture at each position of an image, its background subtracted.

    The same radius on the sky on images of one seeing gives colours of one and the same light;
    `smooth_sigma_px` brings an image to the seeing of a worse one (`matching_sigma_px`).

    Parameters
    ----------
    data : (ny, nx) array
        As for `extract_frame`.
    x, y : (n,) array
        Positions, px, first pixel centre at 0; NaN and positions off the image are flagged.
    radius_px : float
    bad, variance, gain
        As for `extract_frame`.
    smooth_sigma_px : float
        Standard deviation of a Gaussian that the image is convolved with.

    Returns
    -------
    dict of (n,) arrays
        flux and flux_err (image units; NaN where nothing could be measured), flags: `Flag.NEIGHBOURS` where
        another position lies within two radii, `Flag.BAD_PIXELS` where the aperture holds bad pixels.

    Raises
    ------
    BadArguments
        When the radius, the gain or the width of the kernel is out of range.
    BadInput
        When the image cannot be measured.
    """
    if not (radius_px > 0 and smooth_sigma_px >= 0) or (gain is not None and not gain > 0):
        raise BadArguments(
            f"radius_px={radius_px}, smooth_sigma_px={smooth_sigma_px}, gain={gain}: give a positive radius "
            "and gain, and no negative width"
        )
    x, y = (np.asarray(axis, dtype=np.float64) for axis in (x, y))
    sky = with_correlation(prepare_sky(data, bad, variance, ExtractionOptions()), None)
    ny, nx = sky.residual.shape
    inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    found = {name: np.full(x.size, np.nan) for name in ("flux", "flux_err")}
    flags = where(~inside, Flag.OUTSIDE) | (np.int32(Flag.NO_GAIN) if gain is None else np.int32(0))
    if inside.any():
        flux, error, spoilt = _sums(sky, x[inside], y[inside], radius_px, gain, smooth_sigma_px)
        found["flux"][inside], found["flux_err"][inside] = flux, error
        flags[inside] |= spoilt | where(_crowded(x[inside], y[inside], radius_px), Flag.NEIGHBOURS)
    return {**found, "flags": flags}


def _sums(
    sky: Sky, x: Float64, y: Float64, radius_px: float, gain: float | None, smooth_sigma_px: float
) -> tuple[Float64, Float64, NDArray[np.int32]]:
    """Return flux, error and flags of apertures on the image."""
    if smooth_sigma_px < _NARROWEST_SIGMA:
        flux, error, sep_flags = sep.sum_circle(sky.residual, x, y, radius_px, err=sky.noise, subpix=_SUBPIX)
        error = Scene(sky, None, gain).error(flux, error**2, math.pi * radius_px**2)
    else:
        image = gaussian_filter(sky.residual, smooth_sigma_px, mode="constant", truncate=_REACH_SIGMA)
        flux, _, sep_flags = sep.sum_circle(image, x, y, radius_px, subpix=_SUBPIX)
        row, column = np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)
        noise = sky.noise[row, column] if isinstance(sky.noise, np.ndarray) else sky.noise
        photons = 0.0 if gain is None else np.maximum(flux, 0) / gain
        area = smoothed_area_px(radius_px, smooth_sigma_px)
        if sky.correlation is not None:
            area *= float(sky.correlation.in_circle(math.pi * radius_px**2))
        error = np.sqrt(np.square(noise) * area + photons)
    flags = aperture_flags(sep_flags)
    if sky.bad is not None:
        spoilt = sep.sum_circle(sky.bad.view(np.uint8), x, y, radius_px, subpix=_SUBPIX)[0]
        flags |= where(spoilt > 0, Flag.BAD_PIXELS)
        whole = math.pi * radius_px**2
        empty = spoilt > _EMPTY * whole
        flags |= where(empty, Flag.APERTURE_INCOMPLETE)
        flux, error = np.where(empty, np.nan, flux), np.where(empty, np.nan, error)
    return flux, error, flags


def smoothed_area_px(radius_px: float, sigma_px: float) -> float:
    """Return the sum of the squares of an aperture's weights after a convolution with a Gaussian.

    An aperture on a convolved image weighs the pixels of the image itself with the convolved aperture:
    independent noise adds up to noise^2 times this area, less than that of the aperture.
    """
    half = math.ceil(radius_px + _REACH_SIGMA * sigma_px) + 1
    axis = np.arange(-half, half + 1)
    fine = (np.arange(_SUBPIX) + 0.5) / _SUBPIX - 0.5
    edge = (axis[:, np.newaxis] + fine).ravel()
    circle = (np.hypot.outer(edge, edge) <= radius_px).astype(np.float64)
    pixels = circle.reshape(len(axis), _SUBPIX, len(axis), _SUBPIX).mean(axis=(1, 3))
    weights = gaussian_filter(pixels, sigma_px, mode="constant", truncate=_REACH_SIGMA)
    return float(np.square(weights).sum())


def matching_sigma_px(fwhm: float, target_fwhm: float, pixel_scale: float = 1.0) -> float:
    """Return the standard deviation, px, of the Gaussian that widens a FWHM to a target, 0 for none.

    Exact for Gaussian point-spread functions: variances add up.
    """
    if not target_fwhm > fwhm:
        return 0.0
    return math.sqrt(target_fwhm**2 - fwhm**2) / _FWHM_PER_SIGMA / pixel_scale


def _crowded(x: Float64, y: Float64, radius_px: float) -> NDArray[np.bool_]:
    places = np.stack([x, y], axis=1)
    if len(places) < 2:
        return np.zeros(len(places), dtype=bool)
    distance = cKDTree(places).query(places, k=2)[0][:, 1]
    return np.asarray(distance < 2 * radius_px)


def magnitudes_and_limits(
    flux: ArrayLike,
    flux_err: ArrayLike,
    zero_point_ab: float | None,
    zero_point_err: float = 0.0,
    *,
    limit_sigma: float = 3.0,
) -> Columns:
    """Return magnitudes of what is detected, and upper limits of the rest.

    Parameters
    ----------
    flux, flux_err : (n,) array
    zero_point_ab : float or None
    zero_point_err : float
    limit_sigma : float
        Signal-to-noise ratio from which on a source counts as detected.

    Returns
    -------
    dict of (n,) arrays
        mag and mag_err, NaN for what is not detected; mag_limit, NaN for what is: no star brighter than it
        is there, at `limit_sigma`: the magnitude of max(flux, 0) + limit_sigma flux_err.
    """
    values, errors = np.asarray(flux, dtype=np.float64), np.asarray(flux_err, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        detected = values >= limit_sigma * errors
    mag, mag_err = magnitude(values, errors, zero_point_ab, zero_point_err)
    bright, _ = magnitude(np.maximum(values, 0.0) + limit_sigma * errors, errors, zero_point_ab)
    return {
        "mag": np.where(detected, mag, np.nan),
        "mag_err": np.where(detected, mag_err, np.nan),
        "mag_limit": np.where(detected, np.nan, bright),
    }


def colour(
    blue: tuple[ArrayLike, ArrayLike, ArrayLike], red: tuple[ArrayLike, ArrayLike, ArrayLike]
) -> tuple[Float64, Float64, NDArray[np.int8]]:
    """Return colours with errors, or limits where one band sees nothing.

    Parameters
    ----------
    blue, red : (mag, mag_err, mag_limit), each (n,) arrays
        As `magnitudes_and_limits` gives them.

    Returns
    -------
    colour, error : (n,) float64
        blue - red; NaN when neither band detects the source; the error of a limit is NaN.
    limit : (n,) int8
        0 for a colour, 1 when it is at least this red (blue not detected), -1 when it is at most this red.
    """
    (b, b_err, b_limit), (r, r_err, r_limit) = (
        tuple(np.asarray(part, dtype=np.float64) for part in band) for band in (blue, red)
    )
    at_least, at_most = np.isnan(b) & np.isfinite(r), np.isfinite(b) & np.isnan(r)
    value = np.where(at_least, b_limit - r, np.where(at_most, b - r_limit, b - r))
    limit = np.where(np.isfinite(value), at_least.astype(np.int8) - at_most.astype(np.int8), 0)
    return value, np.where(at_least | at_most, np.nan, np.hypot(b_err, r_err)), limit.astype(np.int8)
