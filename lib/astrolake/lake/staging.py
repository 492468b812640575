"""Rows on their way into a table: sorted runs that executors write and that `merge` joins into partitions.

This is the shuffle of a write. A run is a Parquet file below ``<lake>/_staging/<run_id>``, sorted by
`_healpix_29`; the writer of a partition reads from each run only its span. Rows go from Arrow to
storage and never through the JVM, and what is staged outlives the executor that wrote it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from astrolake.errors import RowsDoNotReconcile
from astrolake.lake.partitioning import COUNT_ORDER
from astrolake.lake.storage import Storage, modified_s
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.healpix import KEY_ORDER, Int64

#: Directory of a lake that holds the runs of writes under way; readers pass over names with an underscore.
STAGING = "_staging"
#: What a worker reports: a run it wrote, how many rows are in cells of `COUNT_ORDER`, or any other tally.
RUN, CELLS = "run", "cells"
#: Columns of a report. Cells and their counts are packed int64: millions of them are few reports.
REPORT = pa.schema(
    [
        ("kind", pa.string()),
        ("table", pa.string()),
        ("path", pa.string()),
        ("low", pa.int64()),
        ("high", pa.int64()),
        ("n", pa.int64()),
        ("cells", pa.binary()),
        ("counts", pa.binary()),
    ]
)
#: The columns of a report as Spark has them.
REPORT_FIELDS = from_arrow_schema(REPORT)
#: Absent values are no nulls: pandas would turn integers with nulls to floats.
_DEFAULTS = {"table": "", "path": "", "low": -1, "high": -1, "n": 0, "cells": b"", "counts": b""}
_SHIFT = 2 * (KEY_ORDER - COUNT_ORDER)
#: Cells are reported by parts of the sky this much coarser (order 3), for several workers to add up.
_PART_SHIFT = 2 * (COUNT_ORDER - 3)
_RUN_ROWS = 1_000_000
_RUN_BYTES = 128 << 20
#: Small, since the writer of a partition may want a few rows of each of many runs.
GROUP_ROWS = 8_192
#: Cells added up at a time.
_MANY_CELLS = 4_000_000


@dataclass(frozen=True)
class StagedRun:
    """A sorted file: its path from the lake's root, its rows, and its first and last `_healpix_29`.

    Of a run that is `thinned` the rows that go (see `merge.Gone`) are passed over, and not among `rows`.
    """

    path: str
    rows: int
    low: int
    high: int
    thinned: bool = False


@dataclass(frozen=True)
class Staged:
    """The staged rows of one table.

    Parameters
    ----------
    runs : tuple of StagedRun
    cells, counts : (N,) int64
        Occupied cells of `COUNT_ORDER`, each once, and their rows; empty without positions.
    """

    runs: tuple[StagedRun, ...] = ()
    cells: Int64 = field(default_factory=lambda: np.array([], np.int64))
    counts: Int64 = field(default_factory=lambda: np.array([], np.int64))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(run.rows for run in self.runs)

    def __add__(self, other: Staged) -> Staged:
        """Return both together."""
        return Staged(self.runs + other.runs, *_sums([self.cells, other.cells], [self.counts, other.counts]))


@dataclass(frozen=True)
class StageSpec:
    """Where a worker stages the rows of a table, and their schema."""

    root: Storage
    run_id: str
    table: str
    schema: pa.Schema


class Stager:
    """Collects the rows of one table in one task and writes them as sorted runs of bounded size."""

    def __init__(self, spec: StageSpec) -> None:
        self.spec = spec
        self._rows: list[pa.Table] = []
        self._count = 0
        self._bytes = 0
        self._cells: list[Int64] = []
        self._counts: list[Int64] = []

    def add(self, rows: pa.Table) -> Iterator[pa.RecordBatch]:
        """Take rows (run_id is filled in where absent) and yield reports of what was written."""
        if not rows.num_rows:
            return
        spec = self.spec
        if "run_id" in spec.schema.names and "run_id" not in rows.column_names:
            rows = rows.append_column("run_id", pa.repeat(pa.scalar(spec.run_id), rows.num_rows))
        self._rows.append(rows.select(spec.schema.names).cast(spec.schema))
        self._count += rows.num_rows
        self._bytes += rows.nbytes
        if self._count >= _RUN_ROWS or self._bytes >= _RUN_BYTES:
            yield self._flush()

    def close(self) -> Iterator[pa.RecordBatch]:
        """Write what is left and yield the reports, those of the cells of all runs too."""
        if self._rows:
            yield self._flush()
        cells, counts = _sums(self._cells, self._counts)
        part = cells >> _PART_SHIFT
        for low in np.unique(part).tolist():
            yield _packed(self.spec.table, low, cells[part == low], counts[part == low])

    def _flush(self) -> pa.RecordBatch:
        rows = pa.concat_tables(self._rows).combine_chunks()
        self._rows, self._count, self._bytes = [], 0, 0
        low = high = -1
        if HEALPIX_COLUMN in rows.column_names:
            rows = in_order(rows, np.argsort(rows.column(HEALPIX_COLUMN).to_numpy(), kind="stable"))
            index = rows.column(HEALPIX_COLUMN).to_numpy()
            low, high = int(index[0]), int(index[-1])
            cells = index >> _SHIFT
            first = np.flatnonzero(np.concatenate([[True], np.diff(cells) > 0]))
            self._cells.append(cells[first])
            self._counts.append(np.diff(first, append=len(cells)))
        path = run_path(self.spec)
        with open_run(self.spec, path) as writer:
            writer.write_table(rows, row_group_size=GROUP_ROWS)
        return report(RUN, rows.num_rows, table=self.spec.table, path=path, low=low, high=high)


def in_order(rows: pa.Table, order: Int64) -> pa.Table:
    """Return the rows in an order; no copy of those that have it already."""
    return rows if (order == np.arange(len(order))).all() else rows.take(pa.array(order))


def run_path(spec: StageSpec) -> str:
    """Return a new path for a run, from the lake's root."""
    return f"{STAGING}/{spec.run_id}/{spec.table.replace('/', '_')}-{uuid.uuid4().hex}.parquet"


