import os
import time
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from commits import STARS
from lake_tables import put_rows

from astrolake.lake.declared import declared
from astrolake.lake.delta import Snapshot, apply_commit, load_table, read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.maintain import Tidied, compact_table, vacuum_staging, vacuum_table
from astrolake.lake.reader import read_table
from astrolake.lake.runs import RunRecord, read_runs
from astrolake.lake.staging import STAGING, make_staging, stale_staging
from astrolake.lake.writer import TableWriter
from astrolake.schema import CATALOG, CROSSMATCH, DETECTIONS, OBJECTS, REJECTS, Column

pytestmark = pytest.mark.spark

#: One star in each base cell of the belt.
ROWS = [{"source_id": i, "ra": 30.0 * i, "dec": 10.0} for i in range(12)]


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake.create(str(tmp_path / "my lake"))
    put_rows(lake, STARS, ROWS, "run-1")
    return lake


def _snapshot(lake: Lake, table: str = "stars") -> Snapshot:
    return read_snapshot(lake.delta_storage(table))


def _parquet(lake: Lake, table: str = "stars") -> set[str]:
    storage = lake.delta_storage(table)
    found = storage.fs.find(storage.path())
    return {name.removeprefix(f"{storage.path()}/") for name in found if name.endswith(".parquet")}


def _orphan(lake: Lake, age_hours: float) -> str:
    path = lake.delta_storage("stars").path("Norder=0/Dir=0/Npix=11/part-killed-0123456789ab.parquet")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(b"half")
    os.utime(path, (time.time() - age_hours * 3600,) * 2)
    return path


def _layout(lake: Lake) -> list[tuple[int, int, int]]:
    return sorted((file.order, file.npix, file.rows) for file in _snapshot(lake).files)


def _values(lake: Lake, column: str, version: int | None = None) -> list:
    snapshot = read_snapshot(lake.delta_storage("stars"), version)
    files = [pq.ParquetFile(snapshot.storage.path(file.path)) for file in snapshot.files]
    return sorted(value for file in files for value in file.read([column]).column(0).to_pylist())


def test_vacuum_deletes_superseded_files_and_orphans(lake):
    put_rows(lake, STARS, ROWS[:5], "run-2")
    _orphan(lake, 1)
    superseded = len(_parquet(lake)) - 1 - len(_snapshot(lake).files)
    assert vacuum_table(lake, "stars", 0, dry_run=False) == Tidied("stars", superseded, 1)
    assert _parquet(lake) == {file.path for file in _snapshot(lake).files}


def test_a_dry_run_says_the_same_and_deletes_nothing(lake):
    put_rows(lake, STARS, ROWS[:5], "run-2")
    _orphan(lake, 1)
    before = _parquet(lake)
    would = vacuum_table(lake, "stars", 0, dry_run=True)
    assert _parquet(lake) == before
    assert would == vacuum_table(lake, "stars", 0, dry_run=False)


@pytest.mark.parametrize(("age_hours", "left"), [(25, False), (23, True)])
def test_orphans_are_deleted_from_their_age_on(lake, age_hours, left):
    path = _orphan(lake, age_hours)
    vacuum_table(lake, "stars", 24, dry_run=False)
    assert os.path.exists(path) == left


def test_young_superseded_files_stay_for_time_travel(lake):
    put_rows(lake, STARS, ROWS[:5], "run-2")
    assert vacuum_table(lake, "stars", 24, dry_run=False).superseded == 0
    assert _values(lake, "source_id", 0) == list(range(12))


def test_vacuum_of_a_tidy_table_does_nothing(lake):
    assert vacuum_table(lake, "stars", 0, dry_run=False) == Tidied("stars", 0, 0)
    assert _snapshot(lake).version == 0


def _compact(spark, lake: Lake, table: str = "stars", max_rows: int = 1000, **options) -> bool:
    written = compact_table(
        TableWriter(spark, lake, "tidy", "test", max_rows), table, **{"dry_run": False} | options
    )
    if written is not None:
        apply_commit(written.commit)
    return written is not None


def test_a_table_that_is_laid_out_as_planned_is_left(spark, lake):
    assert not _compact(spark, lake)
    assert _snapshot(lake).version == 0


def test_small_partitions_are_merged(spark, lake):
    rows = [{"source_id": i, "ra": 5.0 + 0.1 * i, "dec": 0.0} for i in range(20)]
    put_rows(lake, STARS, rows, "run-2")
    _compact(spark, lake, max_rows=5)
    fine = _layout(lake)
    assert len(fine) > 3
    assert _compact(spark, lake, max_rows=1000)
    assert _layout(lake) == [(0, 4, 20)]
    assert _values(lake, "source_id") == list(range(20))


def test_large_partitions_are_divided(spark, lake):
    rows = [{"source_id": i, "ra": 5.0 + 0.1 * i, "dec": 0.0} for i in range(20)]
    put_rows(lake, STARS, rows, "run-2")
    assert _compact(spark, lake, max_rows=5)
    assert all(rows <= 5 for _, _, rows in _layout(lake))
    assert _values(lake, "source_id") == list(range(20))


