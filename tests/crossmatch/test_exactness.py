"""The cells of a match, worked on one by one, give what brute force gives on the whole, in any layout."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from astrolake.crossmatch.cells import MatchPlan
from astrolake.crossmatch.options import MatchOptions
from astrolake.crossmatch.sides import side_of
from astrolake.lake.cells import plan_cells
from astrolake.lake.declared import declared
from astrolake.lake.lake import Lake
from astrolake.lake.reader import table_snapshot
from astrolake.lake.sink import ROW_GROUP_ROWS
from astrolake.sky.healpix import cell_center
from astrolake.sky.matching import MODES, match
from astrolake.sky.positions import Positions
from astrolake.sky.ranges import EVERYWHERE

ARCSEC = 1 / 3600
ORDERS = (0, 2, 5, 10)
RADII = (0.1, 1.0, 30.0, 600.0, 3600.0)


def _edges(seed: int) -> pd.DataFrame:
    """Poles, the meridian, corners of HEALPix cells, exact duplicates, and the neighbourhood of all of them."""
    rng = np.random.default_rng(seed)
    places = [
        (0.0, 90.0),
        (123.0, 90.0),
        (0.0, -90.0),
        (0.0, 0.0),
        (np.nextafter(360.0, 0), 0.0),
        (360 - 1e-9, 45.0),
    ]
    for order in (0, 4, 29):
        cells = rng.integers(0, 12 << (2 * order), 3)
        from cdshealpix import nested

        lon, lat = nested.vertices(cells.astype(np.uint64), order)
        places += list(zip(lon.deg.ravel() % 360.0, lat.deg.ravel(), strict=True))
        places += list(zip(*cell_center(order, cells), strict=True))
    ra, dec = np.array(places).T
    scale = 10.0 ** rng.uniform(-2, 3.7, len(ra)) * ARCSEC
    angle = rng.uniform(0, 2 * np.pi, len(ra))
    near_dec = np.clip(dec + scale * np.cos(angle), -90, 90)
    near_ra = (ra + scale * np.sin(angle) / np.maximum(np.cos(np.radians(near_dec)), 1e-6)) % 360.0
    again = rng.integers(0, len(ra), 30)
    ra, dec = np.concatenate([ra, near_ra, ra[again]]), np.concatenate([dec, near_dec, dec[again]])
    order = rng.permutation(len(ra))
    return pd.DataFrame({"source_id": 1000 * seed + order, "ra": ra, "dec": dec})


SKIES = {"left": _edges(1), "right": _edges(2)}


@pytest.fixture(scope="module")
def lake(put_catalog, tmp_path_factory) -> Lake:
    """Both skies with all partitions of one order: left_0, left_1, ..."""
    lake = Lake.create(str(tmp_path_factory.mktemp("edges")))
    for side, rows in SKIES.items():
        for order in ORDERS:
            put_catalog(lake, f"{side}_{order}", rows, 10**9, (order, order))
    return lake


def _in_cells(lake: Lake, left: str, right: str, options: MatchOptions) -> list[tuple]:
    """What the tasks of a match find, without Spark: (left id, right id, separation, rank)."""
    sides = {
        name: (declared(name, table_snapshot(lake, name)), table_snapshot(lake, name))
        for name in (left, right)
    }
    ours, theirs = (side_of(*sides[name], None, (), None) for name in (left, right))
    plan = MatchPlan(ours, theirs, options, np.nan, EVERYWHERE, left == right)
    found, seen = [], 0
    for whole in plan_cells(sides[left][1], options.cell_rows, sides[right][1]):
        for cell in plan.parts(whole):
            count, pieces = plan.match_cell(cell)
            seen += count
            found += [
                row for piece in pieces for row in _rows(*(side.positions for side in piece[:2]), piece[2])
            ]
    assert seen == sides[left][1].rows
    return sorted(found, key=str)


def _rows(left: Positions, right: Positions, matches) -> list[tuple]:
    right_id = [None if j < 0 else int(right.id[j]) for j in matches.right_index]
    sep = np.nan_to_num(matches.sep_arcsec, nan=-1.0).tolist()
    return list(zip(left.id[matches.left_index].tolist(), right_id, sep, matches.rank.tolist(), strict=True))


def _whole(left: str, right: str, options: MatchOptions) -> list[tuple]:
    sides = [
        Positions(*(SKIES[name][c].to_numpy() for c in ("ra", "dec", "source_id"))) for name in (left, right)
    ]
    found = match(*sides, options.radius_arcsec, options.mode, options.n, skip_self=left == right)
    return sorted(_rows(*sides, found), key=str)


@pytest.mark.parametrize("left", ORDERS)
@pytest.mark.parametrize("right", ORDERS)
def test_every_pair_of_orders(lake, left, right):
    for mode in ("all", "best-symmetric", "one-to-one"):
        options = MatchOptions(30.0, mode)
        assert _in_cells(lake, f"left_{left}", f"right_{right}", options) == _whole("left", "right", options)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("radius", RADII)
def test_every_radius(lake, mode, radius):
    options = MatchOptions(radius, mode, 3)
    expected = _whole("left", "right", options)
    assert len(expected) > 5
    assert _in_cells(lake, "left_2", "right_5", options) == expected


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(ORDERS),
    st.sampled_from(ORDERS),
    st.sampled_from(MODES),
    st.floats(0.0, 600.0),
    st.integers(20, 500),
    st.integers(1, 4),
)
@example(0, 5, "one-to-one", 3600.0, 20, 1)
def test_layout_and_memory_bound_change_nothing(lake, left, right, mode, radius, cell_rows, n):
    options = MatchOptions(radius, mode, n, cell_rows=cell_rows)
    assert _in_cells(lake, f"left_{left}", f"right_{right}", options) == _whole("left", "right", options)


@pytest.mark.parametrize("mode", ["best", "all", "best-symmetric"])
def test_a_table_with_itself(lake, mode):
    options = MatchOptions(60.0, mode)
    assert _in_cells(lake, "left_2", "left_2", options) == _whole("left", "left", options)


def test_a_dense_spot_is_divided_until_it_fits(put_catalog, tmp_path):
    """A globular cluster: half of the rows within an arcmin of an otherwise empty sky."""
    rng = np.random.default_rng(5)
    n = 300_000
    ra = np.concatenate([rng.uniform(100, 101, n // 2), 100.5 + rng.normal(0, 0.01, n // 2)])
    dec = np.concatenate([rng.uniform(0, 1, n // 2), 0.5 + rng.normal(0, 0.01, n // 2)])
    rows = pd.DataFrame({"source_id": np.arange(n), "ra": ra, "dec": dec})
    lake = Lake.create(str(tmp_path / "lake"))
    put_catalog(lake, "left", rows)
    put_catalog(lake, "right", rows.assign(source_id=rows["source_id"] + n))
    snapshot = table_snapshot(lake, "left")
    options = MatchOptions(0.2, "all", cell_rows=10_000)
    sides = [
        side_of(declared(name, table_snapshot(lake, name)), table_snapshot(lake, name), None, (), None)
        for name in ("left", "right")
    ]
    plan = MatchPlan(*sides, options, np.nan, EVERYWHERE, False)
    cells = [cell for whole in plan_cells(snapshot, 10**9) for cell in plan.parts(whole)]
    held = [len(sides[0].read(cell.ranges)) for cell in cells]
    assert sum(held) == n
    # Counts inside a row group are taken as even: a spot may hold a few groups more.
    assert max(held) < 4 * options.cell_rows + 2 * ROW_GROUP_ROWS
    positions = Positions(ra, dec, np.arange(n))
    expected = match(positions, positions, 0.2, "all")
    found = sum(len(piece[2]) for cell in cells for piece in plan.match_cell(cell)[1])
    assert found == len(expected)


@pytest.mark.parametrize("order", [5, 8, 10])
def test_a_long_chain_over_the_edge_of_a_cell_decides_inside_it(put_catalog, tmp_path, order):
    """Left and right rows alternate, each gap a little smaller than the one before: the far end decides."""
    cell = 4 * (12 << (2 * order)) // 48 + 5
    ra0, dec0 = (float(axis[0]) for axis in cell_center(order, np.array([cell])))
    from cdshealpix import nested

    lon, lat = nested.vertices(np.array([cell], np.uint64), order)
    # From inside over the middle of an edge, straight out.
    ra_e, dec_e = np.mean(lon.deg[0][:2]), np.mean(lat.deg[0][:2])
    out = np.array([(ra_e - ra0) * np.cos(np.radians(dec0)), dec_e - dec0])
    out /= np.hypot(*out)
    n = 60
    away = np.concatenate([[0.0], np.cumsum(np.linspace(0.99, 0.7, n))]) * ARCSEC
    ra = ra_e + (away - 2 * ARCSEC) * out[0] / np.cos(np.radians(dec0))
    dec = dec_e + (away - 2 * ARCSEC) * out[1]
    rows = pd.DataFrame({"source_id": np.arange(n + 1), "ra": ra, "dec": dec})
    lake = Lake.create(str(tmp_path / "lake"))
    for name, part in (("left", rows[::2]), ("right", rows[1::2])):
        put_catalog(lake, name, part.reset_index(drop=True), 10**9, (order, order))
    sides = [
        Positions(part["ra"].to_numpy(), part["dec"].to_numpy(), part["source_id"].to_numpy())
        for part in (rows[::2], rows[1::2])
    ]
    expected = sorted(_rows(*sides, match(*sides, 1.0, "one-to-one")), key=str)
    assert len(expected) > 20
    assert _in_cells(lake, "left", "right", MatchOptions(1.0, "one-to-one")) == expected
