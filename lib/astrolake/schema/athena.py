"""What Athena and the Glue catalog are told of a table."""

from __future__ import annotations

import re

from astrolake.schema.dictionary import partition_columns
from astrolake.schema.model import Column, Table

_ATHENA = {
    "int64": "bigint",
    "int32": "int",
    "float64": "double",
    "float32": "float",
    "string": "string",
    "bool": "boolean",
    "timestamp": "timestamp",
    "binary": "binary",
}
#: The Glue catalog refuses longer comments.
_LONGEST_COMMENT = 255


def athena_type(column: Column) -> str:
    """Return the type of a column in Athena's DDL and in the Glue catalog."""
    scalar = _ATHENA[column.element_type]
    return f"array<{scalar}>" if column.is_list else scalar


def glue_columns(table: Table) -> list[dict[str, str]]:
    """Return the columns for the Glue catalog, partition columns last.

    Names are in lower case, as the catalog keeps them; partition columns are ordinary
    columns because a Delta log, not the catalog, lists the partitions.
    """
    return [
        {"Name": column.name.lower(), "Type": athena_type(column), "Comment": _comment(column)}
        for column in (*table.columns, *partition_columns(table))
    ]


def table_ddl(table_name: str, location: str) -> str:
    """Return the statement that registers a Delta table with Athena (engine version 3).

    It has no columns: Athena takes them from the Delta log and refuses them here.

    Parameters
    ----------
    table_name : str
        Name of the table in SQL, after its database and a dot if need be.
    location : str
        URI of the Delta root.
    """
    root = re.sub(r"(['\\])", r"\\\1", location.rstrip("/"))
    return (
        f"CREATE EXTERNAL TABLE {table_name}\nLOCATION '{root}/'\nTBLPROPERTIES ('table_type' = 'DELTA');\n"
    )


def ddl_template(table: Table) -> str:
    """Return the `table_ddl` of a declared table as a file with placeholders.

    ``${database}`` and ``${lake}`` stand for the Glue database and the root of the lake;
    what the registry writes as ``<name>`` becomes ``${name}``.
    """
    path = re.sub(r"<(\w+)>", r"${\1}", table.name)
    name = path.replace("/", "_")
    parameters = ["database", "lake", *re.findall(r"\$\{(\w+)\}", path)]
    root = f"${{lake}}/{path}" + ("/dataset" if table.positional else "")
    header = (
        f"-- Registers {name} with Athena; the columns come from the Delta log.\n"
        f"-- Grain: {table.grain}.\n"
        f"-- Parameters: {', '.join(f'${{{parameter}}}' for parameter in parameters)}.\n"
    )
    return header + table_ddl(f"${{database}}.{name}", root)


def _comment(column: Column) -> str:
    unit = f" [{column.unit}]" if column.unit else ""
    return (column.doc + unit)[:_LONGEST_COMMENT]
