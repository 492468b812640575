"""Tables of plain Parquet in the Glue catalog: their entry, and their partitions as files come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from astrolake.errors import TableNotFound
from astrolake.schema.athena import athena_type, glue_columns
from astrolake.schema.model import Column, Table

_HIVE = "org.apache.hadoop.hive.ql.io.parquet"


def parquet_entry(table: Table, location: str) -> dict[str, Any]:
    """Return the TableInput of Glue's create_table for a declared table of hive-partitioned Parquet.

    Parameters
    ----------
    table : Table
        With `hive_partitions`.
    location : str
        ``s3://bucket/prefix/``.
    """
    return {
        "Name": table.name,
        "Description": f"{table.doc} One row is {table.grain}; key: {', '.join(table.key)}.",
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet"},
        "PartitionKeys": [_entry(column) for column in table.hive_partitions],
        "StorageDescriptor": {
            "Columns": glue_columns(table),
            "Location": location.rstrip("/") + "/",
            "InputFormat": f"{_HIVE}.MapredParquetInputFormat",
            "OutputFormat": f"{_HIVE}.MapredParquetOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": f"{_HIVE}.serde.ParquetHiveSerDe",
                "Parameters": {"serialization.format": "1"},
            },
        },
    }


def partition_path(names: Sequence[str], values: Sequence[str]) -> str:
    """Return the directory of a partition, as Hive and Athena name it: ``survey=sdss/band=r``."""
    return "/".join(f"{name}={quote(value, safe=' ')}" for name, value in zip(names, values, strict=True))


class PartitionRegistry:
    """Adds partitions to a table of the Glue catalog; those that it has seen cost no call.

    Parameters
    ----------
    client : Glue client
    database, table : str
    """

    def __init__(self, client: Any, database: str, table: str) -> None:
        self._client, self._database, self._table = client, database, table
        self._storage: dict[str, Any] = {}
        self._known: set[tuple[str, ...]] = set()

    def add(self, values: Sequence[str]) -> bool:
        """Register a partition below the table's location; return whether it was new.

        Raises
        ------
        TableNotFound
            When the catalog has no such table.
        """
        if tuple(values) in self._known:
            return False
        client = self._client
        try:
            location = self._location(values)
            client.create_partition(
                DatabaseName=self._database,
                TableName=self._table,
                PartitionInput={
                    "Values": list(values),
                    "StorageDescriptor": self._storage["descriptor"] | {"Location": location},
                },
            )
            new = True
        except client.exceptions.AlreadyExistsException:
            new = False
        except client.exceptions.EntityNotFoundException as error:
            self._storage = {}
            raise TableNotFound(
                f"the Glue catalog has no table {self._database}.{self._table}: create it with the stack"
            ) from error
        self._known.add(tuple(values))
        return new

    def _location(self, values: Sequence[str]) -> str:
        if not self._storage:
            found = self._client.get_table(DatabaseName=self._database, Name=self._table)["Table"]
            keys = [key["Name"] for key in found["PartitionKeys"]]
            self._storage = {"descriptor": found["StorageDescriptor"], "keys": keys}
        root = self._storage["descriptor"]["Location"].rstrip("/")
        return f"{root}/{partition_path(self._storage['keys'], values)}/"


def _entry(column: Column) -> dict[str, str]:
    return {"Name": column.name, "Type": athena_type(column), "Comment": column.doc}
