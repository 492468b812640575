"""Dereddening of magnitude columns in tables of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from astrolake.errors import BadArguments, MissingColumns
from astrolake.schema.columns import plain_numbers
from astrolake.sky.dust import DustMap
from astrolake.sky.extinction import dereddened, extinction_coefficient

_SUFFIX = "_dered"


def deredden(
    table: Any,
    magnitudes: Mapping[str, tuple[str, str]],
    ebv: str | DustMap = "ebv",
) -> Any:
    """Return a table with a dereddened magnitude, ``<column>_dered``, beside each magnitude.

    Parameters
    ----------
    table : pandas.DataFrame, pyarrow.Table or astropy.table.Table
        Stays as it is.
    magnitudes : mapping
        Of the magnitude columns to their survey and band: ``{"r_mag": ("sdss", "r")}``; see
        `astrolake.sky.extinction.COEFFICIENTS`.
    ebv : str or DustMap
        Column of E(B-V) on the scale of Schlegel, Finkbeiner & Davis, or a dust map, which is looked up at
        the columns ra and dec and added as the column ``ebv``.

    Returns
    -------
    a table of the same kind
        NaN (null in Arrow) where magnitude or E(B-V) is missing.

    Raises
    ------
    MissingColumns
        When a column that is needed is not there.
    BadArguments
        When no coefficient is known for a band.
    MissingDependency
        When a dust map is asked for that is not installed.
    """
    needed = [*magnitudes, *((ebv,) if isinstance(ebv, str) else ("ra", "dec"))]
    present = [str(name) for name in getattr(table, "column_names", getattr(table, "columns", ()))]
    if not isinstance(table, pd.DataFrame | pa.Table):
        present = list(table.colnames)
    if missing := [name for name in needed if name not in present]:
        raise MissingColumns("table", missing, present)
    added: dict[str, np.ndarray] = {}
    if isinstance(ebv, DustMap):
        reddening = added["ebv"] = ebv.ebv(plain_numbers(table["ra"]), plain_numbers(table["dec"]))
    else:
        reddening = plain_numbers(table[ebv])
    for column, (survey, band) in magnitudes.items():
        coefficient = extinction_coefficient(survey, band)
        if not np.isfinite(coefficient):
            raise BadArguments(f"{column}: no extinction coefficient is known for {survey} {band!r}")
        added[column + _SUFFIX] = dereddened(plain_numbers(table[column]), reddening, coefficient)
    return _with_columns(table, added)


def _with_columns(table: Any, added: Mapping[str, np.ndarray]) -> Any:
    if isinstance(table, pa.Table):
        for name, values in added.items():
            array = pa.array(values, pa.float64(), from_pandas=True)
            at = table.schema.get_field_index(name)
            table = table.append_column(name, array) if at < 0 else table.set_column(at, name, array)
        return table
    if isinstance(table, pd.DataFrame):
        return table.assign(**added)
    copy = table.copy()
    for name, values in added.items():
        copy[name] = values
    return copy
