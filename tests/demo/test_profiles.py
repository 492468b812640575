"""Gaussian mixtures against the exact profiles they stand for."""

import numpy as np
import pytest

from astrolake.demo.profiles import (
    moffat_alpha,
    moffat_enclosed_flux,
    moffat_mixture,
    sersic_enclosed_flux,
    sersic_mixture,
)
from astrolake.errors import BadArguments

RADII = np.geomspace(0.05, 20.0, 200)


def test_moffat_curve_of_growth():
    error = moffat_mixture(3.0).enclosed_flux(RADII) - moffat_enclosed_flux(RADII, 3.0)
    assert np.abs(error).max() < 2e-4


@pytest.mark.parametrize(("inside_alpha", "tolerance"), [(4.0, 0.01), (8.0, 0.05)])
def test_moffat_surface_brightness(inside_alpha, tolerance):
    mixture, r = moffat_mixture(3.0), np.linspace(0.0, inside_alpha, 200)
    gaussians = np.exp(-0.5 * r[:, None] ** 2 / mixture.variances) / (2 * np.pi * mixture.variances)
    exact = (3.0 - 1.0) / np.pi * (1.0 + r**2) ** -3.0
    np.testing.assert_allclose(gaussians @ mixture.weights, exact, rtol=tolerance)


@pytest.mark.parametrize("beta", [2.5, 3.5, 4.0])
def test_other_moffat_exponents_are_good_to_a_thousandth(beta):
    error = moffat_mixture(beta).enclosed_flux(RADII) - moffat_enclosed_flux(RADII, beta)
    assert np.abs(error).max() < 1e-3


def test_moffat_alpha_puts_half_the_peak_at_half_the_fwhm():
    alpha = moffat_alpha(1.3, 3.0)
    assert (1.0 + (0.65 / alpha) ** 2) ** -3.0 == pytest.approx(0.5)


@pytest.mark.parametrize("n", [1.0, 4.0])
def test_sersic_curve_of_growth(n):
    error = sersic_mixture(n).enclosed_flux(RADII) - sersic_enclosed_flux(RADII, n)
    assert np.abs(error).max() < 0.003


@pytest.mark.parametrize("n", [0.8, 2.0, 3.0, 4.5])
def test_other_sersic_indices_are_good_to_a_hundredth(n):
    error = sersic_mixture(n).enclosed_flux(RADII) - sersic_enclosed_flux(RADII, n)
    assert np.abs(error).max() < 0.01


@pytest.mark.parametrize("n", [1.0, 4.0])
def test_half_the_light_lies_inside_the_half_light_radius(n):
    assert sersic_enclosed_flux(np.ones(1), n)[0] == pytest.approx(0.5)
    assert sersic_mixture(n).enclosed_flux(np.ones(1))[0] == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize("mixture", [moffat_mixture(3.0), sersic_mixture(1.0), sersic_mixture(4.0)])
def test_weights_are_positive_and_sum_to_one(mixture):
    assert (mixture.weights > 0).all()
    assert mixture.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("make", "value"), [(moffat_mixture, 1.5), (sersic_mixture, 6.0)])
def test_indices_outside_the_fitted_range_are_refused(make, value):
    with pytest.raises(BadArguments, match=str(value)):
        make(value)
