"""The jobs about tables, publish_tables and maintain_tables, from their command lines."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hats
import numpy as np
import pytest
from astropy.table import Table
from hats.io.skymap import read_skymap
from hats.io.validation import is_valid_catalog

from astrolake.lake.delta import read_snapshot
from astrolake.lake.hats import retract_hats_metadata
from astrolake.lake.lake import Lake
from astrolake.lake.reader import read_table
from astrolake.lake.runs import RunRecord
from astrolake.sky.healpix import healpix29

pytestmark = pytest.mark.spark

KILLED = "20250601T000000-ingest_catalog-abc123"


@pytest.fixture
def lake(run_job, tmp_path) -> Lake:
    """A lake with one catalog of 100 stars in partitions of at most 20."""
    ids = np.arange(100)
    Table({"id": ids, "ra": ids * 3.6, "dec": ids * 1.8 - 90}).write(tmp_path / "stars.fits")
    root = tmp_path / "my lake"
    run_job(
        "ingest_catalog",
        "--lake",
        root,
        "--table",
        "stars",
        "--input",
        tmp_path / "stars.fits",
        "--max-rows",
        20,
    )
    return Lake.open(str(root))


def _orphan(lake: Lake) -> Path:
    """A file that a run left, or is writing."""
    path = Path(lake.delta_storage("stars").path(f"Norder=0/Dir=0/Npix=3/part-{KILLED}-0123456789ab.parquet"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    return path


def _record(lake: Lake, age_hours: float) -> None:
    started = datetime.now(UTC) - timedelta(hours=age_hours)
    RunRecord(KILLED, "ingest_catalog", "0", {}, started).record(lake)


def _is_catalog(lake: Lake) -> bool:
    return is_valid_catalog(lake.table_storage("stars").path(), strict=True)


def test_publishing_makes_a_catalog(run_job, lake):
    code, summary = run_job("publish_tables", "--lake", lake.uri)
    assert (code, summary["rows_in"], summary["rows_out"]) == (0, 2, 2)
    assert summary["tables"]["stars"] == 0
    assert _is_catalog(lake)


def test_publishing_waits_for_a_run_and_names_it(run_job, spark, lake):
    _record(lake, 1)
    path = _orphan(lake)
    code, summary = run_job("publish_tables", "--lake", lake.uri, "--tables", "stars")
    assert (code, summary["rows_in"], summary["rows_rejected"]) == (0, 1, 1)
    (row,) = read_table(spark, lake, "rejects").collect()
    assert (row.source, row.error_type) == ("stars", "NotPublishable")
    assert KILLED in row.message
    assert path.exists()
    assert not _is_catalog(lake)


def test_publishing_clears_after_a_run_that_was_killed_yesterday(run_job, lake):
    _record(lake, 25)
    path = _orphan(lake)
    assert run_job("publish_tables", "--lake", lake.uri, "--strict")[0] == 0
    assert not path.exists()
    assert _is_catalog(lake)


def test_maintenance_clears_at_once_when_told_that_nobody_writes(run_job, lake):
    _record(lake, 1)
    path = _orphan(lake)
    assert run_job("maintain_tables", "--lake", lake.uri, "--vacuum-hours", 0)[0] == 0
    assert not path.exists()
    assert run_job("publish_tables", "--lake", lake.uri, "--strict")[0] == 0
    assert _is_catalog(lake)


def test_a_dry_run_deletes_and_writes_nothing(run_job, lake):
    path = _orphan(lake)
    before = {os.path.join(*entry) for entry in _files(lake)}
    flags = ("--tables", "stars", "--vacuum-hours", 0, "--compact", "--dry-run")
    code, summary = run_job("maintain_tables", "--lake", lake.uri, *flags)
    assert (code, summary["tables"]) == (0, {})
    assert {os.path.join(*entry) for entry in _files(lake)} == before
    assert path.exists()


def _files(lake: Lake) -> list[tuple[str, str]]:
    walked = os.walk(lake.table_storage("stars").path())
    return [(folder, name) for folder, _, names in walked for name in names]


def test_compaction_lays_the_table_out_as_it_would_be_today(run_job, spark, lake):
    ids = sorted(read_table(spark, lake, "stars").toPandas()["source_id"])
    code, summary = run_job("maintain_tables", "--lake", lake.uri, "--tables", "stars", "--compact")
    assert (code, summary["tables"]) == (0, {"stars": 1})
    files = read_snapshot(lake.delta_storage("stars")).files
    assert {file.order for file in files} == {0}
    assert sorted(read_table(spark, lake, "stars").toPandas()["source_id"]) == ids
    assert run_job("maintain_tables", "--lake", lake.uri, "--tables", "stars", "--compact")[1]["tables"] == {}


@pytest.mark.parametrize("job", ["publish_tables", "maintain_tables"])
def test_a_missing_table_fails_the_job(run_job, lake, job):
    code, summary = run_job(job, "--lake", lake.uri, "--tables", "stars", "galaxies")
    assert (code, summary["status"]) == (1, "failed")


@pytest.mark.parametrize(
    ("job", "flags"),
    [
        ("publish_tables", ("--retain-hours", "-1")),
        ("publish_tables", ("--retain-hours", "1e300")),
        ("publish_tables", ("--hats", "false", "--skymap-order", "3")),
        ("publish_tables", ("--glue",)),
        ("maintain_tables", ("--vacuum-hours", "-1")),
        ("maintain_tables", ("--vacuum-hours", "1e300")),
    ],
)
def test_arguments_out_of_range_are_refused(run_job, tmp_path, job, flags):
    assert run_job(job, "--lake", tmp_path, *flags) == (2, {})


def test_a_skymap_counts_the_rows_of_each_cell(run_job, lake):
    assert run_job("publish_tables", "--lake", lake.uri, "--skymap-order", 3)[0] == 0
    catalog = hats.read_hats(lake.table_storage("stars").path())
    assert _is_catalog(lake)
    counts = read_skymap(catalog, None)
    ids = np.arange(100)
    cells = healpix29(ids * 3.6, ids * 1.8 - 90) >> (2 * (29 - 3))
    np.testing.assert_array_equal(counts, np.bincount(cells, minlength=12 * 4**3))
    np.testing.assert_array_equal(read_skymap(catalog, 0), np.bincount(cells >> 6, minlength=12))


def test_a_write_takes_the_skymap_away_with_the_rest(run_job, lake):
    run_job("publish_tables", "--lake", lake.uri, "--skymap-order", 3)
    path = Path(lake.table_storage("stars").path("skymap.fits"))
    assert path.exists()
    retract_hats_metadata(lake.table_storage("stars"))
    assert not path.exists()


def test_a_table_named_twice_is_worked_on_once(run_job, lake):
    code, summary = run_job("maintain_tables", "--lake", lake.uri, "--tables", "stars", "stars", "--compact")
    assert (code, summary["rows_in"], summary["tables"]) == (0, 1, {"stars": 1})


def test_publishing_without_a_skymap_removes_the_old_one(run_job, lake):
    run_job("publish_tables", "--lake", lake.uri, "--skymap-order", 3)
    run_job("publish_tables", "--lake", lake.uri)
    assert not Path(lake.table_storage("stars").path("skymap.fits")).exists()
    assert _is_catalog(lake)
