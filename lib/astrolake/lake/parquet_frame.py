"""Parquet files of a lake as a Spark DataFrame, also where Spark itself cannot reach their store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from astrolake.lake.session import has_s3a
from astrolake.lake.storage import Storage

_BATCH_ROWS = 65_536
_SLICES = 64


def parquet_frame(
    spark: SparkSession,
    storage: Storage,
    paths: Sequence[str],
    schema: T.StructType,
    *,
    partitioned: bool = False,
) -> DataFrame:
    """Return the rows of Parquet files below a storage.

    PyPI's Spark has no S3A file system. Embedded Spark then reads through Python, on all cores and a
    batch at a time; what Spark's own reader would prune is read all the same.

    Parameters
    ----------
    schema : StructType
        Columns to return; those that a file lacks are null.
    partitioned : bool
        Whether ``name=value`` directories in the paths are columns of the schema.
    """
    if storage.is_local or not is_bare(spark):
        reader = spark.read.schema(schema)
        if partitioned:
            reader = reader.option("basePath", storage.spark_uri())
        return reader.parquet(*(storage.spark_uri(path) for path in paths))
    target = to_arrow_schema(schema)
    chosen = list(paths)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in (i for batch in batches for i in batch.column(0).to_pylist()):
            yield from _batches(storage, chosen[number], target, partitioned)

    return spark.range(0, len(chosen), 1, max(1, min(len(chosen), _SLICES))).mapInArrow(read, schema)


def is_bare(spark: SparkSession) -> bool:
    """Whether Spark runs in this process and has no file system for S3."""
    return str(spark.sparkContext.master).startswith("local") and not has_s3a()


def _batches(storage: Storage, path: str, target: pa.Schema, partitioned: bool) -> Iterator[pa.RecordBatch]:
    parts = dict(part.split("=", 1) for part in path.split("/") if partitioned and "=" in part)
    with (
        storage.fs.open(storage.path(path), "rb") as stream,
        pq.ParquetFile(stream, page_checksum_verification=True) as parquet,
    ):
        present = set(parquet.schema_arrow.names)
        wanted = [name for name in target.names if name in present]
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=wanted):
            yield pa.RecordBatch.from_arrays(
                [_column(batch, field, parts) for field in target], schema=target
            )


def _column(batch: pa.RecordBatch, field: pa.Field, parts: dict[str, str]) -> pa.Array:
    if field.name in batch.schema.names:
        return batch.column(field.name).cast(field.type)
    value = parts.get(field.name)
    scalar = pa.scalar(None, field.type) if value is None else pa.scalar(value).cast(field.type)
    return pa.repeat(scalar, batch.num_rows)
