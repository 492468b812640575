"""Questions to the tables of a lake."""

import numpy as np
import pandas as pd
import pytest

from astrolake.errors import BadArguments, MissingColumns, TableNotFound
from astrolake.visualization.source import LakeSource, check_identifier


def test_columns_of_a_table(make_source):
    assert make_source(gaia=pd.DataFrame({"ra": [1.0], "dec": [2.0]})).columns("gaia") == ["ra", "dec"]


def test_missing_table_is_named(make_source):
    with pytest.raises(TableNotFound, match="no table gaia"):
        make_source().columns("gaia")


def test_engines_that_raise_table_not_found_are_understood():
    def query(sql):
        raise TableNotFound("the lake has no table 'gaia'; it has []")

    with pytest.raises(TableNotFound, match="run the job that writes it"):
        LakeSource(query).columns("gaia")


def test_missing_columns_are_listed_with_those_present(make_source):
    source = make_source(gaia=pd.DataFrame({"ra": [1.0]}))
    with pytest.raises(MissingColumns, match=r"gaia lacks the columns \['dec'\]; it has \['ra'\]"):
        source.require("gaia", ("ra", "dec"))


@pytest.mark.parametrize("name", ["gaia; DROP TABLE gaia", "a b", "", "x'"])
def test_names_that_are_no_identifiers_are_refused(name):
    with pytest.raises(BadArguments, match="use letters, digits and _ only"):
        check_identifier(name)


def test_bands_are_ordered_from_blue_to_red(make_source):
    names = [f"mag_auto_err_{band}" for band in ("z", "w1", "g", "r")]
    assert make_source(objects=pd.DataFrame(columns=names)).bands() == ["g", "r", "z", "w1"]


def test_histogram_counts_half_open_bins(make_source):
    source = make_source(t=pd.DataFrame({"v": [-0.5, 0.0, 0.49, 0.5, 1.7, np.nan, np.inf, None]}))
    found = source.histogram("t", "v", 0.5)
    np.testing.assert_array_equal(found["centre"], [-0.25, 0.25, 0.75, 1.75])
    np.testing.assert_array_equal(found["n"], [1, 2, 1, 1])


def test_histogram_of_some_rows(make_source):
    source = make_source(t=pd.DataFrame({"v": [1.0, 2.0, 2.0], "keep": [True, True, False]}))
    assert source.histogram("t", "v", 1.0, "keep")["n"].tolist() == [1, 1]


def test_histogram_of_nothing_is_empty(make_source):
    assert make_source(t=pd.DataFrame({"v": [np.nan]})).histogram("t", "v", 1.0).empty
