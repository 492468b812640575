"""Columns carried along, regions, positional errors, plans: what a cross-match does beside pairing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_crossmatch_spark import RADIUS, N, _expected, _matches, _plan, _positions, lake, skies

from astrolake.crossmatch.options import MatchOptions, Sigma, by_side, priors_of, sigma_of
from astrolake.crossmatch.sides import side_of
from astrolake.crossmatch.spark import match_reports, measured_density_deg2
from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.lake.declared import declared
from astrolake.lake.lake import Lake
from astrolake.lake.reader import table_snapshot
from astrolake.lake.staging import StageSpec
from astrolake.schema import CROSSMATCH
from astrolake.schema.arrow import arrow_schema
from astrolake.sky.matching import MODES, match
from astrolake.sky.probability import group_probabilities, log10_bayes_factor, p_single, prior_of_match
from astrolake.sky.region import Cone

__all__ = ["lake", "skies"]
pytestmark = pytest.mark.spark


@pytest.mark.parametrize("mode", MODES)
def test_no_plan_of_a_match_shuffles(spark, lake, mode):
    matching = _plan(spark, lake, "left_900", "right_150", radius_arcsec=RADIUS, mode=mode)
    spec = StageSpec(lake.storage, "run-x", "x", arrow_schema(CROSSMATCH))
    reports = match_reports(spark, matching, spec)
    plan = reports._jdf.queryExecution().executedPlan().toString()
    assert "MapInArrow" in plan
    assert "Exchange" not in plan
    assert "Broadcast" not in plan


@pytest.mark.parametrize("mode", ["best", "best-symmetric", "one-to-one", "left"])
def test_only_left_rows_of_a_region_are_matched_as_on_the_whole_sky(spark, lake, skies, mode):
    region = Cone(40.0, 60.0, 25.0)
    found = _matches(spark, lake, "left_900", "right_150", radius_arcsec=RADIUS, mode=mode, region=region)
    expected = _expected(skies["left"], skies["right"], RADIUS, mode)
    left = skies["left"].set_index("source_id").loc[expected["left_id"]]
    expected = expected[region.contains(left["ra"].to_numpy(), left["dec"].to_numpy())]
    assert len(expected) > 200
    assert sorted(found["left_id"]) == sorted(expected["left_id"])
    sums = [rows["right_id"].astype(float).sum() for rows in (found, expected)]
    assert sums[0] == sums[1]


def test_a_region_prunes_files_and_cells(spark, lake):
    whole = _plan(spark, lake, "left_900", "right_150", radius_arcsec=1.0)
    part = _plan(spark, lake, "left_900", "right_150", radius_arcsec=1.0, region=Cone(40.0, 60.0, 2.0))
    assert len(part.plan.region) > 0
    from astrolake.lake.cells import plan_cells

    assert len(plan_cells(part.snapshot, region=part.plan.region)) < len(plan_cells(whole.snapshot)) / 10


@pytest.fixture(scope="module")
def measured(put_catalog, tmp_path_factory, skies) -> Lake:
    """The two skies with errors, magnitudes and names."""
    lake = Lake.create(str(tmp_path_factory.mktemp("measured")))
    rng = np.random.default_rng(3)
    for side, size in (("left", 900), ("right", 4000)):
        rows = skies[side].assign(
            pos_err=rng.uniform(0.3, 1.5, N + (3 if side == "left" else 0)),
            mag=rng.normal(20, 1, N + (3 if side == "left" else 0)),
        )
        put_catalog(lake, side, rows, size)
        skies[f"{side}_measured"] = rows
    return lake


def test_columns_come_along_under_the_name_of_their_side(spark, measured, skies):
    found = _matches(
        spark, measured, "left", "right", radius_arcsec=RADIUS, mode="left",
        left_columns=("mag",), right_columns=("mag", "ra"),
    )  # fmt: skip
    left = skies["left_measured"].set_index("source_id")
    right = skies["right_measured"].set_index("source_id")
    assert (found["left_mag"].to_numpy() == left.loc[found["left_id"], "mag"].to_numpy()).all()
    matched = found[found["right_id"].notna()]
    theirs = right.loc[matched["right_id"].astype(int)]
    assert (matched["right_mag"].to_numpy() == theirs["mag"].to_numpy()).all()
    assert (matched["right_ra"].to_numpy() == theirs["ra"].to_numpy()).all()
    assert found.loc[found["right_id"].isna(), ["right_mag", "right_ra"]].isna().all().all()
    assert found["right_id"].isna().sum() > 1000


def test_a_column_that_is_not_there_is_named(spark, measured):
    with pytest.raises(MissingColumns, match="colour"):
        _plan(spark, measured, "left", "right", radius_arcsec=1.0, left_columns=("colour",))


SIGMA = {"left_sigma": Sigma(("pos_err",)), "right_sigma": Sigma(("pos_err",))}


@pytest.mark.parametrize("mode", ["all", "best", "left", "nearest-n"])
def test_probabilities_are_those_of_all_candidates_on_the_whole(spark, measured, skies, mode):
    options = SIGMA | {"density_deg2": 3000.0, "completeness": 0.8}
    found = _matches(spark, measured, "left", "right", radius_arcsec=RADIUS, mode=mode, n=2, **options)
    left, right = skies["left_measured"], skies["right_measured"]
    pairs = match(_positions(left), _positions(right), RADIUS, "all")
    bf = log10_bayes_factor(
        pairs.sep_arcsec,
        left["pos_err"].to_numpy()[pairs.left_index],
        right["pos_err"].to_numpy()[pairs.right_index],
    )
    prior = prior_of_match(3000.0, 0.8)
    p_any, p_i = group_probabilities(pairs.left_index, bf, prior)
    expected = pd.DataFrame(
        {
            "left_id": left["source_id"].to_numpy()[pairs.left_index],
            "right_id": right["source_id"].to_numpy()[pairs.right_index].astype(float),
            "p_any": p_any, "p_i": p_i, "log_bayes_factor": bf, "p_single": p_single(bf, prior),
        }
    )  # fmt: skip
    expected = expected.sort_values(["left_id", "p_i"], ascending=[True, False], kind="stable")
    rank = expected.groupby("left_id").cumcount() + 1
    expected = expected[rank <= {"all": 10**6, "nearest-n": 2}.get(mode, 1)]
    alone = found[found["right_id"].isna()]
    assert len(alone) == (len(left) - expected["left_id"].nunique() if mode == "left" else 0)
    assert (alone["p_any"] == 0).all()
    assert alone["p_i"].isna().all()
    matched = found[found["right_id"].notna()].astype({"right_id": float})
    both = expected.merge(matched, on=["left_id", "right_id"], suffixes=("", "_found"))
    assert len(both) == len(expected) == len(matched) > 3000
    for name in ("p_any", "p_i", "log_bayes_factor", "p_single"):
        np.testing.assert_allclose(both[f"{name}_found"], both[name], rtol=1e-9, atol=1e-12)


def test_errors_may_be_a_number_and_several_columns(spark, measured, skies):
    sigma = {
        "left_sigma": Sigma(("pos_err", "pos_err")),
        "right_sigma": Sigma(arcsec=0.4),
        "density_deg2": 10.0,
    }
    found = _matches(spark, measured, "left", "right", radius_arcsec=RADIUS, **sigma)
    error = skies["left_measured"].set_index("source_id").loc[found["left_id"], "pos_err"].to_numpy()
    np.testing.assert_allclose(found["sep_sigma"], found["sep_arcsec"] / np.hypot(error, 0.4))


def test_the_density_is_that_of_the_filled_sky(spark, lake, put_catalog, tmp_path):
    rng = np.random.default_rng(8)
    n = 40_000
    patch = pd.DataFrame({"source_id": np.arange(n), "ra": 20 + 4 * rng.random(n), "dec": 4 * rng.random(n)})
    small = Lake.create(str(tmp_path / "lake"))
    put_catalog(small, "patch", patch, 5000)
    assert measured_density_deg2(spark, table_snapshot(small, "patch")) == pytest.approx(n / 16, rel=0.15)
    whole = measured_density_deg2(spark, table_snapshot(lake, "right_150"))
    assert whole == pytest.approx(N / 41253, rel=0.15)


@pytest.mark.parametrize("mode", ["best-symmetric", "one-to-one", "anti"])
def test_modes_that_go_by_separation_take_no_errors(mode):
    with pytest.raises(BadArguments, match="separation alone"):
        MatchOptions(1.0, mode, left_sigma=Sigma(arcsec=1.0), right_sigma=Sigma(arcsec=1.0))


@pytest.mark.parametrize(
    "options",
    [
        {"radius_arcsec": -1.0}, {"n": 0}, {"completeness": 0.0}, {"completeness": 1.1}, {"cell_rows": 0},
        {"left_sigma": Sigma(arcsec=1.0)},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options):
    with pytest.raises(BadArguments):
        MatchOptions(**({"radius_arcsec": 1.0} | options))


def test_what_flags_say_of_the_sides():
    assert by_side("--select", ["left:a,b", "right:c", "left:d"]) == {
        "left": ("a", "b", "d"),
        "right": ("c",),
    }
    assert sigma_of("--sigma-column", ("0.1",)) == Sigma(arcsec=0.1)
    assert sigma_of("--sigma-column", ("ra_error", "dec_error")) == Sigma(("ra_error", "dec_error"))
    assert sigma_of("--sigma-column", ()) is None


@pytest.mark.parametrize("value", ["a", "middle:a", "left:", "left", ":a"])
def test_a_flag_that_names_no_side_is_refused(value):
    with pytest.raises(BadArguments, match="left:NAME"):
        by_side("--select", [value])


@pytest.mark.parametrize("value", [("-1",), ("nan",), ("inf",), ("1", "2")])
def test_an_error_that_is_none_is_refused(value):
    with pytest.raises(BadArguments):
        sigma_of("--sigma-column", value)


def test_priors_name_a_column_of_the_right_side():
    values = ("right:mag", "right:colour=a=b.txt")
    assert priors_of("--magnitude-prior", values) == (("mag", ""), ("colour", "a=b.txt"))


@pytest.mark.parametrize(
    "values", [("left:mag",), ("mag",), ("right:",), ("right:=x",), ("right:mag", "right:mag=x")]
)
def test_priors_that_are_none_are_refused(values):
    with pytest.raises(BadArguments, match="--magnitude-prior"):
        priors_of("--magnitude-prior", values)


def test_priors_need_errors_and_numbers(spark, measured, put_catalog):
    with pytest.raises(BadArguments, match="--sigma-column"):
        MatchOptions(1.0, priors=(("mag", ""),))
    with pytest.raises(MissingColumns, match="colour"):
        _plan(spark, measured, "left", "right", radius_arcsec=1.0, priors=(("colour", ""),), **SIGMA)
    words = pd.DataFrame({"source_id": [1], "ra": [1.0], "dec": [1.0], "pos_err": [0.1], "kind": ["star"]})
    put_catalog(measured, "words", words)
    with pytest.raises(BadArguments, match="right:kind"):
        _plan(spark, measured, "left", "words", radius_arcsec=1.0, priors=(("kind", ""),), **SIGMA)


def test_too_few_sure_matches_name_the_column(spark, measured, put_catalog):
    few = pd.DataFrame({"source_id": [1], "ra": [1.0], "dec": [1.0], "pos_err": [0.1], "few_mag": [20.0]})
    put_catalog(measured, "few", few)
    with pytest.raises(BadInput, match="right:few_mag"):
        _plan(spark, measured, "left", "few", radius_arcsec=1.0, priors=(("few_mag", ""),), **SIGMA)


def _errors(spark, lake, put_catalog, errors: list[float]) -> pd.DataFrame:
    stars = pd.DataFrame({"source_id": range(len(errors)), "ra": np.arange(len(errors)) * 1.0, "dec": 0.0})
    put_catalog(lake, "far", stars.assign(dec=0.3 / 3600, e=errors))
    put_catalog(lake, "near", stars)
    sigma = {"left_sigma": Sigma(arcsec=0.1), "right_sigma": Sigma(("e",))}
    return _matches(spark, lake, "near", "far", radius_arcsec=1.0, **sigma).sort_values("left_id")


def test_errors_that_are_none_make_nothing_known(spark, tmp_path, put_catalog):
    lake = Lake.create(str(tmp_path / "lake"))
    found = _errors(spark, lake, put_catalog, [0.2, -999.0, -0.2, np.inf, 1e300, np.nan])
    for name in ("sep_sigma", "log_bayes_factor", "p_single", "p_i", "p_any"):
        assert found[name].notna().tolist() == [True, False, False, False, False, False]


def test_motions_and_errors_are_converted_by_their_units(put_catalog, tmp_path):
    lake = Lake.create(str(tmp_path / "lake"))
    rows = pd.DataFrame(
        {
            "source_id": [1],
            "ra": [1.0],
            "dec": [1.0],
            "pmra": [1.0],
            "pmdec": [0.0],
            "ref_epoch": [2000.0],
            "e": [2.0],
        }
    )
    put_catalog(lake, "moving", rows)
    snapshot = table_snapshot(lake, "moving")
    plain = declared("moving", snapshot)

    def side(**units: str):
        columns = (replace(c, unit=units.get(c.name, c.unit)) for c in plain.columns)
        return side_of(replace(plain, columns=tuple(columns)), snapshot, 2016.0, (), Sigma(("e",)))

    everything = np.array([[0, 12 << 58]])
    moved = side(pmra="arcsec.yr**-1", e="mas").read(everything)
    assert (moved.positions.ra[0] - 1.0) * 3600 * np.cos(np.radians(1.0)) == pytest.approx(16.0, abs=1e-3)
    assert side(e="mas").sigma_arcsec(moved)[0] == pytest.approx(0.002)
    for unit in ({"pmra": "km"}, {"ref_epoch": "d"}, {"e": "mag"}):
        with pytest.raises(BadArguments, match=f"moving.{next(iter(unit))}"):
            side(**unit)
    assert side(ref_epoch="Time[Julian Years]").factors["ref_epoch"] == 1.0


def test_errors_and_motions_must_be_numbers(spark, tmp_path, put_catalog):
    lake = Lake.create(str(tmp_path / "lake"))
    rows = pd.DataFrame(
        {"source_id": [1], "ra": [1.0], "dec": [1.0], "pmra": ["x"], "pmdec": [0.0], "ref_epoch": [1.0]}
    )
    put_catalog(lake, "words", rows)
    with pytest.raises(BadArguments, match=r"words\.pmra is string"):
        _plan(spark, lake, "words", "words", radius_arcsec=1.0, epoch=2000.0)
    sigma = {"left_sigma": Sigma(("pmra",)), "right_sigma": Sigma(arcsec=0.1)}
    with pytest.raises(BadArguments, match=r"words\.pmra is string"):
        _plan(spark, lake, "words", "words", radius_arcsec=1.0, **sigma)
    put_catalog(lake, "half", rows.drop(columns="pmdec"))
    with pytest.raises(MissingColumns, match="pmdec"):
        _plan(spark, lake, "half", "half", radius_arcsec=1.0, epoch=2000.0)
