"""Petrosian measures against profiles whose curves of growth are known in closed form."""

import numpy as np
import pytest
import sep
from scipy.optimize import brentq
from star_fields import gaussian_stars, grid, nearest, observed

from astrolake.demo.profiles import sersic_enclosed_flux
from astrolake.demo.render import Scene as Sources
from astrolake.demo.render import render_scene
from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.flags import Flag
from astrolake.photometry.growth_kernels import STEP_PX, growth_curve, petrosian_radius, radius_holding

RADII = np.arange(0, 600) * STEP_PX
GAUSSIAN, EXPONENTIAL, DE_VAUCOULEURS = 0.5, 1.0, 4.0


def petrosian_truth(n):
    """Return petroRad, petroR50, petroR90 and the flux of a Sersic profile, radii in half-light radii."""

    def enclosed(radius):
        return float(sersic_enclosed_flux(radius, n))

    def eta(radius):
        ring = enclosed(1.25 * radius) - enclosed(0.8 * radius)
        return ring / (1.25**2 - 0.8**2) / enclosed(radius)

    petro = brentq(lambda radius: eta(radius) - 0.2, 0.3, 10)
    total = enclosed(2 * petro)
    held = (brentq(lambda radius, s=s: enclosed(radius) - s * total, 1e-3, 20) for s in (0.5, 0.9))
    return petro, *held, total


@pytest.mark.parametrize("n", [GAUSSIAN, EXPONENTIAL, DE_VAUCOULEURS])
@pytest.mark.parametrize("half_light", [4.0, 12.0])
def test_radii_of_exact_curves_of_growth(n, half_light):
    petro, r50, r90, total = petrosian_truth(n)
    curve = sersic_enclosed_flux(RADII / half_light, n)
    assert petrosian_radius(curve) / half_light == pytest.approx(petro, rel=1e-3)
    for share, truth in ((0.5, r50), (0.9, r90)):
        assert radius_holding(curve, share * total) / half_light == pytest.approx(truth, rel=3e-3)


def test_known_values_of_the_exponential_profile():
    # Half-light radius 1.678 scale lengths; Graham et al. 2005 (AJ 130, 1535, table 1) for 1/eta = 5.
    petro, _, r90, total = petrosian_truth(EXPONENTIAL)
    assert petro == pytest.approx(2.16, abs=0.06)
    assert total == pytest.approx(0.994, abs=0.002)
    assert r90 / petrosian_truth(EXPONENTIAL)[1] == pytest.approx(2.29, abs=0.01)


@pytest.mark.parametrize("n", [EXPONENTIAL, DE_VAUCOULEURS])
def test_rendered_galaxies_have_their_petrosian_measures(n):
    # The point spread is a tenth of the galaxy: what it changes stays within the tolerance.
    x, y = grid(600, 200)
    zero, half_light = np.zeros(len(x)), 10.0
    galaxies = Sources(x, y, np.full(len(x), 1e6), zero + half_light**2, zero, zero + half_light**2, zero + n)
    image = observed(render_scene(galaxies, (600, 600), 1.2), noise=1.0)
    columns = extract_frame(image, gain=1e3).columns
    index, distance = nearest(columns, x, y)
    petro, r50, r90, total = petrosian_truth(n)
    assert distance.max() < 0.5
    ours = {name: np.median(columns[name][index]) for name in columns if columns[name].ndim == 1}
    assert ours["petro_radius"] / half_light == pytest.approx(petro, rel=0.04)
    assert ours["petro_r50"] / half_light == pytest.approx(r50, rel=0.04)
    assert ours["petro_r90"] / half_light == pytest.approx(r90, rel=0.04)
    assert ours["flux_petro"] / 1e6 == pytest.approx(total, rel=0.02)


SIGMA = 1.7
X, Y = grid(300, 50)
STARS = gaussian_stars((300, 300), X, Y, 20_000.0, SIGMA)


