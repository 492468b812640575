"""Conditions in SQL that a user gives on the rows of a table."""

from __future__ import annotations

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame

from astrolake.errors import BadArguments


def meeting(rows: DataFrame, condition: str, flag: str) -> DataFrame:
    """Return the rows that meet a condition.

    Parameters
    ----------
    rows : DataFrame
    condition : str
        SQL on the columns of `rows`.
    flag : str
        What messages call the condition, e.g. ``--where``.

    Raises
    ------
    BadArguments
        When it is no SQL, no condition, or names columns that are not there.
    """
    try:
        return rows.where(condition)
    except AnalysisException as error:
        said = str(error).strip().splitlines()[0].split(";")[0].rstrip(".")
        raise BadArguments(f"{flag} {condition!r}: {said}; the columns are {sorted(rows.columns)}") from None
