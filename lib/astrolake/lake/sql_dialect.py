"""Athena SQL for the local engine, translated so that it means the same.

Athena engine version 3 is Trino. sqlglot translates the grammar to DuckDB; what is left are
functions and operators that both have with another meaning: those are rewritten here to macros
that behave as Trino documents. See docs/sql.md for what still differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp
from sqlglot.errors import ErrorLevel, UnsupportedError

from astrolake.errors import BadArguments
from astrolake.lake.sql_statement import lake_tables, plain_message

_FLOATS = "('DOUBLE', 'FLOAT')"
#: Settings and macros that give DuckDB the meaning of Trino.
SETTINGS = (
    "SET TimeZone = 'UTC'",
    "SET default_null_order = 'nulls_last'",
    "SET integer_division = true",
    "SET ieee_floating_point_ops = true",
)
MACROS = (
    # Integers and decimals raise on a zero divisor, floating point numbers give infinity or NaN.
    f"""trino_divide(a, b) AS CASE
        WHEN b <> 0 OR a IS NULL OR b IS NULL THEN a / b
        WHEN typeof(a) IN {_FLOATS} OR typeof(b) IN {_FLOATS} THEN cast_to_type(a * 'inf'::DOUBLE, a / b)
        ELSE error('Division by zero') END""",
    f"""trino_modulo(a, b) AS CASE
        WHEN b <> 0 OR a IS NULL OR b IS NULL OR typeof(a) IN {_FLOATS} OR typeof(b) IN {_FLOATS} THEN a % b
        ELSE error('Division by zero') END""",
    # A cast to integer rounds halves away from zero, DuckDB's to the even neighbour.
    f"""trino_round_half_up(a) AS CASE
        WHEN typeof(a) IN {_FLOATS} THEN cast_to_type(round(try_cast(a AS DOUBLE)), a) ELSE a END""",
    # Outside of their domain functions give NaN or infinity: -2.5 * log10(flux) must not end a query.
    "trino_sqrt(a) AS CASE WHEN a < 0 THEN 'nan'::DOUBLE ELSE sqrt(a) END",
    "trino_asin(a) AS CASE WHEN abs(a) > 1 THEN 'nan'::DOUBLE ELSE asin(a) END",
    "trino_acos(a) AS CASE WHEN abs(a) > 1 THEN 'nan'::DOUBLE ELSE acos(a) END",
    *(
        f"""trino_{log}(a) AS CASE WHEN a = 0 THEN '-inf'::DOUBLE
            WHEN a < 0 THEN 'nan'::DOUBLE ELSE {log}(a) END"""
        for log in ("ln", "log2", "log10")
    ),
    """trino_subscript(a, i) AS CASE
        WHEN i < 1 OR i > len(a) THEN error('Array subscript ' || i || ' is out of bounds') ELSE a[i] END""",
    """great_circle_distance(lat1, lon1, lat2, lon2) AS CASE
        WHEN greatest(abs(lat1), abs(lat2)) > 90 THEN error('Latitude must be between -90 and 90')
        WHEN greatest(abs(lon1), abs(lon2)) > 180 THEN error('Longitude must be between -180 and 180')
        ELSE 6371.01 * atan2(
            sqrt(pow(cos(radians(lat2)) * sin(radians(lon1 - lon2)), 2)
                + pow(cos(radians(lat1)) * sin(radians(lat2))
                    - sin(radians(lat1)) * cos(radians(lat2)) * cos(radians(lon1 - lon2)), 2)),
            sin(radians(lat1)) * sin(radians(lat2))
                + cos(radians(lat1)) * cos(radians(lat2)) * cos(radians(lon1 - lon2))) END""",
    """width_bucket(x, low, high, n) AS CASE WHEN low < high
        THEN greatest(0, least(n + 1, 1 + floor((x - low) * n::DOUBLE / (high - low)))::BIGINT)
        ELSE greatest(0, least(n + 1, 1 + floor((low - x) * n::DOUBLE / (low - high)))::BIGINT) END""",
    "array_position(a, x) AS coalesce(list_position(a, x), 0)",
    "bitwise_left_shift(a, n) AS a << n",
    "bitwise_right_shift_arithmetic(a, n) AS a >> n",
    "every(a) AS bool_and(a)",
    "e() AS exp(1::DOUBLE)",
    "infinity() AS 'inf'::DOUBLE",
    "nan() AS 'nan'::DOUBLE",
    "is_finite(a) AS isfinite(a)",
    "is_infinite(a) AS isinf(a)",
)
_INTEGERS = exp.DataType.SIGNED_INTEGER_TYPES


def to_duckdb(query: exp.Query, dialect: str = "athena") -> str:
    """Return the query in DuckDB's SQL, with the meaning that it has in its own dialect.

    Database names are dropped (the lake is the one database) and columns without a name are
    called ``_col0``, ``_col1``, ... as in Athena.

    Raises
    ------
    BadArguments
        When it uses something that has no translation.
    """
    tree: exp.Expr = query.copy()
    for table in lake_tables(tree):
        table.set("db", None)
        table.set("catalog", None)
        table.set("this", exp.to_identifier(table.name.replace("/", "_"), quoted=True))
    if dialect == "athena":
        _rewrite(tree)
        _name_columns(tree)
    try:
        return str(tree.sql("duckdb", unsupported_level=ErrorLevel.RAISE))
    except UnsupportedError as error:
        raise BadArguments(f"the local engine cannot run this: {plain_message(error)}") from error


def _rewrite(tree: exp.Expr) -> None:
    """Replace every node whose meaning differs, innermost first; the rest is sqlglot's work."""
    for node in reversed(list(tree.dfs())):
        rewrite = _REWRITES.get(type(node))
        replacement = rewrite(node) if rewrite else node
        if replacement is not node:
            node.replace(replacement)


