"""The local twin of Athena: tables as the Glue catalog describes them, read where they lie by DuckDB."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from astrolake.errors import AstrolakeError, BadArguments, NotALake, TableNotFound
from astrolake.lake.sql import column_table, fetch
from astrolake.lake.sql_connection import confined_connection, quoted, s3_secret
from astrolake.lake.sql_statement import ListColumns, ListTables, Query, parse_statement, plain_message
from astrolake.lake.storage import Storage

if TYPE_CHECKING:
    import boto3

_TYPES = {
    "bigint": "BIGINT",
    "int": "INTEGER",
    "double": "DOUBLE",
    "float": "FLOAT",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "binary": "BLOB",
}
_ARRAY = re.compile(r"array<(\w+)>")


def run_glue_query(
    database: str, sql: str, *, limit: int | None = None, session: boto3.session.Session | None = None
) -> pa.Table:
    """Return the rows of one reading statement over the tables of a Glue database, in Athena's SQL.

    Parameters
    ----------
    database : str
    sql : str
        See `astrolake.lake.sql.run_query`.
    limit : int
        Return at most this many rows.
    session : boto3 Session
        Credentials and region; the ambient ones by default.

    Raises
    ------
    BadArguments, TableNotFound, MissingColumns
        As `run_query`.
    AstrolakeError
        When AWS refuses.
    """
    statement = parse_statement(sql)
    match statement:
        case ListTables():
            names = sorted(_entries(database, session))
            return pa.table({"table": pa.array(names, pa.string())}).slice(0, limit)
        case ListColumns():
            entry = _chosen(database, [statement.table], _entries(database, session))[0]
            return column_table([*_columns(entry), *entry.get("PartitionKeys", [])]).slice(0, limit)
        case Query():
            with closing(open_glue_connection(database, statement.tables, session)) as connection:
                return fetch(connection, statement, limit=limit)


def open_glue_connection(
    database: str, tables: Sequence[str] | None = None, session: boto3.session.Session | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB connection with one view for each table of a Glue database.

    As in Athena a table of Parquet has the columns that the catalog says, and the rows of the partitions
    that the catalog has; a Delta table has those of its log. The connection reads nothing else.

    Parameters
    ----------
    database : str
    tables : sequence of str
        Tables to offer; all by default.
    session : boto3 Session
        Credentials and region; the ambient ones by default.

    Raises
    ------
    TableNotFound
        When the catalog lacks a table.
    BadArguments
        When a table is neither Parquet nor Delta on S3, or has a type that is not known here.
    AstrolakeError
        When AWS refuses.
    """
    entries = _entries(database, session)
    chosen = _chosen(database, sorted(entries) if tables is None else tables, entries)
    roots = sorted({_location(entry) for entry in chosen})
    options = _storage_options(session) if chosen else {}
    secrets = [s3_secret(Storage.at(root, options), f"table_{i}") for i, root in enumerate(roots)]
    views = [_view(entry, database, session) for entry in chosen]
    connection = confined_connection(("delta", "httpfs") if chosen else (), secrets, roots)
    try:
        for view in views:
            connection.execute(view)
    except duckdb.Error as error:
        connection.close()
        raise NotALake(f"cannot read tables of {database}: {plain_message(error)}") from error
    return connection


