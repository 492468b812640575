"""From numpy to Arrow, and from a file's own types to those of the lake."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astrolake.data_access.formats.base import Batch, Malformed
from astrolake.errors import BadInput

Mask = NDArray[np.bool_]

_INT64_MAX = 2**63 - 1


def array_of(values: NDArray[np.generic], mask: Mask | None = None) -> pa.Array:
    """Return (N,) or (N, ...) values as an Arrow array; further axes become one list in each row.

    Any byte order is accepted. Masked values and float NaN become null: FITS and VOTable
    write "no value" as NaN.

    Raises
    ------
    BadInput
        For complex numbers, which have no counterpart in the lake.
    """
    if values.dtype.kind == "c":
        raise BadInput(
            "complex numbers have no counterpart in the lake; exclude the column", "UnsupportedType"
        )
    flat = np.ascontiguousarray(values.reshape(-1))
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    flat_mask = None if mask is None or not mask.any() else np.broadcast_to(mask, values.shape).reshape(-1)
    if flat.dtype.kind == "S":
        cells = text_of(pa.array(flat, pa.binary(), mask=flat_mask))
    else:
        cells = pa.array(flat, mask=flat_mask, from_pandas=True)
    return cells if values.ndim == 1 else lists_of(cells, np.full(len(values), _width(values), np.int64))


def _width(values: NDArray[np.generic]) -> int:
    return int(np.prod(values.shape[1:]))


def lists_of(cells: pa.Array, lengths: NDArray[np.int64]) -> pa.Array:
    """Return one list for each length, filled from `cells` in order."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    wide = offsets[-1] > np.iinfo(np.int32).max
    kind = pa.LargeListArray if wide else pa.ListArray
    return kind.from_arrays(pa.array(offsets, pa.int64() if wide else pa.int32()), cells)


def text_of(raw: pa.Array) -> pa.Array:
    """Return binary values as text: cut at the first NUL, blanks around it removed.

    UTF-8 where all values are valid, else Latin-1 (FITS allows only ASCII; files contain both).
    """
    try:
        text = raw.cast(pa.string())
    except pa.ArrowInvalid:
        text = pa.array(
            [cell if cell is None else cell.decode("latin-1") for cell in raw.to_pylist()], pa.string()
        )
    if pc.any(pc.match_substring(text, "\x00")).as_py():
        text = pc.replace_substring_regex(text, pattern="(?s)\x00.*", replacement="")
    return pc.utf8_trim(text, characters=" ")


def conformed(raw: pa.RecordBatch, first_row: int, schema: pa.Schema) -> Batch:
    """Return a batch in the columns and types of `schema`.

    Columns that `raw` lacks become null. Rows with an unsigned number above 2**63 - 1 are
    reported as malformed; integers widened to float64 keep 53 bits.

    Raises
    ------
    BadInput
        When a column cannot take its type in the schema.
    """
    kept = np.ones(raw.num_rows, dtype=bool)
    malformed: list[Malformed] = []
    arrays = []
    for field in schema:
        index = raw.schema.get_field_index(field.name)
        if index < 0:
            arrays.append(pa.nulls(raw.num_rows, field.type))
            continue
        column, bad = _convert(raw.column(index), field)
        for i in np.flatnonzero(bad & kept):
            value = str(raw.column(index)[int(i)].as_py())
            problem = (
                f"column {field.name}: {value} exceeds {_INT64_MAX}, the largest int64; store it as text"
            )
            malformed.append(Malformed(first_row + int(i), value, problem))
        kept &= ~bad
        arrays.append(column)
    records = pa.RecordBatch.from_arrays(arrays, schema=schema)
    row_numbers = first_row + np.arange(raw.num_rows, dtype=np.int64)
    if not kept.all():
        records, row_numbers = records.filter(pa.array(kept)), row_numbers[kept]
    return Batch(records, row_numbers, tuple(sorted(malformed)))


def _convert(column: pa.Array, field: pa.Field) -> tuple[pa.Array, Mask]:
    good = np.zeros(len(column), dtype=bool)
    if column.type == field.type:
        return column, good
    try:
        if column.type == pa.uint64() and field.type == pa.int64():
            over = pc.fill_null(pc.greater(column, pa.scalar(_INT64_MAX, pa.uint64())), False)
            bad = over.to_numpy(zero_copy_only=False)
            return pc.if_else(over, pa.scalar(None, pa.uint64()), column).cast(pa.int64()), bad
        return column.cast(field.type, safe=not _may_round(column.type, field.type)), good
    except pa.ArrowException as error:
        raise BadInput(
            f"column {field.name}: {column.type} cannot become {field.type} ({error}); exclude the column",
            "TypeConflict",
        ) from error


def _may_round(source: pa.DataType, target: pa.DataType) -> bool:
    # Nanoseconds become microseconds, and long integers widen to float64; nothing else may lose digits.
    element = target.value_type if pa.types.is_list(target) else target
    return bool(pa.types.is_temporal(source) or pa.types.is_floating(element))
