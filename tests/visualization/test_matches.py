"""Separations and offsets of cross-matched positions."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rayleigh

from astrolake.errors import BadInput, TableNotFound
from astrolake.visualization.matches import measure_separations, rayleigh_fraction, sample_offsets
from astrolake.visualization.separations import separations_picture

TABLE = "crossmatches_objects_x_gaia"


def pairs(separations, rank=1):
    n = len(separations)
    return pd.DataFrame(
        {"left_id": np.arange(n), "right_id": 100 + np.arange(n), "sep_arcsec": separations, "rank": rank}
    )


def catalog(ra, dec, **columns):
    ra = np.asarray(ra, dtype=np.float64)
    return pd.DataFrame({"source_id": 100 + np.arange(ra.size), "ra": ra, "dec": dec}).assign(**columns)


def test_separations_are_counted_in_logarithmic_bins(make_source):
    found = measure_separations(make_source(**{TABLE: pairs([0.011, 0.012, 0.11])}), TABLE)
    np.testing.assert_array_equal(found.counts["centre"], [-1.9375, -0.9375])
    np.testing.assert_array_equal(found.counts["n"], [2, 1])


def test_only_nearest_matches_count(make_source):
    table = pd.concat([pairs([0.1, 0.2]), pairs([0.5], rank=2), pairs([np.nan], rank=0)])
    assert measure_separations(make_source(**{TABLE: table}), TABLE).n == 2


def test_quantiles_of_the_separations(make_source):
    found = measure_separations(make_source(**{TABLE: pairs(np.linspace(0.0, 1.0, 1001))}), TABLE)
    assert found.quantiles_arcsec[0.5] == pytest.approx(0.5, abs=0.01)
    assert found.quantiles_arcsec[0.95] == pytest.approx(0.95, abs=0.01)


def test_a_cross_match_without_matches_is_refused(make_source):
    with pytest.raises(BadInput, match="has no match"):
        measure_separations(make_source(**{TABLE: pairs([])}), TABLE)


def test_offsets_are_object_minus_catalog_across_the_meridian(make_source, make_objects):
    objects = make_objects([0.00001, 359.99999], [60.0, 60.0])
    gaia = catalog([359.99999, 0.00001], [60.0001, 60.0])
    offsets = sample_offsets(
        make_source(objects=objects, gaia=gaia, **{TABLE: pairs([0.1, 0.2])}), TABLE, "gaia"
    )
    np.testing.assert_allclose(offsets.ra_arcsec, [0.036, -0.036], atol=1e-6)
    np.testing.assert_allclose(offsets.dec_arcsec, [-0.36, 0.0], atol=1e-6)
    assert not offsets.moved


def test_catalog_is_moved_to_the_epoch_of_each_object(make_source, make_objects):
    mjd = 57388.5 + np.array([0.0, 10.0]) * 365.25
    objects = make_objects([10.0, 20.0], [0.0, 5.0 / 3600.0], first_mjd=mjd, last_mjd=mjd)
    gaia = catalog([10.0, 20.0], [0.0, 0.0], pmra=0.0, pmdec=500.0, ref_epoch=2016.0)
    offsets = sample_offsets(
        make_source(objects=objects, gaia=gaia, **{TABLE: pairs([0.1, 0.2])}), TABLE, "gaia"
    )
    np.testing.assert_allclose(offsets.dec_arcsec, [0.0, 0.0], atol=1e-3)
    assert offsets.moved


def test_errors_of_both_positions_are_joined(make_source, make_objects):
    objects = make_objects([10.0], [0.0], ra_err=0.3, dec_err=0.3)
    gaia = catalog([10.0], [0.0], ra_error=400.0, dec_error=400.0)
    offsets = sample_offsets(make_source(objects=objects, gaia=gaia, **{TABLE: pairs([0.1])}), TABLE, "gaia")
    np.testing.assert_allclose(offsets.sigma_arcsec, [0.5])


def test_right_errors_hold_three_sigma(make_source, make_objects):
    rng = np.random.default_rng(1)
    dec = rng.normal(0.0, 0.1, 3000) / 3600.0
    objects = make_objects(10.0 + rng.normal(0.0, 0.1, 3000) / 3600.0, dec, ra_err=0.1, dec_err=0.1)
    source = make_source(
        objects=objects, gaia=catalog(np.full(3000, 10.0), 0.0), **{TABLE: pairs(np.ones(3000))}
    )
    assert sample_offsets(source, TABLE, "gaia").within_three_sigma == pytest.approx(0.989, abs=0.006)


def test_expected_fractions_are_those_of_rayleigh():
    edges = np.array([0.0, 0.1, 0.3, 2.0])
    expected = np.mean([np.diff(rayleigh.cdf(edges, scale=sigma)) for sigma in (0.1, 0.4)], axis=0)
    np.testing.assert_allclose(rayleigh_fraction(edges, np.array([0.1, 0.4])), expected)


def test_picture_states_the_separations(make_source, make_objects):
    objects = make_objects([10.0, 11.0], [0.0, 0.0], ra_err=0.01, dec_err=0.01)
    tables = {"objects": objects, "gaia": catalog([10.0, 11.0], 0.00001), TABLE: pairs([0.036, 0.036])}
    drawing = separations_picture(make_source(**tables))
    assert drawing.title == "2 gaia matches: half within 36 mas, 95 % within 36 mas"
    assert len(drawing.figure.axes) == 2


def test_separations_alone_are_drawn_when_the_catalog_is_gone(make_source):
    drawing = separations_picture(make_source(**{TABLE: pairs([0.1, 0.2])}))
    assert len(drawing.figure.axes) == 1
    assert drawing.caption.endswith("no offsets.")


def test_a_lake_without_the_cross_match_says_so(make_source):
    with pytest.raises(TableNotFound, match="no table crossmatches_objects_x_sdss"):
        separations_picture(make_source(), "sdss")
