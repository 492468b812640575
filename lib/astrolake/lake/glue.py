"""Registers tables with the Glue catalog, so that Athena (engine version 3) reads their Delta logs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from astrolake.errors import AstrolakeError, BadArguments, MissingDependency, TableNotFound
from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake, sql_name
from astrolake.schema.athena import glue_columns
from astrolake.schema.dictionary import describe_stored
from astrolake.schema.model import Table

if TYPE_CHECKING:
    import boto3

_DATABASE = re.compile(r"[a-z][a-z0-9_]{0,254}\Z")
#: How Athena and Spark recognise a Delta table; Athena's own DDL leaves the same behind.
_PARAMETERS = {
    "EXTERNAL": "TRUE",
    "classification": "delta",
    "spark.sql.sources.provider": "delta",
    "table_type": "DELTA",
}


def register_table(
    lake: Lake, table: str, database: str, session: boto3.session.Session | None = None
) -> str:
    """Create or update the entry of a table in the Glue catalog.

    The columns are those of the newest version. An entry that is up to date stays as it is,
    so that repeating the call makes no new version of it.

    Parameters
    ----------
    lake : Lake
        A lake on S3.
    table : str
        Name in the lake; the slash of a cross-match becomes an underscore.
    database : str
        Glue database, made when it is missing.
    session : boto3 Session
        Credentials and region; the ambient ones by default.

    Returns
    -------
    str
        created, updated or unchanged.

    Raises
    ------
    BadArguments
        When the lake is not on S3, the database's name cannot be used in SQL, or the name of
        the table is taken by an entry for another location.
    TableNotFound
        When the lake has no such table.
    AstrolakeError
        When AWS refuses; the message names the call.
    MissingDependency
        When boto3 is not installed.
    """
    if lake.storage.is_local:
        raise BadArguments(f"{lake.uri} is on this machine: Athena reads only lakes on S3 (--lake s3://...)")
    if not _DATABASE.match(database):
        raise BadArguments(
            f"database {database!r} must be lower case letters, digits and _, starting with a letter"
        )
    try:
        from boto3.session import Session
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise MissingDependency("the Glue catalog needs boto3: pip install 'astrolake[aws]'") from error
    entry = table_entry(lake, table)
    try:
        client = (session or Session()).client("glue")
        _ensure_database(client, database, lake)
        return _put_table(client, database, entry)
    except (BotoCoreError, ClientError) as error:
        raise AstrolakeError(
            f"cannot register {database}.{entry['Name']} with AWS Glue: {error}; check region, credentials "
            "and the permissions glue:GetDatabase, CreateDatabase, GetTable, CreateTable, UpdateTable"
        ) from error


def table_entry(lake: Lake, table: str) -> dict[str, Any]:
    """Return the TableInput of Glue's create_table for the newest version of a table."""
    storage = lake.delta_storage(table)
    snapshot = read_snapshot(storage)
    if snapshot is None:
        raise TableNotFound(f"{lake.uri} has no table {table!r}; it has {lake.tables()}")
    declared = describe_stored(table, snapshot.schema)
    location = storage.uri() + "/"
    return {
        "Name": sql_name(table),
        "Description": _description(declared),
        "TableType": "EXTERNAL_TABLE",
        "Parameters": _PARAMETERS,
        "PartitionKeys": [],
        "StorageDescriptor": {
            "Columns": glue_columns(declared),
            "Location": location,
            # Spark looks for the path here.
            "SerdeInfo": {"Parameters": {"serialization.format": "1", "path": location}},
        },
    }


def _description(declared: Table) -> str:
    return f"{declared.doc} One row is {declared.grain}; key: {', '.join(declared.key)}."


def _ensure_database(client: Any, database: str, lake: Lake) -> None:
    try:
        client.get_database(Name=database)
    except client.exceptions.EntityNotFoundException:
        described = {"Name": database, "Description": f"Tables of the lake {lake.uri}"}
        try:
            client.create_database(DatabaseInput=described)
        except client.exceptions.AlreadyExistsException:
            # Another run made it in the meantime.
            return


def _put_table(client: Any, database: str, entry: dict[str, Any]) -> str:
    try:
        found = client.get_table(DatabaseName=database, Name=entry["Name"])["Table"]
    except client.exceptions.EntityNotFoundException:
        client.create_table(DatabaseName=database, TableInput=entry)
        return "created"
    there, ours = _location(found), _location(entry)
    if there.rstrip("/") != ours.rstrip("/"):
        raise BadArguments(
            f"{database}.{entry['Name']} is already registered for {there}, not {ours}; "
            "drop it there or choose another database"
        )
    if _holds(found, entry):
        return "unchanged"
    client.update_table(DatabaseName=database, TableInput=entry)
    return "updated"


def _location(entry: dict[str, Any]) -> str:
    return str(entry.get("StorageDescriptor", {}).get("Location", ""))


def _holds(found: Any, wanted: Any) -> bool:
    """Tell whether all that is wanted is there; Glue adds times and defaults of its own."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_holds(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(found, list) and len(found) == len(wanted)
        return same_length and all(map(_holds, found, wanted))
    return bool(found == wanted)
