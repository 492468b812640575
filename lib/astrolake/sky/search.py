"""Pairs within a radius: candidates from the sweep or a k-d tree, by their exact separation, ranked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrolake.sky.positions import Matches, Positions
from astrolake.sky.separation import Float64, Int64, chord, separation_arcsec, unit_vectors, widen_chord
from astrolake.sky.sweep import Sweep

#: With more candidates for a left row than this, beyond those asked for, a k-d tree finds the nearest sooner.
_FEW_CANDIDATES = 16
_SAMPLE_ROWS = 1_000

Pieces = Iterator[tuple[Int64, Matches]]


class Search:
    """Two sides and a radius.

    Parameters
    ----------
    left, right : Positions
    radius_arcsec : float
    chunk_pairs : int
        About the number of candidates held at a time.
    skip_self : bool
        Whether pairs of equal id are none.
    """

    def __init__(
        self, left: Positions, right: Positions, radius_arcsec: float, chunk_pairs: int, skip_self: bool
    ) -> None:
        self.left = left
        self.right = right
        self.radius_arcsec = radius_arcsec
        self.chunk_pairs = chunk_pairs
        self.skip_self = skip_self
        self._reach = float(widen_chord(chord(radius_arcsec)))

    def pairs(self) -> Pieces:
        """Yield some left rows and all their pairs, ranked by separation, then right id."""
        for rows, left, right in self._sweep.pairs(self._left_vectors, self.chunk_pairs):
            yield rows, self._ranked(left, right)

    def nearest(self, n: int) -> Pieces:
        """Yield some left rows and the n nearest of each."""
        # The row itself may be among the nearest, without being a pair.
        asked = n + self.skip_self
        if not self._is_dense(asked):
            for rows, found in self.pairs():
                yield rows, _head(found, n)
            return
        for rows in _pieces(np.arange(len(self.left)), max(1, self.chunk_pairs // (asked + 1))):
            yield rows, _head(self._from_tree(rows, asked), n)

    def of_left(self, rows: Int64) -> Search:
        """Return the search for some left rows alone."""
        return Search(self.left[rows], self.right, self.radius_arcsec, self.chunk_pairs, self.skip_self)

    def reverse(self, right_rows: Int64) -> Search:
        """Return the search that asks for the left rows around some right rows."""
        return Search(self.right[right_rows], self.left, self.radius_arcsec, self.chunk_pairs, self.skip_self)

    @cached_property
    def _left_vectors(self) -> Float64:
        return unit_vectors(self.left.ra, self.left.dec)

    @cached_property
    def _right_vectors(self) -> Float64:
        return unit_vectors(self.right.ra, self.right.dec)

    @cached_property
    def _sweep(self) -> Sweep:
        return Sweep(self._right_vectors, self._reach)

    @cached_property
    def _tree(self) -> cKDTree:
        # Balancing takes the median of every split, which is slow on many exact duplicates.
        return cKDTree(self._right_vectors, balanced_tree=False)

    def _is_dense(self, n: int) -> bool:
        """Tell, from a sample, whether most candidates of the sweep would be farther than the n-th."""
        if not len(self.left):
            return False
        sample = self._left_vectors[:: max(1, len(self.left) // _SAMPLE_ROWS)]
        most = (n + _FEW_CANDIDATES) * len(sample)
        rows, left, _ = next(self._sweep.pairs(sample, most))
        return len(rows) < len(sample) or len(left) > most

    def _from_tree(self, rows: Int64, n: int) -> Matches:
        """Return the n nearest of some left rows.

        The n-th place is open while further candidates are as near within rounding, which
        exact duplicates are: such rows are asked again for twice as many.
        """
        found: list[tuple[Int64, Int64]] = []
        todo, k = rows[_spatial_order(self.left.ra[rows], self.left.dec[rows])], n + 1
        while todo.size:
            unsettled = []
            for piece in _pieces(todo, max(1, self.chunk_pairs // k)):
                vectors = self._left_vectors[piece]
                distance, index = self._tree.query(vectors, k=k, distance_upper_bound=self._reach)
                limit = np.minimum(widen_chord(distance[:, n - 1]), self._reach)
                settled = distance[:, -1] > limit
                i, j = np.nonzero((distance <= limit[:, np.newaxis]) & settled[:, np.newaxis])
                found.append((piece[i], index[i, j]))
                unsettled.append(piece[~settled])
            todo, k = np.concatenate(unsettled), min(2 * k, len(self.right) + 1)
        left, right = (np.concatenate(part) for part in zip(*found, strict=True))
        by_row = np.argsort(left, kind="stable")
        return self._ranked(left[by_row], right[by_row])

    def _ranked(self, left: Int64, right: Int64) -> Matches:
        """Return those candidate pairs that lie within the radius, ranked; a left row's stand together."""
        one, other = self.left, self.right
        sep = separation_arcsec(one.ra[left], one.dec[left], other.ra[right], other.dec[right])
        within = sep <= self.radius_arcsec
        if self.skip_self:
            within &= np.asarray(one.id[left] != other.id[right], dtype=bool)
        left, right, sep = left[within], right[within], sep[within]
        first = np.flatnonzero(np.diff(left, prepend=-1))
        size = np.diff(first, append=left.size)
        several = np.flatnonzero(np.repeat(size > 1, size))
        if several.size:
            group = np.repeat(np.arange(first.size), size)[several]
            order = several[_order(group, sep[several], other.id[right[several]])]
            right[several], sep[several] = right[order], sep[order]
        rank = (np.arange(left.size) - np.repeat(first, size) + 1).astype(np.int32)
        return Matches(left, right, sep, rank)


def _order(left: Int64, sep_arcsec: Float64, right_id: NDArray[Any]) -> Int64:
    """Return the order by left row, separation and right id; ids are compared only where needed."""
    order: Int64 = np.lexsort((sep_arcsec, left))
    equal = (np.diff(left[order]) == 0) & (np.diff(sep_arcsec[order]) == 0)
    if not equal.any():
        return order
    tied = order[np.append(equal, False) | np.append(False, equal)]
    place = np.zeros(left.size, dtype=np.int64)
    place[tied] = np.unique(right_id[tied], return_inverse=True)[1]
    order = np.lexsort((place, sep_arcsec, left))
    return order


def _spatial_order(ra_deg: Float64, dec_deg: Float64) -> Int64:
    """Return an order that keeps neighbours together: queries of a k-d tree then run 4x faster."""
    zones_per_deg = np.sqrt(ra_deg.size) / 30.0
    return np.argsort(np.floor(dec_deg * zones_per_deg) * 1000.0 + ra_deg)


def _pieces(rows: Int64, size: int) -> Iterator[Int64]:
    """Yield consecutive pieces of at most `size` rows."""
    for start in range(0, rows.size, size):
        yield rows[start : start + size]


def _head(matches: Matches, n: int) -> Matches:
    """Return the matches of rank n or better."""
    keep = matches.rank <= n
    return matches if keep.all() else matches[keep]
