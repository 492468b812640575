"""Probabilities of matches against what NWAY gave for the same sources (nway/README.md)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_crossmatch_spark import _matches

from astrolake.crossmatch.options import Sigma

pytestmark = pytest.mark.spark

DATA = Path(__file__).with_name("nway")
SIGMA = Sigma(("pos_err",))


@pytest.mark.parametrize(("mode", "max_rows"), [("all", 1000), ("best", 20)])
def test_the_probabilities_of_nway(spark, lake, put_catalog, mode, max_rows):
    for name in ("left", "right"):
        put_catalog(lake, name, pd.read_csv(DATA / f"{name}.csv"), max_rows)
    found = _matches(
        spark, lake, "left", "right", radius_arcsec=12.0, mode=mode, left_sigma=SIGMA, right_sigma=SIGMA,
        completeness=0.85, density_deg2=6001 / 0.25,
    )  # fmt: skip
    expected = pd.read_csv(DATA / "nway-4.8.0.csv")
    if mode == "best":
        expected = expected.loc[expected.groupby("left_id")["p_i"].idxmax()]
    both = expected.merge(found, on=["left_id", "right_id"], suffixes=("", "_ours"))
    assert len(both) == len(expected) == len(found) > 200
    np.testing.assert_allclose(both["log_bayes_factor_ours"], both["log_bayes_factor"], atol=1e-4)
    for name in ("p_single", "p_any", "p_i"):
        assert np.abs(both[f"{name}_ours"] - both[name]).max() < 1e-3


@pytest.mark.parametrize(
    ("path", "typical", "agreeing"), [(str(DATA / "mag_prior.txt"), 1e-4, 0.99), ("", 0.15, 0.9)]
)
def test_magnitude_priors(spark, lake, put_catalog, path, typical, agreeing):
    """The prior in NWAY's file, and the one that is learned from the same sources by other bins."""
    for name in ("left", "right"):
        put_catalog(lake, name, pd.read_csv(DATA / f"mag_{name}.csv"), 200)
    found = _matches(
        spark, lake, "left", "right", radius_arcsec=12.0, mode="all", left_sigma=SIGMA, right_sigma=SIGMA,
        completeness=0.8, density_deg2=3001 / 0.25, priors=(("mag", path),),
    )  # fmt: skip
    expected = pd.read_csv(DATA / "mag_nway-4.8.0.csv")
    both = expected.merge(found, on=["left_id", "right_id"], suffixes=("", "_ours"))
    assert len(both) == len(expected) == len(found) > 300
    # Where NWAY saw no counterpart of such a magnitude it rules the candidate out; here it is unlikely.
    seen = both["bias"] > 0
    away = np.abs(both["log_prior_weight"][seen] - np.log10(both["bias"][seen]))
    assert away.median() < typical
    assert (both["log_prior_weight"][~seen] < -0.5).all()
    for name in ("p_single", "p_any", "p_i"):
        assert (np.abs(both[f"{name}_ours"] - both[name]) < 0.01).mean() > agreeing
