"""DuckDB connections that hold the tables of a lake, pinned to versions, and nothing else."""

from __future__ import annotations

import importlib.util
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import duckdb

from astrolake.errors import MissingDependency, NotALake, TableNotFound
from astrolake.lake.delta import Snapshot, load_table, snapshot_of
from astrolake.lake.lake import Lake, sql_name
from astrolake.lake.sql_dialect import MACROS, SETTINGS
from astrolake.lake.sql_statement import plain_message
from astrolake.lake.storage import Storage

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # A table that the lake lacks must not be looked for among Python's variables.
    "python_enable_replacements": False,
}
_SECRET = {
    "AWS_ACCESS_KEY_ID": "KEY_ID",
    "AWS_SECRET_ACCESS_KEY": "SECRET",
    "AWS_SESSION_TOKEN": "SESSION_TOKEN",
    "AWS_REGION": "REGION",
}


def open_connection(
    lake: Lake, tables: Sequence[str] | None = None, versions: Mapping[str, int] | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB connection with one view for each table of the lake.

    Every view is pinned to one version, so that all queries of a connection see the same rows.
    The connection reads nothing outside the lake and takes DuckDB's SQL; `run_query` takes Athena's.

    Parameters
    ----------
    lake : Lake
    tables : sequence of str
        Tables to offer (all by default), by their name in the lake or in SQL.
    versions : mapping of str to int
        Versions to read instead of the newest, by table.

    Raises
    ------
    TableNotFound
        When the lake lacks a table or a version.
    MissingDependency
        When the DuckDB extension of this DuckDB version is not installed.
    """
    known = sql_tables(lake)
    chosen = [
        pinned_snapshot(lake, name, versions or {}, known) for name in (known if tables is None else tables)
    ]
    storage = lake.storage
    root = (storage.path() if storage.is_local else storage.root).rstrip("/") + "/"
    secrets = [s3_secret(storage)] if chosen and not storage.is_local else []
    connection = confined_connection(_extensions(lake) if chosen else (), secrets, [root])
    try:
        for name, snapshot in chosen:
            _add_view(connection, name, snapshot)
    except BaseException:
        connection.close()
        raise
    return connection


def confined_connection(
    extensions: Sequence[str], secrets: Sequence[str], directories: Sequence[str]
) -> duckdb.DuckDBPyConnection:
    """Return a connection that means what Trino means and opens no file outside some directories.

    Raises
    ------
    MissingDependency
        When an extension of this DuckDB version is not installed.
    """
    loads = [_checked_load(extension) for extension in extensions]
    # What spills from memory must not land in the working directory; DuckDB removes it in the end.
    spill = str(Path(tempfile.gettempdir()) / f"astrolake-sql-{uuid.uuid4().hex}")
    connection = duckdb.connect(config=_CONFIG | {"allow_unsigned_extensions": True, "temp_directory": spill})
    confine = [
        f"SET allowed_directories = [{', '.join(map(quoted, directories))}]",
        "SET enable_external_access = false",
    ]
    try:
        for statement in [*loads, *secrets, *confine, *SETTINGS, *(f"CREATE MACRO {m}" for m in MACROS)]:
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def sql_tables(lake: Lake) -> dict[str, str]:
    """Return the name in the lake of every table by its name in SQL."""
    return {sql_name(name): name for name in lake.tables()}


def pinned_snapshot(
    lake: Lake, table: str, versions: Mapping[str, int], known: Mapping[str, str]
) -> tuple[str, Snapshot]:
    """Return the name in the lake and the snapshot of a table given by either of its names.

    Raises
    ------
    TableNotFound
        When the lake lacks the table, one of `versions`, or the version.
    """
    pinned = {_resolve(lake, known, name): version for name, version in versions.items()}
    name = _resolve(lake, known, table)
    storage = lake.delta_storage(name)
    handle = load_table(storage, pinned.get(name))
    if handle is None:
        raise TableNotFound(f"{lake.uri} has no table {table!r}; it has {sorted(known)}")
    return name, snapshot_of(handle, storage)


def extension_path(name: str, version: str = duckdb.__version__) -> Path:
    """Return the file of a DuckDB extension that a PyPI package carries.

    Raises
    ------
    MissingDependency
        When the package is not installed, or carries it for other versions of DuckDB only.
    """
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "extensions" / f"v{version}" / f"{name}.duckdb_extension"
        if path.exists():
            return path
    raise MissingDependency(
        f"SQL needs DuckDB's {name} extension of version {version}: "
        f"pip install '{package.replace('_', '-')}=={version}'"
    )


def s3_secret(storage: Storage, name: str = "lake") -> str:
    """Return the statement that gives DuckDB the credentials of a place on S3, for its root only.

    They come from the storage's options, or else from the ambient AWS configuration.
    """
    options = storage.options if "AWS_ACCESS_KEY_ID" in storage.options else _ambient() | storage.options
    entries = {_SECRET[key]: value for key, value in options.items() if key in _SECRET}
    entries["SCOPE"] = storage.root
    if endpoint := options.get("AWS_ENDPOINT_URL"):
        scheme, _, host = endpoint.rpartition("://")
        entries |= {"ENDPOINT": host.rstrip("/"), "URL_STYLE": "path"}
        entries["USE_SSL"] = "false" if scheme == "http" else "true"
    given = ", ".join(f"{key} {quoted(value)}" for key, value in entries.items())
    return f"CREATE SECRET {name} (TYPE s3, {given})"


def _ambient() -> dict[str, str]:
    """Return the credentials and region of the ambient AWS configuration, as far as there are any."""
    try:
        import botocore.session
    except ImportError as error:
        raise MissingDependency("a lake on S3 needs botocore: pip install 'astrolake[aws]'") from error
    session = botocore.session.get_session()
    found: dict[str, str | None] = {"AWS_REGION": session.get_config_variable("region")}
    if credentials := session.get_credentials():
        frozen = credentials.get_frozen_credentials()
        found["AWS_ACCESS_KEY_ID"] = frozen.access_key
        found["AWS_SECRET_ACCESS_KEY"] = frozen.secret_key
        found["AWS_SESSION_TOKEN"] = frozen.token
    return {key: value for key, value in found.items() if value}


def _resolve(lake: Lake, known: Mapping[str, str], table: str) -> str:
    found = known.get(sql_name(table).lower())
    if found is None:
        raise TableNotFound(f"{lake.uri} has no table {table!r}; it has {sorted(known)}")
    return found


def _extensions(lake: Lake) -> tuple[str, ...]:
    return ("delta",) if lake.storage.is_local else ("delta", "httpfs")


@cache
def _checked_load(extension: str) -> str:
    """Return the statement that loads an extension, once DuckDB has checked its signature.

    The check reads the whole file (0.3 s), so that it is made once in a process, not for
    every connection.
    """
    statement = f"LOAD {quoted(str(extension_path(extension)))}"
    with closing(duckdb.connect(config=_CONFIG)) as probe:
        probe.execute(statement)
    return statement


def _add_view(connection: duckdb.DuckDBPyConnection, table: str, snapshot: Snapshot) -> None:
    location = quoted(snapshot.storage.delta_uri())
    try:
        connection.execute(
            f'CREATE VIEW "{sql_name(table)}" AS FROM delta_scan({location}, version = {snapshot.version})'
        )
    except duckdb.Error as error:
        where = snapshot.storage.root
        raise NotALake(f"cannot read table {table} at {where}: {plain_message(error)}") from error


def quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
