"""Pooled densities: what they are, what weights are learned, and that they do no harm."""

import numpy as np
import pytest
from scipy import stats

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz.combine import Pool, disagree, learn_pool, overlap
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.metrics import evaluate
from astrolake.photoz.pdf import summarise

GRID = RedshiftGrid(0.0, 2.0, 0.02)


def gaussian(mean, sigma):
    mean = np.atleast_1d(mean)[:, None]
    return (np.diff(stats.norm.cdf(GRID.edges, mean, sigma), axis=1) / GRID.step).astype(np.float32)


def judged(pdf, z):
    return evaluate(summarise(pdf, GRID)["z_phot"], z, pdf=pdf, grid=GRID)


@pytest.fixture(scope="module")
def independent():
    """Two methods that err independently: their product with powers of 1 is the truth."""
    rng = np.random.default_rng(4)
    z = rng.uniform(0.5, 1.5, 900)
    return (
        z,
        gaussian(z + 0.05 * rng.standard_normal(900), 0.05),
        gaussian(z + 0.1 * rng.standard_normal(900), 0.1),
    )


def test_product_of_gaussians_is_the_gaussian_of_weighted_means():
    pooled = Pool("product", (1.0, 1.0))([gaussian(0.9, 0.05), gaussian(1.0, 0.1)], GRID)
    found = summarise(pooled, GRID)
    assert found["z_mean"][0] == pytest.approx(0.92, abs=2e-3)
    assert found["z_phot_err"][0] == pytest.approx(0.0447, abs=2e-3)


def test_half_powers_leave_equal_densities_as_they_are():
    one = gaussian(1.0, 0.1)
    np.testing.assert_allclose(Pool("product", (0.5, 0.5))([one, one], GRID), one, atol=0.01)


def test_linear_pool_is_the_weighted_mean():
    one, two = gaussian(0.5, 0.05), gaussian(1.5, 0.05)
    pooled = Pool("linear", (3.0, 1.0))([one, two], GRID)
    np.testing.assert_allclose(pooled, 0.75 * one + 0.25 * two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "product"])
def test_a_method_without_density_leaves_the_decision_to_the_other(kind):
    one, nothing = gaussian([1.0, 1.0], 0.1), np.full((2, GRID.n), np.nan, np.float32)
    nothing[1] = 0
    pooled = Pool(kind, (1.0, 1.0))([one, nothing], GRID)
    np.testing.assert_allclose(pooled, one, atol=0.01)
    assert np.isnan(Pool(kind, (1.0, 1.0))([nothing, nothing], GRID)).all()


def test_powers_of_independent_methods_are_near_one(independent):
    z, one, two = independent
    pool = learn_pool([one, two], z, GRID)
    assert pool.kind == "product"
    np.testing.assert_allclose(pool.weights, 1.0, atol=0.2)
    pooled, best = judged(pool([one, two], GRID), z), judged(one, z)
    assert pooled["scatter"] < 0.93 * best["scatter"]
    assert pooled["pit_ks"] < 0.06


@pytest.mark.parametrize("loss", ["cde", "crps"])
def test_a_method_that_knows_nothing_gets_no_weight(independent, loss):
    z, one, _ = independent
    useless = gaussian(np.random.default_rng(1).uniform(0.5, 1.5, z.size), 0.05)
    pool = learn_pool([useless, one], z, GRID, loss=loss)
    pooled, best = judged(pool([useless, one], GRID), z), judged(one, z)
    assert pooled["scatter"] <= 1.01 * best["scatter"]
    assert pooled["crps"] <= 1.01 * best["crps"]


def test_methods_that_exclude_each_other_are_found():
    one, two = gaussian([0.5, 0.5, 0.5], 0.05), gaussian([0.5, 0.55, 1.2], 0.05)
    assert overlap(one, two, GRID)[0] == pytest.approx(1.0, abs=1e-5)
    assert overlap(one, two, GRID)[1] == pytest.approx(np.exp(-1 / 8), abs=2e-3)
    two = np.concatenate([two, np.zeros((1, GRID.n))])
    one = np.concatenate([one, one[:1]])
    assert disagree(one, two, GRID).tolist() == [False, False, True, False]


def test_wrong_weights_and_shapes_are_refused(independent):
    z, one, two = independent
    for weights in ((), (-1.0, 2.0), (0.0, 0.0), (np.inf, 1.0)):
        with pytest.raises(BadArguments, match="weights"):
            Pool("linear", weights)
    with pytest.raises(BadArguments, match="linear or product"):
        Pool("mean", (1.0,))
    with pytest.raises(BadArguments, match="different galaxies"):
        Pool("linear", (1.0, 1.0))([one, two[:5]], GRID)
    with pytest.raises(BadInput, match="50 are needed"):
        learn_pool([one[:20], two[:20]], z[:20], GRID)
