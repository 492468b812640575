"""Correlation of the noise of neighbouring pixels, which resampling leaves, and what it does to sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

#: Resampling kernels reach this far, px.
_REACH_PX = 4
#: Pixels this far apart share the sky's unevenness and undetected sources, and no noise, px.
_FAR = ((0, 8), (8, 0), (6, 6), (6, -6), (0, 9), (9, 0))
#: Tiles that the noise is looked at in, and pixels in all of them at most.
_TILE_PX, _MOST_PIXELS = 64, 1 << 16
#: Pixels this close to a source hold its light; values beyond this many sigma are no noise.
_NEAR_SOURCE_PX, _CLIP_SIGMA = 3, 4.0
#: Where no segmentation tells, a source is where the mean of so many pixels squared is as high as this.
_SOURCE_PX, _SOURCE_SIGMA = 5, 1.0
#: Correlation of neighbours below which noise counts as independent, and in units of its error.
_LEAST, _LEAST_SIGMA = 0.05, 4.0
#: With fewer free pixels the correlation would be less certain than what it corrects.
_LEAST_PIXELS = 5000


@dataclass(frozen=True, eq=False)
class NoiseCorrelation:
    """The noise of pixels at some distances from each other.

    Parameters
    ----------
    distance_px : (k,) float64
        Distance of each pair of pixels; the first is 0.
    covariance : (k,) float64
        Covariance of the pair in units of the variance that is assumed for a pixel, both directions added.
    """

    distance_px: Float64
    covariance: Float64

    def in_circle(self, area_px: Float64 | float) -> Float64:
        """Return the variance of the sum of a circle's pixels over that of independent pixels.

        A circle of radius r and itself shifted by d share 2 / pi (acos(t) - t sqrt(1 - t^2)) of their
        area, t = d / 2r; ellipses of one area count as circles.

        Parameters
        ----------
        area_px : array
            Area of each circle.
        """
        radius = np.sqrt(np.maximum(np.asarray(area_px, dtype=np.float64), 1.0) / np.pi)
        t = np.minimum(self.distance_px / (2 * radius[..., None]), 1.0)
        return np.asarray((2 / np.pi * (np.arccos(t) - t * np.sqrt(1 - t**2))) @ self.covariance)

    def in_profile(self, noise_area_px: float) -> float:
        """Return the same for pixels weighed by a Gaussian p with 1 / sum(p^2) = `noise_area_px`.

        Such a profile has the variance noise_area / 4 pi, and the correlation exp(-pi d^2 / noise_area)
        with itself.
        """
        return float(np.exp(-np.pi * self.distance_px**2 / noise_area_px) @ self.covariance)


def noise_correlation(
    residual: Float32,
    noise: Float32 | float,
    bad: Bool | None,
    segments: NDArray[np.int32] | None,
    *,
    noise_is_given: bool,
) -> NoiseCorrelation | None:
    """Measure how the noise of neighbouring pixels goes together where no source is.

    What pixels far from each other still share (faint sources, uneven sky) is no noise of the pixels and is
    taken away.

    Parameters
    ----------
    residual : (ny, nx) float32
        Image without background.
    noise : (ny, nx) float32 or float
        Standard deviation of a pixel.
    bad : (ny, nx) bool, optional
    segments : (ny, nx) int32, optional
        Pixels with sources.
    noise_is_given : bool
        Whether the noise is that of a variance image: where resampled pixels scatter less than it says, it
        may be right for sums. Noise measured on the image is right for single pixels.

    Returns
    -------
    NoiseCorrelation or None
        None for independent noise (neighbours correlate by less than 0.05, or than four standard errors), and
        on images too small to tell.
    """
    values, free = _tiles(residual, noise, bad, segments)
    if free.sum() < _LEAST_PIXELS:
        return None
    values = np.where(free, values - values[free].mean(), 0)
    far = float(np.mean([_covariance(values, free, lag) for lag in _FAR]))
    variance = _covariance(values, free, (0, 0)) - far
    beside = 0.5 * (_covariance(values, free, (0, 1)) + _covariance(values, free, (1, 0))) - far
    error = variance / np.sqrt(2 * free.sum())
    if not (variance > 0 and beside > max(_LEAST * variance, _LEAST_SIGMA * error)):
        return None
    lags = [
        (dy, dx)
        for dy in range(_REACH_PX + 1)
        for dx in range(-_REACH_PX, _REACH_PX + 1)
        if (dy, dx) > (0, 0) and np.hypot(dy, dx) <= _REACH_PX
    ]
    pairs = [2 * (_covariance(values, free, lag) - far) for lag in lags]
    covariance = np.array([variance, *pairs])
    if not noise_is_given:
        covariance /= variance
    return NoiseCorrelation(np.hypot(*np.array([(0, 0), *lags], dtype=np.float64).T), covariance)


def _tiles(
    residual: Float32, noise: Float32 | float, bad: Bool | None, segments: NDArray[np.int32] | None
) -> tuple[Float32, Bool]:
    """Return residuals in units of the noise in tiles all over the image, and which hold nothing else."""
    ny, nx = residual.shape
    side = min(_TILE_PX, ny, nx)
    rows, columns = ny // side, nx // side
    step = max(1, -(-rows * columns * side**2 // _MOST_PIXELS))
    corners = [(side * (i // columns), side * (i % columns)) for i in range(0, rows * columns, step)]

    def cut(pixels: NDArray[Any]) -> NDArray[Any]:
        return np.stack([pixels[top : top + side, left : left + side] for top, left in corners])

    sigma = cut(noise) if isinstance(noise, np.ndarray) else np.full((len(corners), side, side), noise)
    known = sigma > 0
    values = np.asarray(cut(residual) / np.where(known, sigma, 1), dtype=np.float32)
    lit = np.abs(values) > _CLIP_SIGMA
    if segments is not None:
        lit |= cut(segments) > 0
    else:
        lit |= uniform_filter(values, (0, _SOURCE_PX, _SOURCE_PX)) > _SOURCE_SIGMA
    near = lit.view(np.uint8)
    for axis in (1, 2):
        near = maximum_filter1d(near, 2 * _NEAR_SOURCE_PX + 1, axis=axis, mode="constant")
    free = known & (near == 0)
    if bad is not None:
        free &= ~cut(bad).astype(bool)
    return values, free


def _covariance(values: Float32, free: Bool, lag: tuple[int, int]) -> float:
    """Return the mean product of free pixels (dy, dx) apart; 0 when there are none."""
    dy, dx = lag
    one = np.s_[:, : values.shape[1] - dy, max(0, -dx) : values.shape[2] - max(0, dx)]
    other = np.s_[:, dy:, max(0, dx) : values.shape[2] + min(0, dx)]
    n = np.count_nonzero(free[one] & free[other])
    return float((values[one] * values[other]).sum(dtype=np.float64)) / n if n else 0.0
