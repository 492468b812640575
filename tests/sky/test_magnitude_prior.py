import numpy as np
import pytest
from scipy.stats import norm

from astrolake.errors import BadInput
from astrolake.sky.magnitude_prior import fine_edges, learn_prior, read_prior

RNG = np.random.default_rng(8)


def _learned(counterparts, field):
    values = np.concatenate([counterparts, field])
    edges = fine_edges(np.quantile(values, np.linspace(0, 1, 501)))
    return learn_prior(edges, np.histogram(counterparts, edges)[0], np.histogram(field, edges)[0])


def test_the_ratio_of_two_known_distributions_is_found():
    prior = _learned(RNG.normal(20, 1, 20_000), RNG.normal(22, 1, 200_000))
    mags = np.linspace(18.5, 21, 11)
    expected = (norm.logpdf(mags, 20, 1) - norm.logpdf(mags, 22, 1)) / np.log(10)
    # Steps of a function that falls by 0.87 dex/mag.
    assert np.abs(prior.weights(mags) - expected).max() < 0.45
    assert np.abs(prior.weights(mags) - expected).mean() < 0.2


def test_one_wild_value_does_not_spoil_the_bins():
    tame = _learned(RNG.normal(20, 1, 5000), RNG.normal(22, 1, 50_000))
    wild = _learned(RNG.normal(20, 1, 5000), np.append(RNG.normal(22, 1, 50_000), [-9999.0, 9999.0]))
    mags = np.linspace(18, 23, 11)
    assert np.abs(tame.weights(mags) - wild.weights(mags)).max() < 0.4


def test_unknown_values_and_those_outside_have_no_weight():
    prior = _learned(RNG.normal(20, 1, 5000), RNG.normal(22, 1, 50_000))
    assert prior.weights(np.array([np.nan, np.inf, -np.inf, -50.0, 90.0])).tolist() == [0.0] * 5
    assert prior.weights(prior.edges[-1:]) == prior.log10_ratio[-1]


def test_a_bin_without_counterparts_is_unlikely_not_impossible():
    prior = _learned(RNG.uniform(18, 20, 5000), RNG.uniform(18, 26, 50_000))
    assert -4 < prior.weights(np.array([25.0]))[0] < -2


def test_a_column_of_one_value_says_nothing():
    prior = _learned(np.full(500, 20.0), np.full(5000, 20.0))
    assert prior.weights(np.array([20.0, 21.0])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("n", "others"), [(99, 1000), (0, 1000), (1000, 0)])
def test_too_few_to_learn_from(n, others):
    with pytest.raises(BadInput, match="too few"):
        _learned(RNG.normal(20, 1, n), RNG.normal(22, 1, others))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no magnitude prior"),
        ("lo hi sel all", "no magnitude prior"),
        ("1 2 0.5", "no magnitude prior"),
        ("1 2 0.5 0.1\n3 4 0.5 0.1", "bins must join"),
        ("2 1 0.5 0.1", "bins must join"),
        ("1 2 nan 0.1", "bins must join"),
        ("1 2 -1 0.1", "bins must join"),
        ("1 2 0 0", "bins must join"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_files_that_are_none_are_named(tmp_path, text, problem):
    path = tmp_path / "prior.txt"
    path.write_text(text)
    with pytest.raises(BadInput, match=problem) as raised:
        read_prior(str(path))
    assert str(path) in str(raised.value)
    with pytest.raises(BadInput, match="missing.txt"):
        read_prior(str(tmp_path / "missing.txt"))
