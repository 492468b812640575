"""kill -9 at awkward moments, then the same job again: the table is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hats.io.validation import is_valid_catalog
from job_chain import run
from killed_job import drive

from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.sql import run_query
from astrolake.lake.vacuum import find_orphans

pytestmark = pytest.mark.spark


def rows_of(lake: Lake) -> pd.DataFrame:
    found = run_query(lake, "SELECT * FROM detections").to_pandas().drop(columns="run_id")
    return found.sort_values("detection_id").reset_index(drop=True)


@pytest.fixture(scope="module")
def ingested(sample_sky, tmp_path_factory, spark) -> Path:
    path = tmp_path_factory.mktemp("ingested") / "lake"
    run("ingest_images", path, "--images", sample_sky.images_dir)
    return path


@pytest.fixture
def lake_copy(ingested, tmp_path) -> Path:
    copy = tmp_path / "lake"
    subprocess.run(["cp", "-r", str(ingested), str(copy)], check=True)
    return copy


def detection_files(lake: Path) -> list[Path]:
    return list(lake.glob("detections/dataset/Norder=*/Dir=*/Npix=*/*.parquet"))


#: Each takes a session of its own; the others are run by make test-slow.
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "moment", [pytest.param("at work", marks=SLOW), "before commit", pytest.param("after commit", marks=SLOW)]
)
def test_killed_and_rerun_gives_the_same_table(lake_copy, moment):
    process = drive(moment, "extract_sources", lake_copy)
    assert process.wait(timeout=240) == -signal.SIGKILL
    os.system(f"pkill -9 -g {process.pid}")

    lake = Lake.open(str(lake_copy))
    assert lake.has_table("detections") == (moment == "after commit")
    if moment == "before commit":
        assert detection_files(lake_copy), "the killed run had written its files"
    killed = run_query(lake, "SELECT run_id, status FROM runs WHERE job = 'extract_sources'").to_pylist()
    assert [row["status"] for row in killed] == ["running"]

    again = run("extract_sources", lake_copy)
    assert again["status"] == "done"
    after = rows_of(lake)
    assert len(after) == again["rows_written"]["detections"]
    assert run("extract_sources", lake_copy)["status"] == "done"
    pd.testing.assert_frame_equal(rows_of(lake), after)

    orphans = find_orphans(lake.delta_storage("detections"))
    assert bool(orphans) == (moment == "before commit")
    if orphans:
        refused = run("publish_tables", lake_copy, "--tables", "detections")
        assert refused["rows_rejected"] == 1, "a run that may still write keeps the table from HATS readers"
    if moment != "at work":  # a second into it, nothing may be staged yet
        assert (lake_copy / "_staging" / killed[0]["run_id"]).exists(), "what it staged outlives it"
    run("maintain_tables", lake_copy, "--vacuum-hours", 0)
    assert not list((lake_copy / "_staging").glob("*"))
    assert run("publish_tables", lake_copy)["rows_rejected"] == 0
    assert is_valid_catalog(lake.table_storage("detections").path(), strict=True)
    pd.testing.assert_frame_equal(rows_of(lake), after)


def test_a_failed_run_commits_nothing_and_says_why(lake_copy, monkeypatch):
    from astrolake.job import runner

    def refuse(_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runner, "apply_commit", refuse)
    failed = run("extract_sources", lake_copy)
    assert failed["status"] == "failed"
    lake = Lake.open(str(lake_copy))
    assert not lake.has_table("detections")
    rows = run_query(lake, "SELECT status, message FROM runs WHERE job = 'extract_sources'").to_pylist()
    assert rows[0]["status"] == "failed"
    assert "No space left" in rows[0]["message"]


def test_the_command_line_ends_with_one_json_object(ingested, tmp_path):
    copy = tmp_path / "lake"
    subprocess.run(["cp", "-r", str(ingested), str(copy)], check=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "jobs/extract_sources.py", "--lake", str(copy), "--band", "r",
         "--JOB_NAME", "extract_sources", "--enable-metrics", "true", "--TempDir", "s3://bucket/temp"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["job"] == "extract_sources"
    assert summary["rows_in"] == summary["rows_out"] == 4
    lake = Lake.open(str(copy))
    written = ("detections", "image_quality")
    versions = {table: read_snapshot(lake.delta_storage(table)).version for table in written}
    assert summary["tables"] == versions


@SLOW
def test_killed_workers_cost_a_retry(lake_copy):
    assert drive("killed worker", "extract_sources", lake_copy).wait(timeout=240) == 0
    lake = Lake.open(str(lake_copy))
    after = rows_of(lake)
    assert after["detection_id"].is_unique
    assert run("extract_sources", lake_copy)["status"] == "done"
    pd.testing.assert_frame_equal(rows_of(lake), after)
    assert not list((lake_copy / "_staging").glob("*"))


def test_a_terminated_run_is_on_record(lake_copy):
    assert drive("terminated", "extract_sources", lake_copy).wait(timeout=240) == 143
    lake = Lake.open(str(lake_copy))
    (row,) = run_query(lake, "SELECT status, message FROM runs WHERE job = 'extract_sources'").to_pylist()
    assert (row["status"], row["message"]) == ("failed", "SystemExit: 143")
    assert not lake.has_table("detections")


# The same for a cross-match.


@pytest.fixture(scope="module")
def catalogs(spark, tmp_path_factory) -> Path:
    """A lake with two catalogs of 60,000 stars, partners within an arcsec, in 40 partitions."""
    folder = tmp_path_factory.mktemp("catalogs")
    rng = np.random.default_rng(3)
    ids, ra, dec = np.arange(60_000), rng.uniform(0, 20, 60_000), rng.uniform(0, 20, 60_000)
    for name, scatter in (("stars", 0.0), ("galaxies", 0.3 / 3600)):
        moved = (axis + rng.normal(0, 1, len(ids)) * scatter for axis in (ra, dec))
        columns = dict(zip(("ra", "dec"), moved, strict=True))
        pd.DataFrame({"id": ids, **columns}).to_parquet(folder / f"{name}.parquet")
        run(
            "ingest_catalog",
            folder / "lake",
            "--input",
            folder / f"{name}.parquet",
            "--table",
            name,
            "--max-rows",
            3000,
        )
    return folder / "lake"


MATCH = ("--left", "stars", "--right", "galaxies", "--mode", "one-to-one")


def pairs_of(lake: Path) -> list[tuple]:
    rows = run_query(
        Lake.open(str(lake)), "SELECT left_id, right_id, sep_arcsec FROM crossmatches_stars_x_galaxies"
    )
    return sorted(map(tuple, zip(*(rows.column(i).to_pylist() for i in range(3)), strict=True)))


@pytest.fixture(scope="module")
def undisturbed(catalogs, tmp_path_factory) -> list[tuple]:
    copy = tmp_path_factory.mktemp("undisturbed") / "lake"
    shutil.copytree(catalogs, copy)
    run("crossmatch_catalogs", copy, *MATCH)
    return pairs_of(copy)


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("at work", -9),
        pytest.param("before commit", -9, marks=SLOW),
        pytest.param("after commit", -9, marks=SLOW),
        ("killed worker", 0),
        pytest.param("full disk", 1, marks=SLOW),
    ],
)
def test_a_disturbed_match_ends_in_the_same_table(catalogs, undisturbed, tmp_path, moment, code):
    lake = tmp_path / "lake"
    shutil.copytree(catalogs, lake)
    process = drive(moment, "crossmatch_catalogs", lake, *MATCH)
    assert process.wait(timeout=240) == code
    os.system(f"pkill -9 -g {process.pid}")
    assert Lake.open(str(lake)).has_table("crossmatches/stars_x_galaxies") == (
        moment in ("after commit", "killed worker")
    )
    if moment == "full disk":
        (message,) = (
            run_query(Lake.open(str(lake)), "SELECT message FROM runs WHERE status = 'failed'")
            .column(0)
            .to_pylist()
        )
        assert "File too large" in message
    assert run("crossmatch_catalogs", lake, *MATCH)["status"] == "done"
    assert pairs_of(lake) == undisturbed
    assert len(undisturbed) > 50_000
    run("maintain_tables", lake, "--vacuum-hours", 0)
    assert not list((lake / "_staging").glob("*"))
