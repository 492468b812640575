"""Native rows of a survey as rows of the lake: names, types, units, null values and magnitude systems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astrolake.data_access.formats.base import metadata_of
from astrolake.data_access.surveys.conversions import RULES, convert
from astrolake.data_access.surveys.model import Conversion, SurveyColumn, SurveyTable
from astrolake.data_access.surveys.native_rows import NativeRows, holds
from astrolake.errors import BadInput, MissingColumns
from astrolake.schema import Column
from astrolake.schema.arrow import arrow_type

#: From here on a float no longer tells neighbouring whole numbers apart.
_EXACT_FLOAT = 2.0**53


def lake_fields(columns: Iterable[SurveyColumn]) -> pa.Schema:
    """Return the columns of `translate`, with ``unit``, ``ucd`` and ``doc`` as metadata."""
    return pa.schema(
        [
            pa.field(
                column.name,
                arrow_type(Column(column.name, column.type, column.doc)),
                metadata=metadata_of(column.unit, column.ucd, column.doc),
            )
            for column in columns
        ]
    )


def translate(table: SurveyTable, columns: Sequence[SurveyColumn], native: pa.Table) -> pa.Table:
    """Return native rows in the lake's columns, in the order of `columns`; the order of the rows is kept.

    A value is null where the survey says that there is none, where it is NaN, and where the conversion has no
    value, such as the magnitude of a negative flux.

    Parameters
    ----------
    table : SurveyTable
    columns : sequence of SurveyColumn
        What `SurveyTable.select` returned.
    native : pa.Table
        Columns as the service or file names them, in any case.

    Raises
    ------
    MissingColumns
        When a native column that is needed is not there.
    BadInput
        When values do not fit the type of the lake, or rows belong to another table; the message names column
        or table.
    """
    rows = NativeRows(table, native)
    missing = [name for column in columns for name in rows.missing(column)]
    if missing:
        raise MissingColumns(f"the rows of {table.native}", sorted(set(missing)), list(native.column_names))
    _check_table(table, rows)
    schema = lake_fields(columns)
    arrays = [_lake_values(rows, column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _check_table(table: SurveyTable, rows: NativeRows) -> None:
    for other, conditions in table.others.items():
        if any(rows.spelling(condition.column) is None for condition in conditions):
            continue
        masks = [holds(condition, rows.values(condition.column)) for condition in conditions]
        if np.logical_and.reduce(masks).any():
            raise BadInput(
                f"some rows are of {other}, not of the {table.name} that was named: "
                f"{[(c.column, c.operator, c.value) for c in conditions]}; name that table or release",
                "WrongTable",
            )


def _lake_values(rows: NativeRows, column: SurveyColumn, target: pa.DataType) -> pa.Array:
    try:
        values = rows.values(column.native, column.element)
        if column.values:
            values = _mapped(values, column)
        elif column.conversion is not None:
            values = _converted(rows, column, column.conversion, values)
        return _cast(values, target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(
            f"column {column.native} does not become {column.name} ({column.type}): {error}; correct it",
            "BadValue",
        ) from error


def _mapped(values: pa.Array, column: SurveyColumn) -> pa.Array:
    """Return what the survey's file says instead of each value, null for others."""
    keys = pa.array(list(column.values))
    if pa.types.is_integer(keys.type):
        values = _cast(values, pa.int64())
    found = pc.index_in(values.cast(keys.type), value_set=keys)
    return pa.array(list(column.values.values())).take(found)


def _converted(rows: NativeRows, column: SurveyColumn, conversion: Conversion, values: pa.Array) -> pa.Array:
    inputs = [values, *(rows.values(name, column.element) for name in column.inputs)]
    if RULES[conversion.kind].exact:
        whole = [_cast(array, pa.int64()) for array in inputs]
        known = pc.is_valid(whole[0])
        for array in whole[1:]:
            known = pc.and_(known, pc.is_valid(array))
        result = convert(conversion, *(array.fill_null(0).to_numpy() for array in whole))
        return pc.if_else(known, pa.array(result), pa.scalar(None, pa.int64()))
    return pa.array(convert(conversion, *(_floats(array) for array in inputs)), from_pandas=True)


def _floats(values: pa.Array) -> NDArray[np.float64]:
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _cast(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Return the values in a type, NaN as null; what would change them is refused."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        if pa.types.is_integer(target) and pc.any(pc.greater_equal(pc.abs(values), _EXACT_FLOAT)).as_py():
            raise pa.ArrowInvalid(
                "whole numbers above 2**53 were stored as floats and lost their last digits"
            )
        if pa.types.is_string(target):
            raise pa.ArrowInvalid("numbers with a fraction where a text is expected")
    return values.cast(target, safe=not pa.types.is_floating(target))
