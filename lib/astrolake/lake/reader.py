"""Reading tables: into Spark by snapshot, and on executors by region of the sky."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_schema

from astrolake.errors import MissingColumns, TableNotFound
from astrolake.lake.delta import DataFile, Snapshot, read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.parquet_frame import parquet_frame
from astrolake.lake.storage import Storage
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.healpix import KEY_ORDER, cell_range
from astrolake.sky.ranges import covered, inside, overlap


def table_snapshot(lake: Lake, table: str, version: int | None = None) -> Snapshot:
    """Return a version of a table (the newest by default).

    Raises
    ------
    TableNotFound
        When the lake has no such table or version.
    """
    snapshot = read_snapshot(lake.delta_storage(table), version)
    if snapshot is None:
        raise TableNotFound(f"{lake.uri} has no table {table!r}; it has {lake.tables()}")
    return snapshot


def read_table(spark: SparkSession, lake: Lake, table: str, version: int | None = None) -> DataFrame:
    """Return a table as a Spark DataFrame, partition columns last.

    Raises
    ------
    TableNotFound
        When the lake has no such table or version.
    """
    return frame_of(spark, table_snapshot(lake, table, version))


def frame_of(spark: SparkSession, snapshot: Snapshot, files: Sequence[DataFile] | None = None) -> DataFrame:
    """Return the rows of a snapshot, or of some of its files, as a Spark DataFrame."""
    chosen = snapshot.files if files is None else files
    schema = spark_fields(snapshot.schema)
    if not chosen:
        return spark.createDataFrame([], schema)
    return parquet_frame(spark, snapshot.storage, [file.path for file in chosen], schema, partitioned=True)


def spark_fields(schema: pa.Schema) -> T.StructType:
    """Return the Spark schema of an Arrow schema, all nullable."""
    found = from_arrow_schema(schema)
    return T.StructType([T.StructField(field.name, field.dataType, True) for field in found])


def require_columns(table: str, present: Sequence[str], needed: Sequence[str]) -> None:
    """Raise MissingColumns, listing what there is, unless all needed columns are present."""
    missing = [name for name in needed if name not in present]
    if missing:
        raise MissingColumns(table, missing, list(present))


@dataclass(frozen=True)
class RegionReader:
    """Reads rows of a positional table by sky region, on an executor, without Spark.

    Parameters
    ----------
    storage : Storage
        The table's Delta root.
    files : tuple of DataFile
        The files of the snapshot (or of the part that a task needs).
    columns : tuple of str
        Columns to read; `_healpix_29` comes along.
    """

    storage: Storage
    files: tuple[DataFile, ...]
    columns: tuple[str, ...]

    def read(self, ranges: np.ndarray) -> pa.Table:
        """Return all rows whose `_healpix_29` lies in any of the half-open ranges.

        Parameters
        ----------
        ranges : (M, 2) int64
            Sorted, disjoint half-open ranges of order-29 indices.

        Notes
        -----
        Only files and row groups whose statistics touch a range are read.
        """
        tables = [table for file in self._touched(ranges) for table in self._read_file(file, ranges)]
        if not tables:
            return self._empty()
        return pa.concat_tables(tables)

    def slices(self, ranges: np.ndarray) -> Iterator[pa.Table]:
        """Yield the rows of `read` in the order of `_healpix_29`, one row group at a time."""
        for file in sorted(self._touched(ranges), key=lambda file: cell_range(file.order, file.npix)):
            for parquet, groups in self._opened(file, ranges):
                for group in groups:
                    yield self._read_groups(parquet, [group], ranges)

    def rows_near(self, ranges: np.ndarray) -> float:
        """Return about how many rows lie in the ranges, taking row groups as evenly filled."""
        return sum(
            _rows_of(parquet, groups, ranges)
            for file in self._touched(ranges)
            for parquet, groups in self._opened(file, ranges)
        )

    def _touched(self, ranges: np.ndarray) -> list[DataFile]:
        spans = np.array([(f.npix, f.npix + 1, 2 * (KEY_ORDER - f.order)) for f in self.files], np.int64)
        lows, highs = (spans[:, :2] << spans[:, 2:]).T if len(spans) else np.empty((2, 0), np.int64)
        return [self.files[i] for i in np.flatnonzero(overlap(ranges, lows, highs))]

    def _opened(self, file: DataFile, ranges: np.ndarray) -> Iterator[tuple[pq.ParquetFile, list[int]]]:
        """Yield the open file with its row groups that may hold rows of the ranges, if any."""
        with self.storage.fs.open(self.storage.path(file.path), "rb") as stream:
            parquet = pq.ParquetFile(stream)
            if groups := touched_groups(parquet, ranges):
                yield parquet, groups

    def _empty(self) -> pa.Table:
        """Return no rows; types come from any file of the table, null where it has none."""
        for file in self.files:
            with self.storage.fs.open(self.storage.path(file.path), "rb") as stream:
                schema = pq.read_schema(stream)
                return pa.schema([schema.field(name) for name in self._names()]).empty_table()
        return pa.schema([pa.field(name, pa.null()) for name in self._names()]).empty_table()

    def _names(self) -> list[str]:
        return [HEALPIX_COLUMN, *(name for name in self.columns if name != HEALPIX_COLUMN)]

    def _read_file(self, file: DataFile, ranges: np.ndarray) -> Iterator[pa.Table]:
        for parquet, groups in self._opened(file, ranges):
            yield self._read_groups(parquet, groups, ranges)

    def _read_groups(self, parquet: pq.ParquetFile, groups: list[int], ranges: np.ndarray) -> pa.Table:
        rows = parquet.read_row_groups(groups, columns=self._names())
        index = rows.column(HEALPIX_COLUMN).to_numpy()
        return rows.select(self._names()).filter(pa.array(inside(ranges, index)))


def _rows_of(parquet: pq.ParquetFile, groups: list[int], ranges: np.ndarray) -> float:
    """Return about how many rows of some row groups lie in the ranges."""
    found = [parquet.metadata.row_group(g) for g in groups]
    rows = np.array([group.num_rows for group in found], float)
    spans = _spans(parquet, groups)
    if spans is None:
        return float(rows.sum())
    within = covered(ranges, spans[:, 1]) - covered(ranges, spans[:, 0])
    return float((rows * within / (spans[:, 1] - spans[:, 0])).sum())


def touched_groups(parquet: pq.ParquetFile, ranges: np.ndarray) -> list[int]:
    """Return the row groups that may hold rows with `_healpix_29` in any of the half-open ranges."""
    every = list(range(parquet.num_row_groups))
    spans = _spans(parquet, every)
    return every if spans is None else [int(g) for g in np.flatnonzero(overlap(ranges, *spans.T))]


def _spans(parquet: pq.ParquetFile, groups: list[int]) -> np.ndarray | None:
    """Return the half-open spans (N, 2) of `_healpix_29` in row groups, None without statistics."""
    key = parquet.metadata.schema.names.index(HEALPIX_COLUMN)
    found = [parquet.metadata.row_group(g).column(key).statistics for g in groups]
    if any(s is None or not s.has_min_max for s in found):
        return None
    return np.array([(s.min, s.max + 1) for s in found], np.int64).reshape(-1, 2)
