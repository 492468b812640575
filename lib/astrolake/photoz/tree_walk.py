"""Compiled walks down decision trees.

Several rows walk at a time, each step of a walk without a branch: while one waits for its node the others go on.
This is faster than vector gathers on the processors measured, and needs no particular one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Nodes of 4 bytes (8 bits of slot, 8 of rank, 16 of child), or of 8 bytes (16, 16, 32).
NARROW, WIDE = "narrow", "wide"
#: Rows that walk together; more than registers hold gain nothing.
LANES = 8


@numba.njit(cache=True, nogil=True)
def to_ranks(
    rows: Array, feature: Array, missing_low: Array, cut_offsets: Array, cuts: Array, found: Array
) -> None:
    """Fill in the number of thresholds below each value: ``x <= cuts[k]`` if and only if ``rank <= k``."""
    for i in range(rows.shape[0]):
        for s in range(len(feature)):
            x = rows[i, feature[s]]
            low, high = cut_offsets[s], cut_offsets[s + 1]
            if np.isnan(x):
                found[i, s] = 0 if missing_low[s] else high - low
                continue
            size = high - low
            while size > 1:
                half = size >> 1
                low += half * (cuts[low + half - 1] < x)
                size -= half
            below = low - cut_offsets[s]
            if size == 1:
                below += cuts[low] < x
            found[i, s] = below


def _walker(kind: type[Any], bits: int) -> Callable[..., None]:
    """Return the walk of all rows down one tree; `found` gets the node that each row ends in."""
    mask, shift, up = kind((1 << bits) - 1), kind(bits), kind(2 * bits)

    @numba.njit(nogil=True, inline="always")
    def step(nodes: Array, ranks: Array, at: Any, i: Any) -> Any:
        node = nodes[i]
        return (node >> up) + kind(ranks[at + (node & mask)] > ((node >> shift) & mask))

    @numba.njit(nogil=True)
    def walk(nodes: Array, depth: int, ranks: Array, width: int, found: Array) -> None:
        w = kind(width)
        for row in range(0, len(found), 8):
            a = kind(row * width)
            i0 = i1 = i2 = i3 = i4 = i5 = i6 = i7 = kind(0)
            for _ in range(depth):
                i0 = step(nodes, ranks, a, i0)
                i1 = step(nodes, ranks, a + w, i1)
                i2 = step(nodes, ranks, a + kind(2) * w, i2)
                i3 = step(nodes, ranks, a + kind(3) * w, i3)
                i4 = step(nodes, ranks, a + kind(4) * w, i4)
                i5 = step(nodes, ranks, a + kind(5) * w, i5)
                i6 = step(nodes, ranks, a + kind(6) * w, i6)
                i7 = step(nodes, ranks, a + kind(7) * w, i7)
            found[row], found[row + 1], found[row + 2], found[row + 3] = i0, i1, i2, i3
            found[row + 4], found[row + 5], found[row + 6], found[row + 7] = i4, i5, i6, i7

    return walk


_WALKS = {NARROW: _walker(np.uint32, 8), WIDE: _walker(np.uint64, 16)}


def _kernels(walk: Callable[..., None]) -> tuple[Callable[..., None], Callable[..., None]]:
    @numba.njit(cache=True, nogil=True)
    def sums(nodes: Array, offsets: Array, depths: Array, values: Array, ranks: Array, out: Array) -> None:
        found = np.empty(ranks.shape[0], np.uint32)
        flat = ranks.reshape(-1)
        for t in range(len(depths)):
            walk(nodes[offsets[t] : offsets[t + 1]], depths[t], flat, ranks.shape[1], found)
            mine = values[offsets[t] : offsets[t + 1]]
            for row in range(len(found)):
                out[row] += mine[found[row]]

    @numba.njit(cache=True, nogil=True)
    def items(nodes: Array, offsets: Array, depths: Array, table: Array, ranks: Array, out: Array) -> None:
        found = np.empty(ranks.shape[0], np.uint32)
        flat = ranks.reshape(-1)
        for t in range(len(depths)):
            walk(nodes[offsets[t] : offsets[t + 1]], depths[t], flat, ranks.shape[1], found)
            mine = table[offsets[t] : offsets[t + 1]]
            for row in range(len(found)):
                out[t, row] = mine[found[row]]

    return sums, items


_KERNELS = {kind: _kernels(walk) for kind, walk in _WALKS.items()}


def reach_sums(
    kind: str, nodes: Array, offsets: Array, depths: Array, values: Array, ranks: Array
) -> NDArray[np.float64]:
    """Return for each row the sum over the trees of the value of the leaf it ends in."""
    sums = np.zeros(len(ranks))
    _KERNELS[kind][0](nodes, offsets, depths, values, ranks, sums)
    return sums


def walk_leaves(kind: str, nodes: Array, offsets: Array, depths: Array, table: Array, ranks: Array) -> Array:
    """Return for each tree and row the item of the leaf it ends in; `table` has one a node."""
    found = np.empty((len(depths), len(ranks)), table.dtype)
    _KERNELS[kind][1](nodes, offsets, depths, table, ranks, found)
    return found
