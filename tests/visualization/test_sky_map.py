"""The map of the sky."""

import numpy as np
import pandas as pd
import pytest

from astrolake.errors import BadInput, TableNotFound
from astrolake.visualization.sky_map import sky_map_picture


def scattered(n, ra, dec, side_deg, seed=1):
    return np.random.default_rng(seed).uniform([ra, dec], [ra + side_deg, dec + side_deg], (n, 2)).T


def test_title_states_the_density_inside_the_images(make_source, make_objects, make_image_row):
    ra, dec = scattered(400, 149.99, 1.99, 0.02)
    images = pd.DataFrame([make_image_row(1, "r"), make_image_row(2, "g")])
    drawing = sky_map_picture(make_source(objects=make_objects(ra, dec), images=images))
    assert drawing.title == "400 objects in 0.00147 deg²: 75 per arcmin²"
    assert "outlines of 2 images" in drawing.caption


def test_right_ascension_rises_to_the_left(make_source, make_objects):
    drawing = sky_map_picture(make_source(objects=make_objects(*scattered(300, 359.5, 10.0, 1.0))))
    wcs = drawing.figure.axes[0].wcs
    east, west = wcs.wcs_world2pix([0.2, 359.8], [10.5, 10.5], 0)[0]
    assert east < west


def test_a_lake_of_two_parts_shows_the_fuller_one(make_source, make_objects):
    ra, dec = np.hstack([scattered(100, 20.0, -10.0, 1.0), scattered(200, 200.0, 40.0, 1.0)])
    drawing = sky_map_picture(make_source(objects=make_objects(ra % 360.0, dec)))
    assert "Around the fullest cell (200 objects)" in drawing.caption
    assert drawing.title.startswith("300 objects in ")
    assert drawing.figure.axes[0].wcs.wcs.crval[0] == pytest.approx(200.5, abs=0.1)


def test_pole_can_be_drawn(make_source, make_objects):
    ra, dec = scattered(200, 0.0, 89.0, 0.9)
    assert sky_map_picture(make_source(objects=make_objects(ra * 400.0 % 360.0, dec))).title.startswith(
        "200 objects"
    )


def test_no_objects_are_refused(make_source, make_objects):
    with pytest.raises(BadInput, match="objects is empty"):
        sky_map_picture(make_source(objects=make_objects([], [])))


def test_a_lake_without_objects_says_so(make_source):
    with pytest.raises(TableNotFound, match="no table objects"):
        sky_map_picture(make_source())
