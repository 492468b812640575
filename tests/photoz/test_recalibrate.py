from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from astrolake.errors import BadInput
from astrolake.photoz import pdf
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.recalibrate import Recalibration

GRID = RedshiftGrid()


def gaussians(mean, sigma):
    return (np.diff(norm.cdf(GRID.edges, mean[:, None], sigma[:, None]), axis=1) / GRID.step).astype(
        np.float32
    )


def ks(pit):
    ordered, n = np.sort(pit), len(pit)
    return max((np.arange(1, n + 1) / n - ordered).max(), (ordered - np.arange(n) / n).max())


def coverage(density, z):
    found = pdf.summarise(density, GRID)
    return (z >= found["z_lo68"]) & (z <= found["z_hi68"])


@pytest.fixture(scope="module")
def wrong():
    """Densities that are too narrow at low and too wide at high redshift, shifted where faint."""
    rng = np.random.default_rng(7)
    z, mag = rng.uniform(0.3, 2.5, 9000), rng.uniform(18, 24, 9000)
    sigma = 0.05 * (1 + z)
    mean = z + sigma * rng.standard_normal(9000) + np.interp(mag, [18, 24], [0, 0.7]) * sigma
    return gaussians(mean, sigma * np.interp(z, [0.3, 2.5], [0.5, 1.6])), z, mag


def test_intervals_cover_what_they_say_in_every_bin(wrong):
    density, z, mag = wrong
    before = coverage(density, z)
    calibration = Recalibration.learn(density[:5000], GRID, z[:5000], mag[:5000])
    after = calibration.apply(density[5000:], GRID, mag[5000:])
    inside, point = coverage(after, z[5000:]), pdf.summarise(density[5000:], GRID)["z_median"]
    assert before[z < 0.8].mean() < 0.5
    assert inside.mean() == pytest.approx(0.68, abs=0.02)
    for values in (mag[5000:], point):
        edges = np.quantile(values, np.linspace(0, 1, 6))
        for low, high in pairwise(edges):
            assert inside[(values >= low) & (values <= high)].mean() == pytest.approx(0.68, abs=0.05)
    assert ks(pdf.cdf_at(density[5000:], GRID, z[5000:])) > 0.06
    assert ks(pdf.cdf_at(after, GRID, z[5000:])) < 0.02


def test_densities_stay_densities_and_points_get_no_worse(wrong):
    density, z, mag = wrong
    after = Recalibration.learn(density, GRID, z, mag).apply(density, GRID, mag)
    assert after.sum(axis=1) * GRID.step == pytest.approx(np.ones(len(z)), abs=1e-4)
    assert after.min() >= 0
    before, now = (pdf.summarise(rows, GRID)["z_phot"] for rows in (density, after))
    assert np.abs(now - z).mean() < np.abs(before - z).mean()
    faint = mag > 22.5
    assert abs(np.median((now - z)[faint])) < 0.3 * abs(np.median((before - z)[faint]))


def test_true_densities_are_left_nearly_as_they_are():
    rng = np.random.default_rng(8)
    z = rng.uniform(0.5, 2, 4000)
    density = gaussians(z + 0.1 * rng.standard_normal(4000), np.full(4000, 0.1))
    mag = rng.uniform(18, 24, 4000)
    after = Recalibration.learn(density, GRID, z, mag).apply(density, GRID, mag)
    now, before = pdf.summarise(after, GRID), pdf.summarise(density, GRID)
    inner = (before["z_phot"] > 0.8) & (before["z_phot"] < 1.7)
    assert np.abs(now["z_phot"] - before["z_phot"])[inner].max() < 0.03
    assert np.abs(now["z_phot_err"] / before["z_phot_err"] - 1)[inner].max() < 0.2
    assert np.median(now["z_phot_err"]) == pytest.approx(0.0994, rel=0.05)


def test_rows_without_density_stay_so_and_maps_come_back(wrong):
    density, z, mag = wrong
    calibration = Recalibration.learn(density, GRID, z, mag)
    again = Recalibration.from_arrays(calibration.arrays())
    rows = density[:3].copy()
    rows[1] = np.nan
    after = again.apply(rows, GRID, np.array([18.0, 19.0, np.nan]))
    assert np.isnan(after[1]).all()
    assert np.isfinite(after[[0, 2]]).all()
    assert np.array_equal(after[0], calibration.apply(density[:1], GRID, mag[:1] * 0 + 18.0)[0])
    assert not np.isnan(density).any()


def test_a_few_rows_calibrate_nothing(wrong):
    density, z, mag = wrong
    with pytest.raises(BadInput, match="10 rows are held back; calibration needs 200"):
        Recalibration.learn(density[:10], GRID, z[:10], mag[:10])
