"""The driver's side of a write: plan partitions, let executors write, hand back one commit.

A writer never commits by itself: the job runner commits once the rows reconcile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from astrolake.errors import RowsDoNotReconcile
from astrolake.lake.delta import Commit, DataFile, Snapshot, read_snapshot
from astrolake.lake.hats import claim_table, retract_hats_metadata
from astrolake.lake.lake import Lake
from astrolake.lake.partitioning import COUNT_ORDER, MAX_ROWS, Leaves, plan_leaves
from astrolake.lake.reader import frame_of
from astrolake.lake.sink import SinkSpec, write_partitions
from astrolake.schema.arrow import arrow_schema, delta_schema
from astrolake.schema.model import HEALPIX_COLUMN, Table
from astrolake.schema.spark import spark_type
from astrolake.sky.healpix import KEY_ORDER

_PART = "_part"
_FILE_SCHEMA = "path string, size long, rows long, partition array<int>, stats string"
#: Rows of an unpartitioned file.
_FLAT_ROWS = 1_000_000
#: More shuffle partitions than this cost more than they spread.
_MOST_TASKS = 2_000


@dataclass(frozen=True)
class Replace:
    """What a write replaces: all rows (`key` None), or those whose key is among `values`.

    Parameters
    ----------
    key : str or None
        Column that says who owns a row, e.g. ``image_id``.
    values : DataFrame or None
        One column named `key`: what the job owns.
    """

    key: str | None = None
    values: DataFrame | None = None

    @property
    def whole(self) -> bool:
        """Whether all rows are replaced."""
        return self.key is None or self.values is None


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
    """Writes tables of one lake for one run."""

    spark: SparkSession
    lake: Lake
    run_id: str
    job: str
    max_rows: int = MAX_ROWS

    def replace_rows(self, rows: DataFrame, table: Table, what: Replace | None = None) -> Written:
        """Write rows in place of those that `what` names (all by default).

        Parameters
        ----------
        rows : DataFrame
            The stored columns but `run_id`; a positional table's rows are written sorted by
            `_healpix_29` into adaptive partitions. Computed twice: persist it when dear.

        Raises
        ------
        RowsDoNotReconcile
            When the files hold another number of rows than were to be written.
        """
        rows = self._declared(rows, table)
        storage = self.lake.delta_storage(table.name, positional=table.positional)
        old = read_snapshot(storage)
        if not table.positional:
            return self._write_flat(rows, table, old, what or Replace())
        catalog = self.lake.table_storage(table.name)
        claim_table(catalog, self.run_id)
        retract_hats_metadata(catalog)
        return self._write_positional(rows, table, old, what or Replace())

    def append_rows(self, rows: DataFrame, table: Table) -> Written:
        """Write rows beside those of an unpartitioned table (its rows are keyed by run)."""
        rows = self._declared(rows, table)
        storage = self.lake.delta_storage(table.name, positional=False)
        old = read_snapshot(storage)
        count = rows.count()
        adds = self._write_files(rows.withColumn(_PART, F.lit(0)), table, {0: ()}, 1) if count else []
        return self._written(table, _Change(old, adds, [], count, appends=True))

    def plan(self, rows: DataFrame) -> Leaves:
        """Return the partitions that rows would get in a table of their own."""
        nothing = np.array([], dtype=np.int64)
        return plan_leaves(*self._count_cells(rows), Leaves(nothing, nothing), self.max_rows)

    def _declared(self, rows: DataFrame, table: Table) -> DataFrame:
        """Select the declared columns in their declared types; rows that are only moved keep their run_id."""
        if "run_id" not in rows.columns:
            rows = rows.withColumn("run_id", F.lit(self.run_id))
        return rows.select(*(F.col(c.name).cast(spark_type(c)).alias(c.name) for c in table.columns))

    def _write_flat(self, rows: DataFrame, table: Table, old: Snapshot | None, what: Replace) -> Written:
        new = rows.count()
        kept = 0
        if old is not None and not what.whole:
            keep = self._kept(old, old.files, what).select(*table.column_names)
            kept = keep.count()
            rows = rows.unionByName(keep)
        tasks = max(1, math.ceil((new + kept) / _FLAT_ROWS))
        part = F.lit(0) if tasks == 1 else F.pmod(F.xxhash64(*table.key), F.lit(tasks)).cast("int")
        adds = self._write_files(rows.withColumn(_PART, part), table, dict.fromkeys(range(tasks), ()), tasks)
        removes = list(old.files) if old else []
        return self._written(table, _Change(old, adds, removes, new, kept, what.whole))

    def _write_positional(
        self, rows: DataFrame, table: Table, old: Snapshot | None, what: Replace
    ) -> Written:
        cells, counts = self._count_cells(rows)
        new = int(counts.sum())
        touched = self._touched(old, what, cells)
        fixed = _leaves([file for file in old.files if file not in touched] if old else [])
        kept = 0
        if old is not None and not what.whole and touched:
            keep = self._kept(old, tuple(touched), what).select(*table.column_names)
            kept_cells, kept_counts = self._count_cells(keep)
            kept = int(kept_counts.sum())
            rows = rows.unionByName(keep)
            cells, counts = _add_counts(cells, counts, kept_cells, kept_counts)
        leaves = plan_leaves(cells, counts, fixed, self.max_rows)
        adds = self._write_leaves(rows, table, leaves) if len(leaves) else []
        removes = sorted(touched, key=lambda file: file.path)
        return self._written(table, _Change(old, adds, removes, new, kept, what.whole))

    def _touched(self, old: Snapshot | None, what: Replace, cells: np.ndarray) -> set[DataFile]:
        """Return the files to rewrite: those with rows to replace and those that new rows fall into."""
        if old is None:
            return set()
        if what.key is None or what.values is None:
            return set(old.files)
        owners = frame_of(self.spark, old).join(what.values, what.key, how="left_semi")
        hit = {(row.Norder, row.Npix) for row in owners.select("Norder", "Npix").distinct().collect()}
        layout = _leaves(old.files)
        into = layout.find(cells << (2 * (KEY_ORDER - COUNT_ORDER)))
        hit |= {(int(layout.order[i]), int(layout.npix[i])) for i in np.unique(into[into >= 0])}
        return {file for file in old.files if (file.order, file.npix) in hit}

    def _kept(self, old: Snapshot, files: tuple[DataFile, ...], what: Replace) -> DataFrame:
        rows = frame_of(self.spark, old, files)
        if what.key is None or what.values is None:
            return rows.limit(0)
        return rows.join(what.values, what.key, how="left_anti")

    def _count_cells(self, rows: DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the occupied cells at `COUNT_ORDER` and their rows: bounded by the sky, not by the data."""
        cell = F.shiftright(HEALPIX_COLUMN, 2 * (KEY_ORDER - COUNT_ORDER)).alias("cell")
        found = rows.select(cell).groupBy("cell").count().toPandas()
        return found["cell"].to_numpy(np.int64), found["count"].to_numpy(np.int64)

    def _write_leaves(self, rows: DataFrame, table: Table, leaves: Leaves) -> list[DataFile]:
        starts = self.spark.sparkContext.broadcast((leaves.starts, leaves.ends, leaves.order, leaves.npix))

        def assign(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            _, _, order, npix = starts.value
            layout = Leaves(order, npix)
            for batch in batches:
                part = layout.find(batch.column(HEALPIX_COLUMN).to_numpy())
                if (part < 0).any():
                    raise RowsDoNotReconcile("rows lie where none were counted: the input changed meanwhile")
                yield pa.RecordBatch.from_arrays(
                    [*batch.columns, pa.array(part, pa.int32())], names=[*batch.schema.names, _PART]
                )

        schema = T.StructType([*rows.schema.fields, T.StructField(_PART, T.IntegerType())])
        tagged = rows.mapInArrow(assign, schema)
        keys = zip(leaves.order.tolist(), leaves.npix.tolist(), strict=True)
        partitions: dict[int, tuple[int, ...]] = {
            i: (k, n // 10_000 * 10_000, n) for i, (k, n) in enumerate(keys)
        }
        return self._write_files(tagged, table, partitions, min(len(leaves), _MOST_TASKS))

    def _write_files(
        self, rows: DataFrame, table: Table, partitions: dict[int, tuple[int, ...]], tasks: int
    ) -> list[DataFile]:
        """Shuffle rows to their part, sort, and write one file for each part on the executors."""
        storage = self.lake.delta_storage(table.name, positional=table.positional)
        spec = SinkSpec(storage, arrow_schema(_nullable(table)), self.run_id)
        order = [HEALPIX_COLUMN, *table.key] if table.positional else list(table.key)
        parts = self.spark.sparkContext.broadcast(partitions)

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            files = write_partitions(batches, spec, parts.value, _PART)
            for file in files:
                yield pa.RecordBatch.from_pydict(
                    {
                        "path": [file.path],
                        "size": [file.size],
                        "rows": [file.rows],
                        "partition": pa.array([list(file.partition)], pa.list_(pa.int32())),
                        "stats": [file.stats],
                    }
                )

        shuffled = rows.repartition(tasks, _PART).sortWithinPartitions(_PART, *order)
        found = shuffled.mapInArrow(write, _FILE_SCHEMA).collect()
        return [DataFile(f.path, f.size, f.rows, tuple(f.partition), f.stats) for f in found]

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
            tuple(change.removes),
            change.old.version if change.old else None,
            self.run_id,
            self.job,
            change.whole,
            change.appends,
        )
        return Written(table.name, commit, change.new, change.kept)


def _nullable(table: Table) -> Table:
    """Spark hands every column over as nullable; Delta declares them so."""
    return replace(table, columns=tuple(replace(column, nullable=True) for column in table.columns))


def _leaves(files: tuple[DataFile, ...] | list[DataFile]) -> Leaves:
    return Leaves.of(
        np.array([f.order for f in files], np.int64), np.array([f.npix for f in files], np.int64)
    )


def _add_counts(
    cells: np.ndarray, counts: np.ndarray, more_cells: np.ndarray, more_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    both, inverse = np.unique(np.concatenate([cells, more_cells]), return_inverse=True)
    return both, np.bincount(inverse, np.concatenate([counts, more_counts]), len(both)).astype(np.int64)