@contextmanager
def open_run(spec: StageSpec, path: str) -> Iterator[pq.ParquetWriter]:
    """Open a run to write to."""
    with (
        spec.root.fs.open(spec.root.path(path), "wb") as stream,
        # Written once and read once: quick coding, and statistics of the one column that is searched.
        pq.ParquetWriter(
            stream, spec.schema, compression="lz4", use_dictionary=False, write_statistics=[HEALPIX_COLUMN]
        ) as writer,
    ):
        yield writer


def report(kind: str, n: int, **columns: str | int | bytes) -> pa.RecordBatch:
    """Return a report as a batch of one row."""
    given = {**_DEFAULTS, "kind": kind, "n": n, **columns}
    return pa.RecordBatch.from_arrays([pa.array([given[f.name]], f.type) for f in REPORT], schema=REPORT)


def collect_reports(
    reports: DataFrame, *, scattered: bool = False
) -> tuple[dict[str, Staged], dict[str, int]]:
    """Run the workers and return what they staged, by table, and the sums of all other tallies, by kind.

    What comes to the driver is bounded by the number of runs and, at 16 bytes a cell of `COUNT_ORDER`, by the
    sky that each task saw; with `scattered` by the sky alone.

    Parameters
    ----------
    reports : DataFrame
        Columns `REPORT`.
    scattered : bool
        Whether many tasks may have rows anywhere on the sky: their cells are then added up by workers, for
        the price of a shuffle of the reports.

    Raises
    ------
    RowsDoNotReconcile
        When the cells of a table hold other rows than its runs.
    """
    if scattered:
        reports = _added_up(reports)
    found = reports.toPandas()
    staged = {}
    for table, mine in found[found["kind"].isin((RUN, CELLS))].groupby("table"):
        runs = mine[mine["kind"] == RUN].sort_values(["low", "high", "path"])
        packed = mine[mine["kind"] == CELLS]
        columns = (runs[name].tolist() for name in ("path", "n", "low", "high"))
        of_runs = tuple(StagedRun(*values) for values in zip(*columns, strict=True))
        staged[str(table)] = Staged(of_runs, *_unpacked(packed["cells"], packed["counts"]))
    for table, rows in staged.items():
        if rows.counts.sum() != sum(run.rows for run in rows.runs if run.low >= 0):
            raise RowsDoNotReconcile(
                f"table {table}: staged runs and counted cells differ; run the job again"
            )
    others = found[~found["kind"].isin((RUN, CELLS))].groupby("kind")["n"].sum()
    return staged, {str(kind): int(n) for kind, n in others.items()}


