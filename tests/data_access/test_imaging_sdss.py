"""Frames of SDSS: fields by real SQL, footprints against the WCS of a real frame, faults of SkyServer."""

import bz2

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolake.data_access.imaging.find import find_images
from astrolake.data_access.imaging.sdss import field_query, frame_corners
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import ServiceError
from astrolake.sky.region import Box, Cone
from astrolake.sky.separation import separation_arcsec
from tests.data_access.imaging_fixtures import client, places, server, target
from tests.data_access.servers.archives import Field, on_loopback, serve_fields

__all__ = ["client", "server", "target"]

#: The frame of the sample, as asTrans of frame-r-004510-4-0030 and its WCS have it.
REAL = Field(4510, 4, 30, 200.454501361, 36.8083361051, 94.971781, 37.442229)


def stripe(run=94, first_ra=359.0, count=20, primary_area=0.02, **changes):
    """Return fields along the equator, 0.15 deg apart, of one camera column."""
    centres = (first_ra + 0.15 * np.arange(count)) % 360.0
    return [
        Field(run, 1, 11 + i, float(ra), 0.0, 95.0, 0.0, primary_area, **changes)
        for i, ra in enumerate(centres)
    ]


@pytest.fixture
def survey(server):
    return on_loopback(load_survey("sdss", "dr17"), server)


@pytest.mark.data
@pytest.mark.parametrize(("node", "incl"), [(REAL.node, REAL.incl), (95.0, 37.5)])
def test_corners_are_those_of_the_frame(survey_data, node, incl):
    with bz2.open(survey_data / "images_sdss" / "frame-r-004510-4-0030.fits.bz2") as stream:
        header = fits.Header.fromfile(stream)
    x, y = np.array([-0.5, -0.5, 2047.5, 2047.5]), np.array([-0.5, 1488.5, 1488.5, -0.5])
    ra, dec = WCS(header).all_pix2world(x, y, 0)
    found = frame_corners(*np.array([[REAL.ra], [REAL.dec], [node], [incl]]))
    away = [separation_arcsec(a, d, *map(np.ravel, found)) for a, d in zip(ra, dec, strict=True)]
    # Corners lie outwards by the margin of half an overlap, in both directions.
    margin = 64 * 0.396 * np.sqrt(2)
    assert sorted(np.argmin(away, axis=1)) == [0, 1, 2, 3]
    assert np.min(away, axis=1) == pytest.approx(margin, abs=3.0)


def test_frames_of_a_region_in_the_order_of_their_places(server, survey, client, target):
    serve_fields(server, [REAL, *stripe()])
    files = find_images(survey, Cone(200.45, 36.81, 0.02), "ri", client, target)
    root = f"{server.url}/sas/dr17/eboss/photoObj/frames/301/4510/4"
    assert [(file.band, file.url) for file in files] == [
        ("i", f"{root}/frame-i-004510-4-0030.fits.bz2"),
        ("r", f"{root}/frame-r-004510-4-0030.fits.bz2"),
    ]
    assert places(files, target)[0] == "4510/4/frame-i-004510-4-0030.fits.bz2"


def test_one_query_finds_the_fields_on_both_sides_of_ra_0(server, survey, client, target):
    fields = stripe()
    serve_fields(server, fields)
    files = find_images(survey, Box(359.9, 0.1, -0.1, 0.1), "r", client, target)
    half = 1489 / 2 * 0.396 / 3600
    near = [f.field for f in fields if abs((f.ra + 180) % 360 - 180) < 0.1 + half]
    far = [f.field for f in fields if abs((f.ra + 180) % 360 - 180) > 0.1 + half + 0.03]
    found = {int(file.url[-13:-9]) for file in files}
    assert set(near) <= found
    assert not found & set(far)
    assert len(server.requests) == 1
    assert server.requests[0].query["format"] == "csv"


def test_only_primary_fields_unless_all_epochs_are_asked_for(server, survey, client, target):
    scans = [*stripe(run=94), *stripe(run=125, primary_area=0.0), *stripe(run=94, rerun=157)]
    serve_fields(server, scans)
    region = Cone(0.0, 0.0, 0.01)
    primary = find_images(survey, region, "r", client, target)
    every = find_images(survey, region, "r", client, target, all_epochs=True)
    assert {file.url.split("/")[-3] for file in primary} == {"94"}
    assert {file.url.split("/")[-3] for file in every} == {"94", "125"}
    assert all("/301/" in file.url for file in every)


def test_a_field_of_two_parts_of_a_region_comes_once(server, survey, client, target):
    serve_fields(server, stripe(first_ra=0.0, count=160))
    files = find_images(survey, Box(0.0, 22.0, -0.1, 0.1), "r", client, target)
    # Of a border this long the ranges are coarse: up to two fields beside the region are among them.
    assert len(files) == len({file.url for file in files})
    assert 148 <= len(files) <= 150
    assert 2 <= len(server.requests) <= 8


def test_no_fields_are_no_error(server, survey, client, target):
    serve_fields(server, stripe())
    assert find_images(survey, Cone(180.0, -60.0, 0.1), "r", client, target) == []


def test_the_query_is_of_the_documented_tables():
    sql = field_query(Cone(10.0, 0.0, 0.5))
    assert "FROM Field AS f JOIN Run AS r ON r.run = f.run AND r.rerun = f.rerun" in sql
    assert "f.rerun = 301 AND f.dec BETWEEN -0.64" in sql
    assert sql.endswith("f.primaryArea > 0")
    assert "f.ra" not in field_query(Cone(10.0, 89.9, 0.5)).partition("WHERE")[2]


@pytest.mark.parametrize("body", [b"ERROR: Query timed out", b"", b"#Table1\nrun,camcol\n1,2\n"])
def test_an_answer_that_is_no_table_names_service_and_query(server, survey, client, target, body):
    server.serve("/dr17/SkyServerWS/SearchTools/SqlSearch", body, "text/csv")
    with pytest.raises(ServiceError, match=r"(?s)archive: .*SqlSearch.*SELECT f.run"):
        find_images(survey, Cone(0, 0, 0.1), "r", client, target)


def test_a_page_of_html_is_asked_for_again_and_refused_in_the_end(server, survey, client, target):
    serve_fields(server, stripe())
    server.faults += ["html", "503"]
    assert find_images(survey, Cone(0, 0, 0.01), "r", client, target)
    server.faults += ["html"] * 3
    with pytest.raises(ServiceError, match=r"Down for maintenance"):
        find_images(survey, Cone(0, 0, 0.01), "r", client, target)
