import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked

from astrolake.errors import BadArguments, MissingColumns
from astrolake.sky import crossmatch, crossmatch_arrays

ARCSEC = 1 / 3600
STARS = {"ra": [10.0, 20.0, 30.0], "dec": [0.0, 0.0, 0.0], "mag": [1.0, 2.0, 3.0]}
GALAXIES = {
    "ra": [30.0, 10.0, 10.0],
    "dec": [ARCSEC, 2 * ARCSEC, -ARCSEC],
    "z": [0.3, 0.1, 0.2],
    "mag": [7.0, 8.0, 9.0],
}


@pytest.mark.parametrize("kind", [pd.DataFrame, Table, QTable])
def test_tables_are_joined(kind):
    found = crossmatch(kind(STARS), kind(GALAXIES), 5.0)
    assert isinstance(found, kind)
    assert list(found["mag_left"]) == [1.0, 3.0]
    assert list(found["mag_right"]) == [9.0, 7.0]
    assert list(found["z"]) == [0.2, 0.3]
    np.testing.assert_allclose(np.asarray(found["sep_arcsec"], float), [1.0, 1.0], atol=1e-9)
    assert list(found["rank"]) == [1, 1]


@pytest.mark.parametrize("kind", [pd.DataFrame, Table])
def test_rows_without_partner_have_missing_columns(kind):
    found = crossmatch(kind(STARS), kind(GALAXIES), 5.0, "left")
    assert list(found["ra_left"]) == [10.0, 20.0, 30.0]
    z = found["z"]
    assert (z.isna() if kind is pd.DataFrame else z.mask).tolist() == [False, True, False]
    alone = crossmatch(kind(STARS), kind(GALAXIES), 5.0, "anti")
    assert list(alone["ra_left"]) == [20.0]


@pytest.mark.parametrize("kind", [pd.DataFrame, Table])
def test_an_empty_right_table(kind):
    nothing = kind({name: np.array([], float) for name in GALAXIES})
    assert len(crossmatch(kind(STARS), nothing, 5.0)) == 0
    assert len(crossmatch(kind(STARS), nothing, 5.0, "left")) == 3


def test_all_and_the_index_of_a_frame_does_not_matter():
    stars = pd.DataFrame(STARS, index=[7, 7, 7])
    found = crossmatch(stars, pd.DataFrame(GALAXIES, index=["a", "b", "c"]), 5.0, "all")
    assert found["z"].tolist() == [0.2, 0.1, 0.3]
    assert found["rank"].tolist() == [1, 2, 1]


def test_a_table_with_itself():
    galaxies = pd.DataFrame(GALAXIES)
    found = crossmatch(galaxies, galaxies, 5.0)
    assert found["z_left"].tolist() == [0.1, 0.2]
    assert found["z_right"].tolist() == [0.2, 0.1]


def test_units_are_converted():
    rows = Table({"ra": np.radians(STARS["ra"]) * u.rad, "dec": [0.0, 0.0, 0.0] * u.rad})
    assert len(crossmatch(rows, Table(GALAXIES), 5.0)) == 2
    assert len(crossmatch(QTable(rows), QTable(GALAXIES), 5.0)) == 2
    found = crossmatch_arrays(
        (np.radians(STARS["ra"]) * u.rad, np.zeros(3) * u.deg), (GALAXIES["ra"], GALAXIES["dec"]), 5.0
    )
    assert found.right_index.tolist() == [2, 0]


def test_arrays_and_series():
    left, right = pd.DataFrame(STARS), pd.DataFrame(GALAXIES)
    found = crossmatch_arrays((left["ra"], left["dec"]), (right["ra"], right["dec"]), 5.0, "nearest-n", 2)
    assert found.left_index.tolist() == [0, 0, 2]
    assert found.right_index.tolist() == [2, 1, 0]


def test_masked_positions_are_refused_by_row():
    bad = Table({"ra": MaskedColumn([1.0, 2.0], mask=[False, True]), "dec": [0.0, 0.0]})
    with pytest.raises(ValueError, match="row 1"):
        crossmatch(bad, bad, 1.0)


