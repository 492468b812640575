"""Compiled walks down decision trees.

The first levels have few nodes: all rows are compared with each of them by vector instructions. From there
several rows walk at a time, each step of a walk without a branch: while one waits for its node the
others go on. This is faster than vector gathers on the processors measured, and needs no particular one.
Nodes are of 4 bytes (8 bits of slot, 8 of rank, 16 of the left child) or of 8 (16, 16, 32).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from astrolake.photoz.compiled import compiled

Array = NDArray[Any]

#: Rows that walk together; more than registers hold gain nothing.
LANES = 8
#: Levels of a tree that all rows are compared with at once.
TOP_LEVELS = 4


@compiled
def to_ranks(
    rows: Array, feature: Array, missing_low: Array, cut_offsets: Array, cuts: Array, found: Array
) -> None:
    """Fill in the number of thresholds below each value: ``x <= cuts[k]`` if and only if ``rank <= k``."""
    for i in range(rows.shape[0]):
        for s in range(len(feature)):
            x = rows[i, feature[s]]
            # unsigned: no index is checked for being negative
            low, high = np.uint64(cut_offsets[s]), np.uint64(cut_offsets[s + 1])
            start, one = low, np.uint64(1)
            if np.isnan(x):
                found[i, s] = 0 if missing_low[s] else high - low
                continue
            size = high - low
            while size > one:
                half = size >> one
                low += half * np.uint64(cuts[low + half - one] < x)
                size -= half
            below = low - start
            if size == one:
                below += np.uint64(cuts[low] < x)
            found[i, s] = below


@numba.njit(nogil=True, inline="always")
def _step(nodes: Array, bits: Any, ranks: Array, row: Any, at: Any) -> Any:
    """Return the node after one step: the left child, or the right one next to it."""
    node = np.uint64(nodes[at])
    mask = (np.uint64(1) << bits) - np.uint64(1)
    left = node >> (np.uint64(2) * bits)
    return left + np.uint64(ranks[row + (node & mask)] > ((node >> bits) & mask))


@numba.njit(nogil=True)
def _enter(nodes: Array, columns: Array, path: Array, right: Array, entry: Array) -> None:
    """Fill in which way each row goes down the first levels, and the node that each way leads to.

    A way is read as binary digits, 1 for right; one that ends early goes on in its leaf. `columns` are the
    ranks by slot, (slots, rows).
    """
    bits = 8 * columns.itemsize
    full = (1 << bits) - 1
    path[:] = 0
    entry[0] = 0
    for level in range(TOP_LEVELS):
        right[:] = 0
        for k in range((1 << level) - 1, -1, -1):
            at = entry[k]
            node = np.int64(nodes[at])
            column, cut = columns[node & full], columns.dtype.type((node >> bits) & full)
            for row in range(len(path)):
                right[row] |= np.uint8(path[row] == k) & np.uint8(column[row] > cut)
            is_leaf = cut == full
            entry[2 * k] = at if is_leaf else node >> (2 * bits)
            entry[2 * k + 1] = at if is_leaf else (node >> (2 * bits)) + 1
        for row in range(len(path)):
            path[row] = np.uint8(path[row] << np.uint8(1)) | right[row]


@numba.njit(nogil=True, inline="always")
def _walk_with(
    bits: Any, nodes: Array, steps: int, ranks: Array, width: int, path: Array, entry: Array, found: Array
) -> None:
    w = np.uint64(width)
    for row in range(0, len(found), 8):
        a = np.uint64(row) * w
        i0, i1, i2, i3 = entry[path[row]], entry[path[row + 1]], entry[path[row + 2]], entry[path[row + 3]]
        i4, i5, i6, i7 = (
            entry[path[row + 4]],
            entry[path[row + 5]],
            entry[path[row + 6]],
            entry[path[row + 7]],
        )
        for _ in range(steps):
            i0 = _step(nodes, bits, ranks, a, i0)
            i1 = _step(nodes, bits, ranks, a + w, i1)
            i2 = _step(nodes, bits, ranks, a + np.uint64(2) * w, i2)
            i3 = _step(nodes, bits, ranks, a + np.uint64(3) * w, i3)
            i4 = _step(nodes, bits, ranks, a + np.uint64(4) * w, i4)
            i5 = _step(nodes, bits, ranks, a + np.uint64(5) * w, i5)
            i6 = _step(nodes, bits, ranks, a + np.uint64(6) * w, i6)
            i7 = _step(nodes, bits, ranks, a + np.uint64(7) * w, i7)
        found[row], found[row + 1], found[row + 2], found[row + 3] = i0, i1, i2, i3
        found[row + 4], found[row + 5], found[row + 6], found[row + 7] = i4, i5, i6, i7


@numba.njit(nogil=True)
def _walk(nodes: Array, depth: int, ranks: Array, columns: Array, work: Any) -> None:
    """Walk all rows down one tree; the last of `work` gets the node that each row ends in."""
    path, right, entry, found = work
    _enter(nodes, columns, path, right, entry)
    flat, width, steps = ranks.reshape(-1), ranks.shape[1], depth - TOP_LEVELS
    # Shifts by constants are faster: the compiler makes two walks of this.
    if ranks.itemsize == 1:
        _walk_with(np.uint64(8), nodes, steps, flat, width, path, entry, found)
    else:
        _walk_with(np.uint64(16), nodes, steps, flat, width, path, entry, found)


@numba.njit(nogil=True)
def _work_space(n: int) -> Any:
    """Return what the walks of n rows write to: paths, turns, entries and the nodes found."""
    entry = np.empty(1 << TOP_LEVELS, np.uint64)
    return np.empty(n, np.uint8), np.empty(n, np.uint8), entry, np.empty(n, np.uint32)


@compiled
def reach_sums(nodes: Array, offsets: Array, depths: Array, values: Array, ranks: Array, out: Array) -> None:
    """Add to each row the value of the leaf it ends in, of every tree; `values` has one a node."""
    columns, work = np.ascontiguousarray(ranks.T), _work_space(len(ranks))
    found = work[-1]
    for t in range(len(depths)):
        _walk(nodes[offsets[t] : offsets[t + 1]], depths[t], ranks, columns, work)
        mine = values[offsets[t] : offsets[t + 1]]
        for row in range(len(found)):
            out[row] += mine[found[row]]


@compiled
def reach_items(nodes: Array, offsets: Array, depths: Array, table: Array, ranks: Array, out: Array) -> None:
    """Fill in the item of the leaf that each row ends in, (trees, rows); `table` has one a node."""
    columns, work = np.ascontiguousarray(ranks.T), _work_space(len(ranks))
    found = work[-1]
    for t in range(len(depths)):
        _walk(nodes[offsets[t] : offsets[t + 1]], depths[t], ranks, columns, work)
        mine = table[offsets[t] : offsets[t + 1]]
        for row in range(len(found)):
            out[t, row] = mine[found[row]]
