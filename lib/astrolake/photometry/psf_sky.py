"""The sky that is left when the sources of an image are taken away or masked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from astrolake.photometry.psf_model import Float32, Float64

#: Every second row is enough: the error of a mesh of 64 px is 0.03 of the noise, smoothed 0.01.
_ROW_STEP = 2
#: Fraction of the pixels of a mesh that must be free.
_MIN_FREE = 0.1


def residual_sky(residual: Float32, blocked: NDArray[np.bool_], box_px: int, smooth: int) -> Float32:
    """Return a map of the sky: the mean of the middle half of the free pixels of each mesh, smoothed.

    Unlike the mode from a histogram, on which SExtractor's background rests, it has no bias on pixels that
    are whole numbers of counts: there the mode may be off by a tenth of the noise and more.

    Parameters
    ----------
    residual : (ny, nx) float32
        Image without background and sources.
    blocked : (ny, nx) bool
        Pixels that are no sky.
    box_px : int
        Side of a mesh.
    smooth : int
        Size of the median filter over meshes.

    Returns
    -------
    (ny, nx) float32
        To be subtracted; zeros when no mesh has enough free pixels.
    """
    ny, nx = residual.shape
    rows, columns = -(-ny // box_px), -(-nx // box_px)
    step = _ROW_STEP if box_px % _ROW_STEP == 0 else 1
    values = np.full((rows * box_px // step, columns * box_px), np.nan, np.float32)
    values[: -(-ny // step), :nx] = np.where(blocked[::step], np.float32(np.nan), residual[::step])
    values = values.reshape(rows, box_px // step, columns, box_px).swapaxes(1, 2)
    mesh = _middle_mean(values.reshape(rows * columns, -1)).reshape(rows, columns)
    known = np.isfinite(mesh)
    if not known.any():
        return np.zeros_like(residual)
    mesh = np.where(known, mesh, np.median(mesh[known]))
    mesh = median_filter(mesh, size=smooth, mode="nearest")
    along_y, along_x = _hats(ny, rows, box_px), _hats(nx, columns, box_px)
    return np.asarray(along_y @ mesh.astype(np.float32) @ along_x.T)


def _middle_mean(values: Float32) -> Float64:
    """Return the mean between the quartiles of each row, NaN where too few values are finite."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)[:, None]
    place = np.arange(ordered.shape[1])
    middle = (place >= count // 4) & (place < count - count // 4)
    total = np.where(middle, ordered, 0).sum(axis=1, dtype=np.float64)
    enough = count[:, 0] >= _MIN_FREE * values.shape[1]
    return np.where(enough, total / np.maximum(middle.sum(axis=1), 1), np.nan)


def _hats(size: int, meshes: int, box_px: int) -> Float32:
    """Return the weights (size, meshes) that interpolate linearly between the middles of meshes."""
    place = ((np.arange(size) + 0.5) / box_px - 0.5).clip(0, meshes - 1)
    return np.asarray((1 - np.abs(place[:, None] - np.arange(meshes))).clip(0, 1), np.float32)
