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
    for name, table in (("left", left), ("right", right)):
        columns = [str(column) for column in table.columns]
        if missing := [column for column in (ra, dec) if column not in columns]:
            raise MissingColumns(f"the {name} table", missing, columns)
    ours, theirs = (_positions(table[ra], table[dec]) for table in (left, right))
    found = match(ours, theirs, radius_arcsec, mode, n, skip_self=left is right)
    kind = type(left).__module__.partition(".")[0]
    if kind == "pandas":
        return cast(T, _join_frames(left, right, found, suffixes))
    if kind == "astropy":
        return cast(T, _join_tables(left, right, found, suffixes))
    raise BadArguments(f"tables of {type(left).__name__} cannot be joined; use crossmatch_arrays")


def _positions(ra: Any, dec: Any) -> Positions:
    degrees = _in_degrees(ra), _in_degrees(dec)
    return Positions(*degrees, np.arange(len(degrees[0])))


def _in_degrees(values: Any) -> Float64:
    """Return an array, column or Quantity as degrees; what is masked becomes NaN."""
    unit = getattr(values, "unit", None)
    has_unit = unit is not None and str(unit) != ""
    factor = u.Unit(unit).to(u.deg) if has_unit else 1.0
    plain = values.value if has_unit else values
    degrees = np.array(plain, dtype=np.float64) * factor
    if isinstance(plain, np.ma.MaskedArray):
        degrees[np.broadcast_to(plain.mask, degrees.shape)] = np.nan
    return degrees


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
    from astropy.table import Table, hstack

    alone: Int64 = np.flatnonzero(found.right_index < 0)
    one = left[found.left_index]
    if len(right):
        other = Table(right[np.maximum(found.right_index, 0)], masked=bool(alone.size) or right.masked)
    else:
        other = Table({name: np.zeros(len(one), right[name].dtype) for name in right.columns}, masked=True)
    for name in other.columns if alone.size else ():
        other[name].mask[alone] = True
    names = _names(one.colnames, other.colnames, suffixes)
    for side, renamed in zip((one, other), names, strict=True):
        side.rename_columns(side.colnames, renamed)
    joined = hstack([one, other], metadata_conflicts="silent")
    joined["sep_arcsec"], joined["rank"] = found.sep_arcsec, found.rank
    joined["sep_arcsec"].unit = "arcsec"
    return joined


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
