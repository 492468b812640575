import numpy as np
import pytest
from star_fields import gaussian_stars, observed

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.magnitudes import calibrate, magnitude


def test_flux_one_has_the_magnitude_of_the_zero_point():
    mag, error = magnitude([1.0, 100.0], [0.0, 1.0], 22.5)
    np.testing.assert_allclose(mag, [22.5, 17.5])
    np.testing.assert_allclose(error, [0.0, 0.010857362])


def test_fluxes_that_are_not_positive_have_no_magnitude():
    mag, error = magnitude([0.0, -5.0, np.nan], [1.0, 1.0, 1.0], 22.5)
    assert np.isnan(mag).all()
    assert np.isnan(error).all()


@pytest.mark.parametrize("zero_point", [None, np.nan])
def test_without_zero_point_there_are_no_magnitudes(zero_point):
    mag, error = magnitude([1.0], [0.1], zero_point)
    assert np.isnan([mag, error]).all()


def test_calibration_keeps_the_extraction_as_it_was():
    extraction = extract_frame(observed(gaussian_stars((80, 80), [40.0], [40.0], 10_000.0, 1.7)))
    names = set(extraction.columns)
    calibrated = calibrate(extraction, 25.0, pixel_scale_arcsec=0.5)
    assert set(extraction.columns) == names
    np.testing.assert_allclose(calibrated["aper_radius_arcsec"], [[1.5, 2.5, 3.75]])
    assert calibrated["mag_aper"][0, 2] == pytest.approx(15.0, abs=0.02)
    assert calibrated["mag_auto"][0] == pytest.approx(15.0, abs=0.08)


def test_without_pixel_scale_the_radii_are_unknown():
    extraction = extract_frame(observed(gaussian_stars((80, 80), [40.0], [40.0], 10_000.0, 1.7)))
    assert np.isnan(calibrate(extraction, 25.0)["aper_radius_arcsec"]).all()
