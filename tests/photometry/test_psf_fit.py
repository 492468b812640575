import numpy as np
import pytest
from moffat_fields import GAIN, NOISE, draw

from astrolake.photometry.background import Sky
from astrolake.photometry.flags import Flag
from astrolake.photometry.psf_fit import Fitter
from astrolake.photometry.psf_groups import Links, NormalEquations, inverse_3x3
from astrolake.photometry.psf_photometry import margin_px
from astrolake.photometry.psf_pixels import Canvas
from astrolake.photometry.psf_profiles import Profile, profile_model

MODEL = profile_model(Profile(3.3, 0.05, -0.03, 3.0), 18.0)
RADIUS = 6.0


def canvas_of(image, bad=None, saturation=None, gain=GAIN):
    image = np.where(bad, 0, image) if bad is not None else image
    sky = Sky(image.astype(np.float32), np.zeros(image.shape, np.float32), NOISE, bad, 0.0, NOISE)
    return Canvas.of_sky(sky, gain, margin_px(3.4), saturation)


def fitted(image, x, y, fixed=None, **keywords):
    canvas = canvas_of(image, **keywords)
    fit = Fitter(canvas, MODEL, np.asarray(x, float), np.asarray(y, float), RADIUS, fixed).run()
    return fit, fit.flux * canvas.unit, fit.flux_err * canvas.unit, canvas


def noise_of(shape, seed):
    return np.random.default_rng(seed).normal(0, NOISE, shape)


def test_flux_and_position_of_a_star_without_noise():
    image = draw((60, 60), [30.3], [28.8], [50.0])
    fit, flux, _, canvas = fitted(image, [30.0], [29.0])
    assert flux[0] == pytest.approx(50, rel=1e-4)
    assert (fit.x[0], fit.y[0]) == pytest.approx((30.3, 28.8), abs=1e-3)
    assert abs(fit.sharpness[0]) < 1e-3
    assert fit.flags[0] == 0
    assert np.abs((canvas.image - canvas.drawn)[canvas.inner]).max() * canvas.unit < 2e-3 * image.max()


@pytest.mark.parametrize("separation", [1.0, 1.6, 2.5, 4.0])
def test_blends_are_taken_apart(separation):
    x, y, flux = [30.0, 30.0 + separation * 3.3 / 2], [30.2, 29.6], [60.0, 15.0]
    fit, found, _, _ = fitted(draw((60, 60), x, y, flux), np.add(x, 0.3), np.add(y, -0.2))
    np.testing.assert_allclose(found, flux, rtol=2e-3)
    np.testing.assert_allclose(fit.x, x, atol=0.01)


def test_a_chain_of_forty_blended_stars_is_one_fit():
    rng = np.random.default_rng(8)
    x, y = 20 + 4.0 * np.arange(40), 30 + rng.uniform(-1, 1, 40)
    flux = rng.uniform(5, 100, 40)
    _, found, error, _ = fitted(draw((60, 200), x, y, flux), x + 0.2, y - 0.2)
    np.testing.assert_allclose(found, flux, rtol=3e-3)
    assert (error > 0).all()


def test_errors_are_the_scatter():
    flux, trials = np.array([3.0, 30.0, 300.0]), 150
    x, y = np.array([25.3, 65.1, 105.7]), np.array([25.2, 25.9, 24.6])
    truth = draw((50, 130), x, y, flux)
    rng, pulls, shifts = np.random.default_rng(4), [], []
    for _ in range(trials):
        image = rng.poisson(truth * GAIN) / GAIN + rng.normal(0, NOISE, truth.shape)
        fit, found, error, _ = fitted(image, x, y)
        pulls.append((found - flux) / error)
        shifts.append((fit.x - x) / fit.x_err)
    assert np.std(pulls, axis=0) == pytest.approx(np.ones(3), abs=0.17)
    assert np.std(shifts, axis=0) == pytest.approx(np.ones(3), abs=0.17)
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.3


def test_errors_of_blends_leave_the_neighbour_free():
    x, y = np.array([30.0, 33.0, 90.0]), np.array([30.0, 30.0, 30.0])
    truth = draw((60, 120), x, y, np.array([20.0, 20.0, 20.0]))
    pulls = []
    for seed in range(120):
        _, flux, error, _ = fitted(truth + noise_of(truth.shape, seed), x, y, gain=None)
        pulls.append((flux - 20.0) / error)
    assert error[0] > 1.1 * error[2]
    assert np.std(pulls, axis=0) == pytest.approx(np.ones(3), abs=0.2)


def test_chi2_and_sharpness_tell_galaxies_and_cosmic_rays():
    galaxy = draw((60, 200), [30.0], [30.0], [40.0], fwhm=5.0)
    star = draw((60, 200), [90.0], [30.0], [40.0])
    image = galaxy + star + noise_of(star.shape, 1)
    image[30, 150] += 10.0
    fit, _, _, _ = fitted(image, [30, 90, 150], [30, 30, 30])
    assert fit.sharpness[0] > 0.5
    assert abs(fit.sharpness[1]) < 0.1
    assert fit.sharpness[2] < -0.3
    assert fit.chi2[0] > 3
    assert fit.chi2[1] == pytest.approx(1, abs=0.4)
    assert fit.chi2[2] > 3


