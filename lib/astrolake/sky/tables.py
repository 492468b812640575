"""Cross-match of small data: arrays, pandas and astropy tables, with the kernel of the jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import astropy.units as u
import numpy as np

from astrolake.errors import BadArguments, MissingColumns
from astrolake.sky.matching import Mode, match
from astrolake.sky.positions import Matches, Positions
from astrolake.sky.separation import Float64, Int64

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table

T = TypeVar("T", "pd.DataFrame", "Table")


def crossmatch_arrays(
    left: tuple[Any, Any], right: tuple[Any, Any], radius_arcsec: float = 1.0, mode: Mode = "best", n: int = 1
) -> Matches:
    """Match positions given as arrays; row numbers break ties.

    Parameters
    ----------
    left, right : (ra, dec)
        (N,) arrays or Quantities, degrees where they have no unit.
    radius_arcsec, mode, n
        See `astrolake.sky.matching.match`.

    Returns
    -------
    Matches

    Raises
    ------
    ValueError
        When a position is not finite or out of range; the message names the row.
    BadArguments
        When radius, mode or n is out of range.
    """
    return match(_positions(*left), _positions(*right), radius_arcsec, mode, n)


def crossmatch(
    left: T,
    right: T,
    radius_arcsec: float = 1.0,
    mode: Mode = "best",
    n: int = 1,
    *,
    ra: str = "ra",
    dec: str = "dec",
    suffixes: tuple[str, str] = ("_left", "_right"),
) -> T:
    """Match two tables on the sky and return them joined.

    Parameters
    ----------
    left, right : pandas.DataFrame or astropy.table.Table
        Both of one kind. The same object twice matches a table with itself: no row is its own partner.
    radius_arcsec, mode, n
        See `astrolake.sky.matching.match`; equal separations go to the earlier row.
    ra, dec : str
        Names of the columns of positions, ICRS; degrees where they have no unit.
    suffixes : (str, str)
        What names that both tables have end in.

    Returns
    -------
    pandas.DataFrame or astropy.table.Table
        One row a match: the columns of both tables, ``sep_arcsec`` and ``rank``. Where a left row
        is listed without partner (modes left and anti), the right columns are missing or masked.

    Raises
    ------
    MissingColumns, BadArguments, ValueError
        For columns that are not there, options out of range, and positions that are none.
    """
    kind = table_kind({"the left table": left, "the right table": right})
    suffixes = _checked_suffixes(suffixes)
    ours, theirs = (
        table_positions(f"the {name} table", table, ra, dec)
        for name, table in (("left", left), ("right", right))
    )
    found = match(ours, theirs, radius_arcsec, mode, n, skip_self=left is right)
    join = _join_frames if kind == "pandas" else _join_tables
    return cast(T, join(left, right, found, suffixes))


def table_kind(tables: dict[str, Any]) -> str:
    """Return the library that all tables are of, pandas or astropy.

    Raises
    ------
    BadArguments
        When they are of none or of several, or a column's name occurs twice in one.
    """
    kinds = {}
    for name, table in tables.items():
        kinds[name] = kind = type(table).__module__.partition(".")[0]
        if kind not in ("pandas", "astropy") or not hasattr(table, "columns"):
            raise BadArguments(
                f"{name} is {type(table).__name__}; give a DataFrame or an astropy table, or use "
                "crossmatch_arrays"
            )
        columns = [str(column) for column in table.columns]
        if repeated := sorted({column for column in columns if columns.count(column) > 1}):
            raise BadArguments(f"{name} has several columns named {repeated}; rename them")
    if len(set(kinds.values())) > 1:
        raise BadArguments(f"tables of one kind are needed, not {kinds}; convert one, e.g. by to_pandas()")
    return next(iter(kinds.values()))


def table_positions(name: str, table: Any, ra: str = "ra", dec: str = "dec") -> Positions:
    """Return the positions of a table's rows, keyed by row number.

    Raises
    ------
    MissingColumns, ValueError
        The message says which table, which column, which row.
    """
    columns = [str(column) for column in table.columns]
    if missing := [column for column in (ra, dec) if column not in columns]:
        raise MissingColumns(name, missing, columns)
    degrees = []
    for column in (ra, dec):
        try:
            degrees.append(_in_degrees(table[column]))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}, column {column}: no angles in degrees can be had of it ({error})"
            ) from error
    try:
        return Positions(degrees[0], degrees[1], np.arange(len(degrees[0])))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _positions(ra: Any, dec: Any) -> Positions:
    degrees = _in_degrees(ra), _in_degrees(dec)
    return Positions(*degrees, np.arange(len(degrees[0])))


def _in_degrees(values: Any) -> Float64:
    """Return an array, column or Quantity as degrees; what is masked becomes NaN."""
    unit, mask = getattr(values, "unit", None), getattr(values, "mask", None)
    factor = 1.0 if unit is None or str(unit) == "" else u.Unit(unit).to(u.deg)
    if mask is not None and not callable(mask):
        values = getattr(values, "unmasked", values)
    plain = np.asarray(values.value if isinstance(values, u.Quantity) else values)
    if hasattr(values, "to_numpy") and plain.dtype.kind == "O":
        plain = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if plain.dtype.kind not in "iuf" and plain.size:
        raise ValueError(f"values of type {plain.dtype}")
    degrees = plain.astype(np.float64) * factor
    if mask is not None and not callable(mask):
        degrees[np.broadcast_to(mask, degrees.shape)] = np.nan
    return np.asarray(degrees)


def rows_or_missing(table: Any, rows: Int64) -> Any:
    """Return rows of a table by number, missing where the number is -1."""
    if type(table).__module__.partition(".")[0] == "pandas":
        return nullable_rows(table, rows)
    found = table[np.maximum(rows, 0)] if len(table) else _blank(table, len(rows))
    lost = rows < 0
    if lost.any():
        for name in found.colnames:
            found[name] = _masked(name, found[name], lost)
    return found


def _blank(table: Any, n: int) -> Any:
    """Return a table of n rows of zeros with the columns of a table without rows."""
    from astropy.table import Column

    blank = table[:0].copy()
    plain = {name: column for name, column in blank.items() if isinstance(column, Column | u.Quantity)}
    if n and len(plain) < len(blank.colnames):
        raise BadArguments(
            f"columns {sorted(set(blank.colnames) - set(plain))} of the empty table cannot be missing; leave "
            "them out"
        )
    zeros = {name: np.zeros((n, *column.shape[1:]), column.dtype) for name, column in plain.items()}
    units = {name: column.unit for name, column in plain.items()}
    return type(table)(zeros, units=units) if plain else blank


def _masked(name: str, column: Any, lost: Any) -> Any:
    from astropy.table import Column, MaskedColumn
    from astropy.utils.masked import Masked

    mask = np.broadcast_to(lost.reshape(-1, *[1] * (column.ndim - 1)), column.shape)
    if isinstance(column, Column):
        return MaskedColumn(column, mask=mask | getattr(column, "mask", False))
    if isinstance(column, u.Quantity):
        return Masked(column, mask=mask | getattr(column, "mask", False))
    try:
        column[lost] = np.ma.masked
    except (TypeError, ValueError, AttributeError) as error:
        raise BadArguments(
            f"column {name} ({type(column).__name__}) cannot be missing, as in rows without partner; leave "
            "it out"
        ) from error
    return column


def nullable_rows(frame: pd.DataFrame, rows: Int64) -> pd.DataFrame:
    """Return rows by number, missing where the number is -1; integers stay integers, as nullable ones."""
    import pandas as pd

    frame = frame.reset_index(drop=True)
    if (rows >= 0).all():
        return frame.iloc[rows].reset_index(drop=True)
    # Floats would not hold identifiers of 64 bits.
    kinds = {name: kind.kind for name, kind in frame.dtypes.items() if isinstance(kind, np.dtype)}
    types = {
        name: str(frame[name].dtype).title() if kind != "u" else "UInt64"
        for name, kind in kinds.items()
        if kind in "iu"
    }
    types |= {name: "boolean" for name, kind in kinds.items() if kind == "b"}
    # An index of -1 is no row of the frame.
    return pd.DataFrame(frame.astype(types)).reindex(rows).reset_index(drop=True)


def _join_frames(left: Any, right: Any, found: Matches, suffixes: tuple[str, str]) -> Any:
    import pandas as pd

    one, other = nullable_rows(left, found.left_index), nullable_rows(right, found.right_index)
    names = _names(list(one.columns), list(other.columns), suffixes)
    one.columns, other.columns = (pd.Index(side) for side in names)
    return pd.concat([one, other], axis=1).assign(sep_arcsec=found.sep_arcsec, rank=found.rank)


def _join_tables(left: Any, right: Any, found: Matches, suffixes: tuple[str, str]) -> Any:
    from astropy.table import hstack

    one, other = left[found.left_index], rows_or_missing(right, found.right_index)
    names = _names(one.colnames, other.colnames, suffixes)
    for side, renamed in zip((one, other), names, strict=True):
        side.rename_columns(side.colnames, renamed)
    joined = hstack([one, other], metadata_conflicts="silent")
    joined["sep_arcsec"], joined["rank"] = found.sep_arcsec, found.rank
    joined["sep_arcsec"].unit = "arcsec"
    return joined


def _checked_suffixes(suffixes: tuple[str, str]) -> tuple[str, str]:
    if isinstance(suffixes, str) or len(suffixes) != 2:
        raise BadArguments(f"suffixes={suffixes!r}: give two")
    return suffixes


def _names(left: list[str], right: list[str], suffixes: tuple[str, str]) -> tuple[list[str], list[str]]:
    """Return the column names of both sides in the joined table.

    Raises
    ------
    BadArguments
        When two would be the same.
    """
    shared = set(left) & set(right)
    sides = tuple(
        [f"{name}{suffix}" if name in shared else name for name in names]
        for names, suffix in zip((left, right), suffixes, strict=True)
    )
    every = [*sides[0], *sides[1], "sep_arcsec", "rank"]
    if repeated := sorted({name for name in every if every.count(name) > 1}):
        raise BadArguments(f"both tables would give a column {repeated}; rename it or give other suffixes")
    return sides[0], sides[1]