def test_compaction_ends_where_a_new_table_would_be(spark, lake):
    rows = read_table(spark, lake, "stars").drop("Norder", "Dir", "Npix")
    planned = TableWriter(spark, lake, "plan", "test", 1).plan(rows)
    _compact(spark, lake, max_rows=1)
    expected = sorted(zip(planned.order.tolist(), planned.npix.tolist(), strict=True))
    assert [(order, npix) for order, npix, _ in _layout(lake)] == expected
    assert not _compact(spark, lake, max_rows=1)


def test_compaction_keeps_runs_units_and_columns(spark, lake):
    before = _snapshot(lake).schema
    put_rows(lake, STARS, [{"source_id": i, "ra": 45.0 + i, "dec": 0.0} for i in range(9)], "run-2")
    _compact(spark, lake, max_rows=3)
    assert _snapshot(lake).schema.equals(before)
    assert set(_values(lake, "run_id")) == {"run-2"}
    assert declared("stars", _snapshot(lake)).column("ra").unit == "deg"


def test_a_dry_run_of_compaction_writes_nothing(spark, lake):
    put_rows(lake, STARS, [{"source_id": i, "ra": 45.0 + i, "dec": 0.0} for i in range(9)], "run-2")
    before = _parquet(lake)
    assert not _compact(spark, lake, max_rows=3, dry_run=True)
    assert (_parquet(lake), _snapshot(lake).version) == (before, 1)


def test_an_empty_table_needs_no_compaction(spark, lake):
    put_rows(lake, STARS, [], "run-2")
    assert not _compact(spark, lake)


@pytest.fixture
def many_runs(lake) -> Lake:
    """The lake with ten recorded runs, each in a file of its own."""
    for i in range(10):
        RunRecord(f"run-{i}", "test", "0", {}, datetime(2025, 6, 1, tzinfo=UTC)).record(lake)
    return lake


def test_many_small_flat_files_are_merged(many_runs):
    assert not _compact(None, many_runs, "runs")
    assert len(_snapshot(many_runs, "runs").files) == 1
    assert sorted(read_runs(many_runs, ["run_id"]).column(0).to_pylist()) == [f"run-{i}" for i in range(10)]


def test_a_dry_run_merges_no_flat_files(many_runs):
    assert not _compact(None, many_runs, "runs", dry_run=True)
    assert len(_snapshot(many_runs, "runs").files) == 10


def test_a_tidied_table_is_one_that_every_engine_reads(many_runs):
    _compact(None, many_runs, "runs")
    vacuum_table(many_runs, "runs", 0, dry_run=False)
    protocol = load_table(many_runs.delta_storage("runs")).protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


def test_a_few_flat_files_are_left(lake):
    put_rows(lake, REJECTS, [{"source": "x"}])
    assert not _compact(None, lake, "rejects")
    assert _snapshot(lake, "rejects").version == 0


@pytest.mark.parametrize("table", [OBJECTS, DETECTIONS])
def test_a_registered_table_is_declared_as_registered(lake, table):
    key = table.column(table.key[0])
    put_rows(lake, table, [{key.name: "1" if key.type == "string" else 1, "ra": 1.0, "dec": 1.0}])
    assert declared(table.name, _snapshot(lake, table.name)) == table


def test_any_other_table_is_declared_from_its_files(lake):
    table = CATALOG.with_columns((Column("mag", "float32", "", unit="mag", ucd="phot.mag"),), "mine")
    put_rows(lake, table, [{"source_id": 1, "ra": 1.0, "dec": 1.0}])
    found = declared("mine", _snapshot(lake, "mine"))
    assert (found.name, found.key, found.column_names) == ("mine", ("source_id",), table.column_names)
    assert (found.column("mag").type, found.column("mag").unit, found.column("mag").ucd) == (
        "float32", "mag", "phot.mag",
    )  # fmt: skip


def test_a_crossmatch_is_declared_from_its_files(lake):
    table = CROSSMATCH.with_columns((), "crossmatches/a_x_b")
    put_rows(lake, table, [{"left_id": 1, "right_id": 2, "ra": 1.0, "dec": 1.0}])
    assert declared(table.name, _snapshot(lake, table.name)).key == ("left_id", "right_id")


def _staged(lake: Lake, run_id: str, age_hours: float) -> None:
    make_staging(lake.storage, run_id)
    path = lake.storage.path(STAGING, run_id, "stars-1.parquet")
    lake.storage.fs.pipe_file(path, b"rows")
    os.utime(path, (time.time() - age_hours * 3600,) * 2)


def test_what_a_run_that_still_merges_has_staged_is_left(lake):
    now = datetime.now(UTC)
    record = RunRecord("alive", "extract_sources", "1", {}, now)
    record.record(lake)
    for run_id, age in (("alive", 5.0), ("killed", 5.0), ("young", 0.1)):
        _staged(lake, run_id, age)
    assert vacuum_staging(lake, 1.0, dry_run=True) == ["killed"]
    assert vacuum_staging(lake, 1.0, dry_run=False) == ["killed"]
    assert vacuum_staging(lake, 0.0, dry_run=False) == ["alive", "young"]
    assert stale_staging(lake.storage, time.time() + 10) == []
