import pickle

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from fits_files import cards, tan_cards, wcs_text

from astrolake.errors import BadInput
from astrolake.photometry.astrometry import astrometric_rms_arcsec, build_wcs, has_lookup_tables, wcs_cards

X = np.array([0.0, 99.0, 49.5, 12.3])
Y = np.array([0.0, 79.0, 39.5, 70.1])


def header_cards(values):
    return fits.Header(list(values.items())).tostring(sep="", endcard=False, padding=False)


def test_the_reference_pixel_is_the_reference_position():
    ra, dec = build_wcs(wcs_text(tan_cards())).pixel_to_sky(np.array([49.5]), np.array([39.5]))
    np.testing.assert_allclose([ra[0], dec[0]], [10.0, 20.0], atol=1e-12)


def test_pixels_count_from_zero():
    """One row up from the centre of a 1 arcsec/px image with north up is 1 arcsec north."""
    _, dec = build_wcs(wcs_text(tan_cards())).pixel_to_sky(np.array([49.5]), np.array([40.5]))
    assert dec[0] == pytest.approx(20.0 + 1 / 3600, abs=1e-9)


def test_there_and_back():
    wcs = build_wcs(wcs_text(tan_cards(rotation_deg=33.0)))
    np.testing.assert_allclose(wcs.sky_to_pixel(*wcs.pixel_to_sky(X, Y)), [X, Y], atol=1e-7)


def test_right_ascension_is_within_0_and_360():
    ra, _ = build_wcs(wcs_text(tan_cards(ra=0.0))).pixel_to_sky(X, Y)
    assert ((ra >= 0) & (ra < 360)).all()
    assert ra.max() - ra.min() > 300


def test_galactic_axes_become_icrs():
    values = tan_cards(ra=18.0, dec=-0.5) | {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL2": 0.0}
    wcs = build_wcs(wcs_text(values))
    ra, dec = wcs.pixel_to_sky(np.array([49.5]), np.array([39.5]))
    expected = SkyCoord(18.0, 0.0, unit="deg", frame="galactic").icrs
    np.testing.assert_allclose([ra[0], dec[0]], [expected.ra.deg, expected.dec.deg], atol=1e-9)
    np.testing.assert_allclose(wcs.sky_to_pixel(ra, dec), [[49.5], [39.5]], atol=1e-6)
    assert wcs.kind == "GLON-CAR"


@pytest.mark.parametrize(
    ("frame", "changes"),
    [
        ("fk5", {"RADESYS": "FK5", "EQUINOX": 2000.0}),
        ("fk4", {"EQUINOX": 1950.0}),
        ("barycentricmeanecliptic", {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}),
        ("supergalactic", {"CTYPE1": "SLON-TAN", "CTYPE2": "SLAT-TAN"}),
    ],
)
def test_other_frames_become_icrs(frame, changes):
    wcs = build_wcs(wcs_text(tan_cards() | changes))
    ra, dec = wcs.pixel_to_sky(np.array([49.5]), np.array([39.5]))
    expected = SkyCoord(10.0, 20.0, unit="deg", frame=frame).icrs
    np.testing.assert_allclose([ra[0], dec[0]], [expected.ra.deg, expected.dec.deg], atol=1e-9)
    np.testing.assert_allclose(wcs.sky_to_pixel(ra, dec), [[49.5], [39.5]], atol=1e-5)


def test_swapped_axes_are_told_apart():
    values = tan_cards()
    swapped = values | {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 20.0, "CRVAL2": 10.0}
    ra, dec = build_wcs(wcs_text(swapped)).pixel_to_sky(np.array([49.5]), np.array([39.5]))
    np.testing.assert_allclose([ra[0], dec[0]], [10.0, 20.0], atol=1e-12)
    wcs = build_wcs(wcs_text(swapped))
    np.testing.assert_allclose(wcs.sky_to_pixel(*wcs.pixel_to_sky(X, Y)), [X, Y], atol=1e-7)


def test_places_without_a_pixel_are_nan():
    x, y = build_wcs(wcs_text(tan_cards())).sky_to_pixel(
        np.array([10.0, 190.0, np.nan]), np.array([20.0, -20.0, 0.0])
    )
    assert np.isfinite([x[0], y[0]]).all()
    assert np.isnan([x[1:], y[1:]]).all()


def test_pixels_without_a_sky_are_nan():
    wide = wcs_text(tan_cards(scale_arcsec=3600.0) | {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"})
    ra, dec = build_wcs(wide).pixel_to_sky(np.array([49.5, 500.0]), np.array([39.5, 500.0]))
    assert np.isfinite(ra[0])
    assert np.isnan([ra[1], dec[1]]).all()


def test_an_astrometry_pickles_as_its_cards():
    wcs = build_wcs(wcs_text(tan_cards()))
    packed = pickle.dumps(wcs)
    assert len(packed) < len(wcs.wcs_header) + 300
    np.testing.assert_array_equal(pickle.loads(packed).pixel_to_sky(X, Y), wcs.pixel_to_sky(X, Y))


SIP = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    **{"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-4, "B_0_2": -1e-4, "A_1_1": 2e-5},
}


def test_sip_is_inverted_without_inverse_coefficients():
    wcs = build_wcs(wcs_text(tan_cards() | SIP))
    assert wcs.kind == "TAN-SIP"
    np.testing.assert_allclose(wcs.sky_to_pixel(*wcs.pixel_to_sky(X, Y)), [X, Y], atol=1e-5)
    straight = build_wcs(wcs_text(tan_cards())).pixel_to_sky(X, Y)
    assert np.hypot(*(np.array(wcs.pixel_to_sky(X, Y)) - straight)).max() * 3600 > 0.1


def test_places_that_a_distortion_cannot_reach_are_nan():
    """x + 0.01 (x - x0)^2 has a minimum: there is no pixel beyond its fold."""
    wcs = build_wcs(wcs_text(tan_cards() | SIP | {"A_2_0": 0.01}))
    ra, dec = build_wcs(wcs_text(tan_cards())).pixel_to_sky(np.array([-49.5]), np.array([39.5]))
    assert np.isnan(wcs.sky_to_pixel(ra, dec)).all()


def test_far_places_do_not_come_back_as_pixels(survey_data):
    """TESS, 24 degrees of fourth-order SIP: of the whole sky only what it sees may fall on it."""
    with fits.open(survey_data / "images_awkward" / "sfft_diff4check.fits.fz") as hdus:
        header = hdus[1].header
        wcs = build_wcs(wcs_cards(header.tostring(sep="", endcard=False, padding=False)))
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 20000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20000)))
    x, y = wcs.sky_to_pixel(ra, dec)
    inside = (x > -0.5) & (y > -0.5) & (x < 2047.5) & (y < 2047.5)
    centre = SkyCoord(348.39, -31.34, unit="deg")
    assert 20 < inside.sum() < 120
    assert centre.separation(SkyCoord(ra[inside], dec[inside], unit="deg")).deg.max() < 9.5


