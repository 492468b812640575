"""Fields seen in several bands."""

import pandas as pd
import pytest

from astrolake.errors import BadInput, TableNotFound
from astrolake.visualization.field import find_field


def test_images_come_in_the_order_of_the_bands(make_source, make_image_row):
    rows = [make_image_row(number, band) for number, band in enumerate("gri")]
    found = find_field(make_source(images=pd.DataFrame(rows)), ("i", "r", "g"))
    assert [image.band for image in found] == ["i", "r", "g"]


def test_images_of_the_same_visit_are_preferred(make_source, make_image_row, make_wcs):
    rows = [
        make_image_row(1, "r", visit="2"),
        make_image_row(2, "g", visit="1"),
        make_image_row(3, "g", make_wcs(shift_px=(9.0, 0.0)), visit="2"),
    ]
    found = find_field(make_source(images=pd.DataFrame(rows)), ("r", "g"))
    assert [image.image_id for image in found] == [1, 3]


def test_a_field_that_lacks_a_band_is_passed_over(make_source, make_image_row, make_wcs):
    there = make_wcs(ra=210.0)
    rows = [make_image_row(1, "r"), make_image_row(2, "r", there), make_image_row(3, "g", there)]
    found = find_field(make_source(images=pd.DataFrame(rows)), ("r", "g"))
    assert [image.image_id for image in found] == [2, 3]


def test_fields_meet_across_the_meridian(make_source, make_image_row, make_wcs):
    rows = [make_image_row(1, "r", make_wcs(ra=359.9995)), make_image_row(2, "g", make_wcs(ra=0.0005))]
    assert len(find_field(make_source(images=pd.DataFrame(rows)), ("r", "g"))) == 2


def test_images_with_the_fewest_bad_pixels_win(make_source, make_image_row, make_wcs):
    rows = [
        make_image_row(1, "r", bad_fraction=0.2),
        make_image_row(2, "r", make_wcs(ra=10.0), bad_fraction=0.0),
    ]
    assert find_field(make_source(images=pd.DataFrame(rows)), ("r",))[0].image_id == 2


def test_masks_and_images_without_wcs_are_not_used(make_source, make_image_row):
    rows = [make_image_row(1, "r", image_type="mask"), make_image_row(2, "r", wcs_header=None)]
    with pytest.raises(BadInput, match="no field has science images with a WCS in all of r"):
        find_field(make_source(images=pd.DataFrame(rows)), ("r",))


def test_missing_numbers_and_texts_are_read(make_source, make_image_row):
    rows = [make_image_row(1, "r"), make_image_row(2, "r", zero_point_ab=None, visit=None, bad_fraction=-1.0)]
    (image,) = find_field(make_source(images=pd.DataFrame(rows)), ("r",))
    assert image.visit == ""
    assert image.zero_point_ab != image.zero_point_ab


def test_a_lake_without_images_says_so(make_source):
    with pytest.raises(TableNotFound, match="no table images"):
        find_field(make_source(), ("r",))
