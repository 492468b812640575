import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time

from astrolake.sky.epoch import julian_year, propagate
from astrolake.sky.separation import separation_arcsec


def astropy_positions(ra, dec, pmra, pmdec, start, end):
    """Return what SkyCoord.apply_space_motion gives for stars at 10 pc without radial velocity."""
    stars = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        distance=np.full(ra.size, 10.0) * u.pc,
        radial_velocity=np.zeros(ra.size) * u.km / u.s,
        obstime=Time(start, format="jyear", scale="tdb"),
    )
    moved = stars.apply_space_motion(new_obstime=Time(end, format="jyear", scale="tdb"))
    return moved.ra.deg, moved.dec.deg


def test_agrees_with_astropy_within_a_mas():
    rng = np.random.default_rng(1)
    ra = np.concatenate([rng.uniform(0, 360, 500), [0.0, 0.0, 359.9999, 77.0]])
    dec = np.concatenate([np.degrees(np.arcsin(rng.uniform(-1, 1, 500))), [89.9999, -89.99999, 0.0, 90.0]])
    angle = rng.uniform(0, 2 * np.pi, ra.size)
    pmra, pmdec = 10000.0 * np.cos(angle), 10000.0 * np.sin(angle)
    ours = propagate(ra, dec, pmra, pmdec, 1950.0, 2050.0)
    theirs = astropy_positions(ra, dec, pmra, pmdec, 1950.0, 2050.0)
    assert separation_arcsec(*ours, *theirs).max() < 0.001
    assert separation_arcsec(*ours, ra, dec).min() > 999.0


def test_a_star_crosses_the_pole_on_a_straight_line():
    ra, dec = propagate([10.0], [90.0 - 1 / 3600], [0.0], [1000.0], 2000.0, 2002.0)
    assert ra[0] == pytest.approx(190.0)
    assert dec[0] == pytest.approx(90.0 - 1 / 3600, abs=1e-12)


def test_right_ascension_wraps():
    ra, _ = propagate([359.9999999], [0.0], [1000.0], [0.0], 2000.0, 2001.0)
    assert ra[0] == pytest.approx(1 / 3600 - 1e-7)


def test_an_earlier_epoch_moves_a_star_backwards():
    _, dec = propagate([120.0], [0.0], [0.0], [1000.0], 2000.0, 1990.0)
    assert dec[0] * 3600 == pytest.approx(-10.0)


@pytest.mark.parametrize(
    ("pmra", "pmdec", "epoch"),
    [
        (np.nan, np.nan, 2016.0),
        (np.nan, 5.0, 2016.0),
        (5.0, np.nan, 2016.0),
        (5.0, 5.0, np.nan),
        (0.0, 0.0, 2016.0),
        (5.0, 5.0, 2000.0),
    ],
)
def test_without_motion_the_position_is_unchanged_to_the_bit(pmra, pmdec, epoch):
    ra, dec = propagate([123.456789012345], [-45.678901234567], [pmra], [pmdec], epoch, 2000.0)
    assert (ra[0], dec[0]) == (123.456789012345, -45.678901234567)


def test_each_row_has_its_own_epoch():
    _, dec = propagate([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1000.0, 1000.0], [2000.0, 2010.0], 2020.0)
    np.testing.assert_allclose(dec * 3600, [20.0, 10.0], rtol=1e-8)


def test_nan_position_stays_nan_beside_good_rows():
    ra, dec = propagate([np.nan, 1.0], [0.0, 1.0], [5.0, 0.0], [5.0, 0.0], 2000.0, 2010.0)
    assert np.isnan(ra[0])
    assert np.isnan(dec[0])
    assert (ra[1], dec[1]) == (1.0, 1.0)


def test_julian_year_of_j2000_and_gaia():
    np.testing.assert_allclose(julian_year([51544.5, 57388.5, np.nan]), [2000.0, 2016.0, np.nan])
