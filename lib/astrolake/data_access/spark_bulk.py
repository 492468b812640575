"""The Spark side of releases in bulk: rows in place as a DataFrame, or on their way into a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from astrolake.data_access.bulk import BulkQuery, Partition
from astrolake.data_access.catalog_files import InputFile, ReadOptions
from astrolake.data_access.normalise import Reject, lake_table, normalise_batch, resolve_columns
from astrolake.data_access.spark import CatalogPlan, indexed
from astrolake.errors import BadInput
from astrolake.lake.reader import spark_fields

_MOST_TASKS = 10_000


def bulk_frame(
    spark: SparkSession, query: BulkQuery, partitions: Sequence[Partition] | None = None
) -> DataFrame:
    """Return what a query asks of a release, read where it lies, a file a task.

    Parameters
    ----------
    partitions : sequence of Partition, optional
        Of `BulkQuery.partitions`, to read but some of them.

    Raises
    ------
    BadInput
        When there is no such release.
    """
    chosen = list(query.partitions() if partitions is None else partitions)
    shared = spark.sparkContext.broadcast((query, chosen))

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        query, chosen = shared.value
        for number in (i for batch in batches for i in batch.column(0).to_pylist()):
            for rows in query.rows(chosen[number]):
                yield from rows.to_batches()

    tasks = max(1, min(len(chosen), _MOST_TASKS))
    return spark.range(0, len(chosen), 1, tasks).mapInArrow(read, spark_fields(query.schema))


@dataclass(frozen=True)
class BulkPlan(CatalogPlan):
    """A plan whose files are those of a release: rows come translated, and only those asked for."""

    query: BulkQuery = field(kw_only=True)

    def read_slice(
        self, file: InputFile, begin: int, end: int
    ) -> Iterator[tuple[pa.Table, list[Reject], int]]:
        """Yield rows, rejects and the number of rows, batch by batch."""
        seen = 0
        try:
            for rows in self.query.rows(Partition(file.uri, 0, 0)):
                numbers = np.arange(seen, seen + rows.num_rows)
                batch = rows.combine_chunks().to_batches()[0]
                seen += rows.num_rows
                good, bad = normalise_batch(batch, numbers, self.columns, file.uri)
                yield indexed(good), bad, rows.num_rows
        except BadInput as error:
            yield pa.table({}), [Reject(file.uri, error.kind, str(error), "")], 1


def plan_bulk(query: BulkQuery, name: str) -> tuple[BulkPlan, list[tuple[InputFile, int]]]:
    """Return the plan that brings a query's rows into the table of a name, and its files.

    Raises
    ------
    BadInput
        When there is no such release, or none of it lies in the region.
    """
    files = [(InputFile(part.path, "parquet"), -1) for part in query.partitions()]
    if not files:
        raise BadInput(f"{query.table.native}: no file of the release lies in the region", "EmptyInput")
    columns = resolve_columns(query.schema, "ra", "dec", "source_id")
    table = lake_table(name, query.schema, columns)
    return BulkPlan(table, query.schema, columns, ReadOptions(), query=query), files
