"""Positional cross-match on arrays: exact, and independent of row order and partitioning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrolake.errors import BadArguments
from astrolake.sky.separation import (
    Float64,
    Int64,
    checked_positions,
    chord,
    separation_arcsec,
    unit_vectors,
    widen_chord,
)

Mode = Literal["best", "all", "nearest-n", "anti"]
MODES: tuple[str, ...] = get_args(Mode)
#: Pairs held at a time unless told otherwise: about 300 MB of work space.
CHUNK_PAIRS = 2_000_000


@dataclass(frozen=True)
class Positions:
    """One side of a match.

    Parameters
    ----------
    ra, dec : (N,) float64
        Degrees; must be finite, dec within [-90, 90].
    id : (N,) int64 or str
        Unique key of each row; breaks ties.

    Raises
    ------
    ValueError
        When a position is not finite, a declination is out of range, or lengths differ.
    """

    ra: Float64
    dec: Float64
    id: NDArray[Any]

    def __post_init__(self) -> None:
        ra, dec = checked_positions(self.ra, self.dec)
        ids = np.asarray(self.id)
        if ids.shape != ra.shape:
            raise ValueError(f"positions: {ra.size} positions but ids of shape {ids.shape}")
        object.__setattr__(self, "ra", ra)
        object.__setattr__(self, "dec", dec)
        object.__setattr__(self, "id", ids)

    def __len__(self) -> int:
        return self.ra.size


@dataclass(frozen=True)
class Matches:
    """Pairs of rows, ordered by left_index, then rank.

    Parameters
    ----------
    left_index, right_index : (M,) int64
        Row numbers; right_index is -1 in mode anti.
    sep_arcsec : (M,) float64
        Separation; NaN in mode anti.
    rank : (M,) int32
        1 for the nearest right row of this left row, then 2, ...; 0 in mode anti.
    """

    left_index: Int64
    right_index: Int64
    sep_arcsec: Float64
    rank: NDArray[np.int32]

    def __len__(self) -> int:
        return self.left_index.size


def match(
    left: Positions,
    right: Positions,
    radius_arcsec: float,
    mode: Mode = "best",
    n: int = 1,
    chunk_pairs: int = CHUNK_PAIRS,
) -> Matches:
    """Match each left row to the right rows within a radius.

    Exact for any radius and anywhere on the sphere: candidates from a k-d tree of unit vectors
    are kept when their separation by Vincenty's formula is <= radius. Equal separations are
    ordered by the smaller right id, so that neither row order nor partitioning changes the answer.

    Equivalent to astropy's ``match_to_catalog_sky`` cut at the radius (best) and to
    ``search_around_sky`` (all).

    Parameters
    ----------
    left, right : Positions
    radius_arcsec : float
        In [0, 648000], inclusive.
    mode : {"best", "all", "nearest-n", "anti"}
        The nearest right row, all of them, the `n` nearest, or the left rows that have none.
    n : int
        For nearest-n.
    chunk_pairs : int
        Bound on the candidate pairs held at a time, which bounds the memory beyond the result's.

    Returns
    -------
    Matches

    Raises
    ------
    BadArguments
        When radius, mode, n or chunk_pairs is out of range.
    """
    return _concatenate(list(iter_match(left, right, radius_arcsec, mode, n, chunk_pairs)))


def iter_match(
    left: Positions,
    right: Positions,
    radius_arcsec: float,
    mode: Mode = "best",
    n: int = 1,
    chunk_pairs: int = CHUNK_PAIRS,
) -> Iterator[Matches]:
    """Yield the result of `match` in pieces of whole left rows, in order."""
    if not 0.0 <= radius_arcsec <= 648000.0:
        raise BadArguments(f"radius_arcsec={radius_arcsec}: give a radius within [0, 648000] arcsec")
    if mode not in MODES:
        raise BadArguments(f"mode={mode!r} is unknown; use one of {', '.join(MODES)}")
    if n < 1 or chunk_pairs < 1:
        raise BadArguments(f"n={n}, chunk_pairs={chunk_pairs}: both must be at least 1")
    search = _Search(left, right, radius_arcsec, chunk_pairs)
    return search.run(mode, n if mode == "nearest-n" else 1)


class _Search:
    """A k-d tree of the right side and what is asked of it."""

    def __init__(self, left: Positions, right: Positions, radius_arcsec: float, chunk_pairs: int) -> None:
        self.left = left
        self.right = right
        self.radius_arcsec = radius_arcsec
        self.chunk_pairs = chunk_pairs
        self.reach = float(widen_chord(chord(radius_arcsec)))
        # Balancing takes the median of every split, which is slow on many exact duplicates.
        self.tree = cKDTree(unit_vectors(right.ra, right.dec), balanced_tree=False)

    def run(self, mode: Mode, n: int) -> Iterator[Matches]:
        if mode == "all":
            for rows in _pieces(np.arange(len(self.left)), self.chunk_pairs):
                yield from self.all_within(rows)
            return
        for rows in _pieces(np.arange(len(self.left)), max(1, self.chunk_pairs // (n + 1))):
            nearest = self.nearest(rows, n)
            yield _complement(rows, nearest) if mode == "anti" else nearest

    def all_within(self, rows: Int64) -> Iterator[Matches]:
        """Yield all pairs of some left rows; halve the rows until a piece has few enough pairs."""
        tree = cKDTree(self._vectors(rows), balanced_tree=False)
        if rows.size > 1 and tree.count_neighbors(self.tree, self.reach) > self.chunk_pairs:
            for half in np.array_split(rows, 2):
                yield from self.all_within(half)
            return
        pairs = tree.sparse_distance_matrix(self.tree, self.reach, output_type="ndarray")
        yield self._ranked(rows[pairs["i"]], pairs["j"].astype(np.int64))

    def nearest(self, rows: Int64, n: int) -> Matches:
        """Return the n nearest of some left rows.

        The n-th place is open while further candidates are as near within rounding, which
        exact duplicates are: such rows are asked again for twice as many.
        """
        found: list[tuple[Int64, Int64]] = []
        todo, k = rows[_spatial_order(self.left.ra[rows], self.left.dec[rows])], n + 1
        while todo.size:
            unsettled = []
            for piece in _pieces(todo, max(1, self.chunk_pairs // k)):
                distance, index = self.tree.query(self._vectors(piece), k=k, distance_upper_bound=self.reach)
                limit = np.minimum(widen_chord(distance[:, n - 1]), self.reach)
                settled = distance[:, -1] > limit
                i, j = np.nonzero((distance <= limit[:, np.newaxis]) & settled[:, np.newaxis])
                found.append((piece[i], index[i, j]))
                unsettled.append(piece[~settled])
            todo, k = np.concatenate(unsettled), min(2 * k, len(self.right) + 1)
        left, right = (np.concatenate(part) for part in zip(*found, strict=True))
        return _head(self._ranked(left, right), n)

    def _vectors(self, rows: Int64) -> Float64:
        return unit_vectors(self.left.ra[rows], self.left.dec[rows])

    def _ranked(self, left: Int64, right: Int64) -> Matches:
        """Return those candidate pairs that lie within the radius, in order and ranked."""
        one, other = self.left, self.right
        sep = separation_arcsec(one.ra[left], one.dec[left], other.ra[right], other.dec[right])
        within = sep <= self.radius_arcsec
        left, right, sep = left[within], right[within], sep[within]
        order = _order(left, sep, other.id[right])
        left = left[order]
        first = np.flatnonzero(np.diff(left, prepend=-1))
        start = np.repeat(first, np.diff(first, append=left.size))
        rank = (np.arange(left.size) - start + 1).astype(np.int32)
        return Matches(left, right[order], sep[order], rank)


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


def _complement(rows: Int64, found: Matches) -> Matches:
    """Return those of the rows that found no match, as mode anti gives them."""
    alone = np.setdiff1d(rows, found.left_index, assume_unique=True)
    return Matches(
        alone, np.full(alone.size, -1), np.full(alone.size, np.nan), np.zeros(alone.size, dtype=np.int32)
    )


def _head(matches: Matches, n: int) -> Matches:
    """Return the matches of rank n or better."""
    keep = matches.rank <= n
    if keep.all():
        return matches
    return Matches(
        matches.left_index[keep], matches.right_index[keep], matches.sep_arcsec[keep], matches.rank[keep]
    )


def _concatenate(parts: Sequence[Matches]) -> Matches:
    if len(parts) == 1:
        return parts[0]
    return Matches(
        np.concatenate([np.empty(0, np.int64), *(part.left_index for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.right_index for part in parts)]),
        np.concatenate([np.empty(0, np.float64), *(part.sep_arcsec for part in parts)]),
        np.concatenate([np.empty(0, np.int32), *(part.rank for part in parts)]),
    )
