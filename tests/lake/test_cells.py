import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from commits import cell_file
from hypothesis import example, given, settings
from hypothesis import strategies as st

from astrolake.lake.cells import Cell, plan_cells
from astrolake.lake.delta import Snapshot
from astrolake.lake.storage import Storage
from astrolake.schema.arrow import delta_schema
from astrolake.schema.tables import CATALOG
from astrolake.sky.healpix import KEY_ORDER, cell_center, healpix29


def _snapshot(*files) -> Snapshot:
    return Snapshot(Storage.at("/nowhere"), 0, files, delta_schema(CATALOG))


def _within(ranges: np.ndarray, index: np.ndarray) -> np.ndarray:
    at = np.searchsorted(ranges[:, 0], index, side="right") - 1
    return (at >= 0) & (index < ranges[np.maximum(at, 0), 1])


@st.composite
def cells(draw) -> Cell:
    order = draw(st.integers(0, 12))
    npix = draw(
        st.one_of(
            st.integers(0, (12 << 2 * order) - 1),
            # Corners of base cells: both poles, and where eight cells meet instead of four.
            st.sampled_from([0, (1 << 2 * order) - 1, (9 << 2 * order) - 1, 8 << 2 * order, 4 << 2 * order]),
        )
    )
    return Cell(order, npix)


@settings(max_examples=200, deadline=None)
@given(cells(), st.floats(1e-6, 60.0), st.integers(0, 2**32 - 1))
@example(Cell(0, 0), 170.0, 1)
@example(Cell(10, 0), 179.9, 1)
def test_surroundings_hold_every_position_within_the_margin(cell, margin_deg, seed):
    rng = np.random.default_rng(seed)
    inside = rng.integers(*cell.span, 200)
    ra, dec = cell_center(KEY_ORDER, inside)
    direction, away = rng.uniform(0, 360, 200), rng.uniform(0, margin_deg, 200)
    there = SkyCoord(ra * u.deg, dec * u.deg).directional_offset_by(direction * u.deg, away * u.deg)
    ranges = cell.surroundings(margin_deg)
    assert _within(ranges, healpix29(there.ra.deg, there.dec.deg)).all()
    assert _within(ranges, inside).all()


@pytest.mark.parametrize("order", [0, 5, 10])
def test_surroundings_of_a_narrow_margin_are_not_much_more_than_the_cell(order):
    cell = Cell(order, 7)
    low, high = cell.span
    covered = int(np.diff(cell.surroundings(1 / 3600), axis=1).sum())
    assert high - low < covered < 3 * (high - low)


@pytest.mark.parametrize("margin_deg", [1.0, 30.0, 180.0])
def test_surroundings_of_a_wide_margin_stay_a_short_list(margin_deg):
    assert len(Cell(10, 5).surroundings(margin_deg)) < 5_000


def test_the_whole_sky_is_one_range():
    assert Cell(3, 5).surroundings(180.0).tolist() == [[0, 12 << 58]]


def test_ranges_are_the_span_as_the_reader_takes_it():
    assert Cell(0, 2).ranges.tolist() == [[2 << 58, 3 << 58]]


def test_the_center_lies_in_the_cell_and_the_radius_holds_it():
    cell = Cell(4, 1000)
    ra, dec = cell.center
    assert cell.span[0] <= healpix29(np.array([ra]), np.array([dec]))[0] < cell.span[1]
    corners = SkyCoord(*(c * u.deg for c in cell_center(KEY_ORDER, np.arange(*cell.span, 1 << 44))))
    assert corners.separation(SkyCoord(ra * u.deg, dec * u.deg)).max().deg <= cell.radius_deg


def test_small_partitions_are_worked_on_as_they_are():
    found = plan_cells(_snapshot(cell_file("a", 1, 3, rows=10), cell_file("b", 5, 7, rows=1)), cell_rows=10)
    assert found == [Cell(1, 3), Cell(5, 7)]


def test_large_partitions_are_divided_evenly():
    found = plan_cells(_snapshot(cell_file("a", 1, 3, rows=41)), cell_rows=10)
    assert found == [Cell(3, 48 + i) for i in range(16)]


@pytest.mark.parametrize(
    ("rows_beside", "order"),
    [(40, 1), (48, 2), (160, 2), (168, 3)],
)
def test_a_crowded_table_beside_divides_a_partition_too(rows_beside, order):
    beside = _snapshot(cell_file("b", 1, 3, rows=rows_beside), cell_file("c", 1, 4, rows=10**6))
    found = plan_cells(_snapshot(cell_file("a", 1, 3, rows=1)), cell_rows=10, beside=beside)
    assert {cell.order for cell in found} == {order}


def test_a_table_beside_that_is_coarser_counts_by_its_share_of_the_sky():
    beside = _snapshot(cell_file("b", 0, 0, rows=16 * 4 * 10))
    assert plan_cells(_snapshot(cell_file("a", 2, 5, rows=1)), cell_rows=10, beside=beside) == [Cell(2, 5)]


def test_a_table_beside_elsewhere_divides_nothing():
    beside = _snapshot(cell_file("b", 0, 7, rows=10**9))
    assert plan_cells(_snapshot(cell_file("a", 1, 3, rows=1)), cell_rows=10, beside=beside) == [Cell(1, 3)]


def test_no_files_are_no_work():
    assert plan_cells(_snapshot()) == []


@pytest.mark.parametrize("order", [19, 20])
@pytest.mark.parametrize("margin_mas", [1.0, 3.0, 50.0])
def test_surroundings_of_the_finest_cells_hold_their_margin(order, margin_mas):
    rng = np.random.default_rng(order)
    for npix in rng.integers(0, 12 << (2 * order), 20).tolist():
        cell = Cell(order, npix)
        index = rng.integers(*cell.span, 200)
        ra, dec = cell_center(KEY_ORDER, index)
        away = np.full(200, margin_mas / 3.6e6 * 0.999)
        there = SkyCoord(ra * u.deg, dec * u.deg).directional_offset_by(
            rng.uniform(0, 360, 200) * u.deg, away * u.deg
        )
        found = _within(cell.surroundings(margin_mas / 3.6e6), healpix29(there.ra.deg, there.dec.deg))
        assert found.all()


@pytest.mark.parametrize("order", [0, 5, 10])
def test_the_circle_holds_all_of_the_circle(order):
    rng = np.random.default_rng(order)
    cell, margin = Cell(order, 9), 0.01
    center = SkyCoord(*cell.center, unit="deg")
    away = (cell.radius_deg + margin) * np.sqrt(rng.random(2000))
    there = center.directional_offset_by(rng.uniform(0, 360, 2000) * u.deg, away * u.deg)
    assert _within(cell.circle(margin), healpix29(there.ra.deg, there.dec.deg)).all()
