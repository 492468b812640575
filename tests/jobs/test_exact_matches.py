"""crossmatch_catalogs against astropy, pair for pair: all sky, real catalogs, the demo, the awkward cases."""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time
from job_chain import run

from astrolake.lake.lake import Lake
from astrolake.lake.sql import run_query

pytestmark = pytest.mark.spark

#: Separations of astropy and ours differ by rounding.
_TOLERANCE_ARCSEC = 1e-6


def sky_of(rows: pd.DataFrame) -> SkyCoord:
    return SkyCoord(rows["ra"].to_numpy() * u.deg, rows["dec"].to_numpy() * u.deg)


def ingest(lake: Path, name: str, rows: pd.DataFrame, *flags: object) -> pd.DataFrame:
    """Bring rows into the lake and return them as the lake has them."""
    path = lake.parent / f"{name}.parquet"
    rows.to_parquet(path)
    summary = run(
        "ingest_catalog", lake, "--input", path, "--table", name, "--id-column", "source_id", *flags
    )
    assert summary["status"] == "done", summary
    return table(lake, name)


def table(lake: Path, name: str) -> pd.DataFrame:
    return run_query(
        Lake.open(str(lake)), f"SELECT source_id, ra, dec FROM {name} ORDER BY source_id"
    ).to_pandas()


def matched(lake: Path, left: str, right: str, radius: float, mode: str) -> pd.DataFrame:
    flags = ("--left", left, "--right", right, "--radius-arcsec", radius, "--mode", mode)
    summary = run("crossmatch_catalogs", lake, *flags)
    assert summary["status"] == "done", summary
    assert summary["rows_in"] == summary["rows_out"]
    name = f"crossmatches_{left}_x_{right}"
    sql = f"SELECT left_id, right_id, sep_arcsec FROM {name} ORDER BY left_id, right_id"
    return run_query(Lake.open(str(lake)), sql).to_pandas()


def check_best(found: pd.DataFrame, left: pd.DataFrame, right: pd.DataFrame, radius: float) -> None:
    """The same left rows, the same separations, the same partners except among exact duplicates."""
    index, sep, _ = sky_of(left).match_to_catalog_sky(sky_of(right))
    near = sep.arcsec <= radius
    assert found["left_id"].tolist() == left["source_id"][near].tolist()
    np.testing.assert_allclose(found["sep_arcsec"], sep.arcsec[near], atol=_TOLERANCE_ARCSEC)
    same = found["right_id"].to_numpy() == right["source_id"].to_numpy()[index[near]]
    lookup = right.set_index("source_id")
    theirs = right.iloc[index[near][~same]][["ra", "dec"]].to_numpy()
    ours = lookup.loc[found["right_id"][~same], ["ra", "dec"]].to_numpy()
    np.testing.assert_array_equal(ours, theirs)


def check_all(found: pd.DataFrame, left: pd.DataFrame, right: pd.DataFrame, radius: float) -> None:
    i, j, _, _ = sky_of(right).search_around_sky(sky_of(left), radius * u.arcsec)
    ids = (left["source_id"].to_numpy()[i], right["source_id"].to_numpy()[j])
    expected = pd.MultiIndex.from_arrays(ids).sort_values()
    assert pd.MultiIndex.from_frame(found[["left_id", "right_id"]]).equals(
        expected.set_names(["left_id", "right_id"])
    )


def random_sky(n: int, seed: int) -> pd.DataFrame:
    """All-sky positions with some at the poles, at RA 0, at HEALPix vertices, and exact duplicates."""
    rng = np.random.default_rng(seed)
    ra = rng.uniform(0, 360, n)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    k = n // 50
    dec[:k] = 90 - rng.exponential(0.2, k)
    dec[k : 2 * k] = -90 + rng.exponential(0.2, k)
    ra[2 * k : 3 * k] = np.mod(rng.normal(0, 0.01, k), 360)
    ra[:2], dec[:2] = 0.0, (90.0, -90.0)
    return pd.DataFrame({"source_id": np.arange(n) + seed * 10**9, "ra": ra, "dec": np.clip(dec, -90, 90)})