def _chosen(database: str, names: Sequence[str], entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    for name in names:
        if name.lower() not in entries:
            raise TableNotFound(f"Glue database {database} has no table {name!r}; it has {sorted(entries)}")
    return [entries[name.lower()] for name in names]


def _view(entry: Mapping[str, Any], database: str, session: boto3.session.Session | None) -> str:
    """Return the statement that makes the view of a table."""
    name, location = entry["Name"].replace('"', '""'), _location(entry)
    parameters = {key.lower(): str(value).lower() for key, value in entry.get("Parameters", {}).items()}
    if parameters.get("table_type") == "delta":
        return f'CREATE VIEW "{name}" AS FROM delta_scan({quoted(location)})'
    if "parquet" not in str(entry["StorageDescriptor"].get("InputFormat", "")).lower():
        raise BadArguments(f"{database}.{entry['Name']} is neither Parquet nor Delta; ask Athena")
    keys = entry.get("PartitionKeys", [])
    columns = [*_columns(entry), *keys]
    empty = ", ".join(f"CAST(NULL AS {_type(column)}) AS {_name(column)}" for column in columns)
    parts = [f"SELECT {empty} WHERE false"]
    for place, values in _places(entry, database, session):
        constants = "".join(
            f", CAST({quoted(value)} AS {_type(key)}) AS {_name(key)}"
            for key, value in zip(keys, values, strict=True)
        )
        # A file may have other columns than its neighbours, when the table has grown.
        files = f"read_parquet({quoted(_pattern(place))}, union_by_name = true, hive_partitioning = false)"
        parts.append(f"SELECT *{constants} FROM {files}")  # noqa: S608 - names and values are quoted
    chosen = ", ".join(map(_name, columns))
    rows = " UNION ALL BY NAME ".join(parts)
    return f'CREATE VIEW "{name}" AS SELECT {chosen} FROM ({rows})'  # noqa: S608 - as above


def _pattern(place: str) -> str:
    """Return the pattern of all files of a directory whose name may hold what patterns are made of."""
    return re.sub(r"([*?\[])", r"[\1]", place) + "*"


def _places(
    entry: Mapping[str, Any], database: str, session: boto3.session.Session | None
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the directories of a table that hold files, and the values of its partition columns there."""
    with _asking(f"list partitions of {database}.{entry['Name']}"):
        found: list[tuple[str, Sequence[str]]] = [(_location(entry), ())]
        if entry.get("PartitionKeys"):
            pages = _client("glue", session).get_paginator("get_partitions")
            asked = {"DatabaseName": database, "TableName": entry["Name"]}
            found = [
                (_location(partition), partition["Values"])
                for page in pages.paginate(**asked)
                for partition in page["Partitions"]
            ]
        s3 = _client("s3", session)
        for place, values in sorted(found):
            bucket, _, prefix = place.removeprefix("s3://").partition("/")
            # DuckDB refuses a pattern that no file matches.
            if s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"):
                yield place, values


def _entries(database: str, session: boto3.session.Session | None) -> dict[str, dict[str, Any]]:
    """Return the tables of a database by name; views of Athena are no tables."""
    with _asking(f"list tables of Glue database {database}"):
        pages = _client("glue", session).get_paginator("get_tables").paginate(DatabaseName=database)
        return {
            entry["Name"]: entry
            for page in pages
            for entry in page["TableList"]
            if entry.get("TableType") != "VIRTUAL_VIEW"
        }


def _columns(entry: Mapping[str, Any]) -> list[dict[str, str]]:
    return list(entry["StorageDescriptor"].get("Columns", []))


def _location(entry: Mapping[str, Any]) -> str:
    location = str(entry.get("StorageDescriptor", {}).get("Location", ""))
    if not location.startswith("s3://"):
        raise BadArguments(f"{entry.get('Name', 'a partition')} lies at {location!r}, not on S3; ask Athena")
    return location.rstrip("/") + "/"


def _name(column: Mapping[str, str]) -> str:
    return '"' + column["Name"].replace('"', '""') + '"'


def _type(column: Mapping[str, str]) -> str:
    kind = column.get("Type", "").lower()
    array = _ARRAY.fullmatch(kind)
    found = _TYPES.get(array[1] if array else kind)
    if found is None:
        raise BadArguments(
            f"column {column['Name']} has the type {kind!r}, which is not known here; ask Athena"
        )
    return found + "[]" if array else found


def _storage_options(session: boto3.session.Session | None) -> dict[str, str]:
    """Return credentials, region and, if it is not AWS, the endpoint, as delta-rs spells them."""
    from boto3.session import Session

    with _asking("reach S3"):
        session = session or Session()
        credentials, client = session.get_credentials(), _client("s3", session)
        options = {"AWS_REGION": client.meta.region_name}
        if credentials is not None:
            frozen = credentials.get_frozen_credentials()
            options |= {
                "AWS_ACCESS_KEY_ID": frozen.access_key,
                "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
                "AWS_SESSION_TOKEN": frozen.token,
            }
        if ".amazonaws." not in client.meta.endpoint_url:
            options["AWS_ENDPOINT_URL"] = client.meta.endpoint_url
    return {key: value for key, value in options.items() if value}


def _client(service: str, session: boto3.session.Session | None) -> Any:
    from boto3.session import Session

    return (session or Session()).client(service)


@contextmanager
def _asking(action: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise AstrolakeError(
            f"cannot {action}: {error}; check region, credentials and permissions"
        ) from error
