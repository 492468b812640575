"""Metrics of photometric redshifts against formulas, RAIL's definitions and scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz.evaluation_table import evaluation_table
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.metrics import compare, density_scores, evaluate, sigma_nmad, uniform_ad, uniform_ks

GRID = RedshiftGrid(0.0, 2.0, 0.01)


@pytest.fixture(scope="module")
def sample():
    """Redshifts that scatter about their estimates by 0.02 (1 + z), a twentieth ten times more."""
    rng = np.random.default_rng(5)
    z_phot = rng.uniform(0.4, 1.6, 3000)
    sigma = 0.02 * (1 + z_phot)
    wide = np.where(rng.random(3000) < 0.05, 10, 1)
    z_spec = np.clip(z_phot + sigma * wide * rng.standard_normal(3000), 0.05, 1.95)
    mass = np.diff(stats.norm.cdf(GRID.edges, z_phot[:, None], sigma[:, None]), axis=1)
    return z_phot, z_spec, sigma, mass / mass.sum(axis=1, keepdims=True) / GRID.step


def test_point_metrics_are_rails(sample):
    z_phot, z_spec, *_ = sample
    found = evaluate(z_phot, z_spec)
    ez = (z_phot - z_spec) / (1 + z_spec)
    x75, x25 = np.percentile(ez, [75, 25])
    assert found["bias"] == pytest.approx(np.median(ez), abs=1e-12)
    assert found["scatter"] == pytest.approx(1.4826 * np.median(np.abs(ez - np.median(ez))), abs=1e-12)
    assert found["sigma_iqr"] == pytest.approx((x75 - x25) / 1.349, abs=1e-12)
    limit = max(0.06, 3 * (x75 - x25) / 1.349)
    assert found["outlier_fraction_3sigma"] == np.mean(np.abs(ez) > limit)
    assert found["outlier_fraction"] == np.mean(np.abs(ez) > 0.15)
    assert found["catastrophic_fraction"] == np.mean(np.abs(z_phot - z_spec) > 1)


def test_values_of_rail_and_qp():
    """What RAIL 2.0.11 and qp 1.1.4 (with densities as qp.hist) give for the same numbers."""
    grid = RedshiftGrid(0.0, 0.4, 0.1)
    pdf = np.array([[0.0, 2.5, 5.0, 2.5, 0.0], [0.0, 0.0, 10.0, 0.0, 0.0]])
    scores = density_scores(pdf, grid, [0.23, 0.10])
    np.testing.assert_allclose(scores.pit, [0.65, 0.0], atol=1e-6)
    assert scores.cde.mean() == pytest.approx(1.875, abs=1e-6)
    found = evaluate([0.1, 0.21, 0.35, 0.9, 1.4, 0.5], [0.12, 0.2, 0.3, 0.5, 1.5, 0.52])
    assert found["scatter"] == pytest.approx(0.03931305263157894, abs=1e-9)
    assert found["sigma_iqr"] == pytest.approx(0.03529415715830603, abs=1e-9)
    assert found["bias"] == pytest.approx(-0.0024122807017543995, abs=1e-9)
    assert found["outlier_fraction_3sigma"] == pytest.approx(1 / 6, abs=1e-9)


def test_cde_loss_is_rails_where_densities_vanish_at_the_ends(sample):
    *_, z_spec, _, pdf = (None, *sample)
    nearest = np.abs(GRID.z[None] - z_spec[:, None]).argmin(axis=1)
    rails = np.trapezoid(pdf**2, GRID.z, axis=1).mean() - 2 * pdf[np.arange(len(pdf)), nearest].mean()
    assert evaluate(sample[0], z_spec, pdf=pdf, grid=GRID)["cde_loss"] == pytest.approx(rails, abs=1e-5)


def test_crps_is_the_integral(sample):
    pdf, z = sample[3][:20], sample[1][:20]
    fine = np.linspace(GRID.edges[0], GRID.edges[-1], 40_001)
    below = np.concatenate([np.zeros((20, 1)), np.cumsum(pdf, axis=1) * GRID.step], axis=1)
    cdf = np.stack([np.interp(fine, GRID.edges, row) for row in below])
    integral = np.trapezoid((cdf - (fine >= z[:, None])) ** 2, fine, axis=1)
    np.testing.assert_allclose(density_scores(pdf, GRID, z).crps, integral, atol=1e-4)


def test_crps_of_a_redshift_beyond_the_grid_grows_with_its_distance(sample):
    pdf = sample[3][:1]
    one, two = (density_scores(pdf, GRID, [z]).crps[0] for z in (2.5, 3.0))
    assert two - one == pytest.approx(0.5, abs=1e-9)


def test_ks_and_ad_are_scipys():
    u = np.random.default_rng(1).beta(1.2, 1.0, 500)
    assert uniform_ks(u) == pytest.approx(stats.kstest(u, "uniform").statistic, abs=1e-12)
    x, i = np.sort(u), np.arange(1, 501)
    expected = -500 - np.sum((2 * i - 1) / 500 * (stats.uniform.logcdf(x) + stats.uniform.logsf(x[::-1])))
    assert uniform_ad(u) == pytest.approx(expected, rel=1e-9)


def test_true_densities_have_uniform_pit():
    rng = np.random.default_rng(3)
    z_phot = rng.uniform(0.5, 1.5, 4000)
    z_spec = z_phot + 0.05 * rng.standard_normal(4000)
    mass = np.diff(stats.norm.cdf(GRID.edges, z_phot[:, None], 0.05), axis=1)
    found = evaluate(z_phot, z_spec, np.full(4000, 0.05), mass, GRID)
    assert found["pit_ks"] < 0.022
    assert found["pit_ad"] < 2.5
    for name, expected in (("coverage_68", 0.683), ("pdf_coverage_68", 0.68), ("pdf_coverage_95", 0.95)):
        assert found[name] == pytest.approx(expected, abs=0.025)
    assert found["pull_scatter"] == pytest.approx(1.0, abs=0.05)


def test_rows_without_redshift_are_counted():
    found = evaluate([0.5, np.nan, 0.7, 0.2, 0.3], [0.5, 0.6, -1.0, np.nan, 0.3])
    assert (found["n"], found["n_without_true"], found["n_without_estimate"]) == (2, 2, 1)
    assert found["scatter"] == 0.0


def test_columns_of_pandas_with_missing_values():
    frame = pd.DataFrame({"p": pd.array([0.1, None, 0.3], "Float64"), "t": [0.1, 0.2, 0.3]})
    pdf = [np.ones(GRID.n), None, np.ones(GRID.n)]
    assert evaluate(frame.p, frame.t, pdf=pdf, grid=GRID)["n"] == 2


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (([0.1, 0.2], [0.1]), BadArguments, "differ in length"),
        (([0.1], [np.nan]), BadInput, "nothing to evaluate"),
        (([0.1], [0.1], None, np.ones((1, 7))), BadArguments, "grid of 301"),
        (([0.1], [0.1], None, np.ones((2, 301))), BadArguments, "'pdf': 2"),
        ((["a"], [0.1]), BadArguments, "predicted does not hold numbers"),
        (([[0.1]], [[0.1]]), BadArguments, "one number for each galaxy"),
    ],
)
def test_bad_columns_are_named(args, error, message):
    with pytest.raises(error, match=message):
        evaluate(*args)


def test_table_by_magnitude_and_type(sample):
    z_phot, z_spec, sigma, pdf = sample
    rows = compare(z_phot, z_spec, sigma, pdf, GRID)
    table = evaluation_table(rows, z_phot, bins=[0.4, 1.0, 1.6])
    assert table["n"].tolist() == [int((z_phot < 1.0).sum()), int((z_phot >= 1.0).sum())]
    bright = z_phot < 1.0
    expected = evaluate(z_phot[bright], z_spec[bright], sigma[bright], pdf[bright], GRID)
    for name in ("scatter", "bias", "outlier_fraction", "coverage_68", "crps", "cde_loss", "pit_ks"):
        assert table[name][0] == pytest.approx(expected[name], rel=1e-9)
    kinds = evaluation_table(rows, np.where(bright, "red", "blue"), bootstrap=0)
    assert kinds["bin"].tolist() == ["blue", "red"]
    assert "scatter_err" not in kinds


def test_bootstrap_errors_are_those_of_theory_and_repeatable():
    rng = np.random.default_rng(2)
    z_phot = 0.5 + 0.02 * rng.standard_normal(40_000)
    rows = compare(z_phot, np.full(40_000, 0.5))
    one, two = (evaluation_table(rows, z_phot, bins=1, seed=7) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    assert one["mean_bias_err"][0] == pytest.approx(0.02 / 1.5 / 200, rel=0.2)
    # the median absolute deviation has an efficiency of 37 %
    assert one["scatter_err"][0] == pytest.approx(0.02 / 1.5 / np.sqrt(2 * 40_000 * 0.37), rel=0.2)


def test_edges_must_ascend(sample):
    with pytest.raises(BadArguments, match="ascending"):
        evaluation_table(compare(sample[0], sample[1]), sample[0], bins=[1.0, 0.5])


def test_sigma_of_a_gaussian():
    assert sigma_nmad(np.random.default_rng(1).standard_normal(200_000)) == pytest.approx(1.0, abs=0.01)
