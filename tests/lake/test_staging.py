import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.errors import RowsDoNotReconcile
from astrolake.lake import merge as merge_module
from astrolake.lake import staging
from astrolake.lake.lake import Lake
from astrolake.lake.merge import MergePlan
from astrolake.lake.partitioning import COUNT_ORDER
from astrolake.lake.sink import SinkSpec
from astrolake.lake.staging import (
    CELL,
    RUN,
    Staged,
    StagedRun,
    Stager,
    StageSpec,
    clear_staging,
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
    stager = Stager(StageSpec(root, "run-1", "stars", schema))
    reports = [report for table in tables for report in stager.add(table)]
    reports += list(stager.close())
    return pa.Table.from_batches(reports, schema=staging.REPORT).to_pandas()


def _runs(reports: pd.DataFrame) -> tuple[StagedRun, ...]:
    runs = reports[reports["kind"] == RUN]
    return tuple(StagedRun(*row) for row in runs[["path", "n", "low", "high"]].itertuples(index=False))


def _read(root: Storage, run: StagedRun) -> pd.DataFrame:
    return pq.read_table(root.path(run.path), partitioning=None).to_pandas()


def _merge(root: Storage, runs, order: int, npix: int, rows: int, *, row_bytes: int = 100) -> pd.DataFrame:
    plan = MergePlan(root, SinkSpec(root, SCHEMA, "run-1"), runs, ("source_id",), row_bytes)
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
    cells = reports[reports["kind"] == CELL]
    assert dict(zip(cells["cell"], cells["n"], strict=True)) == {2: 1, 5: 2}


def test_no_rows_make_no_run(root):
    assert _stage(root, _rows([])).empty
    assert not root.fs.exists(root.path(staging.STAGING))


def test_moved_rows_keep_their_run(root):
    rows = _rows([1]).append_column("run_id", pa.array(["old"]))
    (run,) = _runs(_stage(root, rows))
    assert _read(root, run)["run_id"].tolist() == ["old"]


@pytest.mark.parametrize("limit", ["_RUN_ROWS", "_RUN_BYTES"])
def test_runs_are_bounded(root, monkeypatch, limit):
    monkeypatch.setattr(staging, limit, 10 if limit == "_RUN_ROWS" else 10 * _rows([0]).nbytes)
    reports = _stage(root, *(_rows(np.arange(4) + 4 * i) for i in range(10)))
    assert [run.rows for run in _runs(reports)] in ([12, 12, 12, 4], [8, 8, 8, 8, 8])
    assert reports.loc[reports["kind"] == RUN, "bytes"].gt(0).all()


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
    one = Staged((StagedRun("a", 3, 0, 5),), np.array([1, 2]), np.array([1, 2]), 30)
    two = Staged((StagedRun("b", 4, 0, 5),), np.array([2, 7]), np.array([1, 3]), 40)
    both = one + two
    assert (both.rows, both.bytes) == (7, 70)
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
