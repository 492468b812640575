"""Conditions as the SQL of a survey's service."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from astrolake.data_access.surveys.conversions import RULES, native_value
from astrolake.data_access.surveys.model import Condition, SurveyColumn, SurveyTable
from astrolake.errors import BadArguments

DIALECTS = ("adql", "tsql")
#: Services store floats in single precision: ranges are widened by more than its rounding.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
_RANGES = {"<": (False, True), "<=": (False, True), ">": (True, False), ">=": (True, False)}
#: Values of a list that are written.
_LONGEST_LIST = 100
_PLAIN_NAME = re.compile(r"[A-Za-z]\w*")
#: Words of SQL-92 that occur as column names and that services refuse without quotes.
_RESERVED = {"date", "time", "timestamp", "order", "group", "user", "size", "value", "position"}


def to_sql(
    table: SurveyTable, conditions: Iterable[Condition], cuts: Iterable[str] = (), dialect: str = "adql"
) -> list[str]:
    """Return predicates on native columns that all wanted rows meet; joined by AND they narrow a query.

    Conversions are inverted, and ranges widened by more than the precision of single-precision floats. What
    cannot be written is left out: `keep` and `keep_native` apply everything exactly after the query.

    Parameters
    ----------
    table : SurveyTable
    conditions : iterable of Condition
        In names and values of the lake, as `parse_filters` returns them.
    cuts : iterable of str
        Names of cuts of the table.
    dialect : str
        ``adql`` (ADQL 2.0 has no bitwise operators) or ``tsql`` (SkyServer).

    Raises
    ------
    BadArguments
        When a cut, column or dialect is unknown, or a value is not finite.
    """
    if dialect not in DIALECTS:
        raise BadArguments(f"dialect {dialect!r} is unknown; choose one of {DIALECTS}")
    known = {column.name: column for column in table.columns}
    of_lake = []
    for condition in conditions:
        if condition.column not in known:
            raise BadArguments(
                f"table {table.name} has no column {condition.column!r}; it has {sorted(known)}"
            )
        of_lake.append(_in_native_values(known[condition.column], condition))
    arrays = {column.native for column in table.columns if column.element is not None}
    of_cuts = [condition for cut in table.select_cuts(cuts) for condition in cut.conditions]
    native = [c for c in (*of_lake, *of_cuts) if c is not None and c.column not in arrays]
    return [text for condition in native if (text := _predicate(condition, dialect))]


def _in_native_values(column: SurveyColumn, condition: Condition) -> Condition | None:
    """Return a condition that holds wherever the given one does, None when native values cannot state it."""
    condition = replace(condition, column=column.native)
    if condition.operator in ("!=", "bits_clear", "bits_set"):
        return condition if column.conversion is None and not column.values else None
    if column.values:
        return _unmapped(column, condition)
    if column.type in ("float64", "float32"):
        return _native_range(column, condition)
    # A service may keep truth values as numbers or as texts.
    return None if column.type == "bool" or column.conversion is not None else condition


def _unmapped(column: SurveyColumn, condition: Condition) -> Condition | None:
    if condition.operator not in ("=", "in"):
        return None
    wanted = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    return Condition(
        column.native, "in", tuple(key for key, value in column.values.items() if value in wanted)
    )


def _native_range(column: SurveyColumn, condition: Condition) -> Condition | None:
    """Return the native range, widened, whose values may become one that the condition allows."""
    if column.conversion is not None and RULES[column.conversion.kind].inverse is None:
        return None
    value = condition.value
    low, high = (min(value), max(value)) if isinstance(value, tuple) else (value, value)
    has_low, has_high = _RANGES.get(condition.operator, (True, True))
    ends = [_native_end(column, low) if has_low else None, _native_end(column, high) if has_high else None]
    if _is_decreasing(column):
        ends.reverse()
    if ends[0] is not None and ends[1] is not None:
        return Condition(column.native, "between", (_below(ends[0]), _above(ends[1])))
    if ends[0] is not None:
        return Condition(column.native, ">=", _below(ends[0]))
    return None if ends[1] is None else Condition(column.native, "<=", _above(ends[1]))


def _native_end(column: SurveyColumn, value: float) -> float | None:
    """Return the native value of an end, None where it lies at infinity."""
    value = float(value)
    if not math.isfinite(value):
        raise BadArguments(f"column {column.name}: the ends of a range must be finite, not {value}")
    found = value if column.conversion is None else native_value(column.conversion, value)
    return found if found is None or math.isfinite(found) else None


def _is_decreasing(column: SurveyColumn) -> bool:
    """Whether greater values of the lake come from smaller native ones."""
    if column.conversion is None:
        return False
    ends = [native_value(column.conversion, value) for value in (1.0, 2.0)]
    return ends[0] is not None and ends[1] is not None and ends[0] > ends[1]


def _below(value: float) -> float:
    return value - abs(value) * _RELATIVE - _ABSOLUTE


def _above(value: float) -> float:
    return value + abs(value) * _RELATIVE + _ABSOLUTE


def _predicate(condition: Condition, dialect: str) -> str:
    name, value = identifier(condition.column, dialect), condition.value
    if condition.operator in ("bits_clear", "bits_set"):
        if dialect == "adql":
            return ""
        bits = f"({name} & CAST({int(value)} AS bigint))"
        return f"{bits} = 0" if condition.operator == "bits_clear" else f"{bits} = {int(value)}"
    if condition.operator == "between":
        return f"{name} BETWEEN {literal(value[0], dialect)} AND {literal(value[1], dialect)}"
    if condition.operator == "in" and len(value) > _LONGEST_LIST:
        # Servers refuse long addresses and long queries; numbers can be narrowed down all the same.
        numbers = not any(isinstance(one, str | bool) for one in value)
        return (
            _predicate(replace(condition, operator="between", value=(min(value), max(value))), dialect)
            if numbers
            else ""
        )
    if condition.operator == "in":
        return f"{name} IN ({', '.join(literal(one, dialect) for one in value)})" if value else "1 = 0"
    operator = "<>" if condition.operator == "!=" else condition.operator
    return f"{name} {operator} {literal(value, dialect)}"


def identifier(name: str, dialect: str) -> str:
    """Return a column name as SQL has it; quoted only where it must be, for quotes tell case apart."""
    if _PLAIN_NAME.fullmatch(name) and name.lower() not in _RESERVED:
        return name
    if dialect == "tsql":
        return "[" + name.replace("]", "]]") + "]"
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any, dialect: str) -> str:
    """Return a value as SQL has it.

    Truth values are 1 and 0 in T-SQL; ADQL 2.0 has none, archives on PostgreSQL take them as texts.

    Raises
    ------
    BadArguments
        When it is a number that is not finite, or holds no plain value.
    """
    if isinstance(value, bool):
        return str(int(value)) if dialect == "tsql" else f"'{str(value).lower()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(value))
    number = getattr(value, "item", None)
    if number is not None:
        return literal(number(), dialect)
    raise BadArguments(f"{value!r} cannot be written in a query; give a finite number or a text")
