"""Completeness and photometric error."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from astrolake.visualization.completeness import (
    completeness,
    completeness_picture,
    limiting_magnitude,
    wilson_interval,
)
from astrolake.visualization.truth import TruthMatch


def matched(true_mag, found, kind="star"):
    true = np.asarray(true_mag, dtype=np.float64)
    measured = np.where(found, true, np.nan)
    return TruthMatch(np.full(true.size, kind), true, measured)


def test_fractions_of_bins():
    centre, fraction, _ = completeness(matched(np.repeat([18.2, 19.7], 8), np.arange(16) < 12))
    np.testing.assert_array_equal(centre, [18.25, 19.75])
    np.testing.assert_array_equal(fraction, [1.0, 0.5])


def test_bins_of_few_sources_are_left_out():
    centre, _, _ = completeness(matched(np.repeat([18.2, 19.7], [8, 4]), True))
    np.testing.assert_array_equal(centre, [18.25])


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 7), (5, 5), (180, 200)])
def test_interval_is_wilsons(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.6826894921370859, method="wilson")
    low, high = wilson_interval([successes], [trials])
    assert low[0] == pytest.approx(expected.low, abs=1e-9)
    assert high[0] == pytest.approx(expected.high, abs=1e-9)


def test_limit_lies_between_the_bins_where_the_level_is_crossed():
    centre = np.array([20.0, 21.0, 22.0])
    assert limiting_magnitude(centre, np.array([1.0, 1.0, 0.0]), 0.9) == pytest.approx(21.1)


def test_limit_passes_over_a_dip_at_the_bright_end():
    fraction = np.array([1.0, 0.85, 0.95, 0.45])
    assert limiting_magnitude(np.arange(4.0), fraction, 0.9) == pytest.approx(2.1)


@pytest.mark.parametrize("fraction", [[1.0, 0.95], [0.5, 0.3], []])
def test_limit_is_unknown_where_the_level_is_not_crossed(fraction):
    assert np.isnan(limiting_magnitude(np.arange(float(len(fraction))), np.array(fraction), 0.9))


def test_picture_states_the_limits(tmp_path, make_source, make_objects, make_image_row):
    mag = np.repeat([18.25, 18.75], 10)
    dec = 2.0 + np.linspace(-0.012, 0.012, 20)
    truth = pd.DataFrame({"ra": 150.0, "dec": dec, "pmra": 0.0, "pmdec": 0.0, "type": "galaxy", "mag_r": mag})
    truth.to_parquet(tmp_path / "truth.parquet")
    objects = make_objects(np.full(10, 150.0), dec[:10], mag_auto_r=mag[:10] + 0.1)
    source = make_source(objects=objects, images=pd.DataFrame([make_image_row(1, "r")]))
    drawing = completeness_picture(source, tmp_path / "truth.parquet")
    assert drawing.title == "90 % complete: galaxies to r = 18.3"
    assert drawing.caption.startswith("20 true sources at least 4″ inside the images in r, 10 found")
    offsets = drawing.figure.axes[1].collections[0].get_offsets()
    np.testing.assert_allclose(offsets[:, 1], 0.1)
