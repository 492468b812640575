import math

import numpy as np
import pytest
from astropy.io import fits
from fits_files import cards

from astrolake.photometry.calibration import Calibration, photometric_calibration
from astrolake.photometry.headers import HeaderCards


def calibrate(survey, band="r", scale_arcsec=1.0, exptime_s=None, name="image.fits", **header):
    found = photometric_calibration(
        cards(**header), survey, band, scale_arcsec, exptime_s=exptime_s, name=name
    )
    return found.zero_point_ab, found.gain, found.flux_unit


def test_sdss_frames_are_nanomaggies_with_the_gain_of_their_column():
    assert calibrate("sdss", CAMCOL=4, NMGY=0.005) == (22.5, 4.76 / 0.005, "nanomaggy")


@pytest.mark.parametrize(("run", "gain"), [(1100, 1.595), (1101, 1.825)])
def test_sdss_column_2_u_changed_its_gain(run, gain):
    assert calibrate("sdss", "u", CAMCOL=2, RUN=run, NMGY=1.0)[1] == gain


def test_sdss_stamps_carry_their_gain_and_calibration():
    assert calibrate("sdss", CAMCOL=4, NMGY=0.0049, CALIB=0.0052, GAIN=4.75)[1] == 4.75 / 0.0052


def test_raw_sdss_frames_have_no_zero_point():
    assert calibrate("sdss", CAMCOL=4) == (None, 4.76, "count")


def test_sdss_gains_are_those_of_photofield(survey_data):
    """All bands of run 2583, column 2, but i, where photoField differs from the published table."""
    field = fits.getdata(survey_data / "images_sdss" / "photoField-002583-2.fits", 1)[0]
    for band, gain, nmgy in zip("ugriz", field["GAIN"], field["NMGYPERCOUNT"], strict=True):
        found = calibrate("sdss", band, RUN=2583, CAMCOL=2, NMGY=float(nmgy))[1]
        assert found == pytest.approx((6.565 if band == "i" else gain) / nmgy, rel=1e-6)


def test_sdss_noise_agrees_with_the_gain(survey_data):
    """Inverse variances of Stripe 82 stamps: (sky / gain + dark variance) * calib^2 in a blank stamp."""
    with fits.open(survey_data / "images_sdss" / "stamp-r-5.0073-0.0739.fits") as hdus:
        header, weight = HeaderCards(hdus[0].header), hdus[1].data
    gain = photometric_calibration(header, "sdss", "r", 0.396).gain
    calib, sky = header.number("CALIB"), header.number("SKY")
    expected = sky * calib / gain + header.number("DARKVAR") * calib**2
    assert np.median(1 / weight) == pytest.approx(expected, rel=0.02)


def test_legacy_coadds_are_nanomaggies_without_a_gain():
    assert calibrate("legacy", BUNIT="nanomaggy", MAGZERO=22.5) == (22.5, None, "nanomaggy")


def test_panstarrs_zero_point_is_for_the_whole_exposure():
    header = fits.Header.fromstring("HIERARCH CELL.GAIN =  1.031332 / CCD gain".ljust(80))
    found = photometric_calibration(HeaderCards(header), "panstarrs", "r", 0.25, exptime_s=100.0)
    assert (found.zero_point_ab, found.gain) == (30.0, 1.031332)


def test_panstarrs_without_exposure_time_has_no_zero_point():
    assert calibrate("panstarrs")[0] is None


def test_des_coadds_use_the_scale_and_gain_of_swarp():
    assert calibrate("des", MAGZERO=30.0, GAIN=27.7, BUNIT="electrons") == (30.0, 27.7, "electrons")


def test_decam_gain_is_the_mean_of_its_halves():
    assert calibrate("decam", GAINA=3.9, GAINB=3.8, ARAWGAIN=4.5) == (None, pytest.approx(3.85), "adu")


def test_decam_zero_points_for_the_exposure_and_for_a_second_agree():
    exposure = calibrate("decam", exptime_s=107.0, MAGZERO=29.915, MAGZPT=24.842)[0]
    second = calibrate("decam", exptime_s=107.0, MAGZPT=24.842)[0]
    assert exposure == 29.915
    assert second == pytest.approx(exposure, abs=1e-3)


