import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time

from astrolake.sky.epoch import farthest_motion_deg, julian_year, perspective, propagate
from astrolake.sky.separation import separation_arcsec


def astropy_positions(ra, dec, pmra, pmdec, start, end, distance_pc=10.0, velocity=0.0):
    """Return what SkyCoord.apply_space_motion gives for stars at a distance, with a radial velocity."""
    stars = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        distance=np.full(ra.size, 1.0) * distance_pc * u.pc,
        radial_velocity=np.full(ra.size, 1.0) * velocity * u.km / u.s,
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


def test_the_perspective_of_near_stars_is_astropys_within_a_mas():
    rng = np.random.default_rng(4)
    n = 300
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    # Barnard's star and fellows: 1.8 pc on, up to 110 km/s towards us or away.
    parallax, velocity = rng.uniform(20, 550, n), rng.uniform(-110, 110, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    motion = parallax * 19.0
    pmra, pmdec = motion * np.cos(angle), motion * np.sin(angle)
    ours = propagate(ra, dec, pmra, pmdec, 2016.0, 2066.0, parallax, velocity)
    theirs = astropy_positions(ra, dec, pmra, pmdec, 2016.0, 2066.0, 1000 / parallax, velocity)
    assert separation_arcsec(*ours, *theirs).max() < 0.001
    without = propagate(ra, dec, pmra, pmdec, 2016.0, 2066.0)
    assert separation_arcsec(*without, *theirs).max() > 0.5


@pytest.mark.parametrize(
    ("parallax", "velocity"), [(np.nan, -100.0), (500.0, np.nan), (-3.0, 100.0), (0.0, 50.0)]
)
def test_without_distance_or_velocity_there_is_no_perspective(parallax, velocity):
    known = propagate([10.0], [20.0], [9000.0], [100.0], 2000.0, 2050.0, parallax, velocity)
    plain = propagate([10.0], [20.0], [9000.0], [100.0], 2000.0, 2050.0)
    np.testing.assert_array_equal(known, plain)


def test_the_farthest_motion_bounds_all_of_them():
    rng = np.random.default_rng(5)
    n = 200
    ra, dec = rng.uniform(0, 360, n), rng.uniform(-90, 90, n)
    pm = rng.normal(0, 5000, (2, n))
    parallax, velocity = rng.uniform(1, 500, n), rng.normal(0, 100, n)
    since = rng.uniform(1950, 2016, n)
    moved = propagate(ra, dec, *pm, since, 2050.0, parallax, velocity)
    reach = farthest_motion_deg(*pm, 2050.0 - since, perspective(parallax, velocity))
    assert separation_arcsec(ra, dec, *moved).max() / 3600 == pytest.approx(reach, rel=1e-9)
    assert farthest_motion_deg([np.nan, 3.6e6], [0.0, 0.0], [1.0, np.nan]) == 0.0
    assert farthest_motion_deg([], [], []) == 0.0
