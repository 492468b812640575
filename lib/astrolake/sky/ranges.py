"""Half-open ranges of order-29 indices: how a part of the sky is told to files and row groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrolake.sky.healpix import KEY_ORDER, N_BASE, Int64

#: All of the sky.
EVERYWHERE: Int64 = np.array([[0, N_BASE << (2 * KEY_ORDER)]], dtype=np.int64)


def inside(ranges: Int64, index29: Int64) -> NDArray[np.bool_]:
    """Tell which indices lie in any of the sorted, disjoint half-open ranges."""
    if not len(ranges):
        return np.zeros(len(index29), dtype=bool)
    at = np.searchsorted(ranges[:, 0], index29, side="right") - 1
    return np.asarray((at >= 0) & (index29 < ranges[np.maximum(at, 0), 1]))


def covered(ranges: Int64, index29: Int64) -> Int64:
    """Return how many indices below each given one lie in the sorted, disjoint half-open ranges."""
    before = np.concatenate([[0], np.cumsum(ranges[:, 1] - ranges[:, 0])])
    at = np.searchsorted(ranges[:, 0], index29, side="left")
    last = np.maximum(at - 1, 0)
    beyond = np.maximum(ranges[last, 1] - index29, 0) if len(ranges) else np.zeros(len(index29), np.int64)
    return np.asarray(np.where(at > 0, before[at] - beyond, 0), dtype=np.int64)


def cell_ranges(order: Int64 | int, cells: Int64) -> Int64:
    """Return the ranges that cells, of one order or each of its own, cover: sorted and joined."""
    shift = 2 * (KEY_ORDER - np.asarray(order, dtype=np.int64))
    cells = np.asarray(cells, dtype=np.int64)
    return merge_ranges(np.stack([cells << shift, (cells + 1) << shift], axis=1))


def overlap(ranges: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
    """Tell which half-open spans [low, high) meet any of the sorted, disjoint half-open ranges."""
    if not len(ranges):
        return np.zeros(len(lows), dtype=bool)
    at = np.searchsorted(ranges[:, 0], highs, side="left") - 1
    return np.asarray((at >= 0) & (ranges[np.maximum(at, 0), 1] > lows))


def merge_ranges(ranges: np.ndarray) -> np.ndarray:
    """Return half-open ranges sorted, with those that touch or overlap joined."""
    ranges = np.asarray(ranges, dtype=np.int64).reshape(-1, 2)
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
    if not len(ranges):
        return ranges
    reach = np.maximum.accumulate(ranges[:, 1])
    first = np.concatenate([[True], ranges[1:, 0] > reach[:-1]])
    starts = ranges[first, 0]
    ends = reach[np.concatenate([np.flatnonzero(first)[1:] - 1, [len(ranges) - 1]])]
    return np.stack([starts, ends], axis=1)
