"""kill -9 at awkward moments, then the same job again: the table is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from hats.io.validation import is_valid_catalog
from job_chain import run

from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.sql import run_query
from astrolake.lake.vacuum import find_orphans

pytestmark = pytest.mark.spark

#: Runs extract_sources in a process that kills itself with SIGKILL at a named moment.
_DRIVER = textwrap.dedent(
    """
    import glob, os, signal, sys, threading, time
    import astrolake.job.runner as runner
    from astrolake.jobs import extract_sources

    moment, lake = sys.argv[1:]
    from astrolake.photometry import spark as stage

    commit = runner.apply_commit

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    collect = stage.collect_sources

    def while_extracting(found):
        threading.Timer(1.0, die).start()  # workers are reading images by then
        return collect(found)

    def after_commit(pending):
        commit(pending)
        die()

    def workers():
        # The daemon's children, of this session alone: other tests have workers, too.
        for path in glob.glob("/proc/[0-9]*"):
            pid = int(path[6:])
            try:
                parent = open(path + "/stat").read().rpartition(")")[2].split()[1]
                command = open(f"/proc/{parent}/cmdline").read().split("\\0")
                if command[1:3] == ["-m", "astrolake.lake.worker_daemon"] and os.getsid(pid) == os.getsid(0):
                    yield pid
            except OSError:
                pass

    def kill_workers():
        for _ in range(100):
            if found := list(workers()):
                time.sleep(0.3)  # well into an image
                [os.kill(pid, signal.SIGKILL) for pid in found]
                return
            time.sleep(0.1)
        os._exit(99)

    def at_work(act):
        def collecting(found):
            threading.Timer(1.0, act).start()
            return collect(found)
        return collecting

    if moment == "killed worker":
        stage.collect_sources = at_work(kill_workers)
    if moment == "terminated":
        stage.collect_sources = at_work(lambda: os.kill(os.getpid(), signal.SIGTERM))
    if moment == "while extracting":
        stage.collect_sources = while_extracting
    if moment == "before commit":
        runner.apply_commit = die
    if moment == "after commit":
        runner.apply_commit = after_commit
    sys.exit(runner.main(extract_sources.JOB, ["--lake", lake]))
    """
)


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


def drive(moment: str, lake: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _DRIVER, moment, str(lake)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def detection_files(lake: Path) -> list[Path]:
    return list(lake.glob("detections/dataset/Norder=*/Dir=*/Npix=*/*.parquet"))


@pytest.mark.parametrize("moment", ["while extracting", "before commit", "after commit"])
def test_killed_and_rerun_gives_the_same_table(lake_copy, moment):
    process = drive(moment, lake_copy)
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
    if moment != "while extracting":  # a second into it, nothing may be staged yet
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
    version = read_snapshot(Lake.open(str(copy)).delta_storage("detections")).version
    assert summary["tables"] == {"detections": version}


def test_killed_workers_cost_a_retry(lake_copy):
    assert drive("killed worker", lake_copy).wait(timeout=240) == 0
    lake = Lake.open(str(lake_copy))
    after = rows_of(lake)
    assert after["detection_id"].is_unique
    assert run("extract_sources", lake_copy)["status"] == "done"
    pd.testing.assert_frame_equal(rows_of(lake), after)
    assert not list((lake_copy / "_staging").glob("*"))


def test_a_terminated_run_is_on_record(lake_copy):
    assert drive("terminated", lake_copy).wait(timeout=240) == 143
    lake = Lake.open(str(lake_copy))
    (row,) = run_query(lake, "SELECT status, message FROM runs WHERE job = 'extract_sources'").to_pylist()
    assert (row["status"], row["message"]) == ("failed", "SystemExit: 143")
    assert not lake.has_table("detections")
