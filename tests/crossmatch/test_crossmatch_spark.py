import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky

from astrolake.crossmatch import spark as crossmatch
from astrolake.crossmatch.columns import crossmatch_table
from astrolake.crossmatch.options import MatchOptions
from astrolake.errors import BadArguments, MissingColumns
from astrolake.lake.delta import Commit, apply_commit
from astrolake.lake.lake import Lake
from astrolake.lake.reader import table_snapshot
from astrolake.lake.staging import Staged, collect_reports
from astrolake.lake.writer import TableWriter
from astrolake.schema import REJECTS
from astrolake.schema.arrow import delta_schema
from astrolake.schema.spark import spark_schema
from astrolake.sky.epoch import propagate
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions

pytestmark = pytest.mark.spark

RADIUS = 5.0
N = 20_000
ARCSEC = 1 / 3600


def _isotropic(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def _scattered(rng, ra: np.ndarray, dec: np.ndarray, arcsec: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions at most about `arcsec` away, in any direction and over the poles."""
    away = arcsec * np.sqrt(rng.random(len(ra))) * u.arcsec
    there = SkyCoord(ra * u.deg, dec * u.deg).directional_offset_by(
        rng.uniform(0, 360, len(ra)) * u.deg, away
    )
    return there.ra.deg % 360.0, there.dec.deg


def _frame(ra, dec, first_id: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"source_id": first_id + np.arange(len(ra)), "ra": ra, "dec": dec})


@pytest.fixture(scope="module")
def skies() -> dict[str, pd.DataFrame]:
    """Two skies of 20 000 rows: clumps of pairs and triples everywhere, at the poles and across ra 0."""
    rng = np.random.default_rng(7)
    ra, dec = _isotropic(rng, N - 900)
    awkward_ra = np.concatenate([rng.uniform(0, 360, 600), rng.uniform(-2, 2, 300) * ARCSEC % 360.0])
    polar = np.repeat([90.0, -90.0], 300) - np.repeat([1, -1], 300) * np.abs(rng.normal(0, 4, 600)) * ARCSEC
    ra, dec = np.append(ra, awkward_ra), np.concatenate([dec, polar, rng.uniform(-0.01, 0.01, 300)])
    again = rng.integers(0, N, N // 3)
    right = [
        _scattered(rng, ra, dec, 9.0),
        _scattered(rng, ra[again], dec[again], 3.0),
        ([0.0, 123.0, 359.9999999999], [90.0, -90.0, 0.0]),
    ]
    left = _frame(np.append(ra, [200.0, 300.0, 0.0]), np.append(dec, [90.0, -90.0, 0.0]))
    ra, dec = (np.concatenate(part)[-N:] for part in zip(*right, strict=True))
    return {"left": left, "right": _frame(ra, dec, 10**6)}


@pytest.fixture(scope="module")
def lake(skies, put_catalog, tmp_path_factory) -> Lake:
    """The skies in partitions of several sizes: left_100000, right_700, ..."""
    lake = Lake.create(str(tmp_path_factory.mktemp("my lake")))
    for side, sizes in (("left", (100_000, 900)), ("right", (4_000, 150))):
        for max_rows in sizes:
            put_catalog(lake, f"{side}_{max_rows}", skies[side], max_rows)
    return lake


def _coordinates(rows: pd.DataFrame) -> SkyCoord:
    return SkyCoord(rows["ra"].to_numpy() * u.deg, rows["dec"].to_numpy() * u.deg)


def _positions(rows: pd.DataFrame) -> Positions:
    return Positions(rows["ra"].to_numpy(), rows["dec"].to_numpy(), rows["source_id"].to_numpy())


def _expected(left: pd.DataFrame, right: pd.DataFrame, radius: float, mode: str, n: int = 1) -> pd.DataFrame:
    """The kernel on both whole tables at once."""
    found = match(_positions(left), _positions(right), radius, mode, n)
    matched = found.right_index >= 0
    ids = right["source_id"].to_numpy()[found.right_index] if len(right) else np.zeros(len(found), object)
    return pd.DataFrame(
        {
            "left_id": left["source_id"].to_numpy()[found.left_index],
            "right_id": pd.array(np.where(matched, ids, None)),
            "sep_arcsec": np.where(matched, found.sep_arcsec, np.nan),
            "rank": np.where(matched, found.rank, 0),
        }
    )


def _plan(spark, lake: Lake, left: str, right: str, **options) -> crossmatch.Matching:
    sides = [(name, table_snapshot(lake, name)) for name in (left, right)]
    return crossmatch.plan_match(spark, *sides, MatchOptions(**options))


def _matches(spark, lake: Lake, left: str, right: str, **options) -> pd.DataFrame:
    """What the distributed match finds; all left rows must have been looked at once."""
    matching = _plan(spark, lake, left, right, **options)
    writer = TableWriter(spark, lake, "run-2", "test")
    table = crossmatch_table(matching.left, matching.right, matching.plan.options)
    reports = crossmatch.match_reports(spark, matching, writer.stage_spec(table))
    staged, counts = collect_reports(reports)
    if matching.plan.options.region is None:
        assert counts.get(crossmatch.LEFT, 0) == matching.snapshot.rows
    return writer.staged_frame(staged.get(table.name, Staged()), spark_schema(table)).toPandas()


def _found(spark, lake: Lake, left: str, right: str, **options) -> pd.DataFrame:
    rows = _matches(spark, lake, left, right, **options)
    if rows["right_id"].dtype.kind == "f":  # pandas has no null among plain integers
        rows["right_id"] = rows["right_id"].astype("Int64")
    return rows[["left_id", "right_id", "sep_arcsec", "rank"]].fillna({"rank": 0})


def _same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    types = {"left_id": str, "right_id": str, "rank": int}
    keys = ["left_id", "rank", "right_id"]
    one, other = (
        rows.astype({"right_id": object}).fillna({"right_id": "none"}).astype(types).sort_values(keys)
        for rows in (found, expected)
    )
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize(
    ("left", "right", "mode", "n"),
    [
        ("left_100000", "right_4000", "all", 1),
        ("left_100000", "right_150", "all", 1),
        ("left_900", "right_4000", "all", 1),
        ("left_900", "right_150", "best", 1),
        ("left_900", "right_4000", "nearest-n", 2),
        ("left_100000", "right_150", "anti", 1),
        ("left_900", "right_150", "left", 1),
        ("left_100000", "right_4000", "best-symmetric", 1),
        ("left_900", "right_150", "best-symmetric", 1),
        ("left_100000", "right_150", "one-to-one", 1),
        ("left_900", "right_4000", "one-to-one", 1),
    ],
)
def test_any_layout_gives_what_the_kernel_gives_on_the_whole(spark, lake, skies, left, right, mode, n):
    found = _found(spark, lake, left, right, radius_arcsec=RADIUS, mode=mode, n=n)
    expected = _expected(skies["left"], skies["right"], RADIUS, mode, n)
    assert len(expected) > 3_000, len(expected)
    _same(found, expected)


def test_cells_finer_than_partitions_change_nothing(spark, lake, skies):
    found = _found(spark, lake, "left_100000", "right_4000", radius_arcsec=RADIUS, mode="all", cell_rows=500)
    _same(found, _expected(skies["left"], skies["right"], RADIUS, "all"))


def test_best_is_what_astropy_matches(spark, lake, skies):
    found = _found(spark, lake, "left_900", "right_150", radius_arcsec=RADIUS)
    left, right = map(_coordinates, (skies["left"], skies["right"]))
    index, separation, _ = left.match_to_catalog_sky(right)
    within = separation.arcsec <= RADIUS
    theirs = dict(zip(np.flatnonzero(within), index[within] + 10**6, strict=True))
    assert dict(zip(found["left_id"], found["right_id"], strict=True)) == theirs
    ours = found.sort_values("left_id")["sep_arcsec"].to_numpy()
    np.testing.assert_allclose(ours, separation.arcsec[within], rtol=0, atol=1e-8)


def test_all_is_what_astropy_finds_around(spark, lake, skies):
    found = _found(spark, lake, "left_900", "right_150", radius_arcsec=RADIUS, mode="all")
    left, right = map(_coordinates, (skies["left"], skies["right"]))
    i, j, _, _ = search_around_sky(left, right, RADIUS * u.arcsec)
    assert set(zip(found["left_id"], found["right_id"] - 10**6, strict=True)) == set(zip(i, j, strict=True))


def test_matches_and_those_without_make_all_left_rows(spark, lake, skies):
    best = _found(spark, lake, "left_900", "right_4000", radius_arcsec=RADIUS)
    alone = _found(spark, lake, "left_900", "right_4000", radius_arcsec=RADIUS, mode="anti")
    assert alone["right_id"].isna().all()
    assert alone["sep_arcsec"].isna().all()
    assert sorted([*best["left_id"], *alone["left_id"]]) == skies["left"]["source_id"].tolist()


def test_the_sides_may_be_swapped(spark, lake):
    one = _found(spark, lake, "left_900", "right_150", radius_arcsec=RADIUS, mode="all")
    other = _found(spark, lake, "right_150", "left_900", radius_arcsec=RADIUS, mode="all")
    pairs = set(zip(one["left_id"], one["right_id"], strict=True))
    assert pairs == set(zip(other["right_id"], other["left_id"], strict=True))


@pytest.mark.parametrize("mode", ["best", "all", "best-symmetric"])
def test_rows_of_a_table_matched_with_itself_are_not_their_own_partners(spark, lake, skies, mode):
    found = _found(spark, lake, "left_900", "left_900", radius_arcsec=RADIUS, mode=mode)
    left = _positions(skies["left"])
    expected = match(left, left, RADIUS, mode, skip_self=True)
    pairs = zip(left.id[expected.left_index], left.id[expected.right_index], strict=True)
    assert sorted(zip(found["left_id"], found["right_id"], strict=True)) == sorted(pairs)
    assert len(found) > 50


def test_one_to_one_of_a_table_with_itself_is_refused(spark, lake):
    with pytest.raises(BadArguments, match="best-symmetric"):
        _plan(spark, lake, "left_900", "left_900", radius_arcsec=1.0, mode="one-to-one")


# Small skies of known answers.


@pytest.fixture
def small(spark, tmp_path, put_catalog):
    """small(left, right, **options) -> matches of two little tables, in partitions of one row."""

    def run(left: pd.DataFrame, right: pd.DataFrame, **options) -> pd.DataFrame:
        lake = Lake.create(str(tmp_path / f"small lake {len(list(tmp_path.iterdir()))}"))
        put_catalog(lake, "one", left, 1)
        put_catalog(lake, "other", right, 1)
        return _found(spark, lake, "one", "other", **options)

    return run


def test_pairs_across_the_poles_and_ra_zero(small):
    left = _frame([10.0, 10.0, 0.0, 45.0], [90 - ARCSEC, ARCSEC - 90, 0.0, 0.0])
    right = _frame([190.0, 190.0, 360 - ARCSEC, 45.0], [90 - ARCSEC, ARCSEC - 90, 0.0, -ARCSEC])
    found = small(left, right, radius_arcsec=2.001).sort_values("left_id")
    assert found["right_id"].tolist() == [0, 1, 2, 3]
    assert found["sep_arcsec"].to_numpy() == pytest.approx([2.0, 2.0, 1.0, 1.0], abs=1e-9)


@pytest.mark.parametrize(("radius", "n_found"), [(10.0 * (1 - 1e-12), 0), (10.0 * (1 + 1e-12), 1)])
def test_the_radius_is_sharp(small, radius, n_found):
    # On the equator a difference of ra is the separation; ra 90 is the edge of a base cell.
    found = small(_frame([45.0], [0.0]), _frame([45.0 + 10 * ARCSEC], [0.0]), radius_arcsec=radius)
    assert len(found) == n_found


@pytest.mark.parametrize("radius_deg", [60.0, 139.0, 180.0])
def test_a_radius_of_half_the_sky_finds_all_of_it(small, radius_deg):
    rng = np.random.default_rng(2)
    left, right = _frame(*_isotropic(rng, 12)), _frame(*_isotropic(rng, 15), 100)
    found = small(left, right, radius_arcsec=radius_deg * 3600, mode="all")
    _same(found, _expected(left, right, radius_deg * 3600, "all"))


def test_equal_separations_go_to_the_smaller_id(small):
    right = pd.DataFrame({"source_id": [9, 5, 7], "ra": [30.0] * 3, "dec": [0.0] * 3})
    found = small(_frame([30.0], [ARCSEC]), right, radius_arcsec=2.0, mode="nearest-n", n=2)
    assert found.sort_values("rank")["right_id"].tolist() == [5, 7]


def test_identifiers_keep_their_own_types(small):
    left = pd.DataFrame({"source_id": ["b", "a"], "ra": [10.0, 20.0], "dec": [0.0, 0.0]})
    found = small(left, _frame([10.0, 20.0], [0.0, 0.0], 2**62), radius_arcsec=1.0)
    assert sorted(zip(found["left_id"], found["right_id"], strict=True)) == [("a", 2**62 + 1), ("b", 2**62)]


@pytest.mark.parametrize("mode", ["best", "all", "nearest-n"])
def test_an_empty_right_side_matches_nothing(small, mode):
    assert len(small(_frame([10.0], [0.0]), _frame([], []), radius_arcsec=1.0, mode=mode)) == 0


def test_all_rows_are_alone_beside_an_empty_table(small):
    found = small(_frame([10.0, 20.0], [0.0, 5.0]), _frame([], []), radius_arcsec=1.0, mode="anti")
    assert sorted(found["left_id"]) == [0, 1]


@pytest.mark.parametrize("mode", ["best", "anti"])
def test_an_empty_left_side_has_no_row(small, mode):
    assert len(small(_frame([], []), _frame([10.0], [0.0]), radius_arcsec=1.0, mode=mode)) == 0


def _moving(ra, dec, pmra, pmdec, epoch) -> pd.DataFrame:
    return _frame(ra, dec).assign(pmra=pmra, pmdec=pmdec, ref_epoch=epoch)


# Barnard's star moves 10.3 arcsec a year north; here it starts just below a corner of four base cells.
FAST = {"ra": [45.0], "dec": [-80 * ARCSEC], "pmra": [0.0], "pmdec": [10_300.0], "epoch": [2000.0]}


def test_a_fast_star_is_found_at_the_epoch_of_the_match_alone(small):
    there = _frame([45.0], [-80 * ARCSEC + 10.3 * 16 * ARCSEC])
    assert len(small(_moving(**FAST), there, radius_arcsec=1.0)) == 0


@pytest.mark.parametrize("mode", ["best", "best-symmetric", "one-to-one"])
def test_a_fast_star_of_the_left_side_is_found(small, mode):
    there = _frame([45.0], [-80 * ARCSEC + 10.3 * 16 * ARCSEC])
    found = small(_moving(**FAST), there, radius_arcsec=1.0, epoch=2016.0, mode=mode)
    assert found["sep_arcsec"].to_numpy() == pytest.approx([0.0], abs=1e-4)


@pytest.mark.parametrize("mode", ["best", "best-symmetric", "one-to-one"])
def test_a_fast_star_of_the_right_side_is_found(small, mode):
    there = _frame([45.0], [-80 * ARCSEC + 10.3 * 16 * ARCSEC])
    found = small(there, _moving(**FAST), radius_arcsec=1.0, epoch=2016.0, mode=mode)
    assert found["sep_arcsec"].to_numpy() == pytest.approx([0.0], abs=1e-4)


def test_a_fast_rival_from_far_away_takes_the_partner(small):
    """The nearest left row of the partner is a star that has come from another cell."""
    there = -80 * ARCSEC + 10.3 * 16 * ARCSEC
    still = {"ra": [45.0], "dec": [there + 0.5 * ARCSEC], "pmra": [0.0], "pmdec": [0.0], "epoch": [2000.0]}
    both = {name: FAST[name] + still[name] for name in FAST}
    for mode in ("best-symmetric", "one-to-one"):
        found = small(_moving(**both), _frame([45.0], [there]), radius_arcsec=1.0, epoch=2016.0, mode=mode)
        assert found["left_id"].tolist() == [0]


def test_perspective_columns_are_used(small):
    """Barnard's star for 100 years: the perspective is 6 arcsec."""
    far = {"ra": [45.0], "dec": [0.0], "pmra": [0.0], "pmdec": [10_390.0], "epoch": [2000.0]}
    star = _moving(**far).assign(parallax=547.0, radial_velocity=-110.0)
    _, dec = propagate([45.0], [0.0], [0.0], [10_390.0], 2000.0, 2100.0, 547.0, -110.0)
    there = _frame([45.0], dec)
    assert len(small(star, there, radius_arcsec=0.01, epoch=2100.0)) == 1
    assert len(small(_moving(**far), there, radius_arcsec=3.0, epoch=2100.0)) == 0


@pytest.mark.parametrize("epoch", [1991.25, 2016.0])
def test_both_sides_are_brought_to_the_epoch(small, epoch):
    now = FAST | {"dec": [FAST["dec"][0] + 10.3 * 16 * ARCSEC], "epoch": [2016.0]}
    assert len(small(_moving(**FAST), _moving(**now), radius_arcsec=1.0, epoch=epoch)) == 1


def test_proper_motion_east_is_an_angle_on_the_sky(small):
    left = _moving([100.0], [60.0], [5_000.0], [0.0], [2000.0])
    moved = _frame([100.0 + 50 * ARCSEC / np.cos(np.radians(60.0))], [60.0])
    assert len(small(left, moved, radius_arcsec=0.1, epoch=2010.0)) == 1


def test_rows_without_motion_stay_where_they_are(small):
    nan = np.nan
    left = _moving([10.0, 20.0, 30.0], [0.0] * 3, [nan, 9e3, nan], [nan, 9e3, 9e3], [2000.0, nan, 2000.0])
    found = small(left, _frame([10.0, 20.0, 30.0], [0.0] * 3), radius_arcsec=1.0, epoch=2016.0)
    assert sorted(found["left_id"]) == [0, 1, 2]


def test_motion_without_its_epoch_is_refused(small):
    left = _moving([10.0], [0.0], [1.0], [1.0], [2000.0]).drop(columns="ref_epoch")
    with pytest.raises(MissingColumns, match="ref_epoch"):
        small(left, _frame([10.0], [0.0]), radius_arcsec=1.0, epoch=2016.0)


def test_a_table_without_positions_is_refused(spark, lake):
    storage = lake.delta_storage("rejects", positional=False)
    apply_commit(Commit(storage, delta_schema(REJECTS), (), (), None, "run-1", "test"))
    with pytest.raises(BadArguments, match="rejects has no positions"):
        _found(spark, lake, "left_900", "rejects", radius_arcsec=1.0)
