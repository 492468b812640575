"""Pairs of near positions by a sweep over a plane: the kernel of the cross-match.

Both sides are projected orthographically onto the plane that touches the sphere at their centre,
cut into zones higher than the search radius, and sorted along the zones; a left row's candidates are then
a slice or two of the sorted right side. A projection shortens distances and never lengthens them, so
no pair is lost, wherever on the sphere; each is checked by its chord. The zones are those of Gray,
Nieto-Santisteban & Szalay (2006, MSR-TR-2006-52), without their poles and wrap in right ascension.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from astrolake.sky.separation import Float64, Int64

#: Zones are at least this high (unit sphere; 0.2 arcsec): lower ones would cost the sort key its precision.
_LOWEST_ZONE = 1e-6
#: Distance of zones along the sort key: more than the width of the plane and any radius.
_STRIDE = 8.0
#: The key's rounding, of zones up to 2 / _LOWEST_ZONE, is less than this.
_ROUNDING = 4e-9
#: Zones are as high as gives a row this many candidates, but twice the radius at least: it meets two at most.
_CANDIDATES = 0.1


class Sweep:
    """The right side, sorted, and the frame that both sides are projected to.

    Parameters
    ----------
    vectors : (N, 3) float64
        Unit vectors of the right side.
    reach : float
        Greatest chord of a pair.
    """

    def __init__(self, vectors: Float64, reach: float) -> None:
        self.reach = reach
        self._margin = reach * (1 + 1e-9) + 1e-12
        self._window = self._margin + _ROUNDING
        # Pairs are found anywhere on the sphere, fastest around the centre of the projection.
        center = vectors.sum(axis=0)
        center = center if np.linalg.norm(center) > _LOWEST_ZONE else np.array([1.0, 0.0, 0.0])
        self._frame = _tangents(center / np.linalg.norm(center))
        along, across = (vectors @ axis for axis in self._frame)
        self._height = self._zone_height(along, across)
        key = np.floor(across / self._height) * _STRIDE + along
        self._order = np.argsort(key)
        self._key = key[self._order]
        self._vectors = vectors[self._order]

    def pairs(self, vectors: Float64, most: int) -> Iterator[tuple[Int64, Int64, Int64]]:
        """Yield the pairs of left unit vectors (M, 3) with the right side, from `most` candidates at a time.

        Yields
        ------
        rows : (K,) int64
            The left rows that this piece deals with; all their pairs are in it, side by side.
        left, right : (P,) int64
            Row numbers of both sides.
        """
        key, low, high = self._slices(vectors)
        order = np.argsort(key)
        low, count = low[order], (high - low)[order]
        reached = np.concatenate([[0], np.cumsum(count.sum(axis=1))])
        begin = 0
        while begin < len(order):
            # One row is always dealt with, however many candidates it has.
            end = max(begin + 1, int(np.searchsorted(reached, reached[begin] + most, side="right")) - 1)
            rows = order[begin:end]
            left = np.repeat(rows, count[begin:end].sum(axis=1))
            at = _ranges(low[begin:end].ravel(), count[begin:end].ravel())
            apart = vectors[left] - self._vectors[at]
            near = np.einsum("ij,ij->i", apart, apart) <= self.reach * self.reach
            yield rows, left[near], self._order[at[near]]
            begin = end

    def _slices(self, vectors: Float64) -> tuple[Float64, Int64, Int64]:
        """Return a key to sort left rows by, and their slices [low, high) of the right side: (M, 2) each."""
        along, across = (vectors @ axis for axis in self._frame)
        zones = [np.floor((across + shift) / self._height) for shift in (-self._margin, self._margin)]
        key = zones[0] * _STRIDE + along
        low, high = np.zeros((2, len(along), 2), np.int64)
        for i, touching in enumerate((np.arange(len(along)), np.flatnonzero(zones[0] != zones[1]))):
            rows = touching[np.argsort(key[touching])]
            at = zones[i][rows] * _STRIDE + along[rows]
            # Sorted, the searches find their places in the cache.
            low[rows, i] = np.searchsorted(self._key, at - self._window, side="left")
            high[rows, i] = np.searchsorted(self._key, at + self._window, side="right")
        return key, low, high

    def _zone_height(self, along: Float64, across: Float64) -> float:
        """Return the height that gives a row some `_CANDIDATES`, taking the sides as evenly filled."""
        # A little more than twice the margin: rounding must not put two zones between its ends.
        lowest = max(2.001 * self._margin, _LOWEST_ZONE)
        if not along.size:
            return lowest
        area = np.ptp(along) * np.ptp(across)
        fitting = _CANDIDATES * area / (2 * self._window * along.size)
        return float(np.clip(fitting, lowest, max(lowest, 1.0)))


def _ranges(start: Int64, size: Int64) -> Int64:
    """Return start[0], start[0] + 1, ... (size[0] of them), then those of the next range, and so on."""
    before = np.cumsum(size) - size
    return np.asarray(np.arange(int(size.sum())) + np.repeat(start - before, size), dtype=np.int64)


def _tangents(center: Float64) -> tuple[Float64, Float64]:
    """Return two unit vectors that span the plane perpendicular to a direction."""
    helper = np.zeros(3)
    helper[np.argmin(np.abs(center))] = 1.0
    one = np.cross(center, helper)
    other = np.cross(center, one)
    return np.asarray(one / np.linalg.norm(one)), np.asarray(other / np.linalg.norm(other))
