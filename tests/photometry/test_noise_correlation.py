"""Correlated noise of resampled images: what is measured, and errors against the scatter of sums."""

import numpy as np
import pytest
import sep
from scipy.ndimage import gaussian_filter, shift
from star_fields import gaussian_stars, grid, nearest

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.noise_correlation import noise_correlation
from astrolake.photometry.options import ExtractionOptions

SIZE = 512


def noise_image(resample, seed=1):
    return resample(np.random.default_rng(seed).normal(0, 5, (SIZE + 20, SIZE + 20)))[10:-10, 10:-10].astype(
        "f4"
    )


def smoothed(noise):
    return gaussian_filter(noise, 0.7)


def shifted(noise):
    return shift(noise, (0.5, 0.5), order=1)


def correlation_of(image, **kwargs):
    kwargs = {"noise": float(image.std()), "bad": None, "segments": None, "noise_is_given": False} | kwargs
    noise = kwargs.pop("noise")
    return noise_correlation(image, noise, kwargs.pop("bad"), kwargs.pop("segments"), **kwargs)


def test_independent_noise_stays_as_it_is():
    assert correlation_of(noise_image(lambda noise: noise)) is None


def test_uneven_sky_is_no_correlation_of_noise():
    waves = 3 * np.sin(np.arange(SIZE) / 40)[:, None].astype("f4")
    assert correlation_of(noise_image(lambda noise: noise) + waves) is None


def test_too_few_pixels_tell_nothing():
    assert correlation_of(noise_image(smoothed)[:60, :60]) is None


@pytest.mark.parametrize("resample", [smoothed, shifted])
@pytest.mark.parametrize("radius", [2.0, 4.0, 8.0])
def test_sums_in_circles_scatter_as_the_correlation_says(resample, radius):
    image = noise_image(resample)
    x, y = grid(SIZE, 20)
    sums = sep.sum_circle(image, x, y, radius, subpix=5)[0]
    expected = image.std() * np.sqrt(np.pi * radius**2 * correlation_of(image).in_circle(np.pi * radius**2))
    assert sums.std() == pytest.approx(expected, rel=0.1)


def test_sums_in_profiles_scatter_as_the_correlation_says():
    image, sigma = noise_image(smoothed), 1.5
    sums = gaussian_filter(image, sigma)[10:-10:9, 10:-10:9]
    area = 4 * np.pi * sigma**2
    expected = image.std() * np.sqrt(correlation_of(image).in_profile(area) / area)
    assert sums.std() == pytest.approx(expected, rel=0.05)


def test_a_variance_of_the_pixels_before_resampling_is_right_for_sums():
    """What resampling takes from the scatter of pixels it puts into their covariance."""
    correlation = correlation_of(noise_image(smoothed), noise=5.0, noise_is_given=True)
    assert correlation.covariance[0] < 0.4
    assert correlation.in_circle(np.pi * 10.0**2) == pytest.approx(1.0, abs=0.12)


@pytest.fixture(scope="module")
def pulls():
    """Return errors over claimed errors of stars in resampled fields, by measure."""
    found = {name: [] for name in ("flux_aper", "flux_psf", "x_psf", "x")}
    for seed in range(4):
        x, y = grid(SIZE, 32, seed)
        flux = np.full(len(x), 3000.0)
        light = gaussian_stars((SIZE, SIZE), x, y, flux, 1.8)
        options = ExtractionOptions(aperture_radii_px=(4.0,), psf="gaussian")
        columns = extract_frame(light + noise_image(smoothed, seed) + 100, options=options).columns
        index, distance = nearest(columns, x, y)
        index, seen = index[distance < 1], distance < 1
        held = sep.sum_circle(light, x, y, 4.0, subpix=5)[0]
        truth = {"flux_aper": held, "flux_psf": flux, "x_psf": x, "x": x}
        for name, values in truth.items():
            measured, error = columns[name][index], columns[f"{name}_err"][index]
            found[name].append((measured.reshape(len(index)) - values[seen]) / error.reshape(len(index)))
    return {name: np.concatenate(values) for name, values in found.items()}


@pytest.mark.parametrize("name", ["flux_aper", "flux_psf", "x_psf", "x"])
def test_errors_on_a_resampled_image_are_those_of_its_sums(pulls, name):
    assert len(pulls[name]) > 700
    low = 0.9 if name.startswith("flux") else 0.75  # positions weigh gradients, which correlate less
    assert low < pulls[name].std() < 1.12
