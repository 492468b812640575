"""Native rows of a survey as rows of the lake: names, types, units, null values and magnitude systems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astrolake.data_access.formats.base import metadata_of
from astrolake.data_access.surveys.conversions import RULES, convert
from astrolake.data_access.surveys.model import Conversion, SurveyColumn, SurveyTable
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
        When values do not fit the type of the lake; the message names the column.
    """
    rows = NativeRows(table, native)
    missing = [name for column in columns for name in rows.missing(column)]
    if missing:
        raise MissingColumns(f"the rows of {table.native}", sorted(set(missing)), list(native.column_names))
    schema = lake_fields(columns)
    arrays = [_lake_values(rows, column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


class NativeRows:
    """Native rows whose columns are found by any of their spellings."""

    def __init__(self, table: SurveyTable, rows: pa.Table) -> None:
        self.rows = rows
        self._present = {name.lower(): name for name in reversed(rows.column_names)}
        self._columns: dict[str, SurveyColumn] = {}
        for column in table.columns:
            self._columns.setdefault(column.native.lower(), column)

    def spelling(self, native: str) -> str | None:
        """Return the name that a native column has here, None when it is not there."""
        if native in self.rows.column_names:
            return native
        column = self._columns.get(native.lower())
        aliases = column.aliases if column else ()
        fitting = (a.name for a in aliases if all(name.lower() in self._present for name in a.beside))
        names = (self._present.get(name.lower()) for name in (native, *fitting))
        return next((name for name in names if name is not None), None)

    def missing(self, column: SurveyColumn) -> list[str]:
        """Return the native columns that a column needs and that are not there."""
        return [name for name in (column.native, *column.inputs) if self.spelling(name) is None]

    def values(self, native: str, element: int | None = None) -> pa.Array:
        """Return a native column, null where the survey has no value."""
        name = self.spelling(native)
        values = self.rows.column(name).combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
        values = _element(values, element, str(name))
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = pc.utf8_trim_whitespace(values.cast(pa.string()))
        column = self._columns.get(native.lower())
        return _without(values, column.null if column else ())


def _element(values: pa.Array, element: int | None, name: str) -> pa.Array:
    is_list = pa.types.is_nested(values.type)
    if is_list != (element is not None):
        expected = "one value in every row" if element is None else "an array of all bands"
        raise BadInput(f"column {name} is {values.type}: it should hold {expected}", "UnsupportedType")
    if element is None:
        return values
    lengths = pc.list_value_length(values)
    if pc.any(pc.less_equal(lengths, element)).as_py():
        raise BadInput(f"column {name}: some arrays have fewer than {element + 1} elements", "BadValue")
    return pc.list_element(values, element)


def _without(values: pa.Array, null: Sequence[Any]) -> pa.Array:
    """Return the values, null where they are one of those that mean so."""
    for sentinel in null:
        text = isinstance(sentinel, str)
        if text != bool(pa.types.is_string(values.type)) or pa.types.is_null(values.type):
            continue
        values = pc.if_else(pc.equal(values, pa.scalar(sentinel)), pa.scalar(None, values.type), values)
    return values


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
