"""Columns of the libraries that tables come from, as plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def plain_numbers(column: Any) -> NDArray[np.float64]:
    """Return a column as float64, null and masked as NaN; what is float64 already may not be copied.

    Parameters
    ----------
    column : array-like
        Of Arrow, pandas, astropy (units are passed over), numpy (masked arrays, too), or a sequence.

    Raises
    ------
    TypeError, ValueError
        When it does not hold numbers.
    """
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    if hasattr(column, "to_numpy") and hasattr(column, "dtype"):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    mask = getattr(column, "mask", False)
    values = np.asarray(getattr(getattr(column, "unmasked", column), "value", column), dtype=np.float64)
    return np.where(mask, np.nan, values) if np.any(mask) else values
