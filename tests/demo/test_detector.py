"""Noise, charge and blemishes of a simulated exposure."""

from dataclasses import replace

import numpy as np
import pytest

from astrolake.demo.detector import FULL_WELL_E, bleed, expose, pixel_noise, saturation_level, sky_background
from astrolake.demo.layout import Layout, plan_exposures
from astrolake.demo.render import POINT_SOURCE, Scene, render_scene

SMALL = Layout(naxis1=300, naxis2=200, overlap_px=20)


def exposure_of(band="r", epoch=0):
    wanted = SMALL.epochs[epoch]
    return next(e for e in plan_exposures(SMALL, 7) if e.band.name == band and e.epoch == wanted)


def blank():
    return np.zeros((SMALL.naxis2, SMALL.naxis1), dtype=np.float32)


def star(flux, x=150.0, y=100.0):
    values = (np.array([v]) for v in (x, y, flux, 0.0, 0.0, 0.0, POINT_SOURCE))
    exposure = exposure_of()
    return render_scene(Scene(*values), exposure.shape, exposure.psf_fwhm_arcsec / SMALL.pixel_scale_arcsec)


@pytest.mark.parametrize("band", ["g", "r", "i"])
def test_noise_of_empty_sky_is_as_stated(band):
    exposure = exposure_of(band)
    residual = expose(blank(), exposure, 7) - sky_background(exposure)
    low, high = np.percentile(residual, [15.865, 84.135])
    assert 0.5 * (high - low) == pytest.approx(pixel_noise(exposure), rel=0.02)


def test_mean_of_empty_sky_is_the_sky_level():
    exposure = exposure_of()
    residual = expose(blank(), exposure, 7) - sky_background(exposure)
    # Without the cosmic rays.
    quiet = residual[np.abs(residual) < 4.5 * pixel_noise(exposure)]
    assert quiet.mean() == pytest.approx(0.0, abs=4.0 * pixel_noise(exposure) / np.sqrt(quiet.size))


def test_a_point_source_of_r_22_3_has_five_sigma():
    pixels = star(10.0 ** (0.4 * (22.5 - 22.3)))
    # Signal to noise of the optimal (PSF) filter on sky-limited pixels.
    significance = np.sqrt((pixels.astype(float) ** 2).sum()) / pixel_noise(exposure_of())
    assert significance == pytest.approx(5.0, abs=0.4)


def test_bright_pixels_have_more_photon_noise():
    exposure = exposure_of()
    flat = np.full_like(blank(), 20.0)
    scatter = np.std(np.sort((expose(flat, exposure, 7) - sky_background(exposure)).ravel())[600:-600])
    assert scatter == pytest.approx(np.sqrt(20.0 / exposure.band.gain), rel=0.1)


def test_nothing_exceeds_the_saturation_level():
    exposure = exposure_of()
    image = expose(star(20000.0), exposure, 7)
    assert image.max() == pytest.approx(saturation_level(exposure), rel=1e-6)


def test_exposures_differ_by_seed_and_epoch_and_repeat_otherwise():
    first, second = exposure_of(epoch=0), exposure_of(epoch=1)
    image = expose(blank(), first, 7)
    np.testing.assert_array_equal(image, expose(blank(), first, 7))
    assert (image != expose(blank(), first, 8)).any()
    assert (image != expose(blank(), second, 7)).any()


def test_hot_pixels_stay_where_they_are_and_cosmic_rays_do_not():
    layout = replace(SMALL, naxis1=1200, naxis2=1000)
    spikes = []
    for epoch in layout.epochs:
        exposure = next(e for e in plan_exposures(layout, 7) if e.band.name == "r" and e.epoch == epoch)
        spikes.append(
            expose(np.zeros(exposure.shape, np.float32), exposure, 7) - sky_background(exposure) > 1.0
        )
    assert 1 <= (spikes[0] & spikes[1]).sum() <= 15
    assert (spikes[0] & ~spikes[1]).any()
    assert (spikes[1] & ~spikes[0]).any()


def test_charge_runs_along_its_column_only_and_is_conserved():
    electrons = np.full((400, 5), 100.0, dtype=np.float32)
    electrons[200, 2] = 8.5 * FULL_WELL_E
    before = electrons.sum(axis=0, dtype=float)
    bleed(electrons, FULL_WELL_E)
    np.testing.assert_allclose(electrons.sum(axis=0, dtype=float), before, rtol=2e-3)
    full = electrons[:, 2] > 0.99 * FULL_WELL_E
    assert full.sum() in (7, 8, 9)
    assert np.flatnonzero(full).mean() == pytest.approx(200, abs=1)


def test_an_image_below_the_full_well_is_left_alone():
    electrons = np.full((20, 5), 0.9 * FULL_WELL_E, dtype=np.float32)
    bleed(electrons, FULL_WELL_E)
    assert (electrons == np.float32(0.9 * FULL_WELL_E)).all()