@pytest.fixture(scope="module")
def all_sky(tmp_path_factory, spark):
    """200,000 rows a side, different partition orders, a third of the right side near a left row."""
    lake = tmp_path_factory.mktemp("all sky") / "lake"
    left, right = random_sky(200_000, 1), random_sky(200_000, 2)
    rng = np.random.default_rng(3)
    near = rng.choice(len(left), len(right) // 3, replace=False)
    step = rng.exponential(0.7, len(near)) / 3600
    angle = rng.uniform(0, 2 * np.pi, len(near))
    cos = np.maximum(np.cos(np.radians(left["dec"].to_numpy()[near])), 1e-6)
    ra = left["ra"].to_numpy()[near] + step * np.sin(angle) / cos
    right.loc[: len(near) - 1, "ra"] = np.mod(ra, 360)
    right.loc[: len(near) - 1, "dec"] = np.clip(left["dec"].to_numpy()[near] + step * np.cos(angle), -90, 90)
    right.loc[1000:1999, ["ra", "dec"]] = right.loc[:999, ["ra", "dec"]].to_numpy()
    left.loc[5000:5009, "dec"] = np.nan
    kept = (
        ingest(lake, "bright", left, "--max-rows", 9_000),
        ingest(lake, "faint", right, "--max-rows", 30_000),
    )
    return lake, *kept


def test_rows_without_a_position_are_rejected(all_sky):
    lake, left, right = all_sky
    assert (len(left), len(right)) == (199_990, 200_000)
    rejects = run_query(Lake.open(str(lake)), "SELECT source FROM rejects").to_pylist()
    assert len(rejects) == 10


@pytest.mark.parametrize("radius", [1.0, 60.0])
def test_best_equals_astropy_on_the_whole_sky(all_sky, radius):
    lake, left, right = all_sky
    found = matched(lake, "bright", "faint", radius, "best")
    assert len(found) > 40_000
    check_best(found, left, right, radius)


def test_all_equals_astropy_on_the_whole_sky(all_sky):
    lake, left, right = all_sky
    found = matched(lake, "bright", "faint", 20.0, "all")
    check_all(found, left, right, 20.0)


def test_anti_is_what_best_leaves(all_sky):
    lake, left, _ = all_sky
    best = set(matched(lake, "bright", "faint", 1.0, "best")["left_id"])
    anti = matched(lake, "bright", "faint", 1.0, "anti")
    assert set(anti["left_id"]) == set(left["source_id"]) - best
    assert anti["right_id"].isna().all()


@pytest.mark.parametrize(("left", "right"), [("bright", "none"), ("none", "faint"), ("none", "none")])
def test_empty_tables(all_sky, left, right):
    lake, *_ = all_sky
    if not Lake.open(str(lake)).has_table("none"):
        ingest(lake, "none", random_sky(100, 4).iloc[:0])
    assert matched(lake, left, right, 1.0, "best").empty


@pytest.mark.data
@pytest.mark.parametrize(
    ("left", "right", "radius"),
    [("sdss", "panstarrs", 2.0), ("panstarrs", "cmc14", 2.0), ("cmc14", "sdss", 5.0)],
)
def test_real_catalogs_equal_astropy(field_308, left, right, radius):
    lake = field_308
    a, b = table(lake, left), table(lake, right)
    check_best(matched(lake, left, right, radius, "best"), a, b, radius)
    check_all(matched(lake, left, right, radius, "all"), a, b, radius)


@pytest.mark.data
def test_the_published_matches_of_field_308(field_308):
    assert len(matched(field_308, "sdss", "panstarrs", 2.0, "best")) == 356
    assert len(matched(field_308, "panstarrs", "cmc14", 2.0, "best")) == 2091


@pytest.fixture(scope="module")
def field_308(survey_data, tmp_path_factory, spark):
    lake = tmp_path_factory.mktemp("field 308") / "lake"
    folder = survey_data / "catalogs"
    names = ("ra", "dec", "band", "mag", "err")
    for name, file, flags in (
        ("sdss", "sdss_308.csv", ()),
        ("panstarrs", "panstarrs_308.csv", ()),
        ("cmc14", "CMC14_10068.txt", ("--columns", *names, "--delimiter", " ")),
    ):
        summary = run("ingest_catalog", lake, "--input", folder / file, "--table", name, *flags)
        assert (summary["status"], summary["rows_rejected"]) == ("done", 0)
    return lake


@pytest.mark.filterwarnings("ignore:ERFA function")
def test_the_demo_equals_astropy(filled):
    """Objects against the reference catalog where it stood at the middle epoch."""
    objects = run_query(
        filled.lake, "SELECT object_id AS source_id, ra, dec FROM objects ORDER BY 1"
    ).to_pandas()
    gaia = run_query(filled.lake, "SELECT * FROM gaia ORDER BY source_id").to_pandas()
    moved = SkyCoord(
        gaia["ra"].to_numpy() * u.deg,
        gaia["dec"].to_numpy() * u.deg,
        pm_ra_cosdec=gaia["pmra"].fillna(0).to_numpy() * u.mas / u.yr,
        pm_dec=gaia["pmdec"].fillna(0).to_numpy() * u.mas / u.yr,
        obstime=Time(gaia["ref_epoch"].to_numpy(), format="jyear"),
    ).apply_space_motion(new_obstime=Time(2019.7, format="jyear"))
    index, sep, _ = sky_of(objects).match_to_catalog_sky(moved)
    near = sep.arcsec <= 1.0
    found = run_query(
        filled.lake, "SELECT left_id, right_id, sep_arcsec FROM crossmatches_objects_x_gaia ORDER BY left_id"
    ).to_pandas()
    assert found["left_id"].tolist() == objects["source_id"][near].tolist()
    assert found["right_id"].tolist() == gaia["source_id"].to_numpy()[index[near]].tolist()
    np.testing.assert_allclose(found["sep_arcsec"], sep.arcsec[near], atol=1e-3)
