import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from astrolake.errors import BadArguments, BadInput
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.job import runner as runner_module
from astrolake.lake.delta import apply_commit
from astrolake.lake.lake import Lake
from astrolake.lake.reader import read_table
from astrolake.lake.runs import RunRecord, read_runs
from astrolake.lake.writer import Written
from astrolake.schema import CATALOG, RUNS
from astrolake.sky.healpix import healpix29

pytestmark = pytest.mark.spark

STARS = replace(CATALOG, name="stars")
KEYS = {
    "job", "run_id", "status", "rows_in", "rows_out", "rows_rejected", "tables", "rows_written", "seconds",
}  # fmt: skip
REJECT = "source string, error_type string, message string, payload string"


@dataclass(frozen=True, kw_only=True)
class Args(JobArgs):
    rows: int = flag(3, help="rows to write")


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.create(str(tmp_path / "my lake"))


@pytest.fixture
def play(spark, lake, capsys) -> Callable:
    """Run a function as a job on the lake: play(run, *flags) -> (exit code, lines on stdout)."""

    def played(run, *flags: str):
        job = Job("test_job", Args, run, "A job of a test.")
        code = main(job, ["--lake", lake.uri, *flags])
        return code, capsys.readouterr().out.splitlines()

    return played


def _write(context: JobContext, n: int) -> Written:
    ra, dec = np.arange(n) * 1.0, np.arange(n) * 2.0
    rows = pd.DataFrame({"_healpix_29": healpix29(ra, dec), "source_id": np.arange(n), "ra": ra, "dec": dec})
    return context.writer.replace_rows(context.spark.createDataFrame(rows), STARS)


def _stars(args: Args, context: JobContext) -> Outcome:
    return Outcome(args.rows, args.rows, 0, [_write(context, args.rows)])


def _with_reject(args: Args, context: JobContext) -> Outcome:
    rejects = context.spark.createDataFrame([("a.fits", "BadInput", "broken; mend it", None)], REJECT)
    return Outcome(args.rows + 1, args.rows, 1, [_write(context, args.rows)], rejects)


def _runs(lake: Lake) -> list[dict]:
    return read_runs(lake, RUNS.column_names).to_pylist()


def test_a_job_that_is_done_exits_with_0_and_one_line_of_json(play, lake):
    code, lines = play(_stars)
    assert (code, len(lines)) == (0, 1)
    summary = json.loads(lines[0])
    assert set(summary) == KEYS
    assert (summary["job"], summary["status"]) == ("test_job", "done")
    assert (summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (3, 3, 0)
    assert (summary["tables"], summary["rows_written"]) == ({"stars": 0}, {"stars": 3})
    assert summary["seconds"] > 0


def test_what_a_job_prints_comes_before_the_json(play):
    def chatty(args, context):
        print("hello")
        return Outcome(0, 0)

    _, lines = play(chatty)
    assert lines[0] == "hello"
    assert json.loads(lines[-1])["status"] == "done"


def test_a_run_is_recorded_with_arguments_inputs_and_outputs(play, lake):
    play(_stars, "--rows", "5")

    def reader(args, context):
        return Outcome(context.read("stars").count(), 5)

    play(reader)
    first, second = sorted(_runs(lake), key=lambda row: row["started_at"])
    assert json.loads(first["arguments"])["rows"] == 5
    assert (json.loads(first["outputs"]), json.loads(first["rows_written"])) == ({"stars": 0}, {"stars": 5})
    assert json.loads(second["inputs"]) == {"stars": 0}
    assert first["started_at"] < first["ended_at"] < second["started_at"]
    assert {row["status"] for row in (first, second)} == {"done"}


def test_a_run_is_on_record_while_it_runs(play, lake):
    seen = []

    def look(args, context):
        seen.extend(_runs(context.lake))
        return Outcome(0, 0)

    _, lines = play(look)
    assert [(row["run_id"], row["status"], row["ended_at"]) for row in seen] == [
        (json.loads(lines[-1])["run_id"], "running", None)
    ]


def test_every_row_carries_the_run_of_the_summary(play, lake, spark):
    _, lines = play(_stars)
    assert set(read_table(spark, lake, "stars").toPandas()["run_id"]) == {json.loads(lines[-1])["run_id"]}


def test_a_second_run_is_a_new_version(play):
    play(_stars)
    _, lines = play(_stars)
    assert json.loads(lines[-1])["tables"] == {"stars": 1}


def test_rejects_are_recorded_and_the_job_is_done(play, lake, spark):
    code, lines = play(_with_reject)
    summary = json.loads(lines[-1])
    assert (code, summary["rows_rejected"], summary["tables"]) == (0, 1, {"stars": 0, "rejects": 0})
    (row,) = read_table(spark, lake, "rejects").collect()
    assert (row.run_id, row.job, row.source) == (summary["run_id"], "test_job", "a.fits")
    assert (row.error_type, row.message, row.payload) == ("BadInput", "broken; mend it", None)


def test_strict_exits_with_3_when_anything_was_rejected(play, lake):
    code, lines = play(_with_reject, "--strict")
    assert (code, json.loads(lines[-1])["status"]) == (3, "done")
    assert lake.has_table("stars")


def test_strict_exits_with_0_when_nothing_was(play):
    assert play(_stars, "--strict")[0] == 0


def test_no_rejects_make_no_table_of_rejects(play, lake):
    def none_rejected(args, context):
        return Outcome(0, 0, 0, (), context.spark.createDataFrame([], REJECT))

    assert play(none_rejected)[0] == 0
    assert "rejects" not in lake.tables()


def _failing(error: BaseException):
    def run(args, context):
        written = _write(context, 3)
        if written.rows_new:
            raise error
        return Outcome(0, 0, 0, [written])

    return run


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            BadInput("catalog.csv: no column of positions; name one"),
            "catalog.csv: no column of positions; name one",
        ),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (
            PermissionError(13, "Permission denied", "/x"),
            "PermissionError: [Errno 13] Permission denied: '/x'",
        ),
    ],
)
def test_a_job_that_fails_exits_with_1_and_commits_nothing(play, lake, error, message):
    code, lines = play(_failing(error))
    summary = json.loads(lines[-1])
    assert (code, summary["status"], set(summary)) == (1, "failed", KEYS)
    assert lake.tables() == ["runs"]
    (row,) = _runs(lake)
    assert (row["status"], row["message"]) == ("failed", message)
    assert row["ended_at"] is not None


