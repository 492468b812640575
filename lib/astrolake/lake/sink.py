"""The executor's side of a write: sorted batches in, finished Parquet files and their statistics out.

Files go straight to their final, unique keys; nothing is renamed or copied. What a
killed task leaves behind is no part of any table and is removed by `maintain_tables`.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from astrolake.lake.delta import INDEXED_COLUMNS, DataFile
from astrolake.lake.storage import Storage
from astrolake.schema.model import HEALPIX_COLUMN

#: Rows in a row group: a cone search reads a few of these.
ROW_GROUP_ROWS = 32_768
#: Longer strings are cut in the statistics, which every reader loads.
_LONGEST_STATISTIC = 64
_GREATEST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True)
class SinkSpec:
    """Where and how an executor writes."""

    storage: Storage
    schema: pa.Schema
    run_id: str


class PartitionFile:
    """One Parquet file being written; rows must come sorted by `_healpix_29`.

    With a suffix the file is named by its partition alone; else it has a name of its own in a directory.
    """

    def __init__(self, spec: SinkSpec, partition: tuple[int, ...], suffix: str = "") -> None:
        self.spec = spec
        self.partition = partition
        names = [f"{k}={v}" for k, v in zip(("Norder", "Dir", "Npix"), partition, strict=False)]
        part = f"part-{spec.run_id}-{uuid.uuid4().hex[:12]}.parquet"
        self.path = "/".join(names) + suffix if suffix else "/".join([*names, part])
        self._buffer: list[pa.Table] = []
        self._buffered = 0
        self._metadata: list[Any] = []
        fs, target = spec.storage.fs, spec.storage.path(self.path)
        # A file of a known name appears at once, as on S3: another task may be writing it, too.
        self._written = f"{target}.{part}.tmp" if suffix and spec.storage.is_local else target
        if spec.storage.is_local:
            fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        self._stream = fs.open(self._written, "wb")
        sorting = (
            [pq.SortingColumn(spec.schema.get_field_index(HEALPIX_COLUMN))]
            if HEALPIX_COLUMN in spec.schema.names
            else None
        )
        self._writer = pq.ParquetWriter(
            self._stream,
            spec.schema,
            compression="zstd",
            # Numbers hardly repeat: without a dictionary they are smaller and 3x faster to write.
            use_dictionary=_texts(spec.schema),
            sorting_columns=sorting,
            write_page_index=True,
            coerce_timestamps="us",
            metadata_collector=self._metadata,
        )

    def write(self, batch: pa.Table) -> None:
        """Append rows, cut into row groups of `ROW_GROUP_ROWS`."""
        self._buffer.append(batch)
        self._buffered += batch.num_rows
        if self._buffered >= ROW_GROUP_ROWS:
            rows = pa.concat_tables(self._buffer).combine_chunks()
            full = rows.num_rows - rows.num_rows % ROW_GROUP_ROWS
            self._writer.write_table(rows.slice(0, full), row_group_size=ROW_GROUP_ROWS)
            self._buffer = [rows.slice(full)] if full < rows.num_rows else []
            self._buffered = rows.num_rows - full

    def close(self) -> DataFile:
        """Finish the file and return it with its statistics."""
        if self._buffered:
            self._writer.write_table(pa.concat_tables(self._buffer), row_group_size=ROW_GROUP_ROWS)
        self._writer.close()
        self._stream.close()
        storage = self.spec.storage
        if self._written != storage.path(self.path):
            storage.fs.mv(self._written, storage.path(self.path))
        size = storage.fs.size(storage.path(self.path))
        metadata = self._metadata[0]
        return DataFile(self.path, size, metadata.num_rows, self.partition, delta_statistics(metadata))


def write_file(
    batches: Iterable[pa.RecordBatch], spec: SinkSpec, partition: tuple[int, ...] = ()
) -> Iterator[DataFile]:
    """Write sorted batches to one file and yield it; without rows there is none."""
    file: PartitionFile | None = None
    for batch in batches:
        if batch.num_rows:
            file = file or PartitionFile(spec, partition)
            file.write(conform(pa.Table.from_batches([batch]), spec.schema))
    if file is not None:
        yield file.close()


def conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the rows under the schema: its columns in its order and types, NaN as null.

    SQL engines average over NaN and prune by statistics that ignore it; null is what
    a missing measurement is.
    """
    columns = []
    for field in schema:
        column = rows.column(field.name)
        if column.type != field.type:
            column = column.cast(field.type)
        if pa.types.is_floating(field.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def delta_statistics(metadata: Any) -> str:
    """Return the Delta statistics of a Parquet file as JSON, from its footer.

    Infinite bounds, lists, binaries and timestamps are left out: a missing bound only means that a
    reader cannot prune by it. Long strings are cut as Spark cuts them: the upper bound ends in the
    greatest character.
    """
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    schema = metadata.schema
    names = [schema.column(i).path for i in range(metadata.num_columns)]
    for i, name in list(enumerate(names))[:INDEXED_COLUMNS]:
        groups = [metadata.row_group(g).column(i).statistics for g in range(metadata.num_row_groups)]
        if "." in name or any(s is None or not s.has_null_count for s in groups):
            continue
        nulls[name] = sum(s.null_count for s in groups)
        if schema.column(i).logical_type.type in ("TIMESTAMP", "DATE", "TIME"):
            # Reading a bound outside the years of Python's datetime would raise.
            continue
        bounds = [(s.min, s.max) for s in groups if s.has_min_max]
        empty = [s for s in groups if not s.has_min_max and s.num_values > 0]
        if bounds and not empty:
            smallest, largest = min(b[0] for b in bounds), max(b[1] for b in bounds)
            if _usable(smallest) and _usable(largest):
                low[name], high[name] = _cut(smallest, ""), _cut(largest, _GREATEST_CHARACTER)
    return json.dumps(
        {"numRecords": metadata.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}
    )


def _texts(schema: pa.Schema) -> list[str] | bool:
    """Return the columns that are worth a dictionary."""
    return [field.name for field in schema if pa.types.is_string(field.type)] or False


def _usable(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


def _cut(value: Any, end: str) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_STATISTIC:
        return value[:_LONGEST_STATISTIC] + end
    return value
