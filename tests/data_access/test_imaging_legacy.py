"""Coadds of the Legacy Surveys: the brick grid, sums, releases, bricks that are not there, cutouts, faults."""

import hashlib
from functools import cache

import numpy as np
import pytest

from astrolake.data_access.imaging.bricks import brick_names, bricks_of
from astrolake.data_access.imaging.find import find_images
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import BadArguments, ServiceError
from astrolake.photometry.scan import scan_file
from astrolake.sky.region import Box, Cone
from tests.data_access.imaging_fixtures import client, places, server, target
from tests.data_access.servers.archives import on_loopback, serve_brick, serve_viewer

__all__ = ["client", "server", "target"]

PLANES = ("image", "invvar", "maskbits")


@pytest.fixture
def survey(server):
    return on_loopback(load_survey("legacy"), server)


def stub_brick(brick, bands="griz"):
    """Return files of a brick, whose content does not matter."""
    names = [f"legacysurvey-{brick}-{plane}-{band}.fits.fz" for plane in PLANES[:2] for band in bands]
    return {name: name.encode() for name in [*names, f"legacysurvey-{brick}-maskbits.fits.fz"]}


@cache
def every_brick():
    """Return names and borders of all bricks, row by row, as the tables survey-bricks list them."""
    rows = []
    for row in range(721):
        dec = -90 + row / 4
        lowest = np.radians(abs(dec) - 0.125)
        count = 1 if row in (0, 720) else int(np.ceil(1440 * np.cos(lowest) / 2)) * 2
        edges = np.linspace(0, 360, count + 1)
        centre = (edges[:-1] + edges[1:]) / 2
        names = [f"{int(a * 10):04d}{'p' if dec >= 0 else 'm'}{int(abs(dec) * 10):03d}" for a in centre]
        rows.append((dec - 0.125, dec + 0.125, edges, names))
    return rows


def test_there_are_as_many_bricks_as_are_published():
    """survey-bricks.fits.gz has 662,174 bricks."""
    assert sum(len(row[3]) for row in every_brick()) == 662_174


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (95.9502, 80.5, "0959p805"),
        (0.125, -0.25, "0001m002"),
        (48.93, -44.25, "0489m442"),
        (208.26, 14.5, "2082p145"),
    ],
)
def test_names_of_published_bricks(ra, dec, name):
    assert brick_names(ra, dec) == (name,)
    assert (name,) in bricks_of(Cone(ra, dec, 0.001))


def test_a_centre_at_a_whole_tenth_has_two_possible_names(server, survey, client, target):
    """The brick at ra 114, dec 12: in floating point its centre may be below 114."""
    assert bricks_of(Cone(114.0, 12.0, 0.001)) == [("1139p120", "1140p120")]
    serve_brick(server, "dr10/south", "1140p120", stub_brick("1140p120"))
    files = find_images(survey, Cone(114.0, 12.0, 0.001), "r", client, target)
    assert {file.url.split("/")[-2] for file in files} == {"1140p120"}


@pytest.mark.parametrize(
    "region",
    [
        Cone(0.0, 0.0, 0.4),
        Cone(359.99, 33.0, 0.3),
        Cone(200.0, 79.9, 0.5),
        Cone(10.0, -89.9, 0.3),
        Box(350, 10, -0.2, 0.2),
    ],
)
def test_bricks_hold_all_of_a_region(region):
    """Every place of the region lies in the borders of a brick that is named."""
    named = {names[0] for names in bricks_of(region)}
    rng = np.random.default_rng(1)
    dec = np.clip(rng.uniform(-1, 1, 6_000) * 0.6 + (region.dec if isinstance(region, Cone) else 0), -90, 90)
    ra = rng.uniform(0, 360, 6_000)
    inside = region.contains(ra, dec)
    rows = every_brick()
    for a, d in zip(ra[inside], dec[inside], strict=True):
        low, high, edges, names = rows[round((d + 90) * 4)]
        assert low <= d <= high
        assert names[np.searchsorted(edges, a, side="right") - 1] in named


def test_bricks_of_a_small_region_are_few():
    # A coadd is 0.262 deg wide, a brick 0.25 deg: most places are in one coadd.
    assert bricks_of(Cone(10.125 + 0.01, 0.0, 0.01)) == [("0101p000",)]
    # Five rows, and six columns: the coadds of the outermost overlap the border.
    assert len(bricks_of(Box(359.5, 0.5, -0.5, 0.5))) == 30