def test_an_error_in_a_worker_is_named_as_it_was(play, lake):
    def in_worker(args, context):
        def work(batches):
            raise BadInput("tile.fits: row 7 is broken; mend it", "Broken")
            yield

        return Outcome(context.spark.range(1).mapInArrow(work, "id long").count(), 1)

    code, _ = play(in_worker)
    assert code == 1
    assert _runs(lake)[0]["message"].endswith("BadInput: tile.fits: row 7 is broken; mend it")


def test_an_error_of_spark_itself_is_named(play, lake):
    def in_spark(args, context):
        return Outcome(context.spark.sql("SELECT CAST('x' AS INT)").collect()[0][0], 1)

    assert play(in_spark)[0] == 1
    assert "CAST_INVALID_INPUT" in _runs(lake)[0]["message"]


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (lambda jvm: jvm.java.lang.Integer.parseInt("x"), "NumberFormatException"),
        (
            lambda jvm: jvm.java.nio.file.Files.size(jvm.java.io.File("/no such").toPath()),
            "NoSuchFileException",
        ),
    ],
)
def test_an_error_of_the_jvm_is_named(play, lake, call, cause):
    code, lines = play(lambda args, context: Outcome(call(context.spark.sparkContext._jvm), 1))
    assert (code, json.loads(lines[-1])["status"]) == (1, "failed")
    (row,) = _runs(lake)
    assert cause in row["message"]
    assert "\n" not in row["message"]


def test_rows_that_do_not_add_up_fail_the_run(play, lake):
    def losing(args, context):
        return Outcome(4, 3, 0, [_write(context, 3)])

    code, lines = play(losing)
    assert (code, json.loads(lines[-1])["status"]) == (1, "failed")
    assert lake.tables() == ["runs"]
    assert "rows_in 4 differs from rows_out 3 + rows_rejected 0" in _runs(lake)[0]["message"]


def test_a_conflict_fails_the_run_and_says_to_run_again(play, lake):
    def overtaken(args, context):
        written = _write(context, 3)
        apply_commit(replace(_write(context, 2).commit, run_id="another"))
        return Outcome(3, 3, 0, [written])

    code, lines = play(overtaken)
    assert (code, json.loads(lines[-1])["tables"]) == (1, {})
    assert "run the job again" in _runs(lake)[0]["message"]


