"""Writing tables: executors stage rows and merge them into adaptive HEALPix partitions; the runner commits.

A table is cut into partitions from the row counts of small cells, which workers report
while they stage. Each partition is then written by one task that reads its span of every run.
Nothing is committed here: `Written.commit` says what the transaction will be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_schema

from astrolake.errors import RowsDoNotReconcile
from astrolake.lake.delta import Commit, DataFile, Snapshot, read_snapshot
from astrolake.lake.hats import claim_table, retract_hats_metadata
from astrolake.lake.lake import Lake
from astrolake.lake.merge import FAN_IN, Gone, MergePlan
from astrolake.lake.parquet_frame import parquet_frame
from astrolake.lake.partitioning import ANY_ORDER, COUNT_ORDER, MAX_ROWS, Leaves, plan_leaves
from astrolake.lake.reader import frame_of
from astrolake.lake.replace import Division, OldFiles, Replace, leaves_of
from astrolake.lake.sink import SinkSpec, write_file
from astrolake.lake.staging import (
    REPORT_FIELDS,
    RUN,
    Staged,
    StagedRun,
    Stager,
    StageSpec,
    collect_reports,
    count_cells,
    make_staging,
    report,
)
from astrolake.schema.arrow import arrow_schema, delta_schema
from astrolake.schema.model import Table
from astrolake.schema.spark import spark_schema, spark_type
from astrolake.sky.healpix import KEY_ORDER

W = TypeVar("W")
#: A file that a task has written.
FILE_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("rows", pa.int64()),
        ("partition", pa.list_(pa.int32())),
        ("stats", pa.string()),
    ]
)
FILE_FIELDS = from_arrow_schema(FILE_SCHEMA)
#: Rows of an unpartitioned file.
_FLAT_ROWS = 1_000_000
#: More shuffle partitions than this cost more than they spread.
_MOST_TASKS = 2_000


@dataclass(frozen=True)
class Written:
    """Rows written and the commit that will publish them."""

    table: str
    commit: Commit
    rows_new: int
    rows_kept: int


@dataclass(frozen=True)
class _Change:
    """Files written over an old snapshot, and the new and kept rows they should hold."""

    old: Snapshot | None
    adds: list[DataFile]
    removes: list[DataFile]
    new: int
    kept: int = 0
    whole: bool = False
    appends: bool = False


@dataclass(frozen=True)
class TableWriter:
    """Writes tables of one lake for one run.

    The version that a write goes on top of is noted when its rows begin to be made (`base`), so
    that what others commit meanwhile is never overwritten: it is kept, or the commit is refused.
    """

    spark: SparkSession
    lake: Lake
    run_id: str
    job: str
    max_rows: int = MAX_ROWS
    orders: tuple[int, int] = ANY_ORDER
    _bases: dict[str, Snapshot | None] = field(default_factory=dict, repr=False)

    def base(self, table: str, *, positional: bool) -> Snapshot | None:
        """Return the version of a table that this run builds on: the newest at the first call."""
        if table not in self._bases:
            self._bases[table] = read_snapshot(self.lake.delta_storage(table, positional=positional))
        return self._bases[table]

    def replace_rows(self, rows: DataFrame, table: Table, what: Replace | None = None) -> Written:
        """Write rows in place of those that `what` names (all by default).

        Parameters
        ----------
        rows : DataFrame
            The stored columns but `run_id`. Those of a positional table are computed once, of
            another twice: persist them when dear.

        Raises
        ------
        RowsDoNotReconcile
            When the files hold another number of rows than were to be written.
        """
        self.base(table.name, positional=table.positional)
        if table.positional:
            return self.replace_staged(self.stage(rows, table), table, what)
        return self._write_flat(self._declared(rows, table), table, what)

    def replace_staged(self, staged: Staged, table: Table, what: Replace | None = None) -> Written:
        """Write staged rows in place of those that `what` names (all by default)."""
        if not table.positional:
            return self._write_flat(self.staged_frame(staged, spark_schema(table)), table, what)
        catalog = self.lake.table_storage(table.name)
        claim_table(catalog, self.run_id)
        retract_hats_metadata(catalog)
        old = self.base(table.name, positional=True)
        parts = Division([], list(old.files) if old else [], Staged())
        if old is not None and what is not None:
            files = OldFiles(self.spark, old, table, self.lake.storage, self._stage_as)
            parts = files.divide(what, staged)
        both = staged + parts.kept
        leaves = plan_leaves(both.cells, both.counts, leaves_of(parts.fixed), self.max_rows, self.orders)
        adds = self._merge(both, parts.gone, table, leaves) if len(leaves) else []
        change = _Change(old, adds, parts.removed, staged.rows, parts.kept.rows, what is None)
        return self._written(table, change)

    def append_rows(self, rows: DataFrame, table: Table) -> Written:
        """Write rows beside those of an unpartitioned table (its rows are keyed by run)."""
        rows = self._declared(rows, table)
        old = read_snapshot(self.lake.delta_storage(table.name, positional=False))
        count = rows.count()
        adds = self._write_files(rows, table, 1) if count else []
        return self._written(table, _Change(old, adds, [], count, appends=True))

    def stage_spec(self, table: Table) -> StageSpec:
        """Return what workers need to stage rows of a table; the write builds on its version of now."""
        self.base(table.name, positional=table.positional)
        return self.stage_as(table.name, arrow_schema(_nullable(table)))

    def stage_as(self, name: str, schema: pa.Schema) -> StageSpec:
        """Return what workers need to stage rows that are for this run alone."""
        make_staging(self.lake.storage, self.run_id)
        return StageSpec(self.lake.storage, self.run_id, name, schema)

    def stage(self, rows: DataFrame, table: Table) -> Staged:
        """Stage rows on the executors that compute them; run_id is filled in where absent."""
        return self._staged(self._declared(rows, table), self.stage_spec(table))

    def _stage_as(self, rows: DataFrame, name: str, schema: pa.Schema) -> Staged:
        return self._staged(rows, self.stage_as(name, schema))

    def _staged(self, rows: DataFrame, spec: StageSpec) -> Staged:
        def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            stager = Stager(spec)
            for batch in batches:
                yield from stager.add(pa.Table.from_batches([batch]))
            yield from stager.close()

        staged, _ = collect_reports(rows.mapInArrow(work, REPORT_FIELDS), scattered=True)
        return staged.get(spec.table, Staged())

    def staged_frame(self, staged: Staged, schema: T.StructType) -> DataFrame:
        """Return staged rows as a DataFrame."""
        if not staged.runs:
            return self.spark.createDataFrame([], schema)
        return parquet_frame(self.spark, self.lake.storage, [run.path for run in staged.runs], schema)

    def plan(self, rows: DataFrame) -> Leaves:
        """Return the partitions that rows would get in a table of their own."""
        return plan_leaves(*count_cells(rows), leaves_of([]), self.max_rows, self.orders)

    def _declared(self, rows: DataFrame, table: Table) -> DataFrame:
        """Select the declared columns in their declared types; rows that are only moved keep their run_id."""
        if "run_id" not in rows.columns:
            rows = rows.withColumn("run_id", F.lit(self.run_id))
        return rows.select(*(F.col(c.name).cast(spark_type(c)).alias(c.name) for c in table.columns))

    def _merge(self, staged: Staged, gone: Gone | None, table: Table, leaves: Leaves) -> list[DataFile]:
        """Write one file for each leaf, each by one task that reads its span of the runs."""
        storage = self.lake.delta_storage(table.name, positional=True)
        sink = SinkSpec(storage, arrow_schema(_nullable(table)), self.run_id)
        if gone is not None and gone.runs:
            spec = self.stage_as(f"{table.name}.gone", gone.schema(sink.schema))
            keys = MergePlan(self.lake.storage, replace(sink, schema=spec.schema), gone.runs, gone.key)
            gone = replace(gone, runs=self._few_runs(keys, spec, leaves).runs)
        plan = MergePlan(self.lake.storage, sink, staged.runs, table.key, gone)
        plan = self._few_runs(plan, self.stage_spec(table), leaves)
        at = leaves.find(staged.cells << (2 * (KEY_ORDER - COUNT_ORDER)))
        rows = np.bincount(at, staged.counts, len(leaves)).astype(np.int64)

        def write(what: tuple[MergePlan, Leaves, np.ndarray], i: int) -> pa.RecordBatch:
            plan, leaves, rows = what
            return described(plan.write_partition(int(leaves.order[i]), int(leaves.npix[i]), int(rows[i])))

        return files_of(self._each(len(leaves), (plan, leaves, rows), write, FILE_FIELDS))

    def _few_runs(self, plan: MergePlan, spec: StageSpec, leaves: Leaves) -> MergePlan:
        """Join runs to longer ones until no leaf needs more than `FAN_IN` of them."""

        def join(plan: MergePlan, i: int) -> pa.RecordBatch:
            run = plan.join_runs(i * FAN_IN, (i + 1) * FAN_IN, spec)
            return report(RUN, run.rows, table=spec.table, path=run.path, low=run.low, high=run.high)

        while plan.fan_in(leaves.starts, leaves.ends) > FAN_IN:
            found = self._each(-(-len(plan.runs) // FAN_IN), plan, join, REPORT_FIELDS).toPandas()
            columns = (found[name].tolist() for name in ("path", "n", "low", "high"))
            runs = tuple(StagedRun(*values) for values in zip(*columns, strict=True))
            plan = replace(plan, runs=tuple(sorted(runs, key=lambda run: (run.low, run.high, run.path))))
        return plan

    def _each(
        self, n: int, what: W, work: Callable[[W, int], pa.RecordBatch], fields: T.StructType
    ) -> DataFrame:
        """Return what `work` makes of `what` and each number below n, in a task each."""
        shared = self.spark.sparkContext.broadcast(what)

        def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from (work(shared.value, i) for batch in batches for i in batch.column(0).to_pylist())

        return self.spark.range(0, n, 1, min(n, _MOST_TASKS)).mapInArrow(run, fields)

    def _write_flat(self, rows: DataFrame, table: Table, what: Replace | None) -> Written:
        old = self.base(table.name, positional=False)
        new = rows.count()
        kept = 0
        if old is not None and what is not None:
            keep = what.kept(frame_of(self.spark, old)).select(*table.column_names)
            kept = keep.count()
            rows = rows.unionByName(keep)
        adds = self._write_files(rows, table, max(1, math.ceil((new + kept) / _FLAT_ROWS)))
        return self._written(
            table, _Change(old, adds, list(old.files) if old else [], new, kept, what is None)
        )

    def _write_files(self, rows: DataFrame, table: Table, tasks: int) -> list[DataFile]:
        """Shuffle rows of an unpartitioned table to as many files as tasks, each sorted by key."""
        storage = self.lake.delta_storage(table.name, positional=False)
        spec = SinkSpec(storage, arrow_schema(_nullable(table)), self.run_id)

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from (described(file) for file in write_file(batches, spec))

        spread = rows.coalesce(1) if tasks == 1 else rows.repartition(tasks, *table.key)
        return files_of(spread.sortWithinPartitions(*table.key).mapInArrow(write, FILE_FIELDS))

    def _written(self, table: Table, change: _Change) -> Written:
        rows = sum(file.rows for file in change.adds)
        if rows != change.new + change.kept:
            raise RowsDoNotReconcile(
                f"table {table.name}: {change.new} new and {change.kept} kept rows were to be written, "
                f"the files hold {rows}; nothing was committed"
            )
        commit = Commit(
            self.lake.delta_storage(table.name, positional=table.positional),
            delta_schema(table),
            tuple(change.adds),
            tuple(sorted(change.removes, key=lambda file: file.path)),
            change.old.version if change.old else None,
            self.run_id,
            self.job,
            change.whole,
            change.appends,
        )
        return Written(table.name, commit, change.new, change.kept)


def described(file: DataFile) -> pa.RecordBatch:
    """Return what a task reports of a file: a row of `FILE_SCHEMA`."""
    row = {"path": file.path, "size": file.size, "rows": file.rows, "stats": file.stats}
    return pa.RecordBatch.from_pylist([row | {"partition": list(file.partition)}], schema=FILE_SCHEMA)


def files_of(found: DataFrame) -> list[DataFile]:
    """Run the tasks that write files and return these."""
    return [DataFile(f.path, f.size, f.rows, tuple(f.partition), f.stats) for f in found.collect()]


def _nullable(table: Table) -> Table:
    """Spark hands every column over as nullable; Delta declares them so."""
    return replace(table, columns=tuple(replace(column, nullable=True) for column in table.columns))
