import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_matching import GRID, PLACE, on_grid, two_catalogs

from astrolake.sky.exclusive import one_to_one
from astrolake.sky.matching import match
from astrolake.sky.search import Search
from astrolake.sky.separation import separation_arcsec

__all__ = ["two_catalogs"]


def all_pairs(left, right, radius):
    """Every pair as (separation, left id, right id, left row, right row), closest first."""
    i, j = (axis.ravel() for axis in np.indices((len(left), len(right))))
    sep = separation_arcsec(left.ra[i], left.dec[i], right.ra[j], right.dec[j])
    rows = zip(sep.tolist(), left.id[i].tolist(), right.id[j].tolist(), i.tolist(), j.tolist(), strict=True)
    return sorted(row for row in rows if row[0] <= radius)


def greedy(pairs):
    """The closest pair first, then the closest of the free rows, and so on: (left row, right row)."""
    left_used, right_used, taken = set(), set(), []
    for *_, i, j in pairs:
        if i not in left_used and j not in right_used:
            left_used.add(i)
            right_used.add(j)
            taken.append((i, j))
    return sorted(taken)


def rows_of(found):
    return sorted(zip(found.left_index.tolist(), found.right_index.tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(GRID, GRID, PLACE, st.sampled_from([0.0, 1.0, 2.5]), st.randoms(use_true_random=False))
def test_one_to_one_is_the_greedy_matching(left, right, place, radius, random):
    left, right = on_grid(left, place, 0), on_grid(right, place, 50)
    left = left[np.array(random.sample(range(len(left)), len(left)), dtype=np.int64)]
    found = match(left, right, radius, "one-to-one", chunk_pairs=5)
    assert rows_of(found) == greedy(all_pairs(left, right, radius))


@settings(max_examples=150, deadline=None)
@given(GRID, GRID, PLACE, st.sampled_from([0.0, 1.0, 2.5]))
def test_best_symmetric_is_what_both_sides_call_best(left, right, place, radius):
    left, right = on_grid(left, place, 0), on_grid(right, place, 50)
    there, back = match(left, right, radius), match(right, left, radius)
    mutual = set(rows_of(there)) & {(i, j) for j, i in rows_of(back)}
    assert rows_of(match(left, right, radius, "best-symmetric", chunk_pairs=7)) == sorted(mutual)


@settings(max_examples=200, deadline=None)
@given(GRID, GRID, PLACE, st.integers(-3, 3), st.sampled_from([1.0, 2.5]))
def test_what_is_settled_on_a_part_holds_on_the_whole(left, right, place, cut, radius):
    left, right = on_grid(left, place, 0), on_grid(right, place, 50)
    whole = {left.id[i]: right.id[j] for i, j in rows_of(match(left, right, radius, "one-to-one"))}
    # The part is a half-plane; what a row knows is its distance to the edge.
    parts, known = [], []
    for side in (left, right):
        rows = np.flatnonzero(side.dec * 3600 - place[1] * 3600 < cut + 0.5)
        parts.append(side[rows])
        known.append(cut + 0.5 - (side.dec[rows] - place[1]) * 3600 - 1e-6)
    found, settled = one_to_one(Search(*parts, radius, 10_000, skip_self=False), *known)
    part = {parts[0].id[i]: parts[1].id[j] for i, j in rows_of(found)}
    for row, certain in enumerate(settled):
        if certain:
            assert part.get(parts[0].id[row]) == whole.get(parts[0].id[row])
    assert part.items() <= whole.items()


def test_no_row_is_used_twice(two_catalogs):
    left, right = two_catalogs
    for mode in ("best-symmetric", "one-to-one"):
        found = match(left, right, 3.0, mode)
        assert len(np.unique(found.left_index)) == len(np.unique(found.right_index)) == len(found) > 50_000


def test_one_to_one_leaves_no_free_pair(two_catalogs):
    left, right = two_catalogs
    found, every = match(left, right, 3.0, "one-to-one"), match(left, right, 3.0, "all")
    used = np.isin(every.left_index, found.left_index) | np.isin(every.right_index, found.right_index)
    assert used.all()
    assert len(found) > len(match(left, right, 3.0, "best-symmetric"))


@pytest.mark.parametrize("mode", ["best", "all", "nearest-n", "best-symmetric", "one-to-one"])
def test_a_side_matched_with_itself_without_the_rows_themselves(two_catalogs, mode):
    side = two_catalogs[0]
    found = match(side, side, 2.0, mode, n=2, skip_self=True)
    assert len(found) > 100
    assert (found.left_index != found.right_index).all()
    pairs = match(side, side, 2.0, "all")
    others = pairs[pairs.left_index != pairs.right_index]
    if mode == "all":
        assert rows_of(found) == rows_of(others)
    if mode == "best":
        np.testing.assert_array_equal(found.left_index, np.unique(others.left_index))
