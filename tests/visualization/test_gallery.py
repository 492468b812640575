"""All pictures of a lake."""

import numpy as np
import pandas as pd
import pytest

from astrolake.errors import BadInput
from astrolake.visualization.gallery import PLOTS, lake_pictures

NAMES = [plot.name for plot in PLOTS]


def unreadable(uri, hdu):
    raise FileNotFoundError(f"no such file: {uri}")


@pytest.fixture
def lake(make_query, make_objects, make_image_row, make_wcs, make_scene):
    """Return query and reader of a lake that has all tables."""
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform([149.985, 1.988], [150.015, 2.012], (120, 2)).T
    wcs = make_wcs()
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    images = pd.DataFrame([make_image_row(number, band) for number, band in enumerate("gri")])
    shape = {"a": 2.0, "b": 1.5, "theta": 0.0, "kron_radius": 3.5, "flags": 0, "is_primary": True}
    detections = pd.DataFrame({"x": x, "y": y, "image_id": 1, "flux_auto": 5.0}).assign(**shape)
    gaia = pd.DataFrame({"source_id": np.arange(120), "ra": ra, "dec": dec + 1e-5})
    pairs = pd.DataFrame(
        {"left_id": np.arange(120), "right_id": np.arange(120), "sep_arcsec": 0.036, "rank": 1}
    )
    scene = make_scene(wcs, ra, dec, np.full(120, 20.0))
    tables = {"images": images, "detections": detections, "objects": make_objects(ra, dec), "gaia": gaia}
    return make_query(**tables, crossmatches_objects_x_gaia=pairs), lambda uri, hdu: scene, (ra, dec)


@pytest.fixture
def image_lake(make_query, make_image_row, make_objects):
    """Return the query of a lake that has images, one detection, and objects without magnitudes."""
    images = pd.DataFrame([make_image_row(number, band) for number, band in enumerate("gri")])
    shape = {"a": 2.0, "b": 1.5, "theta": 0.0, "kron_radius": 3.5, "flags": 0, "is_primary": True}
    detections = pd.DataFrame({"x": [9.0], "y": [9.0], "image_id": 1, "flux_auto": 5.0}).assign(**shape)
    objects = make_objects([150.0], [2.0])[["_healpix_29", "ra", "dec"]]
    return make_query(images=images, detections=detections, objects=objects)


def test_a_whole_lake_gives_all_pictures(lake, tmp_path):
    query, read, (ra, dec) = lake
    truth = pd.DataFrame({"ra": ra, "dec": dec, "pmra": 0.0, "pmdec": 0.0, "type": "star", "mag_r": 20.0})
    truth.to_parquet(tmp_path / "truth.parquet")
    pictures = lake_pictures(query, read, tmp_path / "out", tmp_path / "truth.parquet")
    assert [picture.name for picture in pictures] == NAMES
    assert [picture.skipped for picture in pictures] == [""] * len(NAMES)
    assert all(picture.path.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert all(picture.title and picture.caption for picture in pictures)


def test_an_empty_lake_skips_every_picture_with_its_reason(make_query, tmp_path):
    pictures = lake_pictures(make_query(), unreadable, tmp_path)
    assert [picture.path for picture in pictures] == [None] * len(NAMES)
    reasons = {picture.name: picture.skipped for picture in pictures}
    assert reasons["colour_composite"].startswith("the lake has no table images")
    assert reasons["separations"].startswith("the lake has no table crossmatches_objects_x_gaia")
    assert reasons["completeness"] == "no table of true sources was given: real skies have none"


def test_images_that_are_gone_skip_only_their_pictures(image_lake, tmp_path):
    pictures = {p.name: p for p in lake_pictures(image_lake, unreadable, tmp_path)}
    assert pictures["colour_composite"].skipped == "no such file: i2.fits"
    assert pictures["detections"].skipped == "no such file: r1.fits"
    assert pictures["sky_map"].path is not None


def test_images_that_are_damaged_skip_their_pictures(image_lake, tmp_path):
    def damaged(uri, hdu):
        raise BadInput(f"{uri}: cut off", "Truncated")

    pictures = {p.name: p for p in lake_pictures(image_lake, damaged, tmp_path)}
    assert pictures["detections"].skipped == "r1.fits: cut off"


def test_another_catalog_can_be_named(make_query, tmp_path):
    pictures = {p.name: p for p in lake_pictures(make_query(), unreadable, tmp_path, catalog="sdss")}
    assert "no table crossmatches_objects_x_sdss" in pictures["separations"].skipped


def test_programming_errors_are_not_hidden(image_lake, tmp_path):
    def broken(uri, hdu):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lake_pictures(image_lake, broken, tmp_path)
