"""Colour diagrams."""

import numpy as np
import pytest

from astrolake.errors import BadInput, MissingColumns
from astrolake.visualization.cloud import Cloud
from astrolake.visualization.colours import colours_picture, compact_border, locus_distance, stellar_locus

BANDS = ("g", "r", "i")


@pytest.fixture
def objects(make_objects):
    """Return 60 stars on the locus and 40 galaxies, whose apertures hold less of their light."""
    r_i = np.tile(np.linspace(0.1, 1.5, 20), 5)
    star = np.arange(100) < 60
    g_r = np.where(star, stellar_locus(r_i), 0.9)
    table = make_objects(np.full(100, 10.0), np.full(100, 0.0), r_i=np.where(star, r_i, 0.4), g_r=g_r)
    table["mag_aper_r"] = 20.0 + np.where(star, 0.03, 0.3)
    return table


def test_locus_is_that_of_juric_et_al():
    np.testing.assert_allclose(stellar_locus(np.array([0.0, 0.2, 3.0])), [0.0678, 0.5663, 1.39], atol=1e-4)


def test_points_on_the_locus_have_no_distance():
    r_i = np.linspace(0.1, 1.4, 30)
    assert locus_distance(Cloud(stellar_locus(r_i), r_i, np.ones(30))) < 1e-3


def test_distance_is_at_right_angles_to_the_locus():
    r_i = np.linspace(1.0, 1.5, 30)
    assert locus_distance(Cloud(stellar_locus(r_i) + 0.1, r_i, np.ones(30))) == pytest.approx(0.1, abs=1e-3)


def test_distance_of_few_points_is_unknown():
    assert np.isnan(locus_distance(Cloud(np.zeros(3), np.full(3, 0.5), np.ones(3))))


def test_border_lies_above_the_concentration_of_stars(make_source, objects):
    assert compact_border(make_source(objects=objects), BANDS) == pytest.approx(0.03 + 0.05, abs=0.011)


def test_without_precise_objects_stars_cannot_be_told_apart(make_source, objects):
    with pytest.raises(BadInput, match=r"no object is measured to 0\.02 mag in r"):
        colours_picture(make_source(objects=objects.assign(mag_auto_err_r=0.05)))


def test_stars_and_galaxies_are_told_apart(make_source, objects):
    drawing = colours_picture(make_source(objects=objects))
    assert drawing.title.startswith("60 point-like objects: 68 % lie within 0.00")
    titles = [axes.get_title(loc="left") for axes in drawing.figure.axes[:2]]
    assert titles == ["point-like (60)", "extended (40)"]


def test_saturated_and_faint_objects_are_left_out(make_source, objects):
    objects.loc[:9, "flags"] = 4
    objects.loc[10:19, "mag_aper_err_g"] = 0.2
    assert colours_picture(make_source(objects=objects)).title.startswith("40 point-like objects")


def test_magnitudes_run_downwards(make_source, objects):
    low, high = colours_picture(make_source(objects=objects)).figure.axes[0].get_ylim()
    assert low > high


def test_too_few_objects_are_refused(make_source, objects):
    with pytest.raises(BadInput, match="fewer than 10 objects"):
        colours_picture(make_source(objects=objects.head(5)))


def test_missing_bands_are_named(make_source, objects):
    with pytest.raises(MissingColumns, match="r_i"):
        colours_picture(make_source(objects=objects.drop(columns="r_i")))
