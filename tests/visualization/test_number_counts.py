"""Counts by magnitude."""

import numpy as np
import pandas as pd
import pytest

from astrolake.errors import BadInput, TableNotFound
from astrolake.visualization.number_counts import count_magnitudes, number_counts_picture

AREA_DEG2 = 399 * 299 * (0.4 / 3600.0) ** 2


@pytest.fixture
def source(make_source, make_objects, make_image_row):
    magnitude = np.repeat([18.1, 18.7, 19.2, 19.3, 20.6], [1, 2, 3, 5, 4])
    objects = make_objects(np.full(15, 150.0), np.full(15, 2.0), mag_auto_r=magnitude)
    objects["mag_auto_err_r"] = np.where(magnitude > 20.0, 0.21, 0.02)
    return make_source(objects=objects, images=pd.DataFrame([make_image_row(1, "r")]))


def test_bins_of_half_a_magnitude(source):
    counts = count_magnitudes(source, "r").counts
    np.testing.assert_array_equal(counts["centre"], [18.25, 18.75, 19.25, 20.75])
    np.testing.assert_array_equal(counts["n"], [1, 2, 8, 4])


def test_fullest_bin_and_depth(source):
    found = count_magnitudes(source, "r")
    assert found.peak_mag == 19.25
    assert found.depth_mag == pytest.approx(20.6)


def test_area_is_that_of_the_images(source):
    assert count_magnitudes(source, "r").area.deg2 == pytest.approx(AREA_DEG2, rel=0.003)


def test_curve_is_per_square_degree_with_gaps_where_bins_are_empty(make_source, make_objects, make_image_row):
    objects = make_objects([150.0, 150.0], [2.0, 2.0], mag_auto_r=np.array([18.1, 19.2]))
    only_r = objects.drop(columns=[name for name in objects if name.endswith(("_g", "_i"))])
    images = pd.DataFrame([make_image_row(1, "r")])
    drawing = number_counts_picture(make_source(objects=only_r, images=images))
    x, y = drawing.figure.axes[0].lines[0].get_data()
    np.testing.assert_allclose(x, [18.25, 18.75, 19.25])
    np.testing.assert_allclose(y, [1.0 / AREA_DEG2, np.nan, 1.0 / AREA_DEG2], rtol=0.003)


def test_title_states_the_depths(source):
    assert number_counts_picture(source).title == "The images reach r = 20.6 mag at 5σ"


def test_a_band_without_depth_is_left_out_of_the_title(make_source, make_objects):
    ra, dec = np.random.default_rng(1).uniform(10.0, 11.0, (2, 50))
    drawing = number_counts_picture(make_source(objects=make_objects(ra, dec)))
    assert drawing.title == "Number counts of the objects"
    assert "HEALPix cells of order" in drawing.caption


def test_objects_without_magnitudes_are_refused(make_source):
    with pytest.raises(BadInput, match="objects has no magnitudes"):
        number_counts_picture(make_source(objects=pd.DataFrame({"ra": [1.0]})))


def test_a_lake_without_objects_says_so(make_source):
    with pytest.raises(TableNotFound, match="no table objects"):
        number_counts_picture(make_source())