def test_a_star_has_the_measures_of_a_gaussian():
    columns = extract_frame(observed(STARS), gain=2.0).columns
    # The pixel of the detector and the pixel as a square in the sum each add 1/12.
    seen = np.sqrt(SIGMA**2 + 2 / 12) * np.sqrt(2 * np.log(2))
    petro, r50, r90, _ = petrosian_truth(GAUSSIAN)
    assert np.median(columns["petro_radius"]) == pytest.approx(petro * seen, rel=0.02)
    assert np.median(columns["petro_r50"]) == pytest.approx(r50 * seen, rel=0.02)
    assert np.median(columns["petro_r90"] / columns["petro_r50"]) == pytest.approx(r90 / r50, rel=0.02)
    assert np.median(columns["flux_petro"]) == pytest.approx(20_000, rel=0.005)
    for name, share in (("flux_radius_20", 0.2), ("flux_radius", 0.5), ("flux_radius_80", 0.8)):
        total = np.median(columns["flux_auto"]) / 20_000
        truth = seen * np.sqrt(-np.log(1 - share * total) / np.log(2))
        assert np.median(columns[name]) == pytest.approx(truth, abs=0.02)


def test_errors_of_the_petrosian_flux_describe_its_scatter():
    x, y = grid(1000, 50)
    image = observed(gaussian_stars((1000, 1000), x, y, 30_000.0, SIGMA), gain=2.0, seed=3)
    columns = extract_frame(image, gain=2.0).columns
    index, _ = nearest(columns, x, y)
    flux, error = (columns[name][index] for name in ("flux_petro", "flux_petro_err"))
    pull = (flux - 30_000) / error
    assert np.std(pull) == pytest.approx(1, abs=0.12)
    assert abs(np.median(flux) / 30_000 - 1) < 0.003


def test_a_profile_that_never_falls_to_a_fifth_has_no_petrosian_radius():
    assert np.isnan(petrosian_radius(RADII**2))
    assert np.isfinite(petrosian_radius(sersic_enclosed_flux(RADII / 4, EXPONENTIAL)))


def test_sources_without_petrosian_radius_are_flagged_and_have_no_flux():
    # A plateau of light on which every ring is as bright as the circle within.
    image = observed(np.zeros((300, 300)), noise=1.0)
    image[100:200, 100:200] += 40
    columns = extract_frame(image, gain=2.0).columns
    lost = columns["flags"] & Flag.NO_PETROSIAN_RADIUS > 0
    for name in ("petro_radius", "petro_r50", "petro_r90", "flux_petro", "flux_petro_err"):
        np.testing.assert_array_equal(np.isnan(columns[name]) | ~lost, True)
        assert np.isfinite(columns["petro_radius"][~lost]).all()


def test_a_circle_without_light_has_no_radius():
    assert np.isnan(petrosian_radius(-RADII))
    assert np.isnan(radius_holding(RADII, -1.0))
    assert np.isnan(radius_holding(RADII, np.nan))


NOTHING_MASKED = np.zeros((0, 0), np.int32)


def curve_of(image, place, reach, owner=NOTHING_MASKED):
    curve = np.empty(round(reach / STEP_PX) + 1)
    growth_curve(image, owner, place, reach, curve)
    return curve


def test_curves_of_growth_are_the_exact_sums_of_circles():
    image = STARS.astype(np.float32)
    curves = np.array([curve_of(image, (x, y, 1), 12) for x, y in zip(X, Y, strict=True)])
    for radius in (1.0, 2.0, 3.5, 6.0, 12.0):
        exact = sep.sum_circle(image, X, Y, radius, subpix=0)[0]
        error = (curves[:, round(radius / STEP_PX)] - exact) / 20_000
        assert np.sqrt(np.mean(error**2)) < 0.005
        assert abs(error.mean()) < 0.003


def test_curves_leave_out_pixels_of_others_and_beyond_the_border():
    image, owner = np.ones((40, 40), np.float32), np.zeros((40, 40), np.int32)
    owner[:, 20:] = 7
    corner = curve_of(image, (0.0, 0.0, 3), 8)
    half = curve_of(image, (19.5, 20.0, 3), 8, owner)
    assert corner[-1] == pytest.approx(np.pi * 64 / 4 + 8 + 0.25, rel=0.01)
    assert half[-1] == pytest.approx(np.pi * 64 / 2, rel=0.02)
