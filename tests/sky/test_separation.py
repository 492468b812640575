import numpy as np
import pytest
from astropy.coordinates import angular_separation

from astrolake.sky.separation import (
    checked_positions,
    chord,
    chord_angle_arcsec,
    lonlat,
    separation_arcsec,
    tangent_basis,
    unit_vectors,
    widen_chord,
)


@pytest.mark.parametrize(
    ("first", "second", "arcsec"),
    [
        ((10.0, 20.0), (10.0, 20.0), 0.0),
        ((0.0, 0.0), (180.0, 0.0), 648000.0),
        ((30.0, 40.0), (210.0, -40.0), 648000.0),
        ((0.0, 90.0), (123.0, -90.0), 648000.0),
        ((0.0, 90.0), (123.0, 90.0), 0.0),
        ((0.0, 89.0), (180.0, 89.0), 7200.0),
        ((359.5, 0.0), (0.5, 0.0), 3600.0),
        ((0.0, 10.0), (360.0, 10.0), 0.0),
        ((0.0, 0.0), (0.0, 1e-8), 3.6e-5),
        ((0.0, 0.0), (180.0 - 1e-8, 0.0), 648000.0 - 3.6e-5),
    ],
)
def test_known_separations(first, second, arcsec):
    # An arcsec is resolved to 1e-9 at 0 and at 180 deg alike; the sum 648000 - 3.6e-5 to 1e-10 of it.
    assert separation_arcsec(*first, *second) == pytest.approx(arcsec, abs=2e-9, rel=1e-15)


def test_agrees_with_astropy():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, (2, 1000)), rng.uniform(-90, 90, (2, 1000))
    expected = angular_separation(*np.radians([ra[0], dec[0], ra[1], dec[1]]))
    np.testing.assert_allclose(
        separation_arcsec(ra[0], dec[0], ra[1], dec[1]), np.degrees(expected) * 3600, rtol=1e-13
    )


def test_broadcasts_and_keeps_nan():
    sep = separation_arcsec(0.0, 0.0, np.array([0.0, np.nan]), np.array([1.0, 1.0]))
    assert sep[0] == pytest.approx(3600.0)
    assert np.isnan(sep[1])


def test_unit_vectors_point_along_the_axes():
    vectors = unit_vectors(np.array([0.0, 90.0, 5.0]), np.array([0.0, 0.0, 90.0]))
    np.testing.assert_allclose(vectors, np.eye(3), atol=1e-16)


def test_lonlat_inverts_unit_vectors():
    ra, dec = np.array([0.0, 359.999999, 180.0, 45.0]), np.array([-10.0, 0.0, 89.999, -89.999])
    back = lonlat(3.0 * unit_vectors(ra, dec))
    np.testing.assert_allclose(back[0], ra, atol=1e-10)
    np.testing.assert_allclose(back[1], dec, atol=1e-12)


def test_lonlat_never_gives_360():
    ra, _ = lonlat(np.array([[1.0, -1e-20, 0.0]]))
    assert ra[0] == 0.0


def test_lonlat_keeps_nan():
    assert np.isnan(lonlat(np.full((1, 3), np.nan))).all()


def test_tangent_basis_is_an_orthonormal_triad_also_at_the_pole():
    basis = np.stack(tangent_basis(np.array([30.0, 200.0]), np.array([-40.0, 90.0])), axis=1)
    np.testing.assert_allclose(basis @ basis.transpose(0, 2, 1), np.tile(np.eye(3), (2, 1, 1)), atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(basis), 1.0)


def test_chord_and_angle_are_inverse():
    assert chord(648000.0) == 2.0
    assert chord(0.0) == 0.0
    assert chord_angle_arcsec(chord(0.01)) == pytest.approx(0.01, rel=1e-14)
    assert chord_angle_arcsec(chord(400000.0)) == pytest.approx(400000.0, rel=1e-14)


def test_widened_chord_covers_the_rounding_of_unit_vectors():
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, 20000), rng.uniform(-89, 89, 20000)
    other_ra, other_dec = ra + rng.normal(0, 1e-6, ra.size), dec + rng.normal(0, 1e-6, ra.size)
    exact = separation_arcsec(ra, dec, other_ra, other_dec)
    measured = np.linalg.norm(unit_vectors(ra, dec) - unit_vectors(other_ra, other_dec), axis=1)
    assert (measured <= widen_chord([chord(angle) for angle in exact])).all()


@pytest.mark.parametrize(("ra", "dec"), [(np.nan, 0.0), (0.0, np.inf), (0.0, 90.001), (0.0, np.nan)])
def test_bad_position_is_refused_with_its_row(ra, dec):
    with pytest.raises(ValueError, match="catalog: row 1 "):
        checked_positions([0.0, ra], [0.0, dec], "catalog")


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="equal length"):
        checked_positions([0.0, 1.0], [0.0])
