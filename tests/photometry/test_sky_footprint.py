import numpy as np
import pytest
from fits_files import tan_cards, wcs_text

from astrolake.errors import BadInput
from astrolake.photometry.astrometry import build_wcs
from astrolake.photometry.sky_footprint import COVERAGE_ORDER, coverage_cells, sky_footprint
from astrolake.sky.healpix import cells_at_order


def wcs_of(**changes):
    """Return a gnomonic astrometry; changes are those of `tan_cards`."""
    return build_wcs(wcs_text(tan_cards(**changes)))


def cells_of_all_pixels(wcs, naxis1, naxis2):
    x, y = np.meshgrid(np.arange(naxis1, dtype=float), np.arange(naxis2, dtype=float))
    ra, dec = wcs.pixel_to_sky(x.ravel(), y.ravel())
    there = np.isfinite(ra) & np.isfinite(dec)
    return set(cells_at_order(ra[there], dec[there], COVERAGE_ORDER).tolist())


def test_centre_scale_and_corners():
    found = sky_footprint(wcs_of(), 100, 80)
    assert (found.ra, found.dec) == pytest.approx((10.0, 20.0), abs=1e-12)
    assert found.pixel_scale_arcsec == pytest.approx(1.0, rel=1e-6)
    assert found.roundtrip_px < 1e-6
    east, west = found.corners_ra[0], found.corners_ra[1]
    assert (east - west) * np.cos(np.radians(20.0)) * 3600 == pytest.approx(99.0, rel=1e-3)
    assert (found.corners_dec[3] - found.corners_dec[0]) * 3600 == pytest.approx(79.0, rel=1e-3)


def test_the_scale_is_that_of_the_area():
    values = tan_cards() | {"CD1_1": -2.0 / 3600, "CD2_2": 0.5 / 3600}
    assert sky_footprint(build_wcs(wcs_text(values)), 100, 80).pixel_scale_arcsec == pytest.approx(
        1.0, rel=1e-6
    )


@pytest.mark.parametrize(
    "place",
    [
        {"ra": 10.0, "dec": 20.0},
        {"ra": 0.0, "dec": 0.0},
        {"ra": 45.0, "dec": 41.8},
        {"ra": 123.0, "dec": 90.0},
        {"ra": 200.0, "dec": -89.5},
    ],
)
@pytest.mark.parametrize("scale_arcsec", [0.3, 60.0, 600.0])
def test_no_pixel_lies_outside_the_coverage(place, scale_arcsec):
    wcs = wcs_of(**place, scale_arcsec=scale_arcsec, rotation_deg=20.0)
    cells = coverage_cells(wcs, 100, 80)
    assert cells_of_all_pixels(wcs, 100, 80) <= set(cells)
    assert cells == sorted(set(cells))


def test_coverage_is_no_larger_than_the_image_needs():
    """27 degrees by 22: about 590 square degrees of cells of 0.21 square degrees, and the edge."""
    cells = coverage_cells(wcs_of(scale_arcsec=1000.0), 100, 80)
    assert 600 / 0.21 * 0.9 < len(cells) < 600 / 0.21 * 1.15


def test_a_distorted_edge_is_covered():
    values = tan_cards(scale_arcsec=60.0, size=(400, 400)) | {
        "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP",
        **{"A_ORDER": 2, "B_ORDER": 2, "A_0_2": 3e-4, "B_2_0": 3e-4},
    }
    wcs = build_wcs(wcs_text(values))
    assert cells_of_all_pixels(wcs, 400, 400) <= set(coverage_cells(wcs, 400, 400))


def test_an_image_of_the_whole_sky_has_all_cells():
    values = {
        **{"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRVAL1": 180.0, "CRVAL2": 0.0},
        **{"CRPIX1": 720.5, "CRPIX2": 360.5, "CDELT1": -0.25, "CDELT2": 0.25},
    }
    found = sky_footprint(build_wcs(wcs_text(values)), 1440, 720)
    assert len(found.coverage) == 12 * 4**COVERAGE_ORDER


def test_a_wide_image_has_the_cells_of_its_pixels():
    wcs = wcs_of(scale_arcsec=3000.0)
    assert set(coverage_cells(wcs, 100, 80)) == cells_of_all_pixels(wcs, 100, 80)


def refusal(values, naxis1=100, naxis2=80):
    with pytest.raises(BadInput) as caught:
        sky_footprint(build_wcs(wcs_text(values)), naxis1, naxis2)
    assert caught.value.kind == "BadWcs"
    return caught.value.message


def test_corners_off_the_sky_are_refused():
    values = tan_cards(scale_arcsec=3000.0) | {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}
    assert "corner of the image has no place on the sky" in refusal(values, 400, 400)


@pytest.mark.parametrize("scale_arcsec", [1e-5, 36000.0])
def test_implausible_scales_are_refused(scale_arcsec):
    assert "pixel scale" in refusal(tan_cards(scale_arcsec=scale_arcsec, size=(4, 4)), 4, 4)


def test_a_distortion_that_cannot_be_inverted_is_refused():
    values = tan_cards() | {
        "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP",
        **{"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 0.05, "B_0_2": 0.0},
    }
    assert "cannot be inverted" in refusal(values)
