import time
from contextlib import ExitStack

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.errors import CommitConflict, RowsDoNotReconcile
from astrolake.lake import merge as merge_module
from astrolake.lake import staging
from astrolake.lake.lake import Lake
from astrolake.lake.merge import MergePlan
from astrolake.lake.partitioning import COUNT_ORDER
from astrolake.lake.sink import SinkSpec
from astrolake.lake.staging import (
    CELLS,
    RUN,
    Staged,
    StagedRun,
    Stager,
    StageSpec,
    clear_staging,
    make_staging,
    report,
    stale_staging,
)
from astrolake.lake.storage import Storage
from astrolake.schema import HEALPIX_COLUMN

SCHEMA = pa.schema(
    [(HEALPIX_COLUMN, pa.int64()), ("source_id", pa.int64()), ("mag", pa.float64()), ("run_id", pa.string())]
)
CELL_29 = 2 * (29 - COUNT_ORDER)


@pytest.fixture
def root(tmp_path) -> Storage:
    return Lake.create(str(tmp_path / "my lake")).storage


def _rows(index, ids=None) -> pa.Table:
    index = np.asarray(index, np.int64)
    ids = np.arange(len(index)) if ids is None else np.asarray(ids)
    return pa.table({HEALPIX_COLUMN: index, "source_id": ids, "mag": ids * 0.5})


def _stage(root: Storage, *tables: pa.Table, schema=SCHEMA) -> pd.DataFrame:
    make_staging(root, "run-1")
    stager = Stager(StageSpec(root, "run-1", "stars", schema))
    reports = [made for table in tables for made in stager.add(table)]
    reports += list(stager.close())
    return pa.Table.from_batches(reports, schema=staging.REPORT).to_pandas()


def _runs(reports: pd.DataFrame) -> tuple[StagedRun, ...]:
    runs = reports[reports["kind"] == RUN]
    return tuple(StagedRun(*row) for row in runs[["path", "n", "low", "high"]].itertuples(index=False))


def _read(root: Storage, run: StagedRun) -> pd.DataFrame:
    return pq.read_table(root.path(run.path), partitioning=None).to_pandas()


def _merge(root: Storage, runs, order: int, npix: int, rows: int) -> pd.DataFrame:
    plan = MergePlan(root, SinkSpec(root, SCHEMA, "run-1"), runs, ("source_id",))
    file = plan.write_partition(order, npix, rows)
    assert file.rows == rows
    return pq.ParquetFile(root.path(file.path)).read().to_pandas()


def test_a_run_is_sorted_and_says_its_bounds_and_run(root):
    reports = _stage(root, _rows([7, 3]), _rows([5, 1], [8, 9]))
    (run,) = _runs(reports)
    assert (run.rows, run.low, run.high) == (4, 1, 7)
    found = _read(root, run)
    assert found[HEALPIX_COLUMN].tolist() == [1, 3, 5, 7]
    assert found["source_id"].tolist() == [9, 1, 8, 0]
    assert set(found["run_id"]) == {"run-1"}


def test_cells_are_counted_once_each(root):
    reports = _stage(root, _rows([5 << CELL_29, (5 << CELL_29) + 9, 2 << CELL_29]))
    (packed,) = reports[reports["kind"] == CELLS].itertuples()
    cells, counts = (np.frombuffer(column, np.int64) for column in (packed.cells, packed.counts))
    assert dict(zip(cells, counts, strict=True)) == {2: 1, 5: 2}


def test_no_rows_make_no_run(root):
    assert _stage(root, _rows([])).empty
    assert not root.fs.find(root.path(staging.STAGING))


def test_moved_rows_keep_their_run(root):
    rows = _rows([1]).append_column("run_id", pa.array(["old"]))
    (run,) = _runs(_stage(root, rows))
    assert _read(root, run)["run_id"].tolist() == ["old"]


@pytest.mark.parametrize("limit", ["_RUN_ROWS", "_RUN_BYTES"])
def test_runs_are_bounded(root, monkeypatch, limit):
    monkeypatch.setattr(staging, limit, 10 if limit == "_RUN_ROWS" else 10 * _rows([0]).nbytes)
    reports = _stage(root, *(_rows(np.arange(4) + 4 * i) for i in range(10)))
    assert [run.rows for run in _runs(reports)] in ([12, 12, 12, 4], [8, 8, 8, 8, 8])
    assert len(reports[reports["kind"] == CELLS]) == 1, "cells are added up over the runs of a task"


def test_rows_without_positions_are_staged_as_they_come(root):
    schema = pa.schema([("name", pa.string())])
    reports = _stage(root, pa.table({"name": ["b", "a"]}), schema=schema)
    (run,) = _runs(reports)
    assert (run.low, run.high) == (-1, -1)
    assert _read(root, run)["name"].tolist() == ["b", "a"]
    assert set(reports["kind"]) == {RUN}


def test_a_value_that_does_not_fit_is_refused(root):
    rows = _rows([1]).set_column(1, "source_id", pa.array(["x"]))
    with pytest.raises(pa.ArrowInvalid):
        _stage(root, rows)


