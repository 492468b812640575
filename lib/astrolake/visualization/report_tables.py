"""The tables of a report: the steps of the work, what was rejected, and any query with its answer."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pandas as pd

from astrolake.errors import TableNotFound
from astrolake.visualization.source import Query, check_identifier

_STEPS = """SELECT CASE status WHEN 'done' THEN job ELSE job || ' (' || status || ')' END AS job,
       rows_in AS "in", rows_out AS "out", rows_rejected AS rejected,
       round(epoch(ended_at) - epoch(started_at), 1) AS seconds
FROM runs
ORDER BY started_at"""
_REJECTS = """SELECT job, error_type, count(*) AS n, min(source) AS example, min(message) AS message
FROM rejects
GROUP BY job, error_type
ORDER BY job, error_type
LIMIT 30"""
#: Label and table of the numbers at the top of a report.
_COUNTED = (
    ("science images", "images WHERE image_type = 'science'"),
    ("detections", "detections"),
    ("objects", "objects"),
    ("matches with {catalog}", "crossmatches_objects_x_{catalog} WHERE right_id IS NOT NULL"),
    ("rejected inputs", "rejects"),
)


@dataclass(frozen=True, eq=False)
class ReportTable:
    """A table of a report.

    Parameters
    ----------
    title : str
    rows : DataFrame
        The answer.
    sql : str
        The query, shown above the answer; empty when there is none to show.
    caption : str
        How to read it.
    """

    title: str
    rows: pd.DataFrame
    sql: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Fact:
    """A number at the top of a report."""

    label: str
    value: int


def answer(query: Query, title: str, sql: str, caption: str = "") -> ReportTable:
    """Return a query and its answer as a table of a report."""
    return ReportTable(title, query(sql), sql, caption)


def steps_table(query: Query) -> ReportTable:
    """Return the runs of a lake in their order: job, rows in, out and rejected, seconds; empty without runs.

    A run that is not done has its status behind the job. The seconds are those of the run itself,
    without the start of Spark.
    """
    rows = _rows_or_none(query, _STEPS)
    return ReportTable(
        "Steps", rows, caption="Every job records what it read, used and rejected: in = out + rejected."
    )


def rejects_table(query: Query) -> ReportTable:
    """Return what was rejected, by job and reason, with an example each; empty when nothing ever was."""
    caption = "Nothing is dropped silently: each input that could not be used is kept with its reason."
    return ReportTable("Rejected inputs", _rows_or_none(query, _REJECTS), _REJECTS, caption)


def lake_facts(query: Query, catalog: str = "gaia") -> list[Fact]:
    """Return the numbers of rows that sum up a lake; tables that are not there are left out."""
    check_identifier(catalog)
    facts = []
    for label, table in _COUNTED:
        try:
            rows = query(f"SELECT count(*) AS n FROM {table.format(catalog=catalog)}")
        except (duckdb.CatalogException, TableNotFound):
            continue
        facts.append(Fact(label.format(catalog=catalog), int(rows["n"].iloc[0])))
    return facts


def _rows_or_none(query: Query, sql: str) -> pd.DataFrame:
    try:
        return query(sql)
    except (duckdb.CatalogException, TableNotFound):
        return pd.DataFrame()
