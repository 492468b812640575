"""The sky that images cover."""

import numpy as np
import pandas as pd
import pytest

from astrolake.errors import BadInput
from astrolake.visualization.footprints import (
    WHOLE_SKY_DEG2,
    Footprints,
    cell_area_deg2,
    covered_area,
    image_footprints,
)


def square(ra, dec, side_deg):
    half_ra, half_dec = 0.5 * side_deg / np.cos(np.radians(dec)), 0.5 * side_deg
    return [ra - half_ra, ra + half_ra, ra + half_ra, ra - half_ra], [dec - half_dec] * 2 + [
        dec + half_dec
    ] * 2


def outlines(*squares):
    ra, dec = zip(*squares, strict=True)
    return Footprints(np.array(ra) % 360.0, np.array(dec))


def test_area_of_one_square():
    assert outlines(square(10.0, 0.0, 1.0)).area_deg2() == pytest.approx(1.0, rel=0.003)


def test_overlap_counts_once():
    assert outlines(square(10.0, 0.0, 1.0), square(10.5, 0.0, 1.0)).area_deg2() == pytest.approx(
        1.5, rel=0.003
    )


def test_area_does_not_depend_on_the_sense_of_the_corners():
    one = outlines(square(10.0, 60.0, 0.2))
    other = Footprints(one.ra[:, ::-1], one.dec[:, ::-1])
    assert other.area_deg2() == one.area_deg2()


def test_area_across_the_meridian():
    assert outlines(square(0.0, 30.0, 0.5)).area_deg2() == pytest.approx(0.25, rel=0.005)


def test_no_outlines_cover_nothing():
    empty = Footprints(np.empty((0, 4)), np.empty((0, 4)))
    assert empty.area_deg2() == 0.0
    assert not empty.cover(np.array([1.0]), np.array([2.0])).any()


def test_cover_tells_inside_from_outside():
    covered = outlines(square(0.0, 0.0, 1.0)).cover(
        np.array([0.4, 359.6, 0.6, 180.0]), np.array([0.4, 0.4, 0.0, 0.0])
    )
    np.testing.assert_array_equal(covered, [True, True, False, False])


def test_margin_leaves_the_edge_out():
    inside = outlines(square(0.0, 0.0, 1.0)).cover(np.array([0.499, 0.498]), np.zeros(2), margin_arcsec=5.0)
    np.testing.assert_array_equal(inside, [False, True])


def test_cells_of_an_order_tile_the_sky():
    assert 12 * 4**5 * cell_area_deg2(5) == pytest.approx(WHOLE_SKY_DEG2)


def test_only_science_images_of_the_band_are_read(make_source, make_image_row):
    rows = [make_image_row(1, "r"), make_image_row(2, "R"), make_image_row(3, "g"), make_image_row(4, "r")]
    rows[3]["image_type"] = "mask"
    assert len(image_footprints(make_source(images=pd.DataFrame(rows)), "r")) == 2


def test_images_without_corners_are_left_out(make_source, make_image_row):
    rows = [make_image_row(1, "r"), make_image_row(2, "r", corners_ra=None, corners_dec=None)]
    assert len(image_footprints(make_source(images=pd.DataFrame(rows)), "r")) == 1


def test_area_of_a_band_is_that_of_its_images(make_source, make_image_row):
    area = covered_area(
        make_source(images=pd.DataFrame([make_image_row(1, "r"), make_image_row(2, "r")])), "r"
    )
    assert area.deg2 == pytest.approx(399 * 299 * (0.4 / 3600.0) ** 2, rel=0.003)
    assert area.method.startswith("outlines of the images")


def test_area_without_images_comes_from_the_objects(make_source, make_objects):
    ra, dec = np.random.default_rng(1).uniform([10.0, 0.0], [12.0, 2.0], (20_000, 2)).T
    area = covered_area(make_source(objects=make_objects(ra, dec)), "r")
    assert area.deg2 == pytest.approx(4.0, rel=0.12)
    assert area.method == "HEALPix cells of order 10 that hold objects"


def test_no_objects_have_no_area(make_source, make_objects):
    objects = make_objects([10.0], [0.0], mag_auto_r=np.array([np.nan]))
    objects["mag_auto_r"] = objects["mag_auto_r"].astype("Float64").mask([True])
    with pytest.raises(BadInput, match="no object has a magnitude in r"):
        covered_area(make_source(objects=objects), "r")
