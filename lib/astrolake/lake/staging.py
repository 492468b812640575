"""Rows on their way into a table: sorted runs that executors write and that `merge` joins into partitions.

This is the shuffle of a write. A run is a Parquet file below ``<lake>/_staging/<run_id>``, sorted by
`_healpix_29`; the writer of a partition reads from each run only its span. Rows go from Arrow to
storage and never through the JVM, and what is staged outlives the executor that wrote it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from astrolake.lake.partitioning import COUNT_ORDER
from astrolake.lake.storage import Storage, modified_s
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.healpix import KEY_ORDER, Int64

#: Directory of a lake that holds the runs of writes under way; readers pass over names with an underscore.
STAGING = "_staging"
#: What a worker reports: a run it wrote, the rows of a cell of `COUNT_ORDER`, or a tally of any other name.
RUN, CELL = "run", "cell"
#: Columns of a report.
REPORT = pa.schema(
    [
        ("kind", pa.string()),
        ("table", pa.string()),
        ("path", pa.string()),
        ("low", pa.int64()),
        ("high", pa.int64()),
        ("bytes", pa.int64()),
        ("cell", pa.int64()),
        ("n", pa.int64()),
    ]
)
#: Absent values are no nulls: pandas would turn integers with nulls to floats.
REPORT_DEFAULTS: dict[str, str | int] = {f.name: "" if f.type == pa.string() else -1 for f in REPORT}
_SHIFT = 2 * (KEY_ORDER - COUNT_ORDER)
_RUN_ROWS = 1_000_000
_RUN_BYTES = 128 << 20
_GROUP_ROWS = 32_768


@dataclass(frozen=True)
class StagedRun:
    """A sorted file: its path from the lake's root, its rows, and its first and last `_healpix_29`."""

    path: str
    rows: int
    low: int
    high: int


@dataclass(frozen=True)
class Staged:
    """The staged rows of one table.

    Parameters
    ----------
    runs : tuple of StagedRun
    cells, counts : (N,) int64
        Occupied cells of `COUNT_ORDER`, each once, and their rows; empty without positions.
    bytes : int
        Size of the rows in memory.
    """

    runs: tuple[StagedRun, ...] = ()
    cells: Int64 = field(default_factory=lambda: np.array([], np.int64))
    counts: Int64 = field(default_factory=lambda: np.array([], np.int64))
    bytes: int = 0

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(run.rows for run in self.runs)

    def __add__(self, other: Staged) -> Staged:
        """Return both together."""
        cells, inverse = np.unique(np.concatenate([self.cells, other.cells]), return_inverse=True)
        weights = np.concatenate([self.counts, other.counts])
        counts = np.bincount(inverse, weights, len(cells)).astype(np.int64)
        return Staged(self.runs + other.runs, cells, counts, self.bytes + other.bytes)


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
            yield from self.close()

    def close(self) -> Iterator[pa.RecordBatch]:
        """Write what has been collected and yield the reports."""
        if not self._rows:
            return
        rows = pa.concat_tables(self._rows).combine_chunks()
        size = self._bytes
        self._rows, self._count, self._bytes = [], 0, 0
        name = f"{self.spec.table.replace('/', '_')}-{uuid.uuid4().hex}.parquet"
        path = f"{STAGING}/{self.spec.run_id}/{name}"
        low = high = -1
        if HEALPIX_COLUMN in rows.column_names:
            rows = rows.take(pa.array(np.argsort(rows.column(HEALPIX_COLUMN).to_numpy(), kind="stable")))
            index = rows.column(HEALPIX_COLUMN).to_numpy()
            low, high = int(index[0]), int(index[-1])
            cells = index >> _SHIFT
            first = np.flatnonzero(np.concatenate([[True], np.diff(cells) > 0]))
            yield report(CELL, np.diff(first, append=len(cells)), table=self.spec.table, cell=cells[first])
        self._write(rows, path)
        yield report(RUN, rows.num_rows, table=self.spec.table, path=path, low=low, high=high, bytes=size)

    def _write(self, rows: pa.Table, path: str) -> None:
        root = self.spec.root
        if root.is_local:
            root.fs.makedirs(root.path(path.rpartition("/")[0]), exist_ok=True)
        with root.fs.open(root.path(path), "wb") as stream:
            # Written once and read once: quick coding, and statistics of the one column that is searched.
            pq.write_table(
                rows,
                stream,
                row_group_size=_GROUP_ROWS,
                compression="lz4",
                use_dictionary=False,
                write_statistics=[HEALPIX_COLUMN],
            )


def report(kind: str, n: int | Int64, **columns: str | int | Int64) -> pa.RecordBatch:
    """Return report rows: one, or as many as an array among the columns has values."""
    size = n.size if isinstance(n, np.ndarray) else 1
    given = {**REPORT_DEFAULTS, "kind": kind, "n": n, **columns}
    values = (given[name] for name in REPORT.names)
    arrays = [
        pa.array(value if isinstance(value, np.ndarray) else [value] * size, column.type)
        for column, value in zip(REPORT, values, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=REPORT)


#: The columns of a report as Spark has them.
REPORT_FIELDS = from_arrow_schema(REPORT)


def collect_reports(reports: DataFrame) -> tuple[dict[str, Staged], dict[str, int]]:
    """Run the workers and return what they staged, by table, and the sums of all other tallies, by kind.

    What comes to the driver is bounded by the number of runs and by the sky (cells of `COUNT_ORDER`).
    """
    keys = [name for name in REPORT.names if name != "n"]
    found = reports.groupBy(*keys).agg(F.sum("n").alias("n")).toPandas()
    runs, cells = found[found["kind"] == RUN], found[found["kind"] == CELL]
    staged = {}
    for table in runs["table"].unique():
        mine = runs[runs["table"] == table].sort_values(["low", "high", "path"])
        columns = (mine[name].tolist() for name in ("path", "n", "low", "high"))
        dense = cells[cells["table"] == table]
        staged[table] = Staged(
            tuple(StagedRun(*values) for values in zip(*columns, strict=True)),
            dense["cell"].to_numpy(np.int64),
            dense["n"].to_numpy(np.int64),
            int(mine["bytes"].sum()),
        )
    others = found[~found["kind"].isin((RUN, CELL))].groupby("kind")["n"].sum()
    return staged, {str(kind): int(n) for kind, n in others.items()}


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
    newest: dict[str, float] = {}
    for path, info in root.fs.find(base, detail=True).items():
        run_id = path.removeprefix(base).strip("/").partition("/")[0]
        newest[run_id] = max(newest.get(run_id, 0.0), modified_s(info))
    return sorted(run_id for run_id, at in newest.items() if at <= before_s)
