import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError

from astrolake.errors import CommitConflict
from astrolake.lake import runs
from astrolake.lake.delta import load_table, read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.runs import RunRecord, read_runs
from astrolake.schema import RUNS

START = datetime(2025, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.create(str(tmp_path / "my lake"))


def _record(run_id: str = "run-1", **values: object) -> RunRecord:
    return RunRecord(run_id, "test", "0.1", {"lake": "/x", "tables": ("a", "b")}, START, **values)


def _rows(lake: Lake) -> list[dict]:
    return sorted(read_runs(lake, RUNS.column_names).to_pylist(), key=lambda row: row["run_id"])


def test_a_run_is_recorded_with_all_that_is_known(lake):
    _record(inputs={"gaia": 3}, outputs={"objects": 4}, rows_in=5, rows_out=4, rows_rejected=1).record(lake)
    (row,) = _rows(lake)
    assert list(row) == list(RUNS.column_names)
    assert (row["status"], row["started_at"], row["ended_at"]) == ("running", START, None)
    assert (row["rows_in"], row["rows_out"], row["rows_rejected"]) == (5, 4, 1)
    assert json.loads(row["arguments"]) == {"lake": "/x", "tables": ["a", "b"]}
    assert (json.loads(row["inputs"]), json.loads(row["outputs"])) == ({"gaia": 3}, {"objects": 4})


def test_a_lake_without_runs_has_the_columns(lake):
    assert read_runs(lake, ["run_id", "status"]).to_pydict() == {"run_id": [], "status": []}


def test_the_end_of_a_run_takes_the_place_of_its_start(lake):
    record = _record()
    record.record(lake)
    record.status, record.ended_at = "done", START
    record.record(lake)
    (row,) = _rows(lake)
    assert (row["status"], row["ended_at"]) == ("done", START)


def test_recording_again_changes_nothing(lake):
    record = _record()
    record.record(lake)
    record.record(lake)
    assert len(_rows(lake)) == 1


def test_other_runs_stay(lake):
    for i in range(3):
        _record(f"run-{i}").record(lake)
    _record("run-1", status="failed", message="it's \"broken\"; 'quoted'\nlines").record(lake)
    assert [row["status"] for row in _rows(lake)] == ["running", "failed", "running"]
    assert _rows(lake)[1]["message"] == "it's \"broken\"; 'quoted'\nlines"


def test_the_table_is_one_that_every_engine_reads(lake):
    _record().record(lake)
    _record(status="done").record(lake)
    handle = load_table(lake.delta_storage("runs"))
    protocol = handle.protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    ended_at = read_snapshot(lake.delta_storage("runs")).schema.field("ended_at")
    assert ended_at.type == pa.timestamp("us", tz="UTC")


def test_runs_that_start_and_end_at_the_same_time_are_all_recorded(lake):
    def run(number: int) -> None:
        record = _record(f"run-{number}")
        record.record(lake)
        record.status = "done"
        record.record(lake)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    assert [(row["run_id"], row["status"]) for row in _rows(lake)] == [(f"run-{i}", "done") for i in range(8)]


def test_a_table_that_is_always_busy_is_given_up(lake, monkeypatch):
    def busy(*_):
        raise CommitFailedError("someone else was faster")

    monkeypatch.setattr(runs, "_put", busy)
    monkeypatch.setattr(runs.time, "sleep", lambda _: None)
    with pytest.raises(CommitConflict, match="could not record run run-1"):
        _record().record(lake)
