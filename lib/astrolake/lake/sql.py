"""The local SQL engine: DuckDB over the Delta tables of a lake, speaking Athena's SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from astrolake.errors import AstrolakeError, BadArguments, MissingColumns, NotALake
from astrolake.lake.lake import Lake
from astrolake.lake.sql_connection import open_connection, pinned_snapshot, sql_tables
from astrolake.lake.sql_dialect import to_duckdb
from astrolake.lake.sql_params import athena_parameters, bind, box_ranges, cone_ranges, parameter_names
from astrolake.lake.sql_statement import (
    ListColumns,
    ListTables,
    Query,
    check_aliases,
    parse_query,
    parse_statement,
    plain_message,
)
from astrolake.lake.sql_text import format_csv, format_json_lines, format_table
from astrolake.schema.athena import glue_columns
from astrolake.schema.dictionary import describe_stored

__all__ = [
    "athena_parameters",
    "bind",
    "box_ranges",
    "cone_ranges",
    "create_view",
    "format_csv",
    "format_json_lines",
    "format_table",
    "open_connection",
    "parameter_names",
    "run_query",
]

_BATCH_ROWS = 100_000
_NO_COLUMN = re.compile(r'column "?([^"\s]+)"? not found|does not have a column named "([^"]+)"')
_NO_FUNCTION = re.compile(r"Function with name \"?(\w+)\"?|name and argument types '(\w+)\(")
_CREATE_VIEW = re.compile(
    r"(?:\s*--[^\n]*\n)*\s*CREATE\s+(?:OR\s+REPLACE\s+)?VIEW\s+(\S+)\s+AS\s", re.IGNORECASE
)


def run_query(
    lake: Lake,
    sql: str,
    *,
    dialect: str = "athena",
    versions: Mapping[str, int] | None = None,
    limit: int | None = None,
) -> pa.Table:
    """Return the rows of one reading statement (SELECT, WITH, EXPLAIN, SHOW TABLES, DESCRIBE).

    Parameters
    ----------
    lake : Lake
    sql : str
        The statement; see `bind` for parameters.
    dialect : str
        athena (default), or duckdb to use the engine's own SQL.
    versions : mapping of str to int
        Versions to read instead of the newest, by table.
    limit : int
        Return at most this many rows.

    Raises
    ------
    BadArguments
        When the statement cannot be parsed, writes, fails or uses what the engine lacks.
    TableNotFound, MissingColumns
        When it names something that is not there; the message lists what is.
    """
    if limit is not None and limit < 0:
        raise BadArguments(f"limit must not be negative, not {limit}")
    statement = parse_statement(sql, dialect)
    match statement:
        case ListTables():
            return pa.table({"table": pa.array(sorted(sql_tables(lake)), pa.string())}).slice(0, limit)
        case ListColumns():
            return _describe(lake, statement.table, versions or {}).slice(0, limit)
        case Query():
            with closing(open_connection(lake, statement.tables, versions)) as connection:
                return fetch(connection, statement, dialect, limit)


def create_view(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Make a view from Athena's ``CREATE [OR REPLACE] VIEW name AS SELECT ...`` and return its name.

    Raises
    ------
    BadArguments, MissingColumns
        When the text is no such statement, or its query cannot be run.
    """
    match = _CREATE_VIEW.match(sql)
    if match is None:
        raise BadArguments(f"this is no CREATE VIEW statement: {sql.strip()[:60]!r}")
    query = parse_query(sql[match.end() :])
    name = sqlglot.to_table(match[1], dialect="athena").name
    columns = _columns(connection)
    check_aliases(query.tree, columns)
    quoted = exp.to_identifier(name, quoted=True).sql("duckdb")
    try:
        connection.execute(f"CREATE OR REPLACE VIEW {quoted} AS {to_duckdb(query.tree)}")
    except duckdb.Error as error:
        raise _user_error(error, query, columns) from error
    return name


