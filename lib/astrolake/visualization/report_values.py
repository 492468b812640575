"""How the values of a table are written in a report."""

from __future__ import annotations

import math
from datetime import datetime
from numbers import Integral, Real

import numpy as np
import pandas as pd

_LONGEST_TEXT = 200
_MISSING = "–"


def show(value: object, column: str = "") -> str:
    """Return a value as text.

    Parameters
    ----------
    value : object
        Missing values become a dash; floats are given to 6 digits; lists and long texts are cut after
        200 characters.
    column : str
        Its name: whole numbers are grouped by thousands unless they are keys (`..._id`, HEALPix).
    """
    if value is None or value is pd.NaT or value is pd.NA:
        return _MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return str(value) if _is_key(column) else f"{int(value):,}"
    if isinstance(value, Real):
        return _show_real(float(value), column)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    text = str(value)
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _show_real(value: float, column: str) -> str:
    if math.isnan(value):
        return _MISSING
    # A column of integers with NULL comes as floats.
    if value.is_integer() and abs(value) < 2**53 and not _is_key(column):
        return f"{int(value):,}"
    return f"{value:.6g}"


def _is_key(column: str) -> bool:
    name = column.lower()
    return name == "id" or name.endswith("_id") or "healpix" in name or name in {"npix", "run", "cell"}
