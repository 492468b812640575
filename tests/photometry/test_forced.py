import numpy as np
import pytest
from star_fields import gaussian_stars, grid, observed

from astrolake.errors import BadArguments
from astrolake.photometry.flags import Flag
from astrolake.photometry.forced import (
    colour,
    forced_photometry,
    magnitudes_and_limits,
    matching_sigma_px,
    smoothed_area_px,
)

SIZE = 512


def field(flux, sigma_px, seed, **noise):
    x, y = grid(SIZE, 64)
    return observed(gaussian_stars((SIZE, SIZE), x, y, flux, sigma_px), seed=seed, **noise), x, y


def test_fluxes_and_errors_where_the_stars_are():
    """Pulls of 20 fields; the aperture of 2.5 sigma holds 95.6 % of a star."""
    held = 1 - np.exp(-0.5 * 2.5**2)
    pulls = []
    for seed in range(20):
        image, x, y = field(500.0, 2.0, seed, gain=2.0)
        found = forced_photometry(image, x, y, 5.0, gain=2.0)
        pulls.append((found["flux"] - 500 * held) / found["flux_err"])
    assert abs(np.mean(pulls)) < 0.2
    assert 0.9 < np.std(pulls) < 1.1


def test_nothing_gives_zero_within_the_errors():
    image, x, y = field(0.0, 2.0, 3)
    found = forced_photometry(image, x, y, 5.0)
    pull = found["flux"] / found["flux_err"]
    assert abs(pull.mean()) < 0.3
    assert 0.9 < pull.std() < 1.1
    limits = magnitudes_and_limits(found["flux"], found["flux_err"], 25.0)
    assert np.isnan(limits["mag"]).mean() > 0.99
    assert (limits["mag_limit"] <= 25 - 2.5 * np.log10(3 * found["flux_err"]) + 1e-9)[
        np.isnan(limits["mag"])
    ].all()


def test_images_of_one_seeing_give_the_colour():
    """A star's colour is wrong by the seeing's difference in one aperture, right once PSFs are matched."""
    sharp, x, y = field(5000.0, 1.5, 4)
    blurred, _, _ = field(5000.0, 2.5, 5)
    radius = 4.0
    wide = forced_photometry(blurred, x, y, radius)["flux"]
    plain = forced_photometry(sharp, x, y, radius)["flux"]
    sigma = matching_sigma_px(1.5 * 2.35482, 2.5 * 2.35482)
    assert sigma == pytest.approx(2.0, abs=1e-3)
    matched = forced_photometry(sharp, x, y, radius, smooth_sigma_px=sigma)
    assert np.median(-2.5 * np.log10(plain / wide)) < -0.2
    assert np.median(-2.5 * np.log10(matched["flux"] / wide)) == pytest.approx(0.0, abs=0.005)


def test_the_errors_of_a_smoothed_image():
    pulls = []
    for seed in range(20):
        image, x, y = field(0.0, 2.0, seed)
        found = forced_photometry(image, x, y, 4.0, smooth_sigma_px=2.0)
        pulls.append(found["flux"] / found["flux_err"])
    assert 0.9 < np.std(pulls) < 1.1
    # Pixels that the edge cuts count less than their part.
    assert smoothed_area_px(4.0, 1e-6) == pytest.approx(np.pi * 16, rel=0.1)
    # A wide kernel: a Gaussian of the aperture's area, sum of squares A^2 / (4 pi sigma^2).
    assert smoothed_area_px(2.0, 20.0) == pytest.approx((np.pi * 4) ** 2 / (4 * np.pi * 400), rel=0.04)
    assert matching_sigma_px(3.0, 2.0) == 0.0


def test_flags():
    image, _, _ = field(1000.0, 2.0, 6)
    bad = np.zeros(image.shape, bool)
    bad[200:210, 200:210] = True
    x, y = (
        np.array([100.0, 104.0, 205.0, 197.0, -3.0, np.nan]),
        np.array([100.0, 100.0, 205.0, 205.0, 50.0, 5.0]),
    )
    found = forced_photometry(image, x, y, 4.0, bad=bad, gain=1.0)
    flags = found["flags"]
    assert (flags[:2] & Flag.NEIGHBOURS).all()
    assert flags[2] & Flag.APERTURE_INCOMPLETE
    assert flags[3] & Flag.BAD_PIXELS
    assert (flags[4:] & Flag.OUTSIDE).all()
    assert np.isfinite(found["flux"]).tolist() == [True, True, False, True, False, False]
    with pytest.raises(BadArguments, match="radius_px=0"):
        forced_photometry(image, x, y, 0.0)


def test_magnitudes_limits_and_colours():
    blue = magnitudes_and_limits([100.0, 1.0, 100.0, 1.0], np.ones(4), 25.0, 0.01)
    red = magnitudes_and_limits([200.0, 200.0, -5.0, 1.0], np.ones(4), 25.0)
    assert blue["mag_err"][0] == pytest.approx(np.hypot(0.010857, 0.01), rel=1e-3)
    assert blue["mag_limit"][1] == pytest.approx(25 - 2.5 * np.log10(4.0))
    assert red["mag_limit"][2] == pytest.approx(25 - 2.5 * np.log10(3.0))
    bands = ([part[name] for name in ("mag", "mag_err", "mag_limit")] for part in (blue, red))
    value, error, limit = colour(*bands)
    assert limit.tolist() == [0, 1, -1, 0]
    assert value[0] == pytest.approx(2.5 * np.log10(2))
    assert value[1] == pytest.approx(-2.5 * np.log10(4 / 200))
    assert np.isnan(value[3])
    assert np.isfinite(error).tolist() == [True, False, False, False]
