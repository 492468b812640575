"""Arrow (and with it Delta) schemas of the declared tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from astrolake.schema.model import PARTITION_COLUMNS, Column, Table

_ARROW = {
    "int64": pa.int64(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "float32": pa.float32(),
    "string": pa.string(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "binary": pa.binary(),
}
_NAMES = {arrow: name for name, arrow in _ARROW.items()}


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type of a column."""
    scalar = _ARROW[column.element_type]
    return pa.list_(pa.field("element", scalar)) if column.is_list else scalar


def arrow_schema(table: Table) -> pa.Schema:
    """Return the schema of the table's files: stored columns only, units and UCDs as field metadata."""
    return pa.schema([_field(column) for column in table.columns])


def delta_schema(table: Table) -> pa.Schema:
    """Return the schema of the Delta table: the stored columns, then the partition columns."""
    partition = [pa.field(name, pa.int32()) for name in PARTITION_COLUMNS] if table.positional else []
    return pa.schema([*(pa.field(f.name, f.type, nullable=True) for f in arrow_schema(table)), *partition])


def column_of(field: pa.Field, doc: str = "") -> Column:
    """Declare a column from an Arrow field of an input file.

    Unsigned, small and half types widen to the next type every engine has; decimals
    become float64; dates and times become timestamps or strings.

    Raises
    ------
    ValueError
        When the type has no counterpart in the lake (structs, maps, nested lists).
    """
    metadata = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    return Column(
        field.name,
        _type_name(field.type, field.name),
        doc or metadata.get("doc", ""),
        metadata.get("unit", ""),
        metadata.get("ucd", ""),
    )


def _field(column: Column) -> pa.Field:
    metadata = {k: v for k, v in (("unit", column.unit), ("ucd", column.ucd)) if v}
    return pa.field(column.name, arrow_type(column), nullable=column.nullable, metadata=metadata or None)


def _type_name(arrow: pa.DataType, name: str) -> str:
    types = pa.types
    if arrow in _NAMES:
        return _NAMES[arrow]
    if types.is_list(arrow) or types.is_large_list(arrow) or types.is_fixed_size_list(arrow):
        return f"list<{_type_name(arrow.value_type, name)}>"
    rules: tuple[tuple[Callable[[pa.DataType], bool], Callable[[], str]], ...] = (
        (types.is_dictionary, lambda: _type_name(arrow.value_type, name)),
        (lambda t: t in (pa.int8(), pa.int16(), pa.uint8(), pa.uint16()), lambda: "int32"),
        (lambda t: t in (pa.uint32(), pa.uint64()), lambda: "int64"),
        (types.is_float16, lambda: "float32"),
        (types.is_decimal, lambda: "float64"),
        (lambda t: types.is_large_string(t) or types.is_string_view(t) or types.is_null(t), lambda: "string"),
        (lambda t: types.is_timestamp(t) or types.is_date(t), lambda: "timestamp"),
        (types.is_time, lambda: "string"),
        (lambda t: types.is_large_binary(t) or types.is_fixed_size_binary(t), lambda: "binary"),
    )
    found = next((result() for matches, result in rules if matches(arrow)), None)
    if found is not None:
        return found
    raise ValueError(
        f"column {name}: type {arrow} has no counterpart in the lake; flatten it or drop the column"
    )


def float_column(table: pa.Table | pa.RecordBatch, name: str) -> NDArray[np.float64]:
    """Return a column of numbers as float64, nulls as NaN; (n rows,)."""
    return np.asarray(table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