def _describe(lake: Lake, table: str, versions: Mapping[str, int]) -> pa.Table:
    name, snapshot = pinned_snapshot(lake, table, versions, sql_tables(lake))
    return column_table(glue_columns(describe_stored(name, snapshot.schema)))


def column_table(columns: Sequence[Mapping[str, str]]) -> pa.Table:
    """Return columns of the Glue catalog as DESCRIBE shows them."""
    heads = {"column": "Name", "type": "Type", "comment": "Comment"}
    return pa.table(
        {head: pa.array([column.get(key) for column in columns], pa.string()) for head, key in heads.items()}
    )


def fetch(
    connection: duckdb.DuckDBPyConnection, query: Query, dialect: str = "athena", limit: int | None = None
) -> pa.Table:
    """Return the rows of a query, or its plan, from a connection that has its tables.

    Raises
    ------
    BadArguments, MissingColumns, NotALake
        When it fails; see `run_query`.
    """
    columns = _columns(connection)
    if dialect == "athena":
        check_aliases(query.tree, columns)
    translated = to_duckdb(query.tree, dialect)
    try:
        if query.plan:
            return _plan(connection, f"{query.plan} {translated}").slice(0, limit)
        return _rows(connection.sql(translated), limit)
    except duckdb.Error as error:
        raise _user_error(error, query, columns) from error


def _plan(connection: duckdb.DuckDBPyConnection, explain: str) -> pa.Table:
    found = connection.execute(explain).fetchall()
    lines = [line for row in found for line in str(row[-1]).splitlines()]
    return pa.table({"query_plan": pa.array(lines, pa.string())})


def _rows(relation: duckdb.DuckDBPyRelation, limit: int | None) -> pa.Table:
    """Return the rows, sums of integers as int64 (DuckDB adds them up in 128 bits)."""
    wide = [i for i, kind in enumerate(relation.types) if str(kind) == "HUGEINT"]
    reader = relation.to_arrow_reader(_BATCH_ROWS if limit is None else max(1, min(limit, _BATCH_ROWS)))
    batches: list[pa.RecordBatch] = []
    n_rows = 0
    for batch in reader:
        batches.append(batch)
        n_rows += batch.num_rows
        if limit is not None and n_rows >= limit:
            break
    rows = pa.Table.from_batches(batches, reader.schema).slice(0, limit)
    for i in wide:
        field = pa.field(rows.schema.field(i).name, pa.int64())
        rows = rows.set_column(i, field, _narrow(rows.column(i)))
    return rows


def _narrow(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise BadArguments(f"a sum does not fit into a bigint: {error}") from error


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Return the columns of every view of the connection, by its name in lower case."""
    found = connection.execute(
        "SELECT lower(table_name), list(column_name ORDER BY column_index) FROM duckdb_columns() "
        "WHERE NOT internal GROUP BY 1"
    ).fetchall()
    return dict(found)


def _user_error(error: duckdb.Error, query: Query, columns: Mapping[str, Sequence[str]]) -> AstrolakeError:
    """Return the error that names the column, function or value at fault and what there is instead."""
    text, tables = str(error), ", ".join(query.tables) or "the query"
    unbound = isinstance(error, duckdb.BinderException | duckdb.CatalogException)
    if unbound and (match := _NO_COLUMN.search(text)):
        present = sorted({name for table in query.tables for name in columns.get(table, ())})
        return MissingColumns(tables, [match[1] or match[2]], present)
    if unbound and (match := _NO_FUNCTION.search(text)):
        function = (match[1] or match[2]).lower()
        return BadArguments(
            f"the local engine has no function {function}, or not for these arguments "
            f"(docs/sql.md lists the differences to Athena): {plain_message(error)}"
        )
    if isinstance(error, duckdb.IOException):
        return NotALake(f"cannot read {tables}: {plain_message(error)}")
    return BadArguments(f"the query failed: {plain_message(error)}")
