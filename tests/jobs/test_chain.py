"""The whole chain on a small sky: counts, provenance, readers, reruns."""

from __future__ import annotations

import duckdb
import lsdb
import numpy as np
import pandas as pd
import pytest
from hats.io.validation import is_valid_catalog
from job_chain import chain, run

from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.reader import frame_of, read_table
from astrolake.lake.sql import run_query

pytestmark = pytest.mark.spark

POSITIONAL = ("detections", "objects", "gaia", "specz", "crossmatches/objects_x_gaia")
#: What may differ between two runs of the same jobs.
VOLATILE = ("run_id", "Norder", "Dir", "Npix")


def content(lake: Lake, table: str, version: int | None = None) -> pd.DataFrame:
    """All rows of a table in a canonical order, without what changes from run to run."""
    handle = read_snapshot(lake.delta_storage(table), version)
    assert handle is not None
    paths = [handle.storage.path(file.path) for file in handle.files]
    rows = duckdb.sql(f"SELECT * FROM read_parquet({paths}, hive_partitioning=false)").df()
    rows = rows.drop(columns=[name for name in VOLATILE if name in rows.columns])
    keys = [name for name in rows.columns if name.endswith("_id")] or list(rows.columns[:2])
    return rows.sort_values(keys).reset_index(drop=True)


def test_every_step_is_done(filled):
    assert {s["status"] for s in filled.summaries.values()} == {"done"}


def test_rows_in_are_rows_out_and_rejected(filled):
    for step, summary in filled.summaries.items():
        assert summary["rows_in"] == summary["rows_out"] + summary["rows_rejected"], step


def test_rejects_name_the_file_and_the_cause(filled):
    rows = run_query(filled.lake, "SELECT source, error_type, message FROM rejects").to_pylist()
    by_name = {row["source"].rsplit("/", 1)[-1].split("#")[0]: row for row in rows}
    for bad in filled.sky.bad_images:
        assert bad.name in by_name
        assert bad.name in by_name[bad.name]["message"]
    assert sum("reference.fits" in row["source"] for row in rows) == filled.sky.n_bad_reference
    assert sum("specz.csv" in row["source"] for row in rows) == filled.sky.n_bad_specz


def test_every_run_is_recorded_with_its_versions(filled):
    runs = run_query(filled.lake, "SELECT run_id, status, inputs, ended_at FROM runs").to_pandas()
    assert set(runs["run_id"]) == {s["run_id"] for s in filled.summaries.values()}
    assert (runs["status"] == "done").all()
    assert runs["ended_at"].notna().all()
    match = runs.set_index("run_id").loc[filled.summaries["match"]["run_id"]]
    assert match["inputs"] == '{"gaia": 0, "objects": 0}'


def test_every_row_carries_the_run_that_wrote_it(filled):
    for table, step in (("images", "ingest_images"), ("detections", "extract_sources"), ("gaia", "gaia")):
        found = run_query(filled.lake, f"SELECT DISTINCT run_id FROM {table}").to_pylist()
        assert found == [{"run_id": filled.summaries[step]["run_id"]}]


def test_each_position_is_primary_on_one_image_of_a_visit_and_band(filled):
    """Detections of one star on two overlapping images: one is primary."""
    pairs = run_query(
        filled.lake,
        """SELECT a.is_primary AS first, b.is_primary AS second
           FROM detections a JOIN detections b
             ON a.visit = b.visit AND a.band = b.band AND a.image_id < b.image_id
           WHERE abs(a.dec - b.dec) < 0.3 / 3600 AND abs(a.ra - b.ra) * cos(radians(a.dec)) < 0.3 / 3600
             AND a.mag_aper[2] < 20 AND abs(a.mag_aper[2] - b.mag_aper[2]) < 0.1""",
    ).to_pandas()
    assert len(pairs) > 20
    # A star at the seam may be measured on either side of it on both images.
    assert (pairs["first"] ^ pairs["second"]).mean() > 0.95


def test_an_object_counts_a_visit_once(filled):
    objects = run_query(filled.lake, "SELECT n_g, n_r, n_i, n_det, n_used FROM objects").to_pandas()
    assert objects[["n_g", "n_r", "n_i"]].max().max() == 2
    assert (objects[["n_g", "n_r", "n_i"]].sum(axis=1) == objects["n_used"]).all()
    assert (objects["n_det"] >= objects["n_used"]).all()
    assert (objects["n_det"] > objects["n_used"]).any()