def test_what_cannot_be_matched_is_said():
    with pytest.raises(MissingColumns, match=r"right table.*raj2000"):
        crossmatch(pd.DataFrame(STARS), pd.DataFrame({"raj2000": [1.0]}), 1.0)
    with pytest.raises(BadArguments):
        crossmatch(pd.DataFrame(STARS), pd.DataFrame(GALAXIES), -1.0)


@pytest.mark.parametrize("kind", [pd.DataFrame, Table])
def test_long_identifiers_stay_what_they_are(kind):
    gaia = 5853498713190525697
    left = kind({"ra": [10.0, 20.0], "dec": [0.0, 0.0]})
    right = kind(
        {"source_id": np.array([gaia, gaia + 1]), "ra": [10.0, 50.0], "dec": [0.0, 0.0], "ok": [True, False]}
    )
    found = crossmatch(left, right, 1.0, "left")
    assert int(found["source_id"][0]) == gaia
    assert bool(found["ok"][0])
    again = found["source_id"]
    assert (again.isna() if kind is pd.DataFrame else again.mask).tolist() == [False, True]


@pytest.mark.parametrize("kind", [pd.DataFrame, Table])
def test_a_name_that_would_come_twice_is_refused(kind):
    joined = crossmatch(kind(STARS), kind(GALAXIES), 5.0)
    joined["ra"], joined["dec"] = joined["ra_left"], joined["dec_left"]
    with pytest.raises(BadArguments, match="sep_arcsec|ra_left|rank"):
        crossmatch(joined, kind(GALAXIES), 5.0)


def test_masked_quantities_and_dates_are_no_positions():
    masked = QTable({"ra": Masked([10.0, 20.0] * u.deg, mask=[False, True]), "dec": [0.0, 0.0] * u.deg})
    with pytest.raises(ValueError, match="the left table: .*row 1"):
        crossmatch(masked, QTable(GALAXIES), 5.0)
    with pytest.raises(ValueError, match="row 1"):
        crossmatch_arrays((masked["ra"], masked["dec"]), (GALAXIES["ra"], GALAXIES["dec"]))
    dated = pd.DataFrame({"ra": pd.to_datetime(["2020-01-01"]), "dec": [0.0]})
    with pytest.raises(ValueError, match="the right table, column ra"):
        crossmatch(pd.DataFrame(STARS), dated, 5.0)
    words = pd.DataFrame({"ra": ["10:00:00"], "dec": [0.0]})
    with pytest.raises(ValueError, match="the right table, column ra"):
        crossmatch(pd.DataFrame(STARS), words, 5.0)
    with pytest.raises(ValueError, match="column ra: no angles"):
        crossmatch(Table({"ra": [1.0] * u.m, "dec": [0.0]}), Table(GALAXIES), 5.0)


@pytest.mark.parametrize("right", [Table(GALAXIES), None, GALAXIES, np.zeros((3, 2))])
def test_tables_of_other_kinds_are_named(right):
    with pytest.raises(BadArguments, match="table"):
        crossmatch(pd.DataFrame(STARS), right, 5.0)


@pytest.mark.parametrize(
    "options",
    [
        {"suffixes": ("_x",)},
        {"radius_arcsec": 1 * u.arcsec},
        {"radius_arcsec": "1"},
        {"n": 1.5},
        {"n": 10**30},
    ],
)
def test_options_of_a_wrong_kind_are_named(options):
    with pytest.raises(BadArguments, match=next(iter(options))):
        crossmatch(pd.DataFrame(STARS), pd.DataFrame(GALAXIES), **options)


def test_columns_of_times_and_quantities_may_be_missing():
    right = QTable(
        GALAXIES | {"at": Time([60000.0, 60001.0, 60002.0], format="mjd"), "flux": [1.0, 2.0, 3.0] * u.Jy}
    )
    found = crossmatch(QTable(STARS), right, 5.0, "left")
    assert found["at"].mask.tolist() == [False, True, False]
    assert found["flux"].mask.tolist() == [False, True, False]
    assert found["flux"].unit == u.Jy
    assert found["at"][2].mjd == 60000.0
    none = crossmatch(QTable(STARS), right["ra", "dec", "flux"][:0], 5.0, "left")
    assert none["flux"].unit == u.Jy
    assert none["flux"].mask.all()
    with pytest.raises(BadArguments, match="at"):
        crossmatch(QTable(STARS), right[:0], 5.0, "left")