def test_staged_rows_add_up():
    one = Staged((StagedRun("a", 3, 0, 5),), np.array([1, 2]), np.array([1, 2]))
    two = Staged((StagedRun("b", 4, 0, 5),), np.array([2, 7]), np.array([1, 3]))
    both = one + two
    assert both.rows == 7
    assert dict(zip(both.cells.tolist(), both.counts.tolist(), strict=True)) == {1: 1, 2: 3, 7: 3}


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_merged_runs_are_all_rows_of_the_cell_in_order(tmp_path_factory, data):
    """Whatever the runs, ties and the size of a slice: the rows of the cell by index, then key."""
    root = Storage.at(str(tmp_path_factory.mktemp("lake")))
    cell = 1 << 40
    counts = data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=5))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    tables, first = [], 0
    for count in counts:
        ids = rng.permutation(first + np.arange(count))
        first += count
        # Few values: many ties; half of them below or above the cell that is merged.
        tables.append(_rows(rng.integers(0, 40, count) * (cell // 10), ids))
    runs = tuple(run for table in tables for run in _runs(_stage(root, table)))
    expected = pa.concat_tables(tables).to_pandas()
    expected = expected[expected[HEALPIX_COLUMN] // cell == 1].sort_values([HEALPIX_COLUMN, "source_id"])
    slice_rows = data.draw(st.integers(1, 50))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge_module, "SLICE_BYTES", 100 * slice_rows)
        if len(expected):
            found = _merge(root, runs, 9, 1, len(expected)).drop(columns="run_id")
            pd.testing.assert_frame_equal(found, expected.reset_index(drop=True))


def test_a_partition_with_other_rows_than_counted_is_refused(root):
    runs = _runs(_stage(root, _rows([1, 2, 3])))
    with pytest.raises(RowsDoNotReconcile, match="Norder=0 Npix=0 got 3 rows where 4 were counted"):
        _merge(root, runs, 0, 0, 4)


def test_only_the_stale_are_found_and_cleared(root):
    _stage(root, _rows([1]))
    assert stale_staging(root, 0.0) == []
    assert stale_staging(root, 4e9) == ["run-1"]
    clear_staging(root, "run-1")
    assert stale_staging(root, 4e9) == []
    clear_staging(root, "run-1")


def test_a_few_rows_of_many_runs_do_not_keep_their_row_groups(root):
    n = 3 * staging.GROUP_ROWS
    runs = tuple(run for i in range(30) for run in _runs(_stage(root, _rows(np.arange(n) * 1000 + i))))
    with ExitStack() as stack:
        files = [stack.enter_context(merge_module._opened(root, run, SCHEMA)) for run in runs]
        before = pa.total_allocated_bytes()
        found = [file.read(5_000_000, 5_010_000) for file in files]
        assert sum(rows.num_rows for rows in found) == 300
        one_group = _rows(np.arange(staging.GROUP_ROWS)).nbytes
        # Arrow's threads let go of what they read a moment after the read.
        until = time.monotonic() + 5
        while (kept := pa.total_allocated_bytes() - before) >= one_group and time.monotonic() < until:
            time.sleep(0.01)
        assert kept < one_group


def test_runs_meet_where_their_spans_overlap(root):
    spans = [(0, 10), (5, 20), (20, 30), (40, 50)]
    runs = tuple(StagedRun(str(i), 1, *span) for i, span in enumerate(spans))
    plan = MergePlan(root, SinkSpec(root, SCHEMA, "run-1"), runs, ("source_id",))
    assert plan.fan_in(np.array([0, 32]), np.array([32, 60])) == 3
    assert plan.fan_in(np.array([31]), np.array([40])) == 0
    assert plan.fan_in(np.array([6, 11]), np.array([7, 20])) == 2


def test_a_run_that_a_vacuum_took_is_named(root):
    runs = _runs(_stage(root, _rows([1, 2, 3])))
    clear_staging(root, "run-1")
    with pytest.raises(CommitConflict, match="vacuum.*run the job again"):
        _merge(root, runs, 0, 0, 3)


def test_a_task_does_not_bring_a_cleared_run_back(root):
    make_staging(root, "run-1")
    stager = Stager(StageSpec(root, "run-1", "stars", SCHEMA))
    list(stager.add(_rows([1])))
    clear_staging(root, "run-1")
    with pytest.raises(FileNotFoundError):
        list(stager.close())


@pytest.mark.spark
@pytest.mark.parametrize("scattered", [False, True])
def test_reports_of_all_tasks_add_up(spark, root, monkeypatch, scattered):
    make_staging(root, "run-1")
    spec = StageSpec(root, "run-1", "stars", SCHEMA)
    index = np.random.default_rng(1).integers(0, 12 << 58, 4000)

    def work(batches):
        stager = Stager(spec)
        for batch in batches:
            number = batch.column(0)
            columns = [pa.array(index[number.to_numpy()]), number, number.cast(pa.float64())]
            yield from stager.add(pa.table(columns, names=spec.schema.names[:3]))
            yield report("seen", batch.num_rows)
        yield from stager.close()

    frame = spark.range(0, 4000, 1, 7).mapInArrow(work, staging.REPORT_FIELDS)
    staged, counts = staging.collect_reports(frame, scattered=scattered)
    assert (counts, staged["stars"].rows, len(staged["stars"].runs)) == ({"seen": 4000}, 4000, 7)
    cells, n = np.unique(index >> CELL_29, return_counts=True)
    np.testing.assert_array_equal(staged["stars"].cells, cells)
    np.testing.assert_array_equal(staged["stars"].counts, n)


@pytest.mark.spark
def test_cells_that_do_not_add_up_to_the_runs_are_refused(spark, root):
    make_staging(root, "run-1")
    spec = StageSpec(root, "run-1", "stars", SCHEMA)

    def work(batches):
        zeros = pa.array(np.zeros(1_000_000, np.int64))
        # Never closed: its cells are not reported.
        yield from Stager(spec).add(pa.table([zeros, zeros, zeros.cast(pa.float64())], spec.schema.names[:3]))

    frame = spark.range(0, 1, 1, 1).mapInArrow(work, staging.REPORT_FIELDS)
    with pytest.raises(RowsDoNotReconcile, match="stars"):
        staging.collect_reports(frame)
