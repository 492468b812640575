"""Curves of growth: the flux of each source inside circles of rising radius, many sources at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
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
_QUARTERS = ((-0.25, 0.25, -0.25, 0.25), (-0.25, -0.25, 0.25, 0.25))
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
    inner, outer = _stencil(reach)
    near = _pixels(scene, ids, column, row, inner)
    far = _pixels(scene, ids, column, row, outer)
    shift = np.stack([x - column, y - row]).astype(np.float32)
    n_radii = reach * _PER_PIXEL + 1
    quarters = [(axis[:, None] + piece).ravel() for axis, piece in zip(inner, _QUARTERS, strict=True)]
    dx, dy = (np.asarray(axis, np.float32) for axis in quarters)
    pieces = np.repeat(near / np.float32(4), 4, axis=1)
    total = _growth(far, tuple(outer.astype(np.float32)), shift, _HALF, n_radii)
    total += _growth(pieces, (dx, dy), shift, _HALF // 2, n_radii)
    total[:, 0] = 0
    return total


@lru_cache(maxsize=64)
def _stencil(reach: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the offsets (x, y) of the pixels around the centre, and of the others within a reach."""
    offset = np.arange(-reach - 1, reach + 2)
    dy, dx = (grid.ravel() for grid in np.meshgrid(offset, offset, indexing="ij"))
    inner = np.maximum(np.abs(dx), np.abs(dy)) <= _INNER
    outer = (np.hypot(dx, dy) < reach + 0.5 + np.sqrt(0.5)) & ~inner
    return np.stack([dx[inner], dy[inner]]), np.stack([dx[outer], dy[outer]])


def _pixels(
    scene: Scene, ids: Int32, column: NDArray[np.intp], row: NDArray[np.intp], offset: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the pixels of each source at the offsets from its pixel, 0 where they are not its own."""
    index, inside = _stamp_index(scene.sky.residual.shape, column, row, offset)
    values: NDArray[np.float32] = scene.sky.residual.ravel().take(index, mode="clip")
    if scene.segments is not None:
        owner = scene.segments.ravel().take(index, mode="clip")
        values *= (owner == 0) | (owner == ids[:, None])
    if inside is not None:
        values *= inside
    return values


def _stamp_index(
    shape: tuple[int, ...], column: NDArray[np.intp], row: NDArray[np.intp], offset: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.bool_] | None]:
    """Return where in the flat image lie the pixels at given offsets from each position.

    Parameters
    ----------
    shape : (ny, nx)
    column, row : (n,) int, n > 0
        Pixels on the image.
    offset : (2, k) int
        Steps along columns and along rows.

    Returns
    -------
    index : (n, k) int
        Some pixel of the image where the wanted one lies outside.
    inside : (n, k) bool or None
        Which pixels are on the image; None when all are.
    """
    ny, nx = shape
    reach = int(np.abs(offset).max(initial=0))
    low, high = min(column.min(), row.min()), max(column.max() - nx, row.max() - ny)
    if low >= reach and high < -reach:
        return (row * nx + column)[:, None] + (offset[1] * nx + offset[0]), None
    at_x, at_y = column[:, None] + offset[0], row[:, None] + offset[1]
    inside = (at_x >= 0) & (at_y >= 0) & (at_x < nx) & (at_y < ny)
    return at_y.clip(0, ny - 1) * nx + at_x.clip(0, nx - 1), inside


def _growth(
    values: NDArray[np.float32],
    offset: tuple[NDArray[np.float32], NDArray[np.float32]],
    shift: NDArray[np.float32],
    half: int,
    n_radii: int,
) -> Float64:
    """Let squares with a side of 2 half steps enter gradually, while the radius grows by their side."""
    side = 2 * half * STEP_PX
    square = (offset[0] - shift[0][:, None]) ** 2
    square += (offset[1] - shift[1][:, None]) ** 2
    square += np.float32(side**2 / 12)
    distance = np.sqrt(square)
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
    step = (distance * np.float32(_PER_PIXEL)).astype(np.int32)
    np.minimum(step, np.int32(n_radii - 1), out=step)
    step += (np.arange(n, dtype=np.int32) * np.int32(n_radii))[:, None]
    bins = step.ravel().astype(np.intp)
    totals = []
    for weight in weights:
        sums = np.bincount(bins, weight.ravel(), n * n_radii).reshape(n, n_radii)
        total = np.zeros((n, n_radii))
        np.cumsum(sums[:, :-1], axis=1, out=total[:, 1:])
        totals.append(total)
    return totals
