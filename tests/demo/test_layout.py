"""Fields, pointings and names of the exposures."""

import numpy as np
import pytest

from astrolake.demo.layout import Band, Epoch, Layout, plan_exposures, sky_to_pixel
from astrolake.errors import BadArguments
from astrolake.sky.separation import separation_arcsec


def exposures_of(band="r", seed=7):
    plan = plan_exposures(Layout(), seed)
    return {(e.epoch.run, e.field): e for e in plan if e.band.name == band}


def test_two_fields_in_three_bands_at_two_epochs():
    plan = plan_exposures(Layout(), 7)
    assert len({(e.epoch.run, e.field, e.band.name) for e in plan}) == len(plan) == 12
    assert {e.shape for e in plan} == {(1489, 2048)}


def test_names_follow_band_run_camcol_field():
    assert exposures_of()[1001, 101].name == "frame-r-001001-3-0101"


@pytest.mark.parametrize("run", [1001, 1002])
@pytest.mark.parametrize("x_px", [0.0, 1023.5, 2047.0])
def test_fields_of_a_visit_share_128_rows(run, x_px):
    exposures = exposures_of()
    ra, dec = exposures[run, 101].wcs.wcs_pix2world([x_px], [1488.0], 0)
    _, (y_px,) = exposures[run, 102].wcs.wcs_world2pix(ra, dec, 0)
    assert y_px == pytest.approx(127.0, abs=1.0)


def test_pixels_measure_0_396_arcsec():
    wcs = exposures_of()[1002, 101].wcs
    ra, dec = wcs.wcs_pix2world([1000.0, 1001.0, 1000.0], [700.0, 700.0, 701.0], 0)
    steps = separation_arcsec(ra[:1], dec[:1], ra[1:], dec[1:])
    assert steps == pytest.approx([0.396, 0.396], abs=1e-5)


def test_bands_of_a_visit_overlay_to_half_a_pixel():
    red, green = exposures_of("i")[1001, 101], exposures_of("g")[1001, 101]
    x, y = green.wcs.wcs_world2pix(*red.wcs.wcs_pix2world([700.0], [900.0], 0), 0)
    assert np.hypot(x - 700.0, y - 900.0) == pytest.approx(0.0, abs=0.75)
    assert np.hypot(x - 700.0, y - 900.0) > 1e-3


def test_visits_are_dithered_and_turned():
    first, second = exposures_of()[1001, 101], exposures_of()[1002, 101]
    shift = separation_arcsec(*first.wcs.wcs.crval, *second.wcs.wcs.crval)
    assert 0.1 < shift < 15.0
    turn = np.degrees(np.arctan2(second.wcs.wcs.cd[0, 1], second.wcs.wcs.cd[1, 1]))
    assert turn == pytest.approx(-0.34)


def test_sky_to_pixel_agrees_with_the_wcs():
    exposure = exposures_of()[1002, 102]
    ra, dec = exposure.wcs.wcs.crval
    x, y = exposure.wcs.wcs_world2pix(
        [ra, ra + 2.0 / 3600.0 / np.cos(np.radians(dec))], [dec, dec + 5.0 / 3600.0], 0
    )
    step = sky_to_pixel(exposure.layout, exposure.epoch.rotation_deg) @ np.array([2.0, 5.0])
    assert step == pytest.approx([x[1] - x[0], y[1] - y[0]], abs=1e-3)


def test_another_seed_points_elsewhere():
    crval = exposures_of(seed=7)[1001, 101].wcs.wcs.crval
    assert (exposures_of(seed=8)[1001, 101].wcs.wcs.crval != crval).all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"overlap_px": 1489}, "overlap_px=1489"),
        ({"bands": (Band("u", 1.3, 22.0, 400.0),)}, "'u'"),
        (
            {
                "n_fields": 1,
                "epochs": (Epoch(1, 58000.0, 0.0, 1.0),),
                "bands": (Band("r", 1.3, 21.0, 400.0),),
            },
            "three",
        ),
    ],
)
def test_impossible_layouts_are_refused(changes, named):
    with pytest.raises(BadArguments, match=named):
        Layout(**changes)