def _checked_operator(node: exp.Expr) -> exp.Expr:
    if isinstance(node.this, exp.Null) or _is_tried(node):
        return node
    return _call("trino_divide" if isinstance(node, exp.Div) else "trino_modulo", node.this, node.expression)


def _checked_subscript(node: exp.Expr) -> exp.Expr:
    """Rewrite an array's subscript; element_at and, as far as the text shows it, a map's key stay."""
    key = node.expressions[0]
    is_map = isinstance(node.this, exp.Map) or (isinstance(key, exp.Literal) and key.is_string)
    if node.args.get("safe") or is_map or _is_tried(node):
        # Both engines count from 1, as `AthenaQueries` keeps it.
        node.set("offset", 1)
        return node
    return _call("trino_subscript", node.this, key)


def _cast(node: exp.Expr) -> exp.Expr:
    """Round halves up in casts to integer, and join a time to its offset as DuckDB wants it."""
    if isinstance(node, exp.Cast) and node.to.this in _INTEGERS and not isinstance(node.this, exp.Null):
        node.set("this", _call("trino_round_half_up", node.this))
    elif isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.TIMESTAMPTZ and node.this.is_string:
        node.set("this", exp.Literal.string(re.sub(r" (?=[+-]\d)", "", node.this.name)))
    return node


def _elapsed(node: exp.Expr) -> exp.Expr:
    """Count whole units gone by, not the boundaries between them."""
    unit = node.args.get("unit")
    return _call(
        "date_sub", exp.Literal.string(unit.name.lower() if unit else "day"), node.expression, node.this
    )


def _iso_weekday(node: exp.Expr) -> exp.Expr:
    return _call("isodow", node.expression) if node.name.upper() in _WEEKDAY else node


def _percentile(node: exp.Expr) -> exp.Expr:
    if any(node.args.get(name) for name in ("weight", "accuracy", "error_tolerance")):
        raise BadArguments("the local engine's approx_percentile takes a column and percentages, no weights")
    # sqlglot would cast the result to a scalar, also where it is an array.
    return _call("approx_quantile", node.this, node.args["quantile"])


def _logarithm(node: exp.Expr) -> exp.Expr:
    base, argument = node.this, node.args.get("expression")
    if argument is None:
        raise BadArguments("Athena's log takes a base and a number; ln and log10 take a number")
    if base.name in ("2", "10"):
        return _call(f"trino_log{base.name}", argument)
    return _call("trino_divide", _call("trino_ln", argument), _call("trino_ln", base))


def _total(node: exp.Expr) -> exp.Expr:
    """Take the variant of a function that has a value for every number."""
    return _call(f"trino_{type(node).__name__.lower()}", node.this)


def _no_json_path(node: exp.Expr) -> exp.Expr:
    raise BadArguments(
        "the local engine has no json_value; json_extract_scalar takes the same paths without lax"
    )


def _java_format(node: exp.Expr) -> exp.Expr:
    return _call("printf", node.this, *node.expressions)


def _call(function: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=function, expressions=list(arguments))


def _is_tried(node: exp.Expr) -> bool:
    """Tell whether TRY turns the error of the node into null, which is what DuckDB gives without one."""
    return node.find_ancestor(exp.Try) is not None


_WEEKDAY = ("DOW", "DAY_OF_WEEK", "DAYOFWEEK")
_REWRITES: dict[type[exp.Expr], Callable[[exp.Expr], exp.Expr]] = {
    exp.Div: _checked_operator,
    exp.Mod: _checked_operator,
    exp.Bracket: _checked_subscript,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.DateDiff: _elapsed,
    exp.Extract: _iso_weekday,
    exp.ApproxQuantile: _percentile,
    exp.Format: _java_format,
    exp.JSONValue: _no_json_path,
    exp.Log: _logarithm,
    exp.Ln: _total,
    exp.Sqrt: _total,
    exp.Asin: _total,
    exp.Acos: _total,
}


def _name_columns(tree: exp.Expr) -> None:
    select = tree
    while not isinstance(select, exp.Select):
        if select.this is None or not isinstance(select.this, exp.Expression):
            return
        select = select.this
    if select.is_star:
        return
    for position, column in enumerate(select.expressions):
        if not isinstance(column, exp.Alias | exp.Column | exp.Dot | exp.Star):
            column.replace(exp.alias_(column.copy(), f"_col{position}"))