def _added_up(reports: DataFrame) -> DataFrame:
    """Return the reports with the cells of all tasks added up by workers."""

    def add_up(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts: dict[str, list[tuple[bytes, bytes]]] = {}
        for batch in batches:
            is_cells = pc.equal(batch.column("kind"), CELLS)
            yield batch.filter(pc.invert(is_cells)).select(REPORT.names)
            for row in batch.filter(is_cells).to_pylist():
                mine = parts.setdefault(row["table"], [])
                mine.append((row["cells"], row["counts"]))
                if sum(len(cells) for cells, _ in mine) > 8 * _MANY_CELLS:
                    cells, counts = _unpacked(*zip(*mine, strict=True))
                    parts[row["table"]] = [(cells.tobytes(), counts.tobytes())]
        for table, mine in parts.items():
            yield _packed(table, -1, *_unpacked(*zip(*mine, strict=True)))

    # All runs of a task meet in one place, so that of a task that ran twice one attempt is taken whole.
    key = F.when(F.col("kind") == CELLS, F.col("low")).otherwise(-1 - F.spark_partition_id())
    return reports.withColumn("key", key).repartition("key").mapInArrow(add_up, REPORT_FIELDS)


def _packed(table: str, low: int, cells: Int64, counts: Int64) -> pa.RecordBatch:
    return report(CELLS, 0, table=table, low=low, cells=cells.tobytes(), counts=counts.tobytes())


def _unpacked(cells: Iterable[bytes], counts: Iterable[bytes]) -> tuple[Int64, Int64]:
    return _sums([np.frombuffer(c, np.int64) for c in cells], [np.frombuffer(c, np.int64) for c in counts])


def _sums(cells: Sequence[Int64], counts: Sequence[Int64]) -> tuple[Int64, Int64]:
    """Return each cell once with the sum of its counts."""
    none = np.array([], np.int64)
    unique, inverse = np.unique(np.concatenate([none, *cells]), return_inverse=True)
    weights = np.concatenate([none, *counts])
    return unique, np.bincount(inverse, weights, len(unique)).astype(np.int64)


def count_cells(rows: DataFrame) -> tuple[Int64, Int64]:
    """Return the occupied cells at `COUNT_ORDER` and their rows: bounded by the sky, not by the data."""
    found = rows.select(F.shiftright(HEALPIX_COLUMN, _SHIFT).alias("cell")).groupBy("cell").count().toPandas()
    return found["cell"].to_numpy(np.int64), found["count"].to_numpy(np.int64)


def less(rows: tuple[Int64, Int64], gone: tuple[Int64, Int64]) -> tuple[Int64, Int64]:
    """Return cells and their rows without those of others; cells that nothing is left of are left out."""
    cells, counts = _sums([rows[0], gone[0]], [rows[1], -gone[1]])
    return cells[counts > 0], counts[counts > 0]


def make_staging(root: Storage, run_id: str) -> None:
    """Make the directory of a run: a task that outlives its run shall not bring it back."""
    if root.is_local:
        root.fs.makedirs(root.path(STAGING, run_id), exist_ok=True)


def clear_staging(root: Storage, run_id: str) -> None:
    """Delete what a run has staged."""
    path = root.path(STAGING, run_id)
    if root.fs.exists(path):
        root.fs.rm(path, recursive=True)


def stale_staging(root: Storage, before_s: float) -> list[str]:
    """Return the runs whose staged files were all written before a time (seconds since 1970)."""
    base = root.path(STAGING)
    if not root.fs.exists(base):
        return []
    newest = {path.rstrip("/").rpartition("/")[2]: 0.0 for path in root.fs.ls(base, detail=False)}
    for path, info in root.fs.find(base, detail=True).items():
        run_id = path.removeprefix(base).strip("/").partition("/")[0]
        newest[run_id] = max(newest.get(run_id, 0.0), modified_s(info))
    return sorted(run_id for run_id, at in newest.items() if at <= before_s)
