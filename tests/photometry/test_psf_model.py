import galsim
import numpy as np
import pytest
import sep
from moffat_fields import pixel_moffat

from astrolake.photometry.psf_model import FieldBasis, PsfModel
from astrolake.photometry.psf_profiles import Profile, pixel_average, profile_model

PROFILE = Profile(3.3, 0.1, 0.05, 3.0)
MODEL = profile_model(PROFILE, 18.0)
RNG = np.random.default_rng(3)
X, Y = RNG.uniform(50, 60, (2, 40))
HALF = 9
CORNER = (np.rint(X).astype(int) - HALF, np.rint(Y).astype(int) - HALF)
SIZE = 2 * HALF + 1


def offsets(i):
    axis = np.arange(SIZE)
    return (CORNER[0][i] + axis - X[i])[None, :], (CORNER[1][i] + axis - Y[i])[:, None]


@pytest.mark.parametrize("fwhm", [1.5, 2.2, 3.3, 6.0])
def test_stamps_are_profiles_integrated_over_pixels(fwhm):
    model = profile_model(Profile(fwhm, 0.1, 0.05, 3.0), 12.0)
    stamps = model.stamps(X, Y, CORNER, SIZE)
    for i in range(5):
        truth = pixel_moffat(*offsets(i), fwhm, 3.0, 0.1, 0.05)
        assert np.abs(stamps[i] - truth).max() < 6e-5 * truth.max()
        assert (stamps[i] * truth).sum() / (truth**2).sum() == pytest.approx(1, abs=2e-5)


def test_a_gaussian_is_galsims():
    stamps = profile_model(Profile(3.0, 0.2, -0.1), 15.0).stamps(X, Y, CORNER, SIZE)
    star = galsim.Gaussian(fwhm=3.0).shear(eta1=0.2, eta2=-0.1)
    for i in range(5):
        shifted = star.shift(X[i] - CORNER[0][i] - HALF, Y[i] - CORNER[1][i] - HALF)
        truth = shifted.drawImage(nx=SIZE, ny=SIZE, scale=1.0).array
        assert np.abs(stamps[i] - truth).max() < 2e-4 * truth.max()


def test_gradients_are_differences():
    step = 1e-3
    _, by_x, by_y = MODEL.gradients(X, Y, CORNER, SIZE)
    numeric_x = (MODEL.stamps(X + step, Y, CORNER, SIZE) - MODEL.stamps(X - step, Y, CORNER, SIZE)) / (
        2 * step
    )
    numeric_y = (MODEL.stamps(X, Y + step, CORNER, SIZE) - MODEL.stamps(X, Y - step, CORNER, SIZE)) / (
        2 * step
    )
    assert np.abs(by_x - numeric_x).max() < 2e-4
    assert np.abs(by_y - numeric_y).max() < 2e-4


def test_the_laplacian_widens():
    wider = profile_model(Profile(PROFILE.fwhm * 1.01, 0.1, 0.05, 3.0), 18.0).stamps(X, Y, CORNER, SIZE)
    change = wider - MODEL.stamps(X, Y, CORNER, SIZE)
    widening = MODEL.laplacian(X, Y, CORNER, SIZE)
    assert np.corrcoef(change.ravel(), widening.ravel())[0, 1] > 0.95


def test_stamps_beyond_the_tables_are_dark():
    far = (CORNER[0] + 500, CORNER[1])
    assert not MODEL.stamps(X, Y, far, SIZE).any()
    wide = MODEL.stamps(X[:1], Y[:1], (np.array([0]), np.array([0])), 111)
    assert wide.sum() == pytest.approx(1 - MODEL.outside, abs=1e-3)


def test_growth_is_what_an_aperture_sums():
    big = galsim.Moffat(beta=3.0, fwhm=3.3).shear(eta1=0.1, eta2=0.05)
    for radius in (2.0, 5.0, 12.0):
        sums = [
            sep.sum_circle(
                big.shift(dx, dy).drawImage(nx=81, ny=81, scale=1.0).array.astype(float),
                [40 + dx],
                [40 + dy],
                radius,
                subpix=0,
            )[0][0]
            for dx, dy in ((0.0, 0.0), (0.3, 0.1), (0.5, -0.4), (-0.2, 0.45))
        ]
        assert MODEL.growth(radius, X[:1], Y[:1])[0] == pytest.approx(np.mean(sums), abs=3e-3)


def test_derivatives_of_the_shape_are_differences():
    dx, dy = RNG.normal(0, 2, (2, 60))
    round_ = Profile(3.3, 0.0, 0.0, 3.0)
    parts = round_.derivatives(dx, dy)
    for k in range(4):
        step = np.zeros(4)
        step[k] = 1e-5
        numeric = (round_.shifted(step)(dx, dy) - round_.shifted(-step)(dx, dy)) / 2e-5
        np.testing.assert_allclose(parts[3 + k], numeric, atol=1e-7)
    value, *_ = pixel_average(round_, dx, dy)
    np.testing.assert_allclose(value, pixel_moffat(dx, dy, 3.3, 3.0), rtol=2e-3)


def test_tables_vary_over_the_field():
    basis = FieldBasis.of_shape(1, (101, 101))
    tables = np.stack([MODEL.tables[0], 0.2 * MODEL.tables[0], np.zeros_like(MODEL.tables[0])])
    model = PsfModel(tables, MODEL.oversampling, basis, MODEL.fwhm_px, "empirical")
    x, y, corner = np.array([0.0, 50.0, 100.0]), np.full(3, 50.0), (np.array([-9, 41, 91]), np.full(3, 41))
    light = model.stamps(x, y, corner, SIZE).sum(axis=(1, 2))
    np.testing.assert_allclose(light / light[1], [0.8, 1.0, 1.2], rtol=1e-5)


@pytest.mark.parametrize(("degree", "terms"), [(0, 1), (1, 3), (2, 6)])
def test_the_basis_has_all_terms_up_to_its_degree(degree, terms):
    basis = FieldBasis.of_shape(degree, (50, 80))
    values = basis(np.array([0.0, 39.5]), np.array([0.0, 24.5]))
    assert values.shape == (2, terms) == (2, basis.n_terms)
    np.testing.assert_allclose(values[1], [1] + [0] * (terms - 1))
