import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn
from astropy.utils.masked import Masked

from astrolake.schema.columns import plain_numbers


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 3]),
        pa.chunked_array([pa.array([1, None], pa.int16()), pa.array([3], pa.int16())]),
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1.0, np.nan, 3.0]),
        pd.array([1, None, 3], dtype="Int32"),
        np.ma.array([1, 2, 3], mask=[False, True, False]),
        MaskedColumn([1, 2, 3], mask=[False, True, False]),
        Column([1.0, np.nan, 3.0], unit="mag"),
        Masked([1.0, 2.0, 3.0] * u.deg, mask=[False, True, False]),
        [1.0, np.nan, 3.0],
        np.array([1.0, np.nan, 3.0], dtype=">f4"),
    ],
    ids=lambda column: type(column).__name__,
)
def test_columns_of_all_kinds_are_plain_numbers(column):
    found = plain_numbers(column)
    assert type(found) is np.ndarray
    assert found.dtype == np.float64
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, [1.0, np.nan, 3.0])


@pytest.mark.parametrize("column", [pa.array(["a"]), pd.Series(["a"]), ["a"], np.array([{}], dtype=object)])
def test_what_is_no_number_is_refused(column):
    with pytest.raises((TypeError, ValueError)):
        plain_numbers(column)
