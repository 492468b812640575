"""Rows as a survey's service or files have them: columns by any spelling, and tests on their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astrolake.data_access.surveys.model import Condition, SurveyColumn, SurveyTable
from astrolake.errors import BadInput

Mask = NDArray[np.bool_]

_COMPARISONS = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


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
        if column is None:
            return values
        if column.width and pa.types.is_integer(values.type):
            values = pc.utf8_lpad(values.cast(pa.string()), column.width, "0")
        return _without(values, column.null)


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


def holds(condition: Condition, values: pa.Array | pa.ChunkedArray) -> Mask:
    """Tell which values meet a condition; null meets none.

    Raises
    ------
    BadInput
        When values of that type cannot be compared with that of the condition.
    """
    try:
        found = _tested(condition, values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(
            f"column {condition.column} is {values.type}: {condition.operator} {condition.value!r} has no "
            "meaning there; correct the column",
            "BadValue",
        ) from error
    return np.asarray(found.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)


def _tested(condition: Condition, values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    values, value = _comparable(values, condition.value)
    if condition.operator == "between":
        low, high = value
        return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))
    if condition.operator == "in":
        return pc.is_in(values, value_set=pa.array(value).cast(values.type))
    if condition.operator in ("bits_clear", "bits_set"):
        bits = pc.bit_wise_and(values.cast(pa.int64()), value)
        return pc.equal(bits, 0 if condition.operator == "bits_clear" else value)
    return _COMPARISONS[condition.operator](values, value)


def _comparable(values: pa.Array | pa.ChunkedArray, value: Any) -> tuple[Any, Any]:
    """Return values and operand in types that compare; 0 and 1 are false and true."""
    operands = value if isinstance(value, tuple) else (value,)
    if pa.types.is_boolean(values.type) and not all(isinstance(one, bool) for one in operands):
        return values.cast(pa.int64()), value
    if all(isinstance(one, bool) for one in operands) and not pa.types.is_boolean(values.type):
        return values.cast(pa.bool_()), value
    if any(isinstance(one, float) for one in operands) and not pa.types.is_string(values.type):
        return values.cast(pa.float64()), value
    return values, value