def test_files_carry_the_published_sums_and_the_places_of_the_archive(server, survey, client, target):
    files = stub_brick("0001m002")
    serve_brick(server, "dr10/south", "0001m002", files)
    found = find_images(survey, Cone(0.125, -0.25, 0.01), "gr", client, target)
    folder = "dr10/south/coadd/000/0001m002/"
    assert places(found, target) == [
        folder + name for name in sorted(files) if "-i." not in name and "-z." not in name
    ]
    assert [file.url for file in found] == [
        f"{server.url}/cfs/cosmo/data/legacysurvey/{place}" for place in places(found, target)
    ]
    by_place = {file.uri.rsplit("/", 1)[-1]: file for file in found}
    for name, file in by_place.items():
        assert file.checksum == "sha256:" + hashlib.sha256(files[name]).hexdigest()
    assert by_place["legacysurvey-0001m002-invvar-r.fits.fz"].band == "r"
    assert by_place["legacysurvey-0001m002-maskbits.fits.fz"].band == ""
    assert server.paths() == [
        "/cfs/cosmo/data/legacysurvey/" + folder + "legacysurvey_dr10_south_coadd_000_0001m002.sha256sum"
    ]


def test_a_brick_of_the_north_is_found_in_dr9(server, survey, client, target):
    serve_brick(server, "dr9/north", "0959p805", stub_brick("0959p805", "grz"))
    notes = []
    found = find_images(survey, Cone(95.95, 80.5, 0.01), "gi", client, target, note=notes.append)
    assert {place.rsplit("/", 1)[0] for place in places(found, target)} == {"dr9/north/coadd/095/0959p805"}
    assert {file.band for file in found} == {"g", ""}
    assert any("0959p805 of dr9/north has no image i" in note for note in notes)


def test_bricks_that_are_not_there_are_told_and_no_error(server, survey, client, target):
    serve_brick(server, "dr10/south", "0001p000", stub_brick("0001p000"))
    notes = []
    found = find_images(
        survey, Cone(0.0, 0.0, 0.1), "r", client, target, planes=("image",), note=notes.append
    )
    assert [place.rsplit("/", 1)[-1] for place in places(found, target)] == [
        "legacysurvey-0001p000-image-r.fits.fz"
    ]
    assert notes == ["DESI Legacy Imaging Surveys: brick 3598p000 is not in dr10/south or dr9/north"]


def test_faults_are_tried_again_and_what_is_no_sum_is_refused(server, survey, client, target):
    serve_brick(server, "dr10/south", "0001m002", stub_brick("0001m002"))
    server.faults += ["503", "half", "html"]
    assert len(find_images(survey, Cone(0.125, -0.25, 0.01), "r", client, target)) == 3
    path = server.paths()[-1]
    server.serve(path, b"nothing of use", "text/plain")
    with pytest.raises(ServiceError, match=r"(?s)archive: sent no SHA-256 sums.*0001m002.sha256sum"):
        find_images(survey, Cone(0.125, -0.25, 0.01), "r", client, target)


def test_a_busy_archive_is_an_error_not_a_missing_brick(server, survey, client, target):
    server.faults += ["503"] * 3
    with pytest.raises(ServiceError, match=r"HTTP 503"):
        find_images(survey, Cone(0.125, -0.25, 0.01), "r", client, target)


def test_cutouts_are_images_of_one_band_with_their_weight(server, survey, client, target, tmp_path):
    serve_viewer(server)
    files = find_images(survey, Cone(150.0, 2.2, 0.002), "gr", client, target, cutout=True)
    assert [file.band for file in files] == ["g", "r"]
    for file in files:
        path = tmp_path / file.uri.rsplit("/", 1)[-1]
        path.write_bytes(client.get(file.url).content)
        images = scan_file(str(path)).images
        assert [(i["survey"], i["band"], i["image_type"]) for i in images] == [
            ("legacy", file.band, "science"),
            ("legacy", file.band, "weight"),
        ]
        science = images[0]
        assert (science["zero_point_ab"], science["flux_unit"], science["visit"]) == (
            22.5,
            "nanomaggy",
            "DR10-south",
        )
        assert (science["weight_hdu"], science["weight_kind"]) == (1, "invvar")
        assert science["naxis1"] == 55
        assert science["ra"] == pytest.approx(150.0, abs=1e-3)
    query = server.requests[-1].query
    assert (query["layer"], query["pixscale"], query["size"], query["bands"]) == (
        "ls-dr10",
        "0.262",
        "55",
        "r",
    )


def test_too_large_a_cutout_says_how_large_one_may_be(survey, client, target):
    with pytest.raises(BadArguments, match=r"at most 0.22 deg"):
        find_images(survey, Cone(150.0, 2.2, 0.2), "g", client, target, cutout=True)
