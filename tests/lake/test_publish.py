import os
from datetime import UTC, datetime, timedelta

import pytest
from commits import STARS, cell_file, commit
from hats.io.validation import is_valid_catalog
from lake_tables import put_rows

from astrolake.errors import TableNotFound
from astrolake.lake import publish
from astrolake.lake.delta import apply_commit, read_snapshot
from astrolake.lake.hats import claim_table, claims_of
from astrolake.lake.lake import Lake
from astrolake.lake.publish import NotPublishable, live_runs, publish_hats, publish_tables
from astrolake.lake.runs import RunRecord
from astrolake.lake.vacuum import Orphan
from astrolake.schema import REJECTS

NOW = datetime(2025, 6, 1, tzinfo=UTC)
RUN = "20250601T000000-ingest_catalog-abc123"
ROWS = [{"source_id": i, "ra": 30.0 * i, "dec": 10.0} for i in range(12)]


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake.create(str(tmp_path / "my lake"))
    put_rows(lake, STARS, ROWS, "run-1")
    return lake


def _record(lake: Lake, status: str, started: datetime, run_id: str = RUN) -> RunRecord:
    record = RunRecord(run_id, "ingest_catalog", "0", {}, started, status)
    record.record(lake)
    return record


def _orphan(lake: Lake, run_id: str = RUN) -> str:
    path = lake.delta_storage("stars").path(f"Norder=0/Dir=0/Npix=11/part-{run_id}-0123456789ab.parquet")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(b"being written")
    return path


def _is_catalog(lake: Lake) -> bool:
    return is_valid_catalog(lake.table_storage("stars").path(), strict=True)


def test_publishing_returns_the_version(lake):
    assert publish_hats(lake, "stars", 0, NOW) == 0
    assert _is_catalog(lake)


def test_superseded_files_are_cleared(lake):
    put_rows(lake, STARS, ROWS[:3], "run-2")
    publish_hats(lake, "stars", 0, NOW)
    storage = lake.delta_storage("stars")
    found = {name for name in storage.fs.find(storage.path()) if name.endswith(".parquet")}
    assert found == {storage.path(file.path) for file in read_snapshot(storage).files}


def test_superseded_files_that_must_stay_keep_the_table_from_readers(lake):
    put_rows(lake, STARS, ROWS[:3], "run-2")
    with pytest.raises(NotPublishable, match="superseded files are younger than 2 h"):
        publish_hats(lake, "stars", 2, NOW)
    assert read_snapshot(lake.delta_storage("stars"), 0).rows == 12
    assert not _is_catalog(lake)


def test_retention_is_no_obstacle_when_nothing_was_superseded(lake):
    publish_hats(lake, "stars", 48, NOW)
    assert _is_catalog(lake)


def test_the_files_of_a_run_under_way_are_left_and_the_run_is_named(lake):
    _record(lake, "running", NOW - timedelta(hours=1))
    path = _orphan(lake)
    with pytest.raises(NotPublishable, match=RUN):
        publish_hats(lake, "stars", 0, NOW)
    assert os.path.exists(path)
    assert not _is_catalog(lake)


@pytest.mark.parametrize("status", ["done", "failed"])
def test_the_files_of_a_run_that_ended_are_cleared(lake, status):
    _record(lake, status, NOW - timedelta(hours=1))
    path = _orphan(lake)
    publish_hats(lake, "stars", 0, NOW)
    assert not os.path.exists(path)
    assert _is_catalog(lake)


def test_a_run_older_than_a_day_was_killed(lake):
    _record(lake, "running", NOW - timedelta(hours=24, seconds=1))
    path = _orphan(lake)
    publish_hats(lake, "stars", 0, NOW)
    assert not os.path.exists(path)
    assert _is_catalog(lake)


def test_the_files_of_an_unknown_run_are_cleared(lake):
    path = _orphan(lake)
    publish_hats(lake, "stars", 0, NOW)
    assert not os.path.exists(path)


def test_a_run_that_commits_while_orphans_are_looked_for_keeps_its_files(lake, monkeypatch):
    """The run ends between the listing of the files and the look at the runs."""
    record = _record(lake, "running", NOW)

    def commit_and_end(lake, now):
        put_rows(lake, STARS, ROWS[:6], RUN)
        record.status = "done"
        record.record(lake)
        return live_runs(lake, now)

    path = _orphan(lake, "20250601T000000-other-abc123")
    monkeypatch.setattr(publish, "live_runs", commit_and_end)
    with pytest.raises(NotPublishable, match="another run wrote to it meanwhile"):
        publish_hats(lake, "stars", 0, NOW)
    assert not os.path.exists(path)
    assert not _is_catalog(lake)
    snapshot = read_snapshot(lake.delta_storage("stars"))
    assert snapshot.rows == 6
    assert all(os.path.exists(snapshot.storage.path(file.path)) for file in snapshot.files)
    monkeypatch.undo()
    publish_hats(lake, "stars", 0, NOW)
    assert _is_catalog(lake)


