"""Athena SQL for the local engine, translated so that it means the same.

Athena engine version 3 is Trino. sqlglot translates the grammar to DuckDB; what is left are
functions and operators that both have with another meaning: those are rewritten here to macros
that behave as Trino documents. See docs/sql.md for what still differs.
"""

from __future__ import annotations

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
        tree = tree.transform(_rewrite)
        _name_columns(tree)
    try:
        return str(tree.sql("duckdb", unsupported_level=ErrorLevel.RAISE))
    except UnsupportedError as error:
        raise BadArguments(f"the local engine cannot run this: {plain_message(error)}") from error


def _rewrite(node: exp.Expr) -> exp.Expr:
    """Replace one node whose meaning differs; the rest is sqlglot's work."""
    match node:
        case exp.Div() | exp.Mod() if not isinstance(node.this, exp.Null):
            name = "trino_divide" if isinstance(node, exp.Div) else "trino_modulo"
            return exp.func(name, node.this, node.expression, dialect="duckdb")
        case exp.Cast() if node.to.this in _INTEGERS and not isinstance(node.this, exp.Null):
            node.set("this", exp.func("trino_round_half_up", node.this, dialect="duckdb"))
        case exp.Bracket() if not node.args.get("safe") and _is_subscript(node):
            return exp.func("trino_subscript", node.this, node.expressions[0], dialect="duckdb")
        case exp.DateDiff():
            unit = exp.Literal.string(node.unit.name.lower() if node.unit else "day")
            return exp.func("date_sub", unit, node.expression, node.this, dialect="duckdb")
        case exp.Extract() if node.name.upper() in ("DOW", "DAY_OF_WEEK", "DAYOFWEEK"):
            return exp.func("isodow", node.expression, dialect="duckdb")
        case exp.Format():
            return exp.func("printf", node.this, *node.expressions, dialect="duckdb")
    return node


def _is_subscript(node: exp.Bracket) -> bool:
    """Tell an array's subscript from a map's key, as far as the text shows it."""
    key = node.expressions[0]
    return not (isinstance(key, exp.Literal) and key.is_string) and not isinstance(node.this, exp.Map)


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