@pytest.mark.parametrize(("band", "offset"), [("J", 0.91), ("H", 1.39), ("Ks", 1.85)])
def test_2mass_zero_points_are_turned_from_vega_to_ab(band, offset):
    assert calibrate("twomass", band, MAGZP=20.0)[0] == 20.0 + offset


def test_2mass_without_a_known_band_has_no_ab_zero_point():
    assert calibrate("twomass", "", MAGZP=20.0)[0] is None


def test_surface_brightness_uses_the_solid_angle_of_a_pixel():
    """A pixel of 1 MJy/sr and 1 sr / 1e6 holds 1 Jy: 8.90 AB."""
    scale_arcsec = math.degrees(math.sqrt(1e-6)) * 3600
    zero_point, gain, unit = calibrate("spitzer", scale_arcsec=scale_arcsec, BUNIT="MJy/sr", GAIN=3.7)
    assert zero_point == pytest.approx(8.90, abs=1e-4)
    assert (gain, unit) == (None, "MJy/sr")


def test_surface_brightness_without_wcs_uses_the_nominal_pixel():
    assert calibrate("jwst", scale_arcsec=None, BUNIT="MJy/sr", PIXAR_SR=1e-6)[0] == pytest.approx(
        8.90, abs=1e-4
    )


def test_hubble_zero_point_of_acs_f606w():
    """PHOTFLAM 7.79e-20 and PHOTPLAM 5921.1 are 26.50 AB (ACS zero points of 2016)."""
    header = {"PHOTFLAM": 7.79e-20, "PHOTPLAM": 5921.1, "BUNIT": "ELECTRONS/S"}
    assert calibrate("hst", exptime_s=500.0, **header)[:2] == (pytest.approx(26.50, abs=0.01), 500.0)


def test_hubble_counts_are_divided_by_the_exposure_time():
    header = {"PHOTFLAM": 7.79e-20, "PHOTPLAM": 5921.1}
    rate = calibrate("hst", exptime_s=100.0, BUNIT="ELECTRONS/S", **header)[0]
    assert calibrate("hst", exptime_s=100.0, BUNIT="ELECTRONS", **header)[0] == pytest.approx(rate + 5.0)


def test_the_sample_sky_gives_its_own_calibration():
    found = calibrate("demo", MAGZERO=22.5, GAIN=300.0, BUNIT="nanomaggy")
    assert found == (22.5, 300.0, "nanomaggy")


def test_a_general_zero_point_is_taken():
    assert calibrate("unknown", MAGZERO=27.0, GAIN=1.5) == (27.0, 1.5, None)


@pytest.mark.parametrize(
    "header", [{"MAGZERO": (27.0, "Vega zero point")}, {"MAGZERO": 27.0, "MAGSYS": "VEGAMAG"}, {}]
)
def test_no_ab_zero_point_is_guessed(header):
    assert calibrate("unknown", **header)[0] is None


def test_a_zero_point_per_second_needs_the_exposure_time():
    header = {"MAGZPT": (25.0, "[mag] Magnitude zero point per sec")}
    assert calibrate("unknown", exptime_s=100.0, **header)[0] == 30.0
    assert calibrate("unknown", **header)[0] is None


@pytest.mark.parametrize(
    ("unit", "gain"),
    [("electrons", 1.0), ("electrons/s", 50.0), ("ADU", 2.0), ("adu/s", 100.0), ("Jy/beam", None)],
)
def test_gains_follow_the_unit(unit, gain):
    assert calibrate("unknown", exptime_s=50.0, BUNIT=unit, GAIN=2.0)[1] == gain


def test_maps_of_signal_to_noise_have_no_zero_point():
    assert calibrate("jwst", name="a.diff.SNR.fits", BUNIT="MJy/sr") == (None, None, "sigma")


def test_saturation_and_seeing_come_with_any_rule():
    found = photometric_calibration(cards(SATURATE=4e4, FWHM=(4.0, "[pixel]")), "unknown", "r", 0.25)
    assert found == Calibration(None, None, None, 4e4, 1.0)
