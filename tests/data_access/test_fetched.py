"""The files of a fetch as tables."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.data_access.fetched import read_fetched


@pytest.fixture
def rows(tmp_path):
    values = {
        "flag": pa.array([True, None]),
        "count": pa.array([None, 3], pa.int32()),
        "name": pa.array(["a", None]),
        "mag": pa.array([None, 18.5]),
        "whole": pa.array([1, 2]),
    }
    table = pa.table(values)
    at = table.schema.get_field_index("mag")
    table = table.set_column(at, pa.field("mag", pa.float64(), metadata={b"unit": b"mag"}), table["mag"])
    pq.write_table(table, tmp_path / "rows.parquet")
    return [f"file://{tmp_path}/rows.parquet"]


def test_values_that_are_missing_are_masked_whatever_their_type(rows):
    table = read_fetched(rows, {}, "astropy")
    masks = {name: np.ma.getmaskarray(table[name]).tolist() for name in table.colnames}
    assert masks == {
        "flag": [False, True],
        "count": [True, False],
        "name": [False, True],
        "mag": [True, False],
        "whole": [False, False],
    }
    assert (table["flag"][0], table["count"][1], table["name"][0], table["mag"][1]) == (True, 3, "a", 18.5)
    assert (table["mag"].unit, table["flag"].dtype, table["count"].dtype) == ("mag", bool, np.int32)
