import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.lake.partitioning import COUNT_ORDER, Leaves, plan_leaves
from astrolake.sky.healpix import KEY_ORDER

SHIFT = 2 * (KEY_ORDER - COUNT_ORDER)
NOTHING = Leaves.of(np.array([], np.int64), np.array([], np.int64))


def _cells(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@st.composite
def sky_cells(draw) -> np.ndarray:
    """Cells that crowd around a few places, so that every order occurs."""
    centers = draw(st.lists(st.integers(0, (12 << 2 * COUNT_ORDER) - 1), min_size=1, max_size=4))
    spread = draw(st.sampled_from([1, 4, 64, 4**5, 4**9]))
    offsets = draw(st.lists(st.integers(0, spread), min_size=1, max_size=12))
    cells = np.add.outer(centers, offsets).ravel()
    return np.unique(np.minimum(cells, (12 << 2 * COUNT_ORDER) - 1))


@st.composite
def counted_cells(draw) -> tuple[np.ndarray, np.ndarray]:
    cells = draw(sky_cells())
    counts = draw(st.lists(st.integers(1, 60), min_size=len(cells), max_size=len(cells)))
    return cells, np.array(counts, dtype=np.int64)


@st.composite
def fixed_and_new(draw) -> tuple[Leaves, np.ndarray, np.ndarray]:
    """Partitions that stay, and cells outside them."""
    old = draw(sky_cells())
    fixed = plan_leaves(old, np.ones(len(old), np.int64), NOTHING, draw(st.integers(1, 6)))
    cells, counts = draw(counted_cells())
    outside = fixed.find(cells << SHIFT) < 0
    return fixed, cells[outside], counts[outside]


def _rows(cells: np.ndarray, counts: np.ndarray, order: int, npix: int) -> int:
    return int(counts[cells >> (2 * (COUNT_ORDER - order)) == npix].sum())


def _holds_any(fixed: Leaves, order: int, npix: int) -> bool:
    low, high = npix << (2 * (KEY_ORDER - order)), (npix + 1) << (2 * (KEY_ORDER - order))
    return bool(((fixed.starts < high) & (fixed.ends > low)).any())


def _check_plan(leaves: Leaves, cells: np.ndarray, counts: np.ndarray, fixed: Leaves, max_rows: int) -> None:
    assert (leaves.starts[1:] >= leaves.ends[:-1]).all(), "leaves overlap"
    assert (leaves.find(cells << SHIFT) >= 0).all(), "a row has no leaf"
    for order, npix in zip(leaves.order.tolist(), leaves.npix.tolist(), strict=True):
        rows = _rows(cells, counts, order, npix)
        assert rows > 0
        assert rows <= max_rows or order == COUNT_ORDER
        assert not _holds_any(fixed, order, npix), "a leaf overlaps a fixed one"
        if order:
            too_many = _rows(cells, counts, order - 1, npix >> 2) > max_rows
            assert too_many or _holds_any(fixed, order - 1, npix >> 2), "the parent would have done"


@settings(max_examples=150, deadline=None)
@given(counted_cells(), st.integers(1, 400))
def test_leaves_are_disjoint_cover_all_rows_and_are_the_coarsest_that_fit(counted, max_rows):
    cells, counts = counted
    _check_plan(plan_leaves(cells, counts, NOTHING, max_rows), cells, counts, NOTHING, max_rows)


@settings(max_examples=150, deadline=None)
@given(fixed_and_new(), st.integers(1, 400))
def test_fixed_leaves_are_left_alone(drawn, max_rows):
    fixed, cells, counts = drawn
    _check_plan(plan_leaves(cells, counts, fixed, max_rows), cells, counts, fixed, max_rows)


@settings(max_examples=50, deadline=None)
@given(counted_cells(), st.integers(1, 400), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_rows(counted, max_rows, random):
    cells, counts = counted
    shuffled = list(range(len(cells)))
    random.shuffle(shuffled)
    one = plan_leaves(cells, counts, NOTHING, max_rows)
    other = plan_leaves(cells[shuffled], counts[shuffled], NOTHING, max_rows)
    assert np.array_equal(one.order, other.order)
    assert np.array_equal(one.npix, other.npix)


@settings(max_examples=50, deadline=None)
@given(fixed_and_new(), st.lists(st.integers(0, (12 << 58) - 1), min_size=1, max_size=30))
def test_find_agrees_with_a_search_of_all_leaves(drawn, index):
    leaves, cells, _ = drawn
    index = np.array([*index, *(cells << SHIFT), *leaves.starts, *(leaves.ends - 1), *leaves.ends], np.int64)
    inside = (index[:, None] >= leaves.starts) & (index[:, None] < leaves.ends)
    expected = np.where(inside.any(axis=1), inside.argmax(axis=1), -1)
    assert np.array_equal(leaves.find(index), expected)


def test_few_rows_share_their_base_cell():
    leaves = plan_leaves(_cells(0, 5, (1 << 20) - 1), _cells(1, 1, 1), NOTHING, 3)
    assert (leaves.order.tolist(), leaves.npix.tolist()) == ([0], [0])


def test_empty_sky_has_no_partition():
    leaves = plan_leaves(_cells(0, 11 << 20), _cells(1, 1), NOTHING)
    assert leaves.npix.tolist() == [0, 11]


def test_one_crowded_cell_may_exceed_the_limit():
    leaves = plan_leaves(_cells(7), _cells(1000), NOTHING, 10)
    assert (leaves.order.tolist(), leaves.npix.tolist()) == ([COUNT_ORDER], [7])


def test_a_crowded_quarter_is_divided_and_the_others_are_not():
    # Cell 0 of order 1 holds 4 rows in four of its children, cell 1 holds one row.
    quarter, sixteenth = 1 << 18, 1 << 16
    cells = _cells(0, sixteenth, 2 * sixteenth, 3 * sixteenth, quarter)
    leaves = plan_leaves(cells, _cells(1, 1, 1, 1, 1), NOTHING, 3)
    assert list(zip(leaves.order.tolist(), leaves.npix.tolist(), strict=True)) == [
        (2, 0), (2, 1), (2, 2), (2, 3), (1, 1),
    ]  # fmt: skip


def test_no_rows_need_no_partition():
    assert len(plan_leaves(_cells(), _cells(), NOTHING)) == 0


def test_a_row_inside_a_fixed_partition_is_a_mistake():
    with pytest.raises(ValueError, match="was to stay"):
        plan_leaves(_cells(5), _cells(1), Leaves.of(_cells(0), _cells(0)))


def test_a_partition_must_be_allowed_a_row():
    with pytest.raises(ValueError, match="max_rows"):
        plan_leaves(_cells(5), _cells(1), NOTHING, 0)


def test_find_in_no_leaves_finds_nothing():
    assert NOTHING.find(_cells(0, 5)).tolist() == [-1, -1]
