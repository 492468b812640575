"""Tables that astropy holds in memory as a whole, as Arrow: FITS ASCII tables and VOTables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.table import Table

from astrolake.data_access.formats.arrays import array_of, conformed
from astrolake.data_access.formats.base import Batch, RowRange, clip, metadata_of
from astrolake.errors import BadInput


def records_of(table: Any) -> pa.RecordBatch:
    """Return an astropy Table as one record batch; masked cells and NaN become null.

    Raises
    ------
    BadInput
        When a column has no counterpart in the lake; the message names it.
    """
    fields, arrays = [], []
    for name in table.colnames:
        column = table[name]
        try:
            array = _array(column)
        except (BadInput, pa.ArrowException) as error:
            raise BadInput(f"column {name}: {error}; exclude the column", "UnsupportedType") from error
        unit = "" if column.unit is None else str(column.unit)
        meta = metadata_of(unit, str(column.meta.get("ucd", "")), column.description or "")
        fields.append(pa.field(name, array.type, metadata=meta))
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _array(column: Any) -> pa.Array:
    mask = getattr(column, "mask", None)
    values = np.asarray(column)
    if values.dtype.kind != "O":
        return array_of(np.asarray(values), mask)
    row_mask = None if mask is None else mask.reshape(len(values), -1).all(axis=1)
    if len(values) and isinstance(values[0], np.ndarray):
        # Cells of different lengths; tolist() of a masked cell gives None for masked elements.
        values = np.fromiter((cell.tolist() for cell in values), dtype=object, count=len(values))
    return pa.array(values, mask=row_mask)


def read_ascii_fits(stream: IO[bytes], index: int) -> pa.RecordBatch:
    """Return a FITS ASCII table, by the index of its HDU."""
    stream.seek(0)
    with fits.open(stream, memmap=False) as hdus:
        return records_of(Table.read(hdus[index]))


def sliced(
    records: pa.RecordBatch, schema: pa.Schema, batch_rows: int, rows: RowRange | None
) -> Iterator[Batch]:
    """Yield the rows of a batch in memory, in the columns and types of `schema`."""
    start, stop = clip(rows, records.num_rows)
    for first in range(start, stop, batch_rows):
        yield conformed(records.slice(first, min(batch_rows, stop - first)), first, schema)