def test_tpv_is_told_from_tan():
    values = tan_cards() | {"PV1_1": 1.001, "PV2_1": 1.001}
    assert build_wcs(wcs_text(values)).kind == "TPV"
    assert build_wcs(wcs_text(tan_cards())).kind == "TAN"


def test_digitised_sky_survey_plates(survey_data):
    """The header gives one object's position on the sky and on the plate."""
    header = fits.getheader(survey_data / "images_awkward" / "M6707HH.fits")
    wcs = build_wcs(wcs_cards(header.tostring(sep="", endcard=False, padding=False)))
    place = SkyCoord("08 51 20.100", "+11 48 43.00", unit=("hourangle", "deg"))
    x, y = wcs.sky_to_pixel(np.array([place.ra.deg]), np.array([place.dec.deg]))
    # Plate coordinates count from the outer corner of the first pixel.
    expected = np.array([header["OBJCTX"] - header["CNPIX1"], header["OBJCTY"] - header["CNPIX2"]]) - 0.5
    np.testing.assert_allclose([x[0], y[0]], expected, atol=0.02)
    assert wcs.kind == "DSS"


def test_cards_are_kept_as_they_stand():
    values = tan_cards() | {
        "EXPTIME": 30.0,
        "NAXIS1": 100,
        "CTYPE3": "FREQ",
        "CTYPE1A": "LINEAR",
        "WCSAXES": 3,
    }
    kept = wcs_cards(header_cards(values)).splitlines()
    assert all(len(line) == 80 for line in kept)
    names = {line[:8].strip() for line in kept}
    assert names == {*tan_cards(), "NAXIS1", "WCSAXES"}
    assert build_wcs("\n".join(kept)).wcs.naxis == 2


def test_a_header_without_wcs_gives_no_cards():
    assert wcs_cards(header_cards({"EXPTIME": 30.0, "CRVAL1": 1.0})) == ""


@pytest.mark.parametrize(
    ("changes", "kind", "cause"),
    [
        ({"CTYPE1": "LAMBDA", "CTYPE2": "ANGLE"}, "NoWcs", "the axes are LAMBDA and ANGLE"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "BadWcs", "the WCS cards are invalid"),
        ({"CD1_1": 0.0, "CD1_2": 0.0}, "BadWcs", "the WCS cards are invalid"),
    ],
)
def test_cards_that_make_no_wcs_say_why(changes, kind, cause):
    with pytest.raises(BadInput, match=cause) as caught:
        build_wcs(wcs_text(tan_cards() | changes)).pixel_to_sky(X, Y)
    assert caught.value.kind == kind


def test_a_wcs_without_scale_is_refused():
    values = {key: value for key, value in tan_cards().items() if not key.startswith("CD")}
    with pytest.raises(BadInput, match="no pixel scale"):
        build_wcs(wcs_text(values))


def test_no_cards_are_no_wcs():
    with pytest.raises(BadInput, match="no celestial WCS") as caught:
        build_wcs("")
    assert caught.value.kind == "NoWcs"


@pytest.mark.parametrize("key", ["CPDIS1", "D2IMDIS2", "AXISCORR"])
def test_distortion_tables_are_noticed(key):
    assert has_lookup_tables(header_cards(tan_cards() | {key: "LOOKUP"}))
    assert not has_lookup_tables(header_cards(tan_cards()))


def test_scatter_by_the_header():
    assert astrometric_rms_arcsec(cards(CRDER1=3 / 3600, CRDER2=4 / 3600)) == pytest.approx(5.0)
    assert astrometric_rms_arcsec(cards(CRDER1=0.0, CRDER2=0.0)) is None
    assert astrometric_rms_arcsec(cards()) is None