def test_files_committed_after_the_listing_are_not_deleted(lake, monkeypatch):
    """As above, with the very files that the listing took for orphans."""
    storage = lake.delta_storage("stars")
    put_rows(lake, STARS, ROWS[:6], RUN)
    snapshot = read_snapshot(storage)
    find, mistaken = publish.find_orphans, [[Orphan(file.path, file.size, 0.0) for file in snapshot.files]]
    monkeypatch.setattr(publish, "find_orphans", lambda s: mistaken.pop() if mistaken else find(s))
    publish_hats(lake, "stars", 0, NOW)
    assert all(os.path.exists(storage.path(file.path)) for file in snapshot.files)


def test_a_run_that_begins_to_write_meanwhile_withdraws_the_catalog(lake, monkeypatch):
    write = publish.write_hats_metadata

    def write_late(*args):
        _orphan(lake)
        write(*args)

    monkeypatch.setattr(publish, "write_hats_metadata", write_late)
    with pytest.raises(NotPublishable, match="another run wrote to it meanwhile"):
        publish_hats(lake, "stars", 0, NOW)
    assert not os.path.exists(lake.table_storage("stars").path("hats.properties"))


def test_a_run_that_has_claimed_the_table_is_waited_for(lake):
    _record(lake, "running", NOW - timedelta(hours=1))
    claim_table(lake.table_storage("stars"), RUN)
    with pytest.raises(NotPublishable, match=f"run {RUN} is writing to it"):
        publish_hats(lake, "stars", 0, NOW)
    assert claims_of(lake.table_storage("stars")) == [RUN]


@pytest.mark.parametrize("status", ["done", "failed"])
def test_the_claim_of_a_run_that_ended_is_withdrawn(lake, status):
    _record(lake, status, NOW - timedelta(hours=1))
    claim_table(lake.table_storage("stars"), RUN)
    publish_hats(lake, "stars", 0, NOW)
    assert claims_of(lake.table_storage("stars")) == []
    assert _is_catalog(lake)


def test_a_run_that_claims_the_table_meanwhile_withdraws_the_catalog(lake, monkeypatch):
    _record(lake, "running", NOW)
    write = publish.write_hats_metadata

    def write_late(*args):
        claim_table(lake.table_storage("stars"), RUN)
        write(*args)

    monkeypatch.setattr(publish, "write_hats_metadata", write_late)
    with pytest.raises(NotPublishable, match=RUN):
        publish_hats(lake, "stars", 0, NOW)
    assert not os.path.exists(lake.table_storage("stars").path("hats.properties"))


def test_rows_committed_to_new_sky_meanwhile_withdraw_the_catalog(lake, monkeypatch):
    write = publish.write_hats_metadata

    def write_late(*args):
        apply_commit(commit(lake.delta_storage("stars"), "run-2", [cell_file("new", 0, 11)], base=0))
        write(*args)

    monkeypatch.setattr(publish, "write_hats_metadata", write_late)
    with pytest.raises(NotPublishable, match="another run wrote to it meanwhile"):
        publish_hats(lake, "stars", 0, NOW)
    assert not os.path.exists(lake.table_storage("stars").path("hats.properties"))


def test_live_runs_are_those_without_an_end_of_the_last_day(lake):
    _record(lake, "running", NOW - timedelta(hours=23), "young")
    _record(lake, "running", NOW - timedelta(hours=25), "old")
    _record(lake, "done", NOW, "done")
    assert live_runs(lake, NOW) == {"young"}


def test_a_lake_without_runs_has_none_alive(lake):
    assert live_runs(lake, NOW) == set()


def test_publishing_goes_on_after_a_table_that_must_wait(lake):
    put_rows(lake, REJECTS, [{"source": "x"}])
    galaxies = STARS.with_columns((), "galaxies")
    put_rows(lake, galaxies, ROWS, "run-1")
    _record(lake, "running", NOW)
    _orphan(lake)
    versions, refused = publish_tables(lake, ["stars", "galaxies", "rejects"], 0, None, NOW)
    assert versions == {"galaxies": 0, "rejects": 0}
    assert list(refused) == ["stars"]
    assert RUN in refused["stars"]


def test_publishing_without_hats_writes_no_metadata(lake):
    assert publish_tables(lake, ["stars"], None, None, NOW) == ({"stars": 0}, {})
    assert not _is_catalog(lake)


def test_a_missing_table_is_named(lake):
    with pytest.raises(TableNotFound, match="galaxies"):
        publish_tables(lake, ["galaxies"], 0, None, NOW)
