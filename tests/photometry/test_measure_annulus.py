import numpy as np
import pytest
from star_fields import gaussian_stars, grid, observed

from astrolake.photometry import annulus
from astrolake.photometry.annulus import annulus_photometry, annulus_sky
from astrolake.photometry.background import native_image, subtract_background
from astrolake.photometry.detection import detect_sources
from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Scene
from astrolake.photometry.options import ExtractionOptions

OPTIONS = ExtractionOptions()
RNG = np.random.default_rng(11)
NOISE = RNG.normal(3, 2, (80, 90)).astype(np.float32)
FREE = np.zeros(NOISE.shape, bool)


def scene_of(data, gain=None, bad=None):
    sky = subtract_background(*native_image(data, bad), OPTIONS)
    return Scene(sky, detect_sources(sky, OPTIONS).segments, gain)


def clipped_by_the_book(values):
    for _ in range(5):
        median, sigma = np.median(values), np.std(values)
        values = values[np.abs(values - median) <= 3 * sigma]
    return np.median(values), np.std(values), len(values)


def test_the_sky_is_the_clipped_median_of_the_annulus():
    x, y = RNG.uniform(-0.4, 89.4, 60), RNG.uniform(-0.4, 79.4, 60)
    image, blocked = NOISE.copy(), RNG.random(NOISE.shape) < 0.3
    image[RNG.random(NOISE.shape) < 0.05] += 40
    sky = annulus_sky(image, blocked, x, y, (6.0, 11.0))
    yy, xx = np.mgrid[:80, :90]
    for i in range(len(x)):
        distance = np.hypot(xx - x[i], yy - y[i])
        expected = clipped_by_the_book(
            image[(distance >= 6) & (distance <= 11) & ~blocked].astype(np.float64)
        )
        np.testing.assert_allclose([sky.median[i], sky.sigma[i], sky.n_pixels[i]], expected, rtol=1e-6)


def test_the_size_of_a_chunk_does_not_matter(monkeypatch):
    x, y = RNG.uniform(0, 89, 40), RNG.uniform(0, 79, 40)
    whole = annulus_sky(NOISE, FREE, x, y, (5.0, 9.0))
    monkeypatch.setattr(annulus, "_CHUNK_PIXELS", 1000)
    for part, expected in zip(annulus_sky(NOISE, FREE, x, y, (5.0, 9.0)), whole, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_an_annulus_without_free_pixels_has_no_sky():
    sky = annulus_sky(NOISE, ~FREE, np.array([40.0]), np.array([40.0]), (5.0, 9.0))
    assert np.isnan(sky.median[0])
    assert np.isnan(sky.sigma[0])
    assert sky.n_pixels[0] == 0


def test_flux_of_isolated_stars_on_a_slope():
    x, y = grid(300, 60)
    slope = np.linspace(0, 60, 300)[None, :]
    data = observed(gaussian_stars((300, 300), x, y, 50_000.0, 1.7) + slope)
    columns = annulus_photometry(scene_of(data), x, y, 8.0, (10.0, 16.0))
    np.testing.assert_allclose(columns["flux"], 50_000, rtol=0.01)
    np.testing.assert_allclose(columns["sky"], 100 + slope[0, np.rint(x).astype(int)], atol=1.5)
    np.testing.assert_allclose(columns["sky_rms"], 5, rtol=0.2)


def test_errors_describe_the_scatter():
    x, y = grid(1000, 50)
    data = observed(gaussian_stars((1000, 1000), x, y, 20_000.0, 1.7), gain=2.0, seed=4)
    columns = annulus_photometry(scene_of(data, gain=2.0), x, y, 8.0, (10.0, 14.0))
    assert np.std((columns["flux"] - 20_000) / columns["flux_err"]) == pytest.approx(1, abs=0.12)


def test_neighbours_enter_neither_aperture_nor_annulus():
    lone = gaussian_stars((120, 120), [60.0], [60.0], 10_000.0, 1.7)
    # The first neighbour reaches into the aperture, all three lie in the annulus.
    crowd = lone + gaussian_stars((120, 120), [71.0, 66.0, 60.0], [60.0, 71.0, 47.0], 40_000.0, 1.7)
    scene, x = scene_of(observed(crowd, noise=1.0)), np.array([60.0])
    columns = annulus_photometry(scene, x, x, 8.0, (10.0, 15.0))
    plain = annulus_photometry(Scene(scene.sky, None, None), x, x, 8.0, (10.0, 15.0))
    assert plain["flux"][0] > 1.1 * 10_000
    assert columns["flux"][0] == pytest.approx(10_000, rel=0.03)
    assert columns["sky"][0] == pytest.approx(100, abs=0.5)


def test_a_crowded_annulus_falls_back_on_the_background_map():
    sky = scene_of(NOISE).sky
    everywhere = Scene(sky, np.ones(NOISE.shape, np.int32), None)
    columns = annulus_photometry(everywhere, np.array([40.0]), np.array([30.0]), 3.0, (5.0, 8.0))
    assert columns["flags"][0] == Flag.SKY_FROM_MAP
    assert columns["sky"][0] == sky.level[30, 40]
    assert columns["sky_rms"][0] == sky.noise[30, 40]
    assert np.isfinite([columns["flux"][0], columns["flux_err"][0]]).all()


@pytest.mark.parametrize("x", [np.nan, np.inf, -0.6, 89.6, 1e12])
def test_positions_off_the_image_give_nothing(x):
    columns = annulus_photometry(
        scene_of(NOISE), np.array([x, 40.0]), np.array([40.0, 40.0]), 3.0, (5.0, 8.0)
    )
    assert columns["flags"].tolist() == [Flag.OUTSIDE, 0]
    assert np.isnan([columns[name][0] for name in ("flux", "flux_err", "sky", "sky_rms")]).all()
    assert np.isfinite([columns[name][1] for name in ("flux", "flux_err", "sky", "sky_rms")]).all()


def test_an_aperture_across_the_border_is_flagged():
    columns = annulus_photometry(scene_of(NOISE), np.array([1.0]), np.array([40.0]), 5.0, (7.0, 12.0))
    assert columns["flags"][0] == Flag.APERTURE_INCOMPLETE


def test_an_aperture_of_bad_pixels_has_no_flux():
    bad = FREE.copy()
    bad[35:46, 35:46] = True
    columns = annulus_photometry(
        scene_of(NOISE, bad=bad), np.array([40.0]), np.array([40.0]), 3.0, (8.0, 14.0)
    )
    assert np.isnan(columns["flux"][0])
    assert columns["flags"][0] & Flag.APERTURE_INCOMPLETE


def test_no_positions_give_no_rows():
    columns = annulus_photometry(scene_of(NOISE), np.empty(0), np.empty(0), 3.0, (5.0, 8.0))
    assert {name: len(values) for name, values in columns.items()} == dict.fromkeys(columns, 0)
