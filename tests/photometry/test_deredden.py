import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import Table

from astrolake.errors import BadArguments, MissingColumns
from astrolake.photometry.extinction import deredden

COLUMNS = {"g_mag": [20.0, np.nan, 18.0], "w1": [17.0, 16.0, 15.0], "ebv": [0.1, 0.2, np.nan]}
BANDS = {"g_mag": ("panstarrs", "g"), "w1": ("wise", "W1")}


@pytest.mark.parametrize("kind", [pd.DataFrame, pa.table, Table])
def test_any_table_gets_dereddened_magnitudes(kind):
    table = kind(COLUMNS)
    found = deredden(table, BANDS)
    assert isinstance(found, type(table))
    frame = found if kind is pd.DataFrame else found.to_pandas()
    np.testing.assert_allclose(frame["g_mag_dered"], [20.0 - 0.3172, np.nan, np.nan])
    np.testing.assert_allclose(frame["w1_dered"], [17.0 - 0.0184, 16.0 - 0.0368, np.nan])
    assert len(table.columns) == 3


def test_what_is_missing_is_named():
    with pytest.raises(MissingColumns, match="E_BV"):
        deredden(pd.DataFrame(COLUMNS), BANDS, ebv="E_BV")
    with pytest.raises(BadArguments, match="F606W"):
        deredden(pd.DataFrame(COLUMNS), {"g_mag": ("hst", "F606W")})
