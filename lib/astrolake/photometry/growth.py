"""Curves of growth: the flux of each source inside circles of rising radius, many sources at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from astrolake.photometry.measure import Float64, Int32, Scene

#: Radii are multiples of this, px; it divides half a pixel.
STEP_PX = 0.25
#: Pixels gathered at a time: they stay in the processor's cache.
_CHUNK_PIXELS = 1 << 17
#: Reaches are rounded up to this ladder, so that sources of like size are measured together.
_REACHES_PX = np.unique(np.ceil(8 * 1.25 ** np.arange(40)).astype(np.intp))
#: Pixels no further than this from the central one are cut into quarters.
_INNER = 2
_PER_PIXEL = round(1 / STEP_PX)
_HALF = _PER_PIXEL // 2


@dataclass(frozen=True)
class Growth:
    """Curves of growth of some sources that reach equally far.

    Parameters
    ----------
    rows : (n,) int
        Which sources.
    flux : (n, m) float64
        Flux inside the radii 0, STEP_PX, 2 STEP_PX, ...
    """

    rows: NDArray[np.intp]
    flux: Float64


def rounded_reach(reach_px: Float64) -> NDArray[np.intp]:
    """Return the reach that `growth_curves` measures to for each asked one, px."""
    rounded: NDArray[np.intp] = _REACHES_PX[
        np.searchsorted(_REACHES_PX, reach_px).clip(max=len(_REACHES_PX) - 1)
    ]
    return rounded


def growth_curves(scene: Scene, x: Float64, y: Float64, ids: Int32, reach_px: Float64) -> list[Growth]:
    """Measure the flux inside circles around each source, to its own reach.

    A square of side s at the distance d enters a circle of radius r with the share (r - d') / s + 1/2, cut to
    [0, 1], with d' = sqrt(d^2 + s^2 / 12) the mean distance of its points: mean and spread of the points are
    those of the square. Pixels are such squares, the 25 around the centre four of half the side each.
    Pixels of other sources and off the image count as 0.

    Parameters
    ----------
    scene : Scene
    x, y : (n,) float64
        Centres on the image, px.
    ids : (n,) int32
        Number of each source in the segmentation.
    reach_px : (n,) float64
        Largest radius wanted; rounded up on a ladder of steps of 25 %, see `rounded_reach`.

    Returns
    -------
    list of Growth
        Every source is in one of them, alone or with others of the same reach.
    """
    reach = rounded_reach(reach_px)
    curves = []
    for size in np.unique(reach):
        rows = np.flatnonzero(reach == size)
        chunk = max(1, _CHUNK_PIXELS // (2 * int(size) + 1) ** 2)
        for first in range(0, len(rows), chunk):
            part = rows[first : first + chunk]
            curves.append(Growth(part, _curves(scene, x[part], y[part], ids[part], int(size))))
    return curves


def _curves(scene: Scene, x: Float64, y: Float64, ids: Int32, reach: int) -> Float64:
    """Return the curves of some sources to one reach, (n, reach / STEP_PX + 1)."""
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    half = reach + 1
    stamps: NDArray[np.float32] = _stamps(scene.sky.residual, column, row, half)
    if scene.segments is not None:
        owner = _stamps(scene.segments, column, row, half)
        stamps *= (owner == 0) | (owner == ids[:, None, None])
    shift_x, shift_y = (x - column).astype(np.float32), (y - row).astype(np.float32)
    n_radii = reach * _PER_PIXEL + 1
    middle = slice(half - _INNER, half + _INNER + 1)
    quarters = np.float32(0.25) * stamps[:, middle, middle].repeat(2, axis=1).repeat(2, axis=2)
    stamps[:, middle, middle] = 0
    pixel = np.arange(-half, half + 1, dtype=np.float32)
    piece = np.arange(-_INNER - 0.25, _INNER + 0.5, 0.5, dtype=np.float32)
    total = _growth(stamps, pixel - shift_x[:, None], pixel - shift_y[:, None], _HALF, n_radii)
    total += _growth(quarters, piece - shift_x[:, None], piece - shift_y[:, None], _HALF // 2, n_radii)
    total[:, 0] = 0
    return total


def _stamps(image: NDArray[Any], column: NDArray[np.intp], row: NDArray[np.intp], half: int) -> NDArray[Any]:
    """Return copies of the square around each pixel, (n, 2 half + 1, 2 half + 1); 0 off the image."""
    (ny, nx), size = image.shape, 2 * half + 1
    inside = (column >= half) & (row >= half) & (column < nx - half) & (row < ny - half)
    if inside.all():
        # Whole rows of pixels are copied: five times as fast as pixel by pixel.
        return np.asarray(sliding_window_view(image, (size, size))[row - half, column - half])
    out = np.empty((len(row), size, size), image.dtype)
    if inside.any():
        out[inside] = _stamps(image, column[inside], row[inside], half)
    offset, edge = np.arange(-half, half + 1), ~inside
    at_x, at_y = column[edge, None] + offset, row[edge, None] + offset
    on_image = ((at_y >= 0) & (at_y < ny))[:, :, None] & ((at_x >= 0) & (at_x < nx))[:, None, :]
    out[edge] = on_image * image[at_y.clip(0, ny - 1)[:, :, None], at_x.clip(0, nx - 1)[:, None, :]]
    return out


def _growth(
    values: NDArray[np.float32],
    dx: NDArray[np.float32],
    dy: NDArray[np.float32],
    half: int,
    n_radii: int,
) -> Float64:
    """Let squares with a side of 2 half steps enter gradually, while the radius grows by their side."""
    side = 2 * half * STEP_PX
    distance = (dy**2 + np.float32(side**2 / 12))[:, :, None] + (dx**2)[:, None, :]
    np.sqrt(distance, out=distance)
    flux, moment = _inside(distance, (values, values * distance), n_radii + half)
    low, high = np.maximum(np.arange(n_radii) - half, 0), np.arange(n_radii) + half
    radius = np.arange(n_radii) * STEP_PX
    entering = (radius + side / 2) * (flux[:, high] - flux[:, low]) - (moment[:, high] - moment[:, low])
    return flux[:, low] + entering / side


def _inside(
    distance: NDArray[np.float32], weights: tuple[NDArray[np.float32], ...], n_radii: int
) -> list[Float64]:
    """Sum the weights of each row nearer than 0, STEP_PX, 2 STEP_PX, ..."""
    n = len(distance)
    step = (distance.reshape(n, -1) * np.float32(_PER_PIXEL)).astype(np.intp)
    np.minimum(step, n_radii - 1, out=step)
    step += (np.arange(n) * n_radii)[:, None]
    bins = step.ravel()
    totals = []
    for weight in weights:
        sums = np.bincount(bins, weight.ravel(), n * n_radii).reshape(n, n_radii)
        total = np.zeros((n, n_radii))
        np.cumsum(sums[:, :-1], axis=1, out=total[:, 1:])
        totals.append(total)
    return totals
