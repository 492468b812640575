"""Aperture photometry at given positions with the sky of a local annulus."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import sep
from numpy.typing import NDArray

from astrolake.photometry.flags import Flag, aperture_flags, where
from astrolake.photometry.measure import Columns, Float64, Int32, Scene

_CLIP_SIGMA = 3.0
_CLIP_ROUNDS = 5
#: An annulus with fewer free pixels has no sky of its own.
_MIN_PIXELS = 20
#: Pixels gathered at a time: bounds the memory, not the result.
_CHUNK_PIXELS = 1 << 20
#: Variance of the median of n normal values, in units of that of their mean.
_MEDIAN_VARIANCE = np.pi / 2


class LocalSky(NamedTuple):
    """Sky in the annulus of each position: clipped median, standard deviation, pixels left."""

    median: Float64
    sigma: Float64
    n_pixels: NDArray[np.intp]


def annulus_photometry(
    scene: Scene, x: Float64, y: Float64, radius_px: float, annulus_px: tuple[float, float]
) -> Columns:
    """Sum a circular aperture at each position and subtract the sky of the annulus around it.

    The variance is that of the aperture sum plus area^2 pi / 2 sigma^2 / n, the error of the median of n
    sky pixels. Pixels of other sources, found by the segmentation, enter neither aperture nor annulus.

    Parameters
    ----------
    scene : Scene
        The image, with its segmentation.
    x, y : (n,) float64
        Positions, first pixel centre at 0; NaN and positions off the image give NaN and a flag.
    radius_px : float
        Radius of the aperture.
    annulus_px : (inner, outer) radius
        The annulus, by pixel centres.

    Returns
    -------
    dict of (n,) arrays
        flux, flux_err, sky (per pixel, background map included), sky_rms (of a pixel), flags.
    """
    ny, nx = scene.sky.residual.shape
    inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    out = {name: np.full(len(x), np.nan) for name in ("flux", "flux_err", "sky", "sky_rms")}
    flags = where(~inside, Flag.OUTSIDE)
    if inside.any():
        measured = _annulus_photometry(scene, x[inside], y[inside], radius_px, annulus_px)
        flags[inside] |= measured.pop("flags")
        for name, values in measured.items():
            out[name][inside] = values
    return {**out, "flags": flags}


def _annulus_photometry(
    scene: Scene, x: Float64, y: Float64, radius_px: float, annulus_px: tuple[float, float]
) -> Columns:
    sky, row, column = scene.sky, np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)
    blocked = np.zeros(sky.residual.shape, bool) if sky.bad is None else sky.bad.copy()
    masking: dict[str, Int32] = {}
    if scene.segments is not None:
        blocked |= scene.segments > 0
        # A position on the sky owns no pixel: an identifier that nobody has masks every source.
        owner = scene.segments[row, column]
        masking = scene.masking(np.where(owner > 0, owner, np.iinfo(np.int32).max).astype(np.int32))
    total, error, sep_flags = sep.sum_circle(sky.residual, x, y, radius_px, err=sky.noise, **masking)
    error = scene.error(total, error**2, np.pi * radius_px**2)
    usable = np.ones(blocked.shape, np.uint8) if sky.bad is None else np.logical_not(sky.bad).view(np.uint8)
    area = sep.sum_circle(usable, x, y, radius_px, **masking)[0]
    local = annulus_sky(sky.residual, blocked, x, y, annulus_px)
    noise = sky.noise[row, column] if isinstance(sky.noise, np.ndarray) else np.full(len(x), sky.noise)
    poor = local.n_pixels < _MIN_PIXELS
    offset, sigma = np.where(poor, 0, local.median), np.where(poor, noise, local.sigma)
    sky_variance = np.where(poor, 0, _MEDIAN_VARIANCE * sigma**2 / np.maximum(local.n_pixels, 1))
    if sky.correlation is not None:
        sky_variance = sky_variance * sky.correlation.in_circle(np.maximum(local.n_pixels, 1))
    covered = area > 0
    return {
        "flux": np.where(covered, total - area * offset, np.nan),
        "flux_err": np.where(covered, np.sqrt(error**2 + area**2 * sky_variance), np.nan),
        "sky": sky.level[row, column] + offset,
        "sky_rms": sigma,
        "flags": aperture_flags(sep_flags)
        | where(poor, Flag.SKY_FROM_MAP)
        | where(~covered, Flag.APERTURE_INCOMPLETE),
    }


def annulus_sky(
    image: NDArray[np.float32],
    blocked: NDArray[np.bool_],
    x: Float64,
    y: Float64,
    annulus_px: tuple[float, float],
) -> LocalSky:
    """Return the clipped median of the free pixels in the annulus of each position.

    Values beyond 3 standard deviations from the median are left out, five times over.

    Parameters
    ----------
    image : (ny, nx) float32
        Pixels.
    blocked : (ny, nx) bool
        Pixels that are no sky.
    x, y : (n,) float64
        Finite positions on the image.
    annulus_px : (inner, outer) radius
        Between them lie the pixel centres that count.

    Returns
    -------
    LocalSky
        NaN where no pixel is free.
    """
    inner, outer = annulus_px
    reach = np.arange(-int(np.ceil(outer)), int(np.ceil(outer)) + 1)
    dy, dx = (grid.ravel() for grid in np.meshgrid(reach, reach, indexing="ij"))
    near = (np.hypot(dx, dy) > inner - 1) & (np.hypot(dx, dy) < outer + 1)
    dy, dx = dy[near], dx[near]
    step = max(1, _CHUNK_PIXELS // len(dx))
    parts = [
        _clipped_median(_gather(image, blocked, (x[i : i + step], y[i : i + step]), (dx, dy), annulus_px))
        for i in range(0, len(x), step)
    ]
    return LocalSky(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _gather(
    image: NDArray[np.float32],
    blocked: NDArray[np.bool_],
    position: tuple[Float64, Float64],
    offsets: tuple[NDArray[np.intp], NDArray[np.intp]],
    annulus_px: tuple[float, float],
) -> NDArray[np.float32]:
    """Return the pixels around each position, NaN where not in the annulus, not free or off the image."""
    (x, y), (dx, dy), (inner, outer) = position, offsets, annulus_px
    column, row = np.rint(x).astype(np.intp)[:, None] + dx, np.rint(y).astype(np.intp)[:, None] + dy
    distance = np.hypot(column - x[:, None], row - y[:, None])
    ny, nx = image.shape
    free = (distance >= inner) & (distance <= outer) & (column >= 0) & (row >= 0) & (column < nx) & (row < ny)
    column, row = column.clip(0, nx - 1), row.clip(0, ny - 1)
    free &= ~blocked[row, column]
    return np.where(free, image[row, column], np.float32(np.nan))


def _clipped_median(values: NDArray[np.float32]) -> LocalSky:
    """Clip every row; sorted once, what a round leaves is a range [low, high) of the row."""
    values = np.sort(values, axis=1)
    count = np.isfinite(values).sum(axis=1)
    centre = _median_of_range(values, np.zeros_like(count), count)
    deviation = np.nan_to_num(values - centre[:, None]).astype(np.float64)
    sums = [np.pad(np.cumsum(power, axis=1), ((0, 0), (1, 0))) for power in (deviation, deviation**2)]
    low, high = np.zeros_like(count), count
    for last in (*(False,) * _CLIP_ROUNDS, True):
        n = np.maximum(high - low, 1)
        first, second = (_at(total, high) - _at(total, low) for total in sums)
        sigma = np.sqrt(np.maximum(second / n - (first / n) ** 2, 0))
        median = _median_of_range(values, low, high)
        if not last:
            low = np.maximum(low, (values < (median - _CLIP_SIGMA * sigma)[:, None]).sum(axis=1))
            high = np.minimum(high, (values <= (median + _CLIP_SIGMA * sigma)[:, None]).sum(axis=1))
    return LocalSky(median, np.where(high > low, sigma, np.nan), high - low)


def _median_of_range(values: NDArray[np.float32], low: NDArray[np.intp], high: NDArray[np.intp]) -> Float64:
    last = values.shape[1] - 1
    middle = (
        _at(values, ((low + high - 1) // 2).clip(0, last)) + _at(values, ((low + high) // 2).clip(0, last))
    ) / 2
    return np.where(high > low, middle, np.nan).astype(np.float64)


def _at(values: NDArray[np.floating], index: NDArray[np.intp]) -> Float64:
    return np.take_along_axis(values, index[:, None], axis=1)[:, 0].astype(np.float64)