def test_bad_and_saturated_pixels_do_not_count():
    image = draw((60, 120), [30.0, 90.0], [30.0, 30.0], [50.0, 800.0])
    bad = np.zeros(image.shape, bool)
    bad[29:31, 31:33] = True
    image[bad] = 1e6
    fit, flux, _, _ = fitted(np.minimum(image, 30.0), [30, 90], [30, 30], bad=bad, saturation=29.0)
    np.testing.assert_allclose(flux, [50.0, 800.0], rtol=2e-3)
    assert (fit.flags & Flag.PSF_INCOMPLETE > 0).all()


def test_a_star_at_the_border_is_fitted_and_flagged():
    image = draw((60, 60), [0.5], [30.0], [50.0])
    fit, flux, _, _ = fitted(image, [0.5], [30.0])
    assert flux[0] == pytest.approx(50, rel=2e-3)
    assert fit.flags[0] == Flag.PSF_INCOMPLETE
    assert fit.coverage[0] < 0.9


def test_a_source_without_pixels_is_nan():
    bad = np.zeros((60, 60), bool)
    bad[15:45, 15:45] = True
    fit, flux, error, _ = fitted(np.zeros((60, 60)), [30.0], [30.0], bad=bad)
    assert np.isnan([flux[0], error[0], fit.chi2[0]]).all()
    assert fit.flags[0] & Flag.PSF_NOT_FITTED


def test_a_position_that_runs_away_is_kept():
    image = draw((60, 60), [36.0], [30.0], [50.0])
    fit, _, _, _ = fitted(image, [32.0], [30.0])
    assert (fit.x[0], fit.y[0]) == (32.0, 30.0)
    assert fit.flags[0] & Flag.PSF_NOT_FITTED


def test_fixed_positions_are_not_fitted():
    image = draw((60, 60), [30.4], [30.0], [50.0])
    fit, _, _, _ = fitted(image, [30.0], [30.0], fixed=np.array([True]))
    assert fit.x[0] == 30.0
    assert np.isnan(fit.x_err[0])


@pytest.mark.parametrize("unit", [1e-18, 1.0, 1e9])
def test_fluxes_scale_with_the_unit_of_the_image(unit):
    image = draw((60, 60), [30.3], [28.8], [50.0]) + noise_of((60, 60), 2)
    _, expected, expected_err, _ = fitted(image, [30.0], [29.0])
    sky = Sky(
        (image * unit).astype(np.float32),
        np.zeros((60, 60), np.float32),
        NOISE * unit,
        None,
        0.0,
        NOISE * unit,
    )
    canvas = Canvas.of_sky(sky, GAIN / unit, margin_px(3.4))
    fit = Fitter(canvas, MODEL, np.array([30.0]), np.array([29.0]), RADIUS).run()
    assert fit.flux[0] * canvas.unit / unit == pytest.approx(expected[0], rel=1e-5)
    assert fit.flux_err[0] * canvas.unit / unit == pytest.approx(expected_err[0], rel=1e-4)


def random_equations(n, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 12, (2, n))
    links = Links.within(x, y, 4.0)
    design = rng.normal(size=(n, 3, 40))
    diagonal = design @ design.swapaxes(1, 2)
    blocks = 0.05 * rng.normal(size=(len(links.first), 3, 3))
    dense = np.zeros((n, 3, n, 3))
    dense[np.arange(n), :, np.arange(n), :] = diagonal
    dense[links.first, :, links.second, :] = blocks
    dense[links.second, :, links.first, :] = blocks.swapaxes(1, 2)
    return NormalEquations(diagonal, blocks, links), dense.reshape(3 * n, 3 * n)


def test_coupled_equations_are_solved_as_one():
    equations, dense = random_equations(25, 5)
    gradient = np.random.default_rng(6).normal(size=(25, 3))
    np.testing.assert_allclose(
        equations.solve(gradient).ravel(), np.linalg.solve(dense, gradient.ravel()), rtol=2e-2, atol=1e-4
    )


def test_covariances_are_blocks_of_the_inverse():
    equations, dense = random_equations(6, 7)
    inverse = np.linalg.inv(dense).reshape(6, 3, 6, 3)
    np.testing.assert_allclose(
        equations.covariance(equations), inverse[np.arange(6), :, np.arange(6), :], rtol=1e-3, atol=1e-6
    )


def test_inverse_of_small_matrices():
    a = np.random.default_rng(9).normal(size=(50, 3, 8))
    matrices = a @ a.swapaxes(1, 2)
    np.testing.assert_allclose(inverse_3x3(matrices), np.linalg.inv(matrices), rtol=1e-6)
