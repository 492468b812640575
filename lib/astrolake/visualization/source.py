"""Where the pictures get their numbers: SQL over the tables of a lake, with columns checked first."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astrolake.errors import BadArguments, MissingColumns, TableNotFound

Float64 = NDArray[np.float64]
#: DuckDB SQL over the tables of a lake -> its answer. For a table that is not there it raises
#: TableNotFound or duckdb.CatalogException.
Query = Callable[[str], pd.DataFrame]

#: Filters from blue to red.
BAND_ORDER = "ugrizyjhk"
_IDENTIFIER = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class LakeSource:
    """The tables of a lake, asked by SQL.

    Parameters
    ----------
    query : callable
        DuckDB SQL -> DataFrame; see `Query`.
    """

    query: Query

    def columns(self, table: str) -> list[str]:
        """Return the columns of a table.

        Raises
        ------
        TableNotFound
            When the lake has no such table.
        BadArguments
            When its name is no SQL identifier.
        """
        sql = f"SELECT * FROM {check_identifier(table)} LIMIT 0"
        try:
            return [str(name) for name in self.query(sql).columns]
        except (duckdb.CatalogException, TableNotFound) as error:
            raise TableNotFound(
                f"the lake has no table {table}; run the job that writes it, then draw again"
            ) from error

    def require(self, table: str, needed: Iterable[str]) -> None:
        """Raise TableNotFound or MissingColumns unless the table has all needed columns."""
        present = self.columns(table)
        missing = [name for name in needed if check_identifier(name) not in present]
        if missing:
            raise MissingColumns(table, missing, present)

    def bands(self) -> list[str]:
        """Return the bands of `objects` in lower case, from blue to red, unknown ones last."""
        prefix = "mag_auto_err_"
        found = [name.removeprefix(prefix) for name in self.columns("objects") if name.startswith(prefix)]
        return sorted(found, key=lambda band: (BAND_ORDER.find(band) % 100, band))

    def row(self, sql: str) -> dict[str, Any]:
        """Return the single row that a query gives, by column."""
        return {str(key): value for key, value in self.query(sql).iloc[0].items()}

    def histogram(self, table: str, expression: str, step: float, where: str = "TRUE") -> pd.DataFrame:
        """Count the rows of a table in bins of an expression.

        Parameters
        ----------
        table, expression, where : str
            SQL.
        step : float
            Width of a bin; bin k holds k step <= value < (k + 1) step.

        Returns
        -------
        DataFrame
            centre, n: the bins that hold rows, ascending. NULL, NaN and infinity are not counted.
        """
        frame = self.query(
            f"SELECT CAST(floor(v / {step!r}) AS BIGINT) AS bin, count(*) AS n "
            f"FROM (SELECT CAST({expression} AS DOUBLE) AS v FROM {table} WHERE {where}) "
            "WHERE isfinite(v) GROUP BY bin ORDER BY bin"
        )
        return pd.DataFrame(
            {"centre": (floats(frame, "bin") + 0.5) * step, "n": frame["n"].to_numpy(dtype=np.int64)}
        )


def check_identifier(name: str) -> str:
    """Return a name of a table, a column or a band that may stand in SQL as it is, or raise BadArguments."""
    if not _IDENTIFIER.fullmatch(name):
        raise BadArguments(f"{name!r} cannot be a table, column or band: use letters, digits and _ only")
    return name


def floats(frame: pd.DataFrame, name: str) -> Float64:
    """Return a column as (N,) float64, NULL as NaN."""
    return np.asarray(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))


def mean_epoch_sql(first: str = "first_mjd", last: str = "last_mjd") -> str:
    """Return SQL for the middle of an object's first and last epoch, as MJD."""
    return f"(({first} + {last}) / 2)"
