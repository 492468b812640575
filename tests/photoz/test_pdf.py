import numpy as np
import pytest
from scipy.stats import norm

from astrolake.errors import BadArguments
from astrolake.photoz import pdf
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.peaks import is_multimodal

GRID = RedshiftGrid()


def gaussians(mean, sigma, grid=GRID):
    """Exact probability of each bin over the step."""
    mean, sigma = np.atleast_1d(mean)[:, None], np.atleast_1d(sigma)[:, None]
    return (np.diff(norm.cdf(grid.edges, mean, sigma), axis=1) / grid.step).astype(np.float32)


def test_grid_of_three_hundred_and_one_redshifts():
    assert GRID.n == 301
    assert GRID.z[[0, 1, -1]] == pytest.approx([0, 0.01, 3])
    assert GRID.edges[[0, -1]] == pytest.approx([-0.005, 3.005])


@pytest.mark.parametrize(
    "bounds", [(0, 3, 0), (1, 1, 0.1), (-0.5, 3, 0.1), (0, 3, 0.07), (0, np.nan, 0.1), (0, 3, 1e-9)]
)
def test_grids_that_are_none(bounds):
    with pytest.raises(BadArguments, match="redshifts from"):
        RedshiftGrid(*bounds)


def test_summaries_of_gaussians_are_theirs():
    mean, sigma = np.array([0.4, 1.234, 2.0]), np.array([0.05, 0.1, 0.08])
    found = pdf.summarise(gaussians(mean, sigma), GRID)
    for name, offset in {
        "z_phot": 0,
        "z_mode": 0,
        "z_mean": 0,
        "z_lo68": -0.99446,
        "z_hi68": 0.99446,
    }.items():
        assert found[name] == pytest.approx(mean + offset * sigma, abs=4e-4), name
    assert found["z_hi95"] == pytest.approx(mean + 1.95996 * sigma, abs=1e-3)
    assert found["z_lo95"] == pytest.approx(mean - 1.95996 * sigma, abs=1e-3)
    assert found["z_phot_err"] == pytest.approx(0.99446 * sigma, abs=4e-4)
    half = 0.06 * (1 + mean) / sigma
    assert found["odds"] == pytest.approx(norm.cdf(half) - norm.cdf(-half), abs=1e-3)


def test_the_point_is_the_one_asked_for():
    skewed = gaussians(0.5, 0.05) * 0.7 + gaussians(1.5, 0.1) * 0.3
    for point in ("median", "mode", "mean"):
        found = pdf.summarise(skewed, GRID, point)
        assert found["z_phot"] == found[f"z_{point}"]
    assert found["z_mean"] == pytest.approx(0.8, abs=1e-3)
    assert found["z_mode"] == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(BadArguments, match="median, mode, mean"):
        pdf.summarise(skewed, GRID, "best")


def test_rows_without_probability_have_no_summaries():
    rows = np.zeros((3, GRID.n), dtype=np.float32)
    rows[1] = np.nan
    rows[2, 7] = 5.0
    found = pdf.summarise(rows, GRID)
    assert all(np.isnan(found[name][:2]).all() for name in found)
    assert found["z_phot"][2] == pytest.approx(0.07)
    assert np.isnan(pdf.cdf_at(rows, GRID, 1.0)[:2]).all()


def test_intervals_end_with_the_grid():
    found = pdf.summarise(gaussians(0.0, 0.1), GRID)
    assert found["z_lo95"] >= 0
    assert found["z_mode"] == 0


def test_a_coarser_grid_keeps_the_probability():
    rows = gaussians([0.31, 1.0, 2.99], [0.02, 0.2, 0.3])
    for coarse in (GRID.coarser(0.05), GRID.coarser(0.07), RedshiftGrid(0.5, 2.0, 0.05)):
        rebinned = pdf.rebin(rows, GRID, coarse)
        assert rebinned.sum(axis=1) * coarse.step == pytest.approx(rows.sum(axis=1) * GRID.step, rel=1e-5)
    mean = pdf.summarise(pdf.rebin(rows, GRID, GRID.coarser(0.05)), GRID.coarser(0.05))["z_mean"]
    assert mean[:2] == pytest.approx([0.31, 1.0], abs=1e-3)


def test_cumulative_at_a_redshift_is_that_of_the_bins():
    rows = gaussians([1.0, 1.0, 2.0], [0.1, 0.1, 0.2])
    assert pdf.cdf_at(rows, GRID, [1.0, 1.1, 9.0]) == pytest.approx([0.5, norm.cdf(1), 1.0], abs=1e-3)
    sums = pdf.cumulative(rows, GRID)
    assert pdf.cdf_at(rows, GRID, GRID.edges[120]) == pytest.approx(sums[:, 120])


def test_two_peaks_are_seen_and_a_shoulder_is_not():
    one, two = gaussians(0.5, 0.05), gaussians(1.5, 0.1)
    rows = np.concatenate(
        [one, 0.6 * one + 0.4 * two, 0.9 * one + 0.1 * two, one + gaussians(0.6, 0.1), one * np.nan]
    )
    assert is_multimodal(rows, GRID).tolist() == [False, True, False, False, False]


def test_densities_of_another_grid_are_refused():
    with pytest.raises(BadArguments, match="301 redshifts"):
        pdf.summarise(np.ones((2, 300)), GRID)
