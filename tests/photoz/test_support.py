import numpy as np
import pytest
from scipy.stats import norm

from astrolake.errors import BadInput
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.support import Support, neighbour_weights, risk

GRID = RedshiftGrid()


def gaussians(mean, sigma):
    return (np.diff(norm.cdf(GRID.edges, mean[:, None], sigma[:, None]), axis=1) / GRID.step).astype(
        np.float32
    )


def cloud(n, offset=0.0, seed=0, features=6):
    return (np.random.default_rng(seed).standard_normal((n, features)) + offset).astype(np.float32)


def test_distance_is_that_of_the_nearest_representative():
    support = Support.learn(
        cloud(3000), cloud(500, seed=1), gaussians(np.full(500, 0.5), np.full(500, 0.02)), GRID
    )
    rows = cloud(200, seed=2)
    gap = np.linalg.norm(rows[:, None].astype(np.float64) - support.centres, axis=2) / support.radius
    assert support.distance(rows) == pytest.approx(gap.min(axis=1), rel=1e-3, abs=1e-3)
    again = Support.from_arrays(support.arrays())
    assert np.array_equal(again.distance(rows), support.distance(rows))


def test_objects_unlike_the_training_set_are_flagged_and_those_like_it_are_not():
    sharp = gaussians(np.full(2000, 0.5), np.full(2000, 0.02))
    support = Support.learn(cloud(5000), cloud(2000, seed=1), sharp, GRID, far=0.01)
    like, unlike = cloud(2000, seed=2), cloud(2000, offset=4.0, seed=3)
    assert support.beyond(support.distance(like), sharp, GRID).mean() < 0.02
    assert support.beyond(support.distance(unlike), sharp, GRID).mean() > 0.98


def test_risk_is_the_probability_of_a_catastrophic_error():
    mean, sigma = np.array([0.5, 1.0, 1.0]), np.array([0.02, 0.3, 0.6])
    z_low, z_high = (mean - 0.15) / 1.15, (mean + 0.15) / 0.85
    expected = 1 - norm.cdf(z_high, mean, sigma) + norm.cdf(z_low, mean, sigma)
    rows = gaussians(mean, sigma)
    assert risk(rows, GRID)[:2] == pytest.approx(expected[:2], abs=2e-3)
    assert np.isnan(risk(rows * np.nan, GRID)).all()


def test_wide_densities_are_flagged_up_to_the_share_asked_for():
    rng = np.random.default_rng(4)
    sigma = rng.uniform(0.01, 0.5, 4000)
    z = np.full(4000, 1.0)
    density, features = gaussians(z, sigma), cloud(4000, seed=5)
    support = Support.learn(cloud(4000), features[:2000], density[:2000], GRID, flagged=0.09)
    flagged = support.beyond(support.distance(features[2000:]), density[2000:], GRID)
    assert flagged.mean() == pytest.approx(0.09, abs=0.02)
    error = np.abs(rng.normal(0, sigma)) / 2 > 0.15
    assert flagged[error[2000:]].mean() > 1.8 * flagged.mean()


def test_weights_give_the_training_set_the_distribution_of_the_target():
    rng = np.random.default_rng(6)
    rows, target = rng.normal(0, 1, (6000, 2)), rng.normal([0.7, -0.3], 0.7, (4000, 2))
    weight = neighbour_weights(rows, target)
    assert weight.mean() == pytest.approx(1.0)
    assert np.average(rows, axis=0, weights=weight) == pytest.approx([0.7, -0.3], abs=0.06)
    assert np.sqrt(np.cov(rows[:, 0], aweights=weight)) == pytest.approx(0.7, abs=0.07)
    with pytest.raises(BadInput, match="nothing in common"):
        neighbour_weights(rows, target + 100)
