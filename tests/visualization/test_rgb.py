"""Colour composites."""

import numpy as np
import pytest

from astrolake.errors import BadArguments, BadInput
from astrolake.visualization.rgb import balance_channels, noise_level, rgb_image, subtract_sky


def test_equal_bands_give_grey():
    image = np.linspace(0.0, 2.0, 12).reshape(3, 4)
    picture = rgb_image(image, image, image)
    assert picture.shape == (3, 4, 3)
    assert picture.dtype == np.uint8
    assert (picture == picture[..., :1]).all()


def test_intensity_at_the_stretch_is_white():
    one = np.full((1, 1), 5.0)
    np.testing.assert_array_equal(rgb_image(one, one, one, stretch=5.0)[0, 0], 255)


def test_follows_the_asinh_law():
    one = np.full((1, 1), 0.3)
    expected = 255.0 * np.arcsinh(8.0 * 0.3) / np.arcsinh(8.0)
    assert rgb_image(one, one, one, q=8.0)[0, 0, 0] == pytest.approx(expected, abs=0.51)


def test_a_bright_core_keeps_its_hue():
    flux = np.array([[0.3, 30.0, 3000.0]])
    picture = rgb_image(4.0 * flux, 2.0 * flux, flux).astype(float)
    np.testing.assert_allclose(picture[0, 1:, 1] / picture[0, 1:, 0], 0.5, atol=0.01)
    np.testing.assert_allclose(picture[0, 1:, 2] / picture[0, 1:, 0], 0.25, atol=0.01)


def test_negative_and_missing_pixels_are_black():
    band = np.array([[-1.0, np.nan]])
    assert not rgb_image(band, band, band).any()


def test_black_point_lifts_the_sky():
    sky = np.zeros((1, 1))
    assert rgb_image(sky, sky, sky, black=-0.05)[0, 0, 0] > 0


@pytest.mark.parametrize("wrong", [{"stretch": 0.0}, {"q": -1.0}])
def test_refuses_a_stretch_that_is_not_positive(wrong):
    image = np.ones((2, 2))
    with pytest.raises(BadArguments, match="must be positive"):
        rgb_image(image, image, image, **wrong)


def test_refuses_images_of_different_shapes():
    with pytest.raises(BadArguments, match="one shape"):
        rgb_image(np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 3)))


def test_sky_subtraction_removes_a_gradient_and_keeps_a_star():
    y, x = np.mgrid[:512, :512]
    image = 100.0 + 0.02 * x + 0.01 * y + np.random.default_rng(1).standard_normal((512, 512))
    image[256, 256] += 500.0
    flat = subtract_sky(image, box_px=64)
    assert abs(np.median(flat[:, :64])) < 0.1
    assert abs(np.median(flat[:, -64:])) < 0.1
    assert flat[256, 256] == pytest.approx(500.0, abs=5.0)


def test_sky_subtraction_keeps_missing_pixels_missing():
    image = np.full((128, 128), 7.0)
    image[3, 5] = np.nan
    flat = subtract_sky(image)
    assert np.isnan(flat[3, 5])
    assert np.isfinite(flat).sum() == flat.size - 1


def test_sky_of_an_image_without_data_is_refused():
    with pytest.raises(BadInput, match="no finite pixel"):
        subtract_sky(np.full((64, 64), np.nan))


def test_noise_is_not_raised_by_sources():
    image = np.random.default_rng(2).normal(0.0, 3.0, (200, 200)).astype(np.float32)
    image[:10] = 1e4
    assert noise_level(image) == pytest.approx(3.0, rel=0.1)


def test_balance_makes_the_median_bright_pixel_grey():
    green = np.random.default_rng(3).normal(0.0, 1.0, (100, 100)).astype(np.float32)
    green[:5] = 1000.0
    red, middle, blue = balance_channels(3.0 * green, green, 0.5 * green)
    np.testing.assert_allclose(red[:5], middle[:5], rtol=1e-5)
    np.testing.assert_allclose(blue[:5], middle[:5], rtol=1e-5)


def test_balance_leaves_empty_images_alone():
    empty = np.random.default_rng(4).normal(0.0, 1.0, (50, 50)).astype(np.float32)
    red, _, _ = balance_channels(2.0 * empty, empty, empty)
    np.testing.assert_array_equal(red, 2.0 * empty)
