"""Detection images of several bands: resampled to one grid, added up by weight or by chi-square."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from astrolake.errors import BadArguments, BadInput
from astrolake.photometry.astrometry import Astrometry
from astrolake.photometry.background import Sky

Float32 = NDArray[np.float32]

#: Positions are computed this many pixels apart and interpolated between: distortions are smooth.
_GRID_PX = 16


def detection_image(
    skies: Sequence[Sky], method: Literal["chi2", "weighted"] = "chi2", smooth_sigma_px: float = 0.0
) -> tuple[Float32, NDArray[np.bool_]]:
    """Return one image for the detection on several, with unit noise.

    ``chi2``: sqrt(sum (I / s)^2) in units of its own scatter on empty sky, the image of Szalay, Connolly &
    Szokoly (1999, AJ 117, 68): optimal for sources of unknown colour. ``weighted``: sum (I / s^2) /
    sqrt(sum 1 / s^2), optimal for sources of flat colour on images of one flux unit.

    Parameters
    ----------
    skies : sequence of Sky
        Images without background, on one grid (`resampled`).
    method : {'chi2', 'weighted'}
    smooth_sigma_px : float
        Standard deviation of a Gaussian that every I / s is convolved with (and scaled back to unit noise),
        best that of the point-spread function: chi-square knows no sign, so that filtering it later comes
        too late. Detect on a smoothed image without another kernel.

    Returns
    -------
    image : (ny, nx) float32
        Mean 0 and standard deviation 1 on empty sky; 0 where bad.
    bad : (ny, nx) bool
        Pixels that are bad in every image.

    Raises
    ------
    BadArguments
        When there is no image, or no such method.
    BadInput
        When shapes differ.
    """
    if not skies or method not in ("chi2", "weighted"):
        raise BadArguments(f"method={method!r}, {len(skies)} images: give chi2 or weighted, and an image")
    shape = skies[0].residual.shape
    if any(sky.residual.shape != shape for sky in skies):
        raise BadInput(f"images have the shapes {[sky.residual.shape for sky in skies]}; resample them first")
    count, total, weight = np.zeros(shape, np.int16), np.zeros(shape), np.zeros(shape)
    for sky in skies:
        good = np.ones(shape, bool) if sky.bad is None else ~sky.bad
        noise = np.broadcast_to(np.asarray(sky.noise, dtype=np.float64), shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = _smoothed(np.where(good & (noise > 0), sky.residual / noise, 0.0), smooth_sigma_px)
            inverse = np.where(good & (noise > 0), 1 / noise, 0.0)
        count += good
        total += scaled**2 if method == "chi2" else scaled * inverse
        weight += inverse**2
    bad = count == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        image = _standardised(total, count) if method == "chi2" else total / np.sqrt(weight)
    return np.where(bad, 0.0, image).astype(np.float32), bad


def _smoothed(scaled: NDArray[np.float64], sigma_px: float) -> NDArray[np.float64]:
    """Return an image of unit noise after a convolution, unit noise again."""
    if sigma_px <= 0:
        return scaled
    impulse = np.zeros(2 * int(np.ceil(5 * sigma_px)) + 3)
    impulse[len(impulse) // 2] = 1.0
    norm = np.square(gaussian_filter1d(impulse, sigma_px)).sum()
    return np.asarray(gaussian_filter(scaled, sigma_px, mode="constant") / norm)


def _standardised(chi2: NDArray[np.float64], n: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return chi-square as a normal deviate, by the cube root of Wilson & Hilferty (1931, PNAS 17, 684)."""
    spread = 2.0 / (9.0 * n)
    return np.asarray((np.cbrt(chi2 / n) - (1.0 - spread)) / np.sqrt(spread))


def resampled(sky: Sky, source: Astrometry, target: Astrometry, shape: tuple[int, int]) -> Sky:
    """Return an image on the pixels of another, interpolated with cubic splines.

    Flux per pixel is kept as it is: pixels should be of about one size. Neighbouring pixels of the result
    have noise in common; its noise is that of the nearest source pixel.

    Parameters
    ----------
    sky : Sky
    source, target : Astrometry
        Of the image, and of the grid.
    shape : (rows, columns)
        Of the grid.

    Returns
    -------
    Sky
        Bad where the image has no pixel, or within two pixels of a bad one.
    """
    x, y = _positions(source, target, shape)
    ny, nx = sky.residual.shape
    inside = (x >= 0) & (y >= 0) & (x <= nx - 1) & (y <= ny - 1)
    x, y = np.where(inside, x, 0.0), np.where(inside, y, 0.0)
    bad = ~inside
    if sky.bad is not None:
        near = map_coordinates(sky.bad.astype(np.float32), [y, x], order=1, mode="nearest")
        bad |= near > 0
    row, column = np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)
    values = map_coordinates(sky.residual, [y, x], order=3, mode="nearest").astype(np.float32)
    noise = sky.noise[row, column] if isinstance(sky.noise, np.ndarray) else sky.noise
    level = sky.level[row, column]
    return Sky(np.where(bad, np.float32(0), values), level, noise, bad, sky.global_level, sky.global_rms)


def _positions(
    source: Astrometry, target: Astrometry, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where each pixel of the grid lies on the image, NaN nowhere: beyond it where it has no place."""
    rows, columns = (np.arange(0, n + _GRID_PX, _GRID_PX, dtype=np.float64) for n in shape)
    at_x, at_y = np.meshgrid(columns, rows)
    ra, dec = target.pixel_to_sky(at_x.ravel(), at_y.ravel())
    x, y = (np.nan_to_num(axis, nan=-1e6).reshape(at_x.shape) for axis in source.sky_to_pixel(ra, dec))
    places = np.mgrid[: shape[0], : shape[1]] / _GRID_PX
    return tuple(map_coordinates(axis, places, order=1) for axis in (x, y))
