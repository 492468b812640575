"""Which positions lie near the edge of a HEALPix cell, by their exact distance to it."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.spatial import cKDTree

from astrolake.sky.separation import Bool, Float64, Int64

#: Ring and longitude of the southern corner of each base cell: Gorski et al. (2005), ApJ 622, 759, eq. 10-12.
_RING = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4], float)
_TURN = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7], float)
#: Points on an edge from which the nearest point is looked for.
_STEPS = 128
#: A golden section shrinks the search to a 1e-9th of a step: the distance is then exact to rounding.
_GOLDEN, _HALVINGS = (np.sqrt(5.0) - 1) / 2, 44


def near_cell(vectors: Float64, order: int, npix: int, limit_deg: float) -> Bool:
    """Tell which positions lie within a distance of the edge of a cell, inclusive.

    The edges are those of the HEALPix projection, which are no great circles.

    Parameters
    ----------
    vectors : (N, 3) float64
        Unit vectors.
    order, npix : int
        The cell, NESTED.
    limit_deg : float
        Below 180.

    Returns
    -------
    (N,) bool
    """
    limit = 2 * np.sin(np.radians(limit_deg) / 2)
    near = np.zeros(len(vectors), bool)
    face, column, row = _place(order, npix)
    side = 1.0 / (1 << order)
    for at, along in (((0, 0), 0), ((0, 1), 0), ((0, 0), 1), ((1, 0), 1)):
        corner = ((column + at[0]) * side, (row + at[1]) * side)
        edge = partial(_on_edge, face, corner, along, side)
        near[~near] = _near_edge(vectors[~near], edge, limit)
    return near


def face_vectors(face: int, x: Float64, y: Float64) -> Float64:
    """Return the (N, 3) unit vectors of points of a base cell.

    Parameters
    ----------
    face : int
        Base cell, 0 to 11.
    x, y : (N,) float64
        From its southern corner to the north-east and to the north-west, 0 to 1: Gorski et al. (2005),
        section 5.3.
    """
    ring = _RING[face] - x - y
    cap = np.minimum(np.minimum(ring, 4 - ring), 1.0)
    squared = cap * cap / 3
    z = np.where(cap < 1, np.where(ring < 1, 1 - squared, squared - 1), (2 - ring) * 2 / 3)
    # In a cap the direct formula keeps its precision up to the pole.
    across = np.where(cap < 1, np.sqrt(squared * (2 - squared)), np.sqrt(1 - z * z))
    with np.errstate(divide="ignore", invalid="ignore"):
        lon = np.where(cap > 0, np.pi / 4 * (_TURN[face] + (x - y) / cap), 0.0)
    return np.stack([across * np.cos(lon), across * np.sin(lon), z], axis=-1)


def _near_edge(vectors: Float64, edge: partial[Float64], limit: float) -> Bool:
    samples = edge(np.linspace(0, 1, _STEPS + 1))
    distance, nearest = cKDTree(samples).query(vectors)
    near = np.asarray(distance <= limit)
    # No point of the edge is farther from a sample than this.
    step = np.linalg.norm(np.diff(samples, axis=0), axis=1).max()
    doubtful = np.flatnonzero(~near & (distance <= limit + step))
    near[doubtful] = _distance(vectors[doubtful], edge, nearest[doubtful]) <= limit
    return near


def _distance(vectors: Float64, edge: partial[Float64], nearest: Int64) -> Float64:
    """Return the chord from each position to an edge, whose nearest point is beside a sample."""
    low, high = np.maximum(nearest - 1, 0) / _STEPS, np.minimum(nearest + 1, _STEPS) / _STEPS

    def chord(t: Float64) -> Float64:
        return np.asarray(np.linalg.norm(vectors - edge(t), axis=1))

    for _ in range(_HALVINGS):
        reach = _GOLDEN * (high - low)
        left, right = high - reach, low + reach
        closer = chord(left) < chord(right)
        low, high = np.where(closer, low, left), np.where(closer, right, high)
    return np.minimum(chord(low), chord(high))


def _on_edge(face: int, corner: tuple[float, float], along: int, side: float, t: Float64) -> Float64:
    moved = [np.full(t.shape, corner[0]), np.full(t.shape, corner[1])]
    moved[along] = moved[along] + t * side
    return face_vectors(face, *moved)


def _place(order: int, npix: int) -> tuple[int, int, int]:
    """Return the base cell of a NESTED cell, and its column and row there: every second bit of the number."""
    face, rest = npix >> (2 * order), npix & ((1 << (2 * order)) - 1)
    column = sum(((rest >> (2 * bit)) & 1) << bit for bit in range(order))
    row = sum(((rest >> (2 * bit + 1)) & 1) << bit for bit in range(order))
    return face, column, row
