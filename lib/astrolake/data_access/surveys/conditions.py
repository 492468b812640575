"""Conditions on the rows of a survey: read from filters and applied to rows; `sql` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from astrolake.data_access.surveys.model import Condition, SurveyColumn, SurveyTable
from astrolake.data_access.surveys.native_rows import Mask, NativeRows, holds
from astrolake.data_access.surveys.sql import to_sql
from astrolake.errors import BadArguments, MissingColumns
from astrolake.schema.objects import band_suffix

__all__ = ["keep", "keep_native", "parse_filters", "to_sql"]

_MAGNITUDE = "_mag"
#: Beyond lies no float64, and of most services no number of any kind.
_GREATEST = 1e308
_WITHOUT_RANGES = ("string", "bool")


def parse_filters(table: SurveyTable, filters: Mapping[str, Any] | None) -> tuple[Condition, ...]:
    """Return the conditions that filters state, in names and values of the lake.

    A list of two numbers is a closed range, None at one end leaves it open; another list stands for any of
    its values; another value must be equal. ``r_mag`` means the table's usual magnitude in band r.

    Parameters
    ----------
    filters : mapping, optional
        Such as ``{"type": "GALAXY", "r_mag": [18, 22]}``.

    Raises
    ------
    BadArguments
        When a name is unknown, or a value is none that the column can have; the message lists what there is.
    """
    if not isinstance(filters, Mapping | None):
        raise BadArguments(
            f"filters must map columns to values, such as {{'r_mag': [18, 22]}}, not {filters!r}"
        )
    return tuple(_condition(table, str(name), value) for name, value in (filters or {}).items())


def _condition(table: SurveyTable, name: str, value: Any) -> Condition:
    column = _column(table, name)
    is_list = isinstance(value, list | tuple)
    is_range = is_list and len(value) == 2 and all(end is None or _is_number(end) for end in value)
    if is_range and column.type not in _WITHOUT_RANGES:
        low, high = (None if end is None else _known_value(column, name, end) for end in value)
        if low is None or high is None:
            if low is high:
                raise BadArguments(f"filter {name}: a range needs one end at least, not {value!r}")
            return Condition(column.name, "<=" if low is None else ">=", high if low is None else low)
        if low > high:
            raise BadArguments(
                f"filter {name}: the range {value!r} ends before it begins; give [least, greatest]"
            )
        return Condition(column.name, "between", (low, high))
    values = tuple(_known_value(column, name, item) for item in (value if is_list else (value,)))
    if not values:
        raise BadArguments(f"filter {name}: the list of values is empty")
    return Condition(column.name, "in", values) if is_list else Condition(column.name, "=", values[0])


def _column(table: SurveyTable, name: str) -> SurveyColumn:
    known = {column.name: column for column in table.columns}
    candidates = [name, name.lower()]
    if name.endswith(_MAGNITUDE) and table.magnitude:
        band = name.removesuffix(_MAGNITUDE)
        # Gaia's G is the only g it has.
        candidates += [f"{table.magnitude}_{suffix}" for suffix in (band_suffix(band), f"{band.lower()}_cap")]
    found = next((known[candidate] for candidate in candidates if candidate in known), None)
    if found is None:
        raise BadArguments(f"filter {name!r}: table {table.name} has no such column; it has {sorted(known)}")
    return found


def _known_value(column: SurveyColumn, name: str, value: Any) -> Any:
    """Return a value that the column can have, whatever its case."""
    if value is None or isinstance(value, list | tuple | dict):
        raise BadArguments(f"filter {name}: {value!r} is no value; give a number, a text or a list of them")
    if column.type == "string" and not isinstance(value, str):
        raise BadArguments(f"filter {name}: column {column.name} is a text, not {value!r}")
    if column.type not in ("string", "bool", "timestamp") and not _is_number(value):
        raise BadArguments(f"filter {name}: column {column.name} is a number, not {value!r}")
    greatest = _GREATEST if column.type.startswith("float") else 2**63 - 1
    if _is_number(value) and not -greatest <= value <= greatest:
        raise BadArguments(
            f"filter {name}: {value!r} is no number that a column can have; null leaves an end open"
        )
    if column.type == "bool" and not (isinstance(value, bool) or value in (0, 1)):
        raise BadArguments(f"filter {name}: column {column.name} is true or false, not {value!r}")
    if isinstance(value, str) and not value.isprintable():
        raise BadArguments(f"filter {name}: {value!r} has letters that no catalog has")
    if not column.values:
        return value
    possible = set(column.values.values())
    found = next((one for one in possible if str(one).lower() == str(value).lower()), None)
    if found is None:
        raise BadArguments(f"filter {name}: {value!r} is none of {sorted(possible, key=str)}")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def keep(table: SurveyTable, conditions: Sequence[Condition], rows: pa.Table) -> Mask:
    """Tell which rows of the lake meet all conditions; null meets none.

    Parameters
    ----------
    rows : pa.Table
        What `translate` returned.

    Raises
    ------
    MissingColumns
        When a column of a condition is not there.
    """
    missing = sorted({c.column for c in conditions} - set(rows.column_names))
    if missing:
        raise MissingColumns(f"the rows of {table.name}", missing, list(rows.column_names))
    mask = np.ones(rows.num_rows, dtype=bool)
    for condition in conditions:
        mask &= holds(condition, rows.column(condition.column))
    return mask


def keep_native(table: SurveyTable, cuts: Iterable[str], rows: pa.Table) -> Mask:
    """Tell which native rows pass all the named cuts; a value that does not exist passes none.

    Raises
    ------
    BadArguments
        When the table has no such cut.
    MissingColumns
        When a column of a cut is not there.
    """
    native = NativeRows(table, rows)
    conditions = [condition for cut in table.select_cuts(cuts) for condition in cut.conditions]
    missing = sorted({c.column for c in conditions if native.spelling(c.column) is None})
    if missing:
        raise MissingColumns(f"the rows of {table.native}", missing, list(rows.column_names))
    mask = np.ones(rows.num_rows, dtype=bool)
    for condition in conditions:
        mask &= holds(condition, native.values(condition.column))
    return mask
