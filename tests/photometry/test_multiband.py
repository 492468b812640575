import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from astrolake.errors import BadArguments, MissingColumns
from astrolake.photometry import MultibandPhotometry, MultibanPhotometry

ARCSEC = 1 / 3600


def band(ra_arcsec, mag):
    return pd.DataFrame({"ra": 10 + np.array(ra_arcsec) * ARCSEC, "dec": 0.0, "mag": mag})


G = band([0.0, 10.0, 20.0], [20.0, 21.0, 22.0])
R = band([20.2, 0.3, 40.0], [21.0, 19.5, 18.0])
I = band([40.5, 0.1, 60.0], [17.0, 19.0, 16.0])  # noqa: E741


def test_objects_have_the_columns_of_their_bands():
    found = MultibanPhotometry().match_multiband(g_sources=G, r_sources=R, i_sources=I, match_radius=1.0)
    assert found["n_bands"].tolist() == [3, 1, 2, 2, 1]
    np.testing.assert_allclose((found["ra"] - 10) / ARCSEC, [0, 10, 20, 40, 60], atol=1e-6)
    colour = found["g_mag"] - found["r_mag"]
    np.testing.assert_allclose(colour, [0.5, np.nan, 1.0, np.nan, np.nan])
    np.testing.assert_allclose(found["i_mag"], [19, np.nan, np.nan, 17, 16])
    np.testing.assert_allclose(found["r_sep_arcsec"], [0.3, np.nan, 0.2, 0.0, np.nan], atol=1e-6)


def test_every_source_is_in_one_object():
    rng = np.random.default_rng(1)
    bands = {
        f"{b}_sources": pd.DataFrame(
            {"ra": rng.uniform(0, 0.01, 200), "dec": rng.uniform(0, 0.01, 200), "n": range(200)}
        )
        for b in "grizy"
    }
    found = MultibandPhotometry().match_multiband(**bands, match_radius=2.0)
    for b in "grizy":
        assert sorted(found[f"{b}_n"].dropna()) == list(range(200))
    assert found["n_bands"].sum() == 1000


def test_astropy_tables_come_back_as_tables():
    found = MultibandPhotometry().match_multiband(
        g_sources=Table.from_pandas(G), r_sources=Table.from_pandas(R)
    )
    assert isinstance(found, Table)
    assert len(found) == 4


def test_an_empty_band_is_no_obstacle():
    found = MultibandPhotometry().match_multiband(g_sources=G[:0], r_sources=R)
    assert found["n_bands"].tolist() == [1, 1, 1]
    assert found["g_mag"].isna().all()


def test_what_is_no_band_is_refused():
    with pytest.raises(BadArguments, match="two bands"):
        MultibandPhotometry().match_multiband(g_sources=G)
    with pytest.raises(BadArguments, match="_sources"):
        MultibandPhotometry().match_multiband(g=G, r_sources=R)
    with pytest.raises(MissingColumns, match="r_sources"):
        MultibandPhotometry().match_multiband(g_sources=G, r_sources=R.drop(columns="dec"))


def test_units_are_converted_and_kept():
    g = QTable({"ra": np.radians([10.0, 20.0, 30.0]) * u.rad, "dec": np.radians([0.0, 1.0, 2.0]) * u.rad})
    r = QTable(
        {
            "ra": np.array([10.0001, 50]) / 15 * u.hourangle,
            "dec": [0.0, 2.0] * u.deg,
            "flux": [1.0, 2.0] * u.Jy,
        }
    )
    found = MultibandPhotometry().match_multiband(g_sources=g, r_sources=r)
    assert found["n_bands"].tolist() == [2, 1, 1, 1]
    assert found["ra"].unit == u.deg
    np.testing.assert_allclose(found["ra"].to_value(u.deg), [10, 20, 30, 50])
    assert found["r_flux"].unit == u.Jy
    assert found["r_flux"].mask.tolist() == [False, True, True, False]
    assert found["r_sep_arcsec"].mask.tolist() == [False, True, True, False]


def test_columns_that_would_meet_are_refused():
    with pytest.raises(BadArguments, match="n_bands"):
        MultibandPhotometry().match_multiband(n_sources=G.assign(bands=1), r_sources=R)
    with pytest.raises(BadArguments, match="g_r_mag"):
        MultibandPhotometry().match_multiband(g_sources=G.assign(r_mag=1.0), g_r_sources=R)
    with pytest.raises(BadArguments, match="g_sep_arcsec"):
        MultibandPhotometry().match_multiband(g_sources=G.assign(sep_arcsec=1.0), r_sources=R)
    with pytest.raises(BadArguments, match="mag"):
        MultibandPhotometry().match_multiband(g_sources=G, r_sources=pd.concat([R, R["mag"]], axis=1))
    with pytest.raises(BadArguments, match="one kind"):
        MultibandPhotometry().match_multiband(g_sources=G, r_sources=Table.from_pandas(R))


@pytest.mark.parametrize("kind", [pd.DataFrame, Table.from_pandas])
def test_colours_with_errors(kind):
    g = pd.DataFrame({"ra": [10.0, 20.0], "dec": [0.0, 0.0], "mag": [20.0, 21.0], "mag_err": [0.03, 0.1]})
    r = pd.DataFrame({"ra": [10.0, 30.0], "dec": [0.0, 0.0], "mag": [19.2, 18.0], "mag_err": [0.04, 0.1]})
    multi = MultibandPhotometry()
    matched = multi.match_multiband(g_sources=kind(g), r_sources=kind(r))
    found = multi.add_colours(matched)
    assert isinstance(found, type(matched))
    frame = found if isinstance(found, pd.DataFrame) else found.to_pandas()
    np.testing.assert_allclose(frame["g_r"], [0.8, np.nan, np.nan])
    np.testing.assert_allclose(frame["g_r_err"], [0.05, np.nan, np.nan])
    with pytest.raises(MissingColumns, match="i_mag"):
        multi.add_colours(matched, bands=("g", "i"))
    with pytest.raises(BadArguments, match="two bands"):
        multi.add_colours(matched, magnitude="mag_auto")
