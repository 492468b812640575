from functools import partial

import numpy as np
import pytest
from scipy.special import erf
from star_fields import gaussian_stars, grid, observed

from astrolake.errors import BadArguments
from astrolake.photometry.completeness import (
    Completeness,
    Injection,
    add_stars,
    inject_and_recover,
    moffat_of,
)
from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.image_quality import point_source_depth
from astrolake.photometry.stellar_locus import StarLocus

SIGMA_PX, NOISE, ZERO_POINT = 1.6, 5.0, 30.0


@pytest.fixture(scope="module")
def image():
    """A field of some stars."""
    x, y = grid(768, 96)
    return observed(gaussian_stars((768, 768), x, y, 2e4, SIGMA_PX), noise=NOISE, seed=1)


@pytest.fixture(scope="module")
def found(image):
    return extract_frame(image)


def test_the_profile_has_the_width_and_noise_area_of_the_stars():
    for beta in (2.5, 3.5, 6.0):
        alpha = 3.0
        fwhm = 2 * alpha * np.sqrt(2 ** (1 / beta) - 1)
        area = np.pi * alpha**2 * (2 * beta - 1) / (beta - 1) ** 2
        assert moffat_of(StarLocus(fwhm, area, 9)) == pytest.approx((alpha, beta), rel=1e-6)
    assert moffat_of(StarLocus(3.0, 1.0, 9))[1] == 50.0


def test_stars_have_their_flux():
    frame = np.zeros((80, 80), np.float32)
    add_stars(
        frame,
        np.array([40.3]),
        np.array([39.6]),
        np.array([1000.0]),
        StarLocus(4.0, 45.0, 9),
        None,
        np.random.default_rng(1),
    )
    assert frame.sum() == pytest.approx(1000.0, rel=0.02)
    noisy = np.zeros((80, 80), np.float32)
    add_stars(
        noisy,
        np.array([0.0]),
        np.array([79.0]),
        np.array([1000.0]),
        StarLocus(4.0, 45.0, 9),
        2.0,
        np.random.default_rng(1),
    )
    assert 200 < noisy.sum() < 400


def test_depth_is_that_of_a_matched_filter(found):
    """Flux of 5 sigma for a Gaussian: 5 noise sqrt(4 pi) sigma; the pixel widens it a little."""
    sigma = np.hypot(SIGMA_PX, np.sqrt(1 / 12))
    expected = ZERO_POINT - 2.5 * np.log10(5 * NOISE * np.sqrt(4 * np.pi) * sigma)
    depth = point_source_depth(found.info.background_rms, found.info.stars.noise_area_px, ZERO_POINT)
    assert depth == pytest.approx(expected, abs=0.05)
    assert np.isnan(point_source_depth(0.0, 30.0, 25.0))
    assert point_source_depth(np.array([1.0, 10.0]), 25.0, 20.0) == pytest.approx(
        20 - 2.5 * np.log10(np.array([25.0, 250.0]))
    )


def test_completeness_falls_where_the_noise_says(image, found):
    depth = float(point_source_depth(found.info.background_rms, found.info.stars.noise_area_px, ZERO_POINT))
    curves = [
        inject_and_recover(
            image, None, found.info.stars, extract_frame, Injection(ZERO_POINT, depth, 600, seed=seed)
        )
        for seed in (1, 2, 3)
    ]
    fraction = np.mean([curve.fraction for curve in curves], axis=0)
    assert fraction[:6].min() > 0.93
    assert fraction[-1] < 0.2
    half = np.mean([curve.magnitude_at(0.5) for curve in curves])
    assert half == pytest.approx(depth, abs=0.5)
    assert np.mean([curve.magnitude_at(0.9) for curve in curves]) < half
    again = inject_and_recover(
        image, None, found.info.stars, extract_frame, Injection(ZERO_POINT, depth, 600, seed=1)
    )
    assert (again.fraction == curves[0].fraction).all()


def test_bad_pixels_take_no_stars(image, found):
    bad = np.zeros(image.shape, bool)
    bad[:, :384] = True
    extract = partial(extract_frame, bad=bad)
    curve = inject_and_recover(image, bad, found.info.stars, extract, Injection(ZERO_POINT, 25.0, 400))
    whole = inject_and_recover(image, None, found.info.stars, extract_frame, Injection(ZERO_POINT, 25.0, 400))
    assert curve.n_stars == pytest.approx(whole.n_stars / 2, rel=0.2)
    tiny = inject_and_recover(
        image[:20, :20], None, found.info.stars, extract_frame, Injection(ZERO_POINT, 25.0)
    )
    assert tiny.n_stars == 0
    with pytest.raises(BadArguments, match="unknown"):
        inject_and_recover(
            image, None, StarLocus(np.nan, np.nan, 0), extract_frame, Injection(ZERO_POINT, 25.0)
        )


def test_the_magnitude_of_a_level():
    mag = np.arange(20, 24, 0.25)
    curve = Completeness(mag, 0.5 * (1 - erf((mag - 22.3) / 0.5)), 100)
    assert curve.magnitude_at(0.5) == pytest.approx(22.3, abs=0.02)
    assert np.isnan(Completeness(mag, np.ones(mag.size), 100).magnitude_at(0.5))
    assert np.isnan(Completeness(mag, np.zeros(mag.size), 100).magnitude_at(0.5))