def test_bright_stars_are_found_where_they_are(filled):
    """Truth at the middle epoch against objects: complete, and unbiased to 10 mas."""
    truth = pd.read_parquet(filled.sky.truth).query("type == 'star' and 15 < mag_r < 19")
    objects = run_query(filled.lake, "SELECT ra, dec FROM objects").to_pandas()
    years = 2019.7 - 2016.0
    cos = np.cos(np.radians(truth["dec"].to_numpy()))
    ra = truth["ra"].to_numpy() + truth["pmra"].to_numpy() * years / 3.6e6 / cos
    dec = truth["dec"].to_numpy() + truth["pmdec"].to_numpy() * years / 3.6e6
    edge = 5 / 3600
    inside = (dec > objects["dec"].min() + edge) & (dec < objects["dec"].max() - edge)
    inside &= (ra > objects["ra"].min() + 2 * edge) & (ra < objects["ra"].max() - 2 * edge)
    offsets = np.array(
        [
            np.hypot((objects["ra"] - a) * c, objects["dec"] - d).min() * 3600
            for a, d, c in zip(ra[inside], dec[inside], cos[inside], strict=True)
        ]
    )
    assert len(offsets) > 10
    # The fastest stars move an arcsecond between the epochs.
    assert (offsets < 1.5).all()
    assert np.median(offsets) < 0.02


@pytest.mark.parametrize("table", POSITIONAL)
def test_published_tables_are_valid_hats_catalogs(filled, table):
    root = filled.lake.table_storage(table).path()
    assert is_valid_catalog(root, strict=True)
    rows = read_snapshot(filled.lake.delta_storage(table)).rows
    assert len(lsdb.open_catalog(root).compute()) == rows


@pytest.mark.parametrize("table", [*POSITIONAL, "images", "runs", "rejects"])
def test_duckdb_and_spark_read_the_same(filled, spark, table):
    ours = read_table(spark, filled.lake, table)
    numbers = [f.name for f in ours.schema.fields if f.dataType.simpleString() in ("bigint", "int", "double")]
    sums = ", ".join(f"sum(CAST({name} AS DOUBLE)) AS {name}" for name in numbers if name != "_healpix_29")
    select = f"SELECT count(*) AS n_rows{', ' + sums if sums else ''} FROM {table.replace('/', '_')}"
    ours.createOrReplaceTempView(table.replace("/", "_"))
    theirs = run_query(filled.lake, select, dialect="duckdb").to_pandas().astype(float)
    mine = spark.sql(select).toPandas().astype(float)
    np.testing.assert_allclose(mine.to_numpy(), theirs.to_numpy(), rtol=1e-12)


def test_a_second_run_gives_the_same_tables_under_new_versions(chain_again):
    lake, before, after = chain_again
    for table in (*POSITIONAL, "images"):
        pd.testing.assert_frame_equal(before[table], content(lake, table))
        assert after[table] > 0
    for table in POSITIONAL:
        assert is_valid_catalog(lake.table_storage(table).path(), strict=True)


def test_time_travel_reads_the_earlier_version(sample_sky, tmp_path, spark):
    lake_dir = tmp_path / "lake"
    good = [str(path) for path in sample_sky.images]
    run("ingest_images", lake_dir, "--images", *good)
    run("extract_sources", lake_dir, "--band", "r")
    lake = Lake.open(str(lake_dir))
    first = content(lake, "detections")
    run("extract_sources", lake_dir)
    assert set(first["band"]) == {"r"}
    assert set(content(lake, "detections")["band"]) == {"g", "r", "i"}
    pd.testing.assert_frame_equal(content(lake, "detections", version=0), first)
    again = run_query(lake, "SELECT count(*) AS n FROM detections", versions={"detections": 0}).to_pylist()
    assert again == [{"n": len(first)}]
    assert frame_of(spark, read_snapshot(lake.delta_storage("detections"), 0)).count() == len(first)
    # Extracting g and i anew left the rows of r as they were.
    now = content(lake, "detections").query("band == 'r'").reset_index(drop=True)
    pd.testing.assert_frame_equal(now, first)


@pytest.fixture(scope="module")
def chain_again(sample_sky, tmp_path_factory, spark):
    """A lake the chain has run on twice: the lake, the first content, the versions after the second."""
    path = tmp_path_factory.mktemp("twice") / "lake"
    chain(sample_sky, path)
    lake = Lake.open(str(path))
    before = {table: content(lake, table) for table in (*POSITIONAL, "images") if lake.has_table(table)}
    chain(sample_sky, path)
    after = {table: read_snapshot(lake.delta_storage(table)).version for table in before}
    return lake, before, after
