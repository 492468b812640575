import numpy as np
import pytest

from astrolake.errors import BadArguments
from astrolake.photometry.zero_point import extra_scatter, fit_zero_point


def stars(seed, n=200, zero_point=27.3, colour_term=0.0, extra=0.0, outliers=0.0):
    """Return measured magnitudes, errors, reference magnitudes and colours of simulated stars."""
    rng = np.random.default_rng(seed)
    reference, colour = rng.uniform(15, 20, n), rng.uniform(0.2, 1.6, n)
    error = 0.003 + 0.03 * 10 ** (0.4 * (reference - 20))
    noise = rng.normal(0, np.hypot(error, extra))
    bad = rng.random(n) < outliers
    noise[bad] += rng.uniform(-2, 0.5, bad.sum())
    return reference - zero_point - colour_term * (colour - 0.9) + noise, error, reference, colour


def test_zero_point_and_colour_term_are_found():
    measured, error, reference, colour = stars(1, colour_term=0.08)
    found = fit_zero_point(measured, error, reference, colour=colour)
    at_0_9 = found.zero_point + found.colour_term * (0.9 - found.pivot)
    assert at_0_9 == pytest.approx(27.3, abs=3 * found.error)
    assert found.colour_term == pytest.approx(0.08, abs=3 * found.colour_term_err)
    assert found.error < 0.001
    assert found.n_stars + found.n_rejected == 200


@pytest.mark.parametrize("outliers", [0.0, 0.2])
@pytest.mark.parametrize("extra", [0.0, 0.02])
def test_errors_are_those_of_repeated_fits(extra, outliers):
    """Pulls over 300 fields, with outliers and with scatter that the stars' errors do not know."""
    fits = [fit_zero_point(*stars(seed, 60, extra=extra, outliers=outliers)[:3]) for seed in range(300)]
    pull = [(fit.zero_point - 27.3) / fit.error for fit in fits]
    assert abs(np.mean(pull)) < 0.25
    assert 0.85 < np.std(pull) < 1.2
    assert np.median([fit.extra_scatter for fit in fits]) == pytest.approx(extra, abs=0.004)


def test_galaxies_among_the_reference_do_not_pull():
    measured, error, reference, _ = stars(3, 100)
    measured[:30] += np.random.default_rng(4).exponential(0.4, 30)
    found = fit_zero_point(measured, error, reference)
    assert found.zero_point == pytest.approx(27.3, abs=0.004)
    assert found.n_rejected > 20


def test_errors_of_the_reference_count():
    measured, error, reference, _ = stars(5)
    alone = fit_zero_point(measured, error, reference)
    with_errors = fit_zero_point(measured, error, reference, np.full(200, 0.05))
    assert with_errors.error == pytest.approx(0.05 / np.sqrt(200), rel=0.1)
    assert alone.error < with_errors.error / 3


def test_too_few_stars_give_none():
    found = fit_zero_point([1.0, np.nan, 3.0], [0.1, 0.1, -1.0], [25.0, 26.0, 27.0])
    assert np.isnan(found.zero_point)
    assert (found.n_stars, found.n_rejected) == (0, 1)
    assert fit_zero_point([], [], []).n_stars == 0


def test_stars_of_one_colour_tell_no_colour_term():
    measured, error, reference, _ = stars(6)
    found = fit_zero_point(measured, error, reference, colour=np.full(200, 0.7))
    assert found.colour_term == 0.0
    assert np.isnan(found.pivot)


def test_extra_scatter():
    rng = np.random.default_rng(7)
    error = rng.uniform(0.005, 0.03, 20_000)
    assert extra_scatter(rng.normal(0, np.hypot(error, 0.02)), error) == pytest.approx(0.02, rel=0.03)
    assert extra_scatter(0.5 * error, error) == 0.0


def test_bad_arguments_are_named():
    with pytest.raises(BadArguments, match="one length"):
        fit_zero_point([1.0], [1.0, 2.0], [1.0])
    with pytest.raises(BadArguments, match="min_stars=1"):
        fit_zero_point([1.0], [1.0], [1.0], min_stars=1)


@pytest.mark.parametrize("n", [5, 6, 7])
def test_a_handful_of_stars_with_an_outlier_gives_a_zero_point_or_none(n):
    known = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        measured = rng.normal(-10, 0.01, n)
        measured[0] += 0.3
        fit = fit_zero_point(measured, np.full(n, 0.01), np.full(n, 17.3), min_stars=5)
        known += np.isfinite(fit.zero_point)
        assert np.isnan(fit.zero_point) or (fit.n_stars >= 5 and abs(fit.zero_point - 27.3) < 0.1)
    assert known > 200 or n == 5
