"""Tables that a job about tables works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession

from astrolake.errors import TableNotFound
from astrolake.lake.lake import Lake


def chosen_tables(lake: Lake, wanted: Sequence[str]) -> list[str]:
    """Return the wanted tables of a lake, or all.

    Raises
    ------
    TableNotFound
        When one does not exist; the message lists those that do.
    """
    present = lake.tables()
    if missing := [name for name in wanted if name not in present]:
        raise TableNotFound(f"{lake.uri} has no table {missing}; it has {present}")
    return list(dict.fromkeys(wanted)) or present


def refused_tables(spark: SparkSession, reasons: Mapping[str, str], error_type: str) -> DataFrame | None:
    """Return the rejects of tables that were refused, by name, None when there are none."""
    if not reasons:
        return None
    rows = [(name, error_type, reason, None) for name, reason in reasons.items()]
    return spark.createDataFrame(rows, "source string, error_type string, message string, payload string")
