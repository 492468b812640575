"""From region to footprints and cones, and what every archive's options have in common."""

from dataclasses import replace

import numpy as np
import pytest

from astrolake.data_access.imaging.find import find_images
from astrolake.data_access.imaging.footprints import enclosing_cones, rectangles, touching
from astrolake.data_access.surveys.model import Service
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import BadArguments
from astrolake.lake.storage import Storage
from astrolake.sky.healpix import cell_center, cells_at_order
from astrolake.sky.ranges import cell_ranges
from astrolake.sky.region import Box, Cone, Moc, Polygon
from astrolake.sky.separation import separation_arcsec
from tests.data_access.imaging_fixtures import client, server, target
from tests.data_access.servers.archives import on_loopback, serve_tiles

__all__ = ["client", "server", "target"]

REGIONS = {
    "cone": Cone(10.0, 20.0, 0.3),
    "cone at RA 0": Cone(359.99, -5.0, 0.4),
    "cone at the pole": Cone(40.0, 89.9, 0.5),
    "box over RA 0": Box(359.0, 1.0, -1.0, 1.0),
    "box of 20 deg": Box(100.0, 120.0, -10.0, 10.0),
    "polygon": Polygon((10.0, 12.0, 11.0), (40.0, 40.0, 43.0)),
    "moc of two": Moc(cell_ranges(6, np.array([1, 30000]))),
}


def sample(region, n=4000):
    """Return positions spread over a region."""
    ranges, rng = region.ranges(), np.random.default_rng(3)
    length = ranges[:, 1] - ranges[:, 0]
    chosen = rng.choice(len(ranges), n, p=length / length.sum())
    ra, dec = cell_center(29, ranges[chosen, 0] + (rng.uniform(size=n) * length[chosen]).astype(np.int64))
    inside = region.contains(ra, dec)
    return ra[inside], dec[inside]


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_cones_hold_the_region(region):
    cones = enclosing_cones(region)
    ra, dec = sample(region)
    assert ra.size
    held = [separation_arcsec(cone.ra, cone.dec, ra, dec) <= cone.radius * 3600 for cone in cones]
    assert np.any(held, axis=0).all()


@pytest.mark.parametrize(
    ("region", "most"),
    [
        (REGIONS["cone"], 1),
        (REGIONS["box over RA 0"], 1),
        (REGIONS["box of 20 deg"], 24),
        (Box(0, 360, -90, 90), 768),
    ],
)
def test_cones_are_few(region, most):
    assert 1 <= len(enclosing_cones(region)) <= most


def test_parts_of_a_scattered_region_are_asked_for_by_themselves():
    cones = enclosing_cones(REGIONS["moc of two"])
    assert len(cones) == 2
    assert max(cone.radius for cone in cones) < 1.0


@pytest.mark.parametrize("name", ["cone", "cone at RA 0", "cone at the pole", "polygon"])
def test_footprints_that_touch_are_those_that_share_a_place(name):
    region = REGIONS[name]
    ra, dec = sample(region)
    middle = enclosing_cones(region)[0]
    rng = np.random.default_rng(5)
    angle, away = rng.uniform(0, 2 * np.pi, 300), middle.radius * np.sqrt(rng.uniform(0, 9, 300))
    centre_dec = np.clip(middle.dec + away * np.cos(angle), -89.99, 89.99)
    centre_ra = middle.ra + away * np.sin(angle) / np.cos(np.radians(centre_dec))
    found = touching(region.ranges(), *rectangles(centre_ra, centre_dec, 0.1, 0.1))
    # A circle in the image holds a place of the region: it touches. One around it is far from all: it does not.
    nearest = np.array(
        [separation_arcsec(a, d, ra, dec).min() for a, d in zip(centre_ra, centre_dec, strict=True)]
    )
    assert found[nearest < 0.1 * 3600].all()
    assert not found[nearest > (0.1 * np.sqrt(2) + 0.06) * 3600].any()
    assert 0 < found.sum() < 300


def test_survey_without_images_says_so(client, target):
    with pytest.raises(BadArguments, match=r"Gaia publishes no images"):
        find_images(load_survey("gaia"), Cone(10, 10, 0.1), "", client, target)


def test_unknown_band_names_those_there_are(client, target):
    with pytest.raises(BadArguments, match=r"no bands q; they have u, g, r, i, z"):
        find_images(load_survey("sdss"), Cone(10, 10, 0.1), "gq", client, target)


@pytest.mark.parametrize("bands", ["W2", "W2,W2", ["W2"], ("W2",)])
def test_bands_may_be_given_in_several_ways(server, client, target, bands):
    serve_tiles(server, {"0000p000": (0.0, 0.0)})
    survey = on_loopback(load_survey("wise"), server)
    files = find_images(survey, Cone(0, 0, 0.1), bands, client, target, planes=("img",))
    assert [file.band for file in files] == ["W2"]


@pytest.mark.parametrize(
    ("region", "tiles"),
    [
        (Polygon((359.5, 0.5, 0.0), (-0.2, -0.2, 0.3)), {"0000p000"}),
        (Polygon((358.0, 2.0, 0.0), (-0.1, -0.1, 0.1)), {"0000p000", "0015p000", "3585p000"}),
        (
            Moc(cell_ranges(10, cells_at_order(np.array([0.1, 180.0]), np.array([0.1, 45.0]), 10))),
            {"0000p000", "1800p454"},
        ),
        (Moc(cell_ranges(10, np.array([], np.int64))), set()),
    ],
    ids=["polygon", "long polygon", "moc", "empty moc"],
)
def test_polygons_and_maps_are_regions_too(server, client, region, tiles):
    centres = {
        "0000p000": (0.0, 0.0),
        "0015p000": (1.5, 0.0),
        "3585p000": (358.5, 0.0),
        "1800p454": (180.0, 45.43),
    }
    serve_tiles(server, centres)
    bucket = Storage.at("s3://bucket/lake/downloads")
    survey = on_loopback(load_survey("wise"), server)
    files = find_images(survey, region, "W1", client, bucket, planes=("img",))
    assert {file.url.split("/")[-2] for file in files} == tiles
    root = "s3://bucket/lake/downloads/neo7/unwise-coadds/fulldepth/"
    assert all(file.uri.startswith(root) for file in files)


def test_no_bands_mean_all(server, client, target):
    serve_tiles(server, {"0000p000": (0.0, 0.0)})
    survey = on_loopback(load_survey("wise"), server)
    files = find_images(survey, Cone(0, 0, 0.1), "", client, target, planes=("img",))
    assert sorted(file.band for file in files) == ["W1", "W2", "W3", "W4"]


def test_unknown_option_names_those_there_are(client, target):
    with pytest.raises(BadArguments, match=r"no options epochs; they have all_epochs"):
        find_images(load_survey("sdss"), Cone(10, 10, 0.1), "g", client, target, epochs=True)


def test_unknown_protocol_names_those_there_are(client, target):
    survey = replace(load_survey("sdss"), imaging=Service("ftp", "https://none.invalid"))
    with pytest.raises(
        BadArguments, match=r"'ftp' is none of legacy_bricks, panstarrs, sdss_frames, sia2, unwise"
    ):
        find_images(survey, Cone(10, 10, 0.1), "g", client, target)
