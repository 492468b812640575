"""Detections gathered in small cells, so that hundreds of epochs of a source cost as much as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from astrolake.sky.healpix import KEY_ORDER, cells_at_order
from astrolake.sky.separation import (
    ARCSEC_PER_RAD,
    Bool,
    Float64,
    Int64,
    chord,
    separation_arcsec,
    unit_vectors,
    widen_chord,
)

#: Diameter of the largest HEALPix cell times 2**order, in rad (2.14 in the limit of small cells).
_CELL_DIAMETER = 2.2
_CHUNK_PAIRS = 2_000_000


@dataclass(frozen=True)
class Clumps:
    """Detections grouped by HEALPix cells whose diameter is at most half the linking radius.

    Parameters
    ----------
    ra, dec : (N,) float64
    vectors : (N, 3) float64
        Unit vectors of the positions.
    rows : (N,) int64
        All detections, clump by clump, the best of a clump first.
    cell : (N,) int64
        Cell of each detection, in the order of the table.
    start, size : (C,) int64
        Where each clump begins in `rows`, and how many detections it holds.
    span : (C,) float64
        Chord from a clump's best detection to its farthest.
    """

    ra: Float64
    dec: Float64
    vectors: Float64
    rows: Int64
    cell: Int64
    start: Int64
    size: Int64
    span: Float64

    @property
    def best(self) -> Int64:
        """The best detection of each clump, (C,) int64."""
        return self.rows[self.start]

    @property
    def max_span(self) -> float:
        """The largest span, 0 without detections."""
        return float(self.span.max(initial=0.0))


def gather(ra_deg: Float64, dec_deg: Float64, rank: Int64, radius_arcsec: float) -> Clumps:
    """Return the clumps of detections for a linking radius; the lowest rank is the best."""
    order = int(np.ceil(np.log2(2.0 * _CELL_DIAMETER * ARCSEC_PER_RAD / radius_arcsec)))
    cell = cells_at_order(ra_deg, dec_deg, min(max(order, 0), KEY_ORDER))
    rows = np.lexsort((rank, cell))
    start = first_of_runs(cell[rows])
    size = np.diff(start, append=rows.size)
    vectors = unit_vectors(ra_deg, dec_deg)
    offset = np.linalg.norm(vectors[rows] - vectors[np.repeat(rows[start], size)], axis=1)
    span = np.maximum.reduceat(offset, start) if rows.size else np.empty(0)
    return Clumps(ra_deg, dec_deg, vectors, rows, cell, start, size, span)


def first_of_runs(values: Int64) -> Int64:
    """Return where each run of equal values begins."""
    return np.flatnonzero(np.append(values.size > 0, values[1:] != values[:-1])[: values.size])


def friends_of_friends(clumps: Clumps, radius_arcsec: float) -> Int64:
    """Return the component, 0, 1, ..., of each detection: chains of steps <= radius stay together.

    Equivalent to the connected components of the graph of all pairs within the radius. A clump is
    connected by construction; two clumps are joined where their best detections are within the
    radius, and by comparing all members where those are not, but others may be.

    Parameters
    ----------
    clumps : Clumps
        Of the same radius.
    radius_arcsec : float

    Returns
    -------
    (N,) int64
    """
    limit = chord(radius_arcsec)
    best = clumps.vectors[clumps.best]
    reach = float(widen_chord(limit + 2.0 * clumps.max_span))
    pairs = cKDTree(best, balanced_tree=False).query_pairs(reach, output_type="ndarray").astype(np.int64)
    a, b = pairs[:, 0], pairs[:, 1]
    distance = np.linalg.norm(best[a] - best[b], axis=1)
    linked = widen_chord(distance) <= limit
    label = _connected(best.shape[0], pairs[linked])
    may_link = ~linked & (distance - clumps.span[a] - clumps.span[b] <= widen_chord(limit))
    undecided = np.flatnonzero(may_link & (label[a] != label[b]))
    linked[undecided] = _touch(clumps, a[undecided], b[undecided], radius_arcsec)
    component = np.empty(clumps.rows.size, dtype=np.int64)
    component[clumps.rows] = np.repeat(_connected(best.shape[0], pairs[linked]), clumps.size)
    return component


def _connected(n_nodes: int, edges: Int64) -> Int64:
    if n_nodes == 0:
        return np.empty(0, dtype=np.int64)
    ones = np.ones(edges.shape[0], dtype=np.int8)
    graph = coo_array((ones, (edges[:, 0], edges[:, 1])), (n_nodes, n_nodes))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _touch(clumps: Clumps, a: Int64, b: Int64, radius_arcsec: float) -> Bool:
    """Return for each pair of clumps whether any two of their members are within the radius."""
    touch = np.zeros(a.size, dtype=np.bool_)
    for pair in _bounded(clumps.size[a] * clumps.size[b]):
        size_b = clumps.size[b[pair]]
        total = clumps.size[a[pair]] * size_b
        which = np.repeat(np.arange(pair.size), total)
        k = np.arange(which.size) - np.repeat(np.cumsum(total) - total, total)
        i = clumps.rows[clumps.start[a[pair]][which] + k // size_b[which]]
        j = clumps.rows[clumps.start[b[pair]][which] + k % size_b[which]]
        near = separation_arcsec(clumps.ra[i], clumps.dec[i], clumps.ra[j], clumps.dec[j]) <= radius_arcsec
        touch[pair[which[near]]] = True
    return touch


def _bounded(cost: Int64) -> Iterator[Int64]:
    """Yield consecutive indices whose costs add up to about `_CHUNK_PAIRS` at most."""
    chunk = (np.cumsum(cost) - cost) // _CHUNK_PAIRS
    yield from np.split(np.arange(cost.size), np.flatnonzero(np.diff(chunk)) + 1)
