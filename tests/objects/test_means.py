import numpy as np
import pytest

from astrolake.objects.means import mean_magnitudes, order_bands, weighted_means

NAN = float("nan")


def one_group(value, error):
    means = weighted_means(np.zeros(len(value), np.int64), 1, np.array(value), np.array(error, dtype=float))
    return means.mean[0], means.error[0], means.chi2[0]


def test_weights_are_inverse_variances():
    # Weights 1 and 1/4: mean (10 + 20/4) / (5/4) = 12; error sqrt(4/5); chi2 = 4/1 + 64/4 = 20.
    mean, error, chi2 = one_group([10.0, 20.0], [1.0, 2.0])
    assert mean == pytest.approx(12.0)
    assert error == pytest.approx(np.sqrt(0.8))
    assert chi2 == pytest.approx(20.0)


def test_groups_do_not_mix_and_need_no_order():
    means = weighted_means(
        np.array([2, 0, 2, 0]), 3, np.array([1.0, 5.0, 3.0, 7.0]), np.array([1.0, 1.0, 1.0, 1.0])
    )
    np.testing.assert_allclose(means.mean, [6.0, NAN, 2.0])
    np.testing.assert_allclose(means.chi2, [2.0, NAN, 2.0])


def test_without_any_error_the_weights_are_equal_and_the_error_unknown():
    mean, error, chi2 = one_group([1.0, 2.0, 6.0], [NAN, 0.0, np.inf])
    assert mean == pytest.approx(3.0)
    assert np.isnan(error)
    assert np.isnan(chi2)


def test_a_value_without_error_gets_the_average_weight():
    # Weights 1, 3 and their average 2: (0 + 3 * 4 + 2 * 6) / 6 = 4; error and chi2 from the first two.
    mean, error, chi2 = one_group([0.0, 4.0, 6.0], [1.0, 3**-0.5, NAN])
    assert mean == pytest.approx(4.0)
    assert error == pytest.approx(0.5)
    assert chi2 == pytest.approx(16.0)


def test_a_value_that_is_not_finite_takes_no_part():
    assert one_group([5.0, NAN, np.inf], [1.0, 1.0, 1.0])[:2] == (5.0, 1.0)


def test_no_rows_give_nan():
    means = weighted_means(np.empty(0, np.int64), 2, np.empty(0), np.empty(0))
    assert np.isnan([means.mean, means.error, means.chi2]).all()


def test_magnitudes_are_averaged_as_fluxes():
    # Equal relative errors at fluxes 1 and 0.1: weights 1 and 100, mean 11/101, error 0.1 * f / sqrt(w).
    mag_err = 0.1 * 2.5 / np.log(10)
    means = mean_magnitudes(np.zeros(2, np.int64), 1, np.array([0.0, 2.5]), np.full(2, mag_err))
    assert means.mean[0] == pytest.approx(-2.5 * np.log10(11 / 101))
    assert means.error[0] == pytest.approx(2.5 / np.log(10) * (0.1 / np.sqrt(101)) / (11 / 101))
    assert means.chi2[0] == pytest.approx((90 / 101 / 0.1) ** 2 + (0.9 / 101 / 0.01) ** 2)


def test_one_magnitude_and_its_error_come_back():
    means = mean_magnitudes(np.zeros(2, np.int64), 1, np.array([21.5, np.inf]), np.array([0.03, 0.03]))
    assert means.mean[0] == pytest.approx(21.5)
    assert means.error[0] == pytest.approx(0.03)
    assert np.isnan(means.chi2[0])


def test_bands_are_ordered_by_wavelength_then_name():
    bands = ["W1", "VR", "z", "Ks", "u", "H", "i", "F200W", "g", "J", "y", "r", "W4"]
    ordered = ["u", "g", "r", "i", "z", "y", "J", "H", "Ks", "W1", "W4", "F200W", "VR"]
    assert list(order_bands(bands)) == ordered


def test_the_unknown_band_is_left_out_and_names_of_one_column_are_one_band():
    assert order_bands(["KS", "", "Ks", "g", "g"]) == ("g", "KS")


def test_capitals_are_other_filters_than_small_letters():
    assert order_bands(["R", "i", "r"]) == ("r", "R", "i")
