import numpy as np
import pytest

from astrolake.sky.probability import (
    SKY_DEG2,
    group_probabilities,
    log10_bayes_factor,
    p_single,
    prior_of_match,
)


def nway_row(values, prior):
    """NWAY's probabilities of one primary source, as nwaylib 4.8 computes them from log Bayes factors."""
    weights = np.append(0.0, np.asarray(values) + np.log10(prior))
    total = np.log10(np.sum(10 ** (weights - weights.max()))) + weights.max()
    some = np.log10(np.sum(10 ** (weights[1:] - weights[1:].max()))) + weights[1:].max()
    return 1 - 10 ** (weights[0] - total), 10 ** (weights[1:] - some)


def test_the_bayes_factor_of_two_good_positions_is_large_and_falls_with_distance():
    near, far = log10_bayes_factor([0.0, 1.0], 0.1, 0.1)
    # 2 / (2 (0.1 arcsec)^2) in radians
    assert near == pytest.approx(np.log10(1 / (0.1 / 206264.806) ** 2), abs=1e-6)
    assert near - far == pytest.approx(1.0 / (2 * 0.02) / np.log(10))


def test_the_bayes_factor_of_nwaylib():
    """Values of nwaylib.bayesdistance.log_bf2(psi, s1, s2), version 4.8."""
    sep, one, two = np.array([0.3, 2.0, 10.0]), np.array([0.5, 1.0, 4.0]), np.array([0.1, 0.2, 3.0])
    s = one**2 + two**2
    expected = (np.log(2) + 2 * np.log(3600 * 180 / np.pi) - np.log(s) - sep**2 / 2 / s) * np.log10(np.e)
    np.testing.assert_allclose(log10_bayes_factor(sep, one, two), expected, rtol=1e-12)


def test_probabilities_of_groups_are_those_of_nway():
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 6, 300)
    group = np.repeat(np.arange(300) * 3, sizes)
    log_bf = rng.uniform(-400, 12, group.size)
    prior = prior_of_match(5000.0, 0.9)
    p_any, p_i = group_probabilities(group, log_bf, prior)
    for number in np.unique(group):
        mine = group == number
        any_, each = nway_row(log_bf[mine], prior)
        np.testing.assert_allclose(p_any[mine], any_, atol=1e-12)
        np.testing.assert_allclose(p_i[mine], each, atol=1e-12)


def test_p_single_is_the_posterior_of_one_pair():
    assert p_single(np.array([np.inf, -np.inf, 0.0]), 0.25).tolist() == pytest.approx([1.0, 0.0, 0.25])


def test_a_candidate_of_unknown_error_has_no_part():
    p_any, p_i = group_probabilities(np.array([0, 0, 1]), np.array([9.0, np.nan, np.nan]), 1e-8)
    alone, _ = group_probabilities(np.array([0]), np.array([9.0]), 1e-8)
    assert p_any.tolist() == pytest.approx([alone[0], alone[0], np.nan], nan_ok=True)
    assert p_i[0] == pytest.approx(1.0)
    assert np.isnan(p_i[1:]).all()
    assert np.isnan(log10_bayes_factor(1.0, 0.0, 0.0))


def test_no_candidates_and_the_sky():
    assert [part.size for part in group_probabilities(np.array([], int), np.array([]), 0.1)] == [0, 0]
    assert prior_of_match(10.0) == pytest.approx(1 / 412529.6, rel=1e-6)
    assert pytest.approx(41252.96, abs=0.01) == SKY_DEG2
