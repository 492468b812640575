"""Matches that use no row twice: mutual nearest neighbours, and one-to-one by increasing separation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.sky.positions import Matches
from astrolake.sky.search import Search
from astrolake.sky.separation import Bool, Float64, Int64


def mutual_nearest(search: Search, left_rows: Int64 | None = None) -> Matches:
    """Return the pairs of which each row is the other's nearest, for some left rows (all by default)."""
    forward = search if left_rows is None else search.of_left(left_rows)
    found = Matches.join([piece for _, piece in forward.nearest(1)])
    wanted, inverse = np.unique(found.right_index, return_inverse=True)
    back = Matches.join([piece for _, piece in search.reverse(wanted).nearest(1)])
    nearest = np.full(wanted.size, -1, dtype=np.int64)
    nearest[back.left_index] = back.right_index
    rows = found.left_index if left_rows is None else left_rows[found.left_index]
    kept = nearest[inverse] == rows
    return Matches(rows[kept], found.right_index[kept], found.sep_arcsec[kept], found.rank[kept])


def one_to_one(
    search: Search, left_known: Float64 | None = None, right_known: Float64 | None = None
) -> tuple[Matches, Bool]:
    """Return pairs that use no row twice, taken in the order of their separation.

    Equal separations are taken by left, then right id. This is what repeated mutual nearest
    neighbours give, and the stable matching of both sides' preferences for the near.

    Parameters
    ----------
    search : Search
    left_known, right_known : (N,) float64, optional
        Separation in arcsec up to which all partners of a row are among those given, when the
        sides are parts of larger ones.

    Returns
    -------
    matches : Matches
        Where the partners are not all known, only pairs that no unknown row could undo.
    settled : (L,) bool
        Whether a left row's answer is certain, whatever lies beyond the parts.
    """
    everything = np.inf
    left_limit = np.full(len(search.left), everything) if left_known is None else left_known
    right_limit = np.full(len(search.right), everything) if right_known is None else right_known
    pairs = Matches.join([piece for _, piece in search.pairs()])
    order = _order(pairs, search)
    left, right, sep = pairs.left_index[order], pairs.right_index[order], pairs.sep_arcsec[order]
    taken, doubt = _take(left, right, sep, left_limit, right_limit)
    used = np.zeros(len(search.left), dtype=bool)
    used[left[taken]] = True
    settled = used | (~doubt & (left_limit > search.radius_arcsec))
    ones = np.ones(taken.size, dtype=np.int32)
    return Matches(left[taken], right[taken], sep[taken], ones), settled


def _order(pairs: Matches, search: Search) -> Int64:
    """Return the order of pairs by separation, left id, right id; ids are compared only where needed."""
    order: Int64 = np.argsort(pairs.sep_arcsec, kind="stable")
    equal = np.diff(pairs.sep_arcsec[order]) == 0
    if not equal.any():
        return order
    tied = np.append(equal, False) | np.append(False, equal)
    rows = order[tied]
    keys = (
        _places(search.right.id[pairs.right_index[rows]]),
        _places(search.left.id[pairs.left_index[rows]]),
        pairs.sep_arcsec[rows],
    )
    order[tied] = rows[np.lexsort(keys)]
    return order


def _places(ids: NDArray[Any]) -> Int64:
    """Return numbers that sort as the ids do."""
    return np.asarray(np.unique(ids, return_inverse=True)[1], dtype=np.int64)


def _take(
    left: Int64, right: Int64, sep: Float64, left_known: Float64, right_known: Float64
) -> tuple[Int64, Bool]:
    """Return the pairs taken, and the left rows in doubt: an unknown row might have changed their answer.

    In each round the pairs that come first for both their rows are decided, as they would be one by one.
    """
    left_doubt = np.zeros(left_known.size, dtype=bool)
    right_doubt = np.zeros(right_known.size, dtype=bool)
    left_used, right_used = left_doubt.copy(), right_doubt.copy()
    left_first, right_first = np.empty(left_known.size, np.int64), np.empty(right_known.size, np.int64)
    taken = []
    open_pairs = np.arange(left.size)
    while open_pairs.size:
        a, b = left[open_pairs], right[open_pairs]
        # Of equal indices the last assignment stays: the first pair of each row.
        left_first[a[::-1]] = open_pairs[::-1]
        right_first[b[::-1]] = open_pairs[::-1]
        now = (left_first[a] == open_pairs) & (right_first[b] == open_pairs)
        i, a, b = open_pairs[now], a[now], b[now]
        # From its limit on, a row outside may have taken a row before.
        doubt = left_doubt[a] | right_doubt[b] | (sep[i] >= left_known[a]) | (sep[i] >= right_known[b])
        left_doubt[a[doubt]] = right_doubt[b[doubt]] = True
        left_used[a[~doubt]] = right_used[b[~doubt]] = True
        taken.append(i[~doubt])
        open_pairs = open_pairs[~now & ~left_used[left[open_pairs]] & ~right_used[right[open_pairs]]]
    return np.concatenate([np.empty(0, np.int64), *taken]), left_doubt
