"""Parameters of the SQL files: values for ``:name``, identifiers for ``${name}``, ranges of a cone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
from sqlglot import Dialect, TokenType, exp
from sqlglot.errors import SqlglotError

from astrolake.errors import BadArguments
from astrolake.lake.sql_statement import plain_message
from astrolake.sky.healpix import KEY_ORDER, cone_cells
from astrolake.sky.ranges import cell_ranges
from astrolake.sky.region import Box

Value = str | int | float | bool | date | datetime | np.generic | None

_NAME = re.compile(r"\$\{(\w+)\}")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*\Z")
#: Ranges of `_healpix_29` that the cone queries take.
CONE_RANGES = 4
#: Side of a HEALPix cell at order 0, in degrees.
_BASE_CELL_DEG = 58.6


def bind(sql: str, params: Mapping[str, Value], names: Mapping[str, str] | None = None) -> str:
    """Return Athena SQL with literals in place of ``:name`` and identifiers in place of ``${name}``.

    The tokenizer finds the parameters, so that text in strings and comments stays as it is,
    and every value becomes one literal: nothing in a value can act as SQL.

    Parameters
    ----------
    sql : str
    params : mapping
        A value for each ``:name``; None is NULL, times without time zone are UTC.
    names : mapping
        A table, column or database name for each ``${name}``: lower case letters, digits and _.

    Raises
    ------
    BadArguments
        When a parameter has no value, a value no parameter, or a value cannot be a literal.
    """
    text = _fill_names(sql, names or {})
    found = _parameters(text)
    _check_given({name for _, _, name in found}, set(params))
    for begin, end, name in reversed(found):
        value = literal(params[name])
        text = text[:begin] + (f"({value})" if value.startswith("-") else value) + text[end:]
    return text


def athena_parameters(
    sql: str, params: Mapping[str, Value], names: Mapping[str, str] | None = None
) -> tuple[str, list[str]]:
    """Return the SQL with ``?`` in place of each ``:name``, and Athena's ExecutionParameters for it.

    See `bind` for the arguments and errors.
    """
    text = _fill_names(sql, names or {})
    found = _parameters(text)
    _check_given({name for _, _, name in found}, set(params))
    for begin, end, _ in reversed(found):
        text = text[:begin] + "?" + text[end:]
    return text, [literal(params[name]) for _, _, name in found]


def parameter_names(sql: str) -> list[str]:
    """Return the names of the ``:name`` parameters, each once, in the order of the text."""
    return list(dict.fromkeys(name for _, _, name in _parameters(_NAME.sub("name", sql))))


def literal(value: Value) -> str:
    """Return a value as an Athena literal; floating point numbers keep all digits.

    Raises
    ------
    BadArguments
        For NaN, infinity, and types that have no literal.
    """
    match value.item() if isinstance(value, np.generic) else value:
        case None | bool() as constant:
            return "NULL" if constant is None else str(constant).upper()
        case int() as number:
            return str(number)
        case float() as number:
            if not math.isfinite(number):
                raise BadArguments(f"{number} cannot be a parameter; give a finite number")
            # Without an exponent the number would be a decimal, with the arithmetic of decimals.
            return f"{number!r}E0" if "e" not in repr(number) else repr(number).upper()
        case datetime() as moment:
            utc = moment.astimezone(UTC) if moment.tzinfo else moment
            return f"TIMESTAMP '{utc:%Y-%m-%d %H:%M:%S.%f} UTC'"
        case date() as day:
            return f"DATE '{day.isoformat()}'"
        case str() as text if "\0" not in text:
            return exp.Literal.string(text).sql("athena")
    raise BadArguments(f"{value!r} cannot be a parameter; give a text, number, boolean, date or time")


def cone_ranges(ra_deg: float, dec_deg: float, radius_arcsec: float) -> dict[str, int]:
    """Return the parameters low_1, high_1, ... of the cone queries.

    The inclusive ranges of `_healpix_29` cover the whole cone and a little more; unused ones
    hold no index. Engines leave out the files and row groups that no range meets.

    Raises
    ------
    BadArguments
        When the position is not on the sphere or the radius is not in (0, 648000].
    """
    if not (math.isfinite(ra_deg) and -90 <= dec_deg <= 90 and 0 < radius_arcsec <= 648_000):
        raise BadArguments(
            f"no cone: ra={ra_deg}, dec={dec_deg}, radius_arcsec={radius_arcsec}; give a position in degrees "
            "and a radius above 0 and up to 648000 arcsec"
        )
    radius_deg = radius_arcsec / 3600
    order = int(np.clip(math.floor(math.log2(_BASE_CELL_DEG / radius_deg)) + 2, 0, KEY_ORDER))
    return _few_ranges(cell_ranges(order, cone_cells(ra_deg, dec_deg, radius_deg, order)))


def box_ranges(ra_min: float, ra_max: float, dec_min: float, dec_max: float) -> dict[str, int]:
    """Return the parameters low_1, high_1, ... of the box query; see `cone_ranges`.

    Raises
    ------
    BadArguments
        When the declinations are out of range or out of order.
    """
    return _few_ranges(Box(ra_min, ra_max, dec_min, dec_max).ranges())


def _few_ranges(ranges: np.ndarray) -> dict[str, int]:
    """Return sorted half-open ranges as a few inclusive ones, with what lies between the narrowest."""
    gaps = ranges[1:, 0] - ranges[:-1, 1]
    # Only the widest gaps are left out; the narrower ones cost less than a range more.
    cuts = np.sort(np.argsort(gaps, kind="stable")[::-1][: CONE_RANGES - 1])
    lows = [int(ranges[0, 0]), *ranges[cuts + 1, 0].tolist()]
    highs = [*(ranges[cuts, 1] - 1).tolist(), int(ranges[-1, 1]) - 1]
    spans = list(zip(lows, highs, strict=True)) + [(-1, -1)] * (CONE_RANGES - len(lows))
    return {f"{end}_{i}": span[j] for i, span in enumerate(spans, 1) for j, end in enumerate(("low", "high"))}


def _fill_names(sql: str, names: Mapping[str, str]) -> str:
    _check_given(set(_NAME.findall(sql)), set(names), form="${{{}}}")
    for name, value in names.items():
        if not _IDENTIFIER.match(value):
            raise BadArguments(f"${{{name}}} = {value!r} is no name; use lower case letters, digits and _")
    return _NAME.sub(lambda match: names[match[1]], sql)


def _check_given(wanted: set[str], given: set[str], form: str = ":{}") -> None:
    if missing := sorted(wanted - given):
        raise BadArguments(
            f"the statement needs values for {', '.join(form.format(name) for name in missing)}"
        )
    if unknown := sorted(given - wanted):
        there = ", ".join(sorted(wanted)) or "none"
        raise BadArguments(f"the statement has no parameter {', '.join(unknown)}; it has {there}")


def _parameters(sql: str) -> list[tuple[int, int, str]]:
    """Return begin, end and name of each ``:name`` outside strings and comments."""
    try:
        tokens = Dialect.get_or_raise("athena").tokenize(sql)
    except SqlglotError as error:
        raise BadArguments(f"the SQL cannot be parsed: {plain_message(error)}") from error
    return [
        (colon.start, name.end + 1, name.text)
        for colon, name in pairwise(tokens)
        if colon.token_type == TokenType.COLON
        and name.start == colon.end + 1
        and _IDENTIFIER.match(name.text)
    ]
