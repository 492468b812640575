"""Parquet files: streamed by row group, nested columns flattened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from astrolake.data_access.formats.arrays import conformed
from astrolake.data_access.formats.base import (
    Batch,
    InputFile,
    ReadOptions,
    RowRange,
    clip,
    local_path,
    open_stored,
)


def schema(file: InputFile, options: ReadOptions) -> pa.Schema:
    """Return the columns, those of structs as ``parent_child``."""
    with _opened(file, options) as parquet:
        return flattened(pa.RecordBatch.from_pylist([], schema=_kept(parquet, options)), options).schema


def row_count(file: InputFile, options: ReadOptions) -> int:
    """Return the number of rows by the footer."""
    with _opened(file, options) as parquet:
        return int(parquet.metadata.num_rows)


def batches(
    file: InputFile, schema: pa.Schema, options: ReadOptions, batch_rows: int, rows: RowRange | None
) -> Iterator[Batch]:
    """Yield the rows, reading only the row groups that the slice touches."""
    with _opened(file, options) as parquet:
        start, stop = clip(rows, parquet.metadata.num_rows)
        groups, first = _row_groups(parquet, start, stop)
        if not groups:
            return
        columns = [field.name for field in _kept(parquet, options)]
        for batch in parquet.iter_batches(batch_rows, row_groups=groups, columns=columns):
            low, high = max(start - first, 0), min(stop - first, batch.num_rows)
            if low < high:
                yield conformed(flattened(batch.slice(low, high - low), options), first + low, schema)
            first += batch.num_rows


@contextmanager
def _opened(file: InputFile, options: ReadOptions) -> Iterator[pq.ParquetFile]:
    if path := local_path(file.uri):
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            yield parquet
        return
    with (
        open_stored(file, options) as stream,
        pq.ParquetFile(stream, page_checksum_verification=True) as parquet,
    ):
        yield parquet


def _kept(parquet: pq.ParquetFile, options: ReadOptions) -> pa.Schema:
    return pa.schema([field for field in parquet.schema_arrow if not options.excludes(field.name)])


def _row_groups(parquet: pq.ParquetFile, start: int, stop: int) -> tuple[list[int], int]:
    """Return the row groups that hold rows [start, stop), and the number of the first row of these groups."""
    groups: list[int] = []
    first = position = 0
    for index in range(parquet.num_row_groups):
        count = parquet.metadata.row_group(index).num_rows
        if position < stop and position + count > start:
            first = first if groups else position
            groups.append(index)
        position += count
    return groups, first


def flattened(batch: pa.RecordBatch, options: ReadOptions) -> pa.RecordBatch:
    """Return the batch with the fields of structs as columns ``parent_child``, to any depth."""
    fields: list[pa.Field] = []
    arrays: list[pa.Array] = []

    def add(path: str, name: str, field: pa.Field, array: pa.Array) -> None:
        if options.excludes(path, name):
            return
        if not pa.types.is_struct(field.type):
            fields.append(field.with_name(name))
            arrays.append(array)
            return
        for child, values in zip(field.type, array.flatten(), strict=True):
            add(f"{path}.{child.name}", f"{name}_{child.name}", child, values)

    for field, array in zip(batch.schema, batch.columns, strict=True):
        add(field.name, field.name, field, array)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([f.with_nullable(True) for f in fields]))