def test_a_programming_error_fails_the_run_and_the_log_says_where(play, lake, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("astrolake"), "propagate", True)
    code, lines = play(lambda args, context: Outcome(1 // 0, 0))
    assert (code, json.loads(lines[-1])["status"]) == (1, "failed")
    # Not caplog.text: the loggers of Spark 4 change the format of all handlers that they are given.
    text = "".join(logging.Formatter().format(record) for record in caplog.records)
    assert "Outcome(1 // 0, 0)" in text
    (row,) = _runs(lake)
    assert (row["status"], row["message"]) == (
        "failed",
        "ZeroDivisionError: integer division or modulo by zero",
    )


def test_an_interrupt_is_raised_and_recorded(play, lake):
    with pytest.raises(KeyboardInterrupt):
        play(_failing(KeyboardInterrupt()))
    assert _runs(lake)[0]["status"] == "failed"
    assert lake.tables() == ["runs"]


def test_bad_flags_exit_with_2_before_anything_is_done(play, lake, capsys):
    code, lines = play(_stars, "--rowz", "3")
    assert (code, lines) == (2, [])
    assert lake.tables() == []


def test_arguments_that_turn_out_bad_exit_with_2(play, lake):
    def picky(args, context):
        raise BadArguments("--rows 3: the lake wants more")

    code, lines = play(picky)
    assert (code, json.loads(lines[-1])["status"]) == (2, "bad_arguments")
    assert _runs(lake)[0]["message"] == "--rows 3: the lake wants more"


@pytest.mark.parametrize("location", ["gs://bucket/lake", ""])
def test_a_location_that_cannot_be_a_lake_exits_with_2(spark, capsys, location):
    assert main(Job("test_job", Args, _stars, "x"), ["--lake", location]) == 2
    assert json.loads(capsys.readouterr().out)["status"] == "bad_arguments"


def test_a_job_does_not_make_a_lake_in_passing(spark, tmp_path, capsys):
    code = main(Job("test_job", Args, _stars, "x"), ["--lake", str(tmp_path / "misspelt")])
    summary = json.loads(capsys.readouterr().out)
    assert (code, summary["status"], summary["rows_in"]) == (1, "failed", None)
    assert not (tmp_path / "misspelt").exists()


def test_an_ingest_job_may_make_a_lake(spark, tmp_path, capsys):
    job = Job("test_job", Args, _stars, "x", creates_lake=True)
    assert main(job, ["--lake", str(tmp_path / "new lake")]) == 0
    assert Lake.open(str(tmp_path / "new lake")).tables() == ["runs", "stars"]


def test_flags_of_glue_are_set_aside(play):
    glue = ("--JOB_NAME", "x", "--enable-metrics", "--job-bookmark-option", "job-bookmark-disable")
    assert play(_stars, *glue, "--TempDir", "s3://temp/x")[0] == 0


def test_help_is_shown_without_a_lake(capsys):
    assert main(Job("test_job", Args, _stars, "A job of a test."), ["--help"]) == 0
    assert "--rows" in capsys.readouterr().out


def test_max_rows_reaches_the_writer(play, lake):
    play(_stars, "--rows", "40", "--max-rows", "7")
    folders = lake.storage.fs.glob(lake.storage.path("stars", "dataset", "Norder=*"))
    assert len(folders) >= 1
    files = [f for f in lake.storage.fs.find(lake.storage.path("stars")) if f.endswith(".parquet")]
    assert len(files) >= 40 / 7


def test_a_done_run_stays_done_when_its_end_cannot_be_recorded(play, lake, monkeypatch, caplog):
    record = RunRecord.record

    def full(self, where):
        if self.ended_at is not None:
            raise OSError(28, "No space left on device")
        record(self, where)

    monkeypatch.setattr(RunRecord, "record", full)
    monkeypatch.setattr(logging.getLogger("astrolake"), "propagate", True)
    code, lines = play(_stars)
    assert (code, json.loads(lines[-1])["tables"]) == (0, {"stars": 0})
    assert "(done) could not be recorded: OSError: [Errno 28] No space left on device" in caplog.text


def test_a_run_that_cannot_be_recorded_does_nothing(play, lake, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunRecord, "record", full)
    code, lines = play(_stars)
    assert (code, json.loads(lines[-1])["status"]) == (1, "failed")
    assert lake.tables() == []


def test_the_second_of_two_commits_that_fails_is_told(play, lake, monkeypatch):
    done = []

    def once(commit):
        if done:
            raise OSError(28, "No space left on device")
        done.append(apply_commit(commit))
        return done[-1]

    monkeypatch.setattr(runner_module, "apply_commit", once)
    code, lines = play(_with_reject)
    assert (code, json.loads(lines[-1])["tables"]) == (1, {"stars": 0})


def test_a_store_that_does_not_let_go_of_staged_files_spoils_no_run(play, lake, monkeypatch):
    def denied(*_):
        raise PermissionError("s3:DeleteObject denied")

    monkeypatch.setattr("astrolake.job.context.clear_staging", denied)
    code, lines = play(_stars)
    assert (code, json.loads(lines[0])["status"]) == (0, "done")

    def broken(args, context):
        raise BadInput("the real cause")

    assert play(broken)[0] == 1
    assert any("the real cause" in (run["message"] or "") for run in _runs(lake))
