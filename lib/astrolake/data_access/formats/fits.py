"""FITS tables: rows streamed in chunks from local files, object stores and compressed files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa

from astrolake.data_access.formats.arrays import conformed
from astrolake.data_access.formats.astropy_tables import read_ascii_fits, sliced
from astrolake.data_access.formats.base import (
    Batch,
    InputFile,
    ReadOptions,
    RowRange,
    clip,
    metadata_of,
    open_stream,
    read_exactly,
)
from astrolake.data_access.formats.fits_columns import FitsColumn, parse_columns, to_arrow
from astrolake.data_access.formats.fits_headers import FitsTable, choose_table

#: Most bytes of rows read at once, however wide they are.
_CHUNK_BYTES = 64 << 20


def schema(file: InputFile, options: ReadOptions) -> pa.Schema:
    """Return the columns of the chosen table."""
    with open_stream(file, options) as stream:
        table = choose_table(stream, options)
        if table.is_ascii:
            found = read_ascii_fits(stream, table.index).schema
            return pa.schema([field for field in found if not options.excludes(field.name)])
    kept = [column for column in parse_columns(table.header) if not options.excludes(column.name)]
    return pa.schema([_field(column) for column in kept])


def _field(column: FitsColumn) -> pa.Field:
    empty = to_arrow(column, np.zeros(0, column.dtype), lambda offset, size: b"")
    return pa.field(column.name, empty.type, metadata=metadata_of(column.unit, column.ucd, column.doc))


def row_count(file: InputFile, options: ReadOptions) -> int:
    """Return NAXIS2 of the chosen table."""
    with open_stream(file, options) as stream:
        return choose_table(stream, options).rows


def batches(
    file: InputFile, schema: pa.Schema, options: ReadOptions, batch_rows: int, rows: RowRange | None
) -> Iterator[Batch]:
    """Yield the rows of the chosen table, reading only the bytes of the slice.

    Raises
    ------
    BadInput
        When the file ends before its last row.
    """
    with open_stream(file, options) as stream:
        table = choose_table(stream, options)
        if table.is_ascii:
            yield from sliced(read_ascii_fits(stream, table.index), schema, batch_rows, rows)
            return
    columns = [column for column in parse_columns(table.header) if column.name in schema.names]
    with open_stream(file, options, any(column.is_variable for column in columns)) as stream:
        start, stop = clip(rows, table.rows)
        step = min(batch_rows, max(_CHUNK_BYTES // max(table.row_bytes, 1), 1))
        for first in range(start, stop, step):
            count = min(step, stop - first)
            yield conformed(_read_rows(stream, table, columns, first, count), first, schema)


def _read_rows(
    stream: IO[bytes], table: FitsTable, columns: list[FitsColumn], first: int, count: int
) -> pa.RecordBatch:
    stream.seek(table.data_start + first * table.row_bytes)
    what = f"rows {first} to {first + count - 1} of HDU {table.index}"
    data = read_exactly(stream, count * table.row_bytes, what)
    kind = np.dtype(
        {
            "names": [column.name for column in columns],
            "formats": [column.dtype for column in columns],
            "offsets": [column.offset for column in columns],
            "itemsize": table.row_bytes,
        }
    )
    raw = np.frombuffer(data, kind)

    def heap(offset: int, size: int) -> bytes:
        stream.seek(table.heap_start + offset)
        return read_exactly(stream, size, f"the heap of HDU {table.index}")

    arrays = [to_arrow(column, raw[column.name], heap) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])
