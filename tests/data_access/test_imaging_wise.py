"""Images of WISE and 2MASS: tiles of unWISE, and Simple Image Access 2 with its overflows and equal names."""

import pytest

from astrolake.data_access.imaging.find import find_images
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import BadArguments, ServiceError
from astrolake.sky.region import Box, Cone
from tests.data_access.imaging_fixtures import client, places, server, target
from tests.data_access.servers.archives import SiaImage, on_loopback, serve_sia, serve_tiles

__all__ = ["client", "server", "target"]

#: Tiles around (0, 0), as allsky-atlas.fits has them.
TILES = {
    "0000p000": (0.0, 0.0),
    "0015p000": (1.5, 0.0),
    "3585p000": (358.5, 0.0),
    "0000p015": (0.0, 1.5144444),
    "0000m016": (0.0, -1.5144444),
    "1800p000": (180.0, 0.0),
    "0000p893": (0.0, 89.3522222),
}
TWOMASS = "/ibe/data/twomass/allsky/allsky"


@pytest.fixture
def wise(server):
    return on_loopback(load_survey("wise"), server)


@pytest.fixture
def twomass(server):
    return on_loopback(load_survey("twomass"), server)


def square(ra, dec, half=0.1):
    """Return the corners of an image near the equator."""
    return tuple(
        ((ra + x) % 360, dec + y) for x, y in ((half, -half), (-half, -half), (-half, half), (half, half))
    )


def twomass_image(band, ra, dec, date="990502s", scan=135, number=80, **changes):
    name = f"{band.lower()}i{scan:03d}{number:04d}.fits.gz"
    path = f"{TWOMASS}/{date}/s{scan:03d}/image/{name}"
    return SiaImage("twomass_allsky", band, path, square(ra, dec), **changes)


def test_tiles_on_both_sides_of_ra_0(server, wise, client, target):
    serve_tiles(server, TILES)
    files = find_images(wise, Box(359.0, 1.0, -0.1, 0.1), ["W1"], client, target)
    assert {file.url.split("/")[-2] for file in files} == {"0000p000", "0015p000", "3585p000"}
    first = f"{server.url}/data/neo7/unwise-coadds/fulldepth/000/0000p000/unwise-0000p000-w1-"
    assert [file.url for file in files[:2]] == [first + "img-m.fits", first + "invvar-m.fits.gz"]
    assert [file.url.removeprefix(server.url + "/data/") for file in files] == places(files, target)
    assert server.paths() == ["/data/allsky-atlas.fits"]


def test_tiles_at_the_pole(server, wise, client, target):
    serve_tiles(server, TILES)
    files = find_images(wise, Cone(170.0, 89.95, 0.01), ["W2"], client, target, planes=("img",))
    assert [file.url.rsplit("/", 1)[-1] for file in files] == ["unwise-0000p893-w2-img-m.fits"]


def test_bands_with_coolant_come_from_the_coadds_of_allwise(server, wise, client, target):
    serve_tiles(server, TILES)
    files = find_images(wise, Cone(180.0, 0.0, 0.1), ["W2", "W3"], client, target, planes=("img",))
    assert [(file.band, file.url.split("/data/")[1].split("/")[0]) for file in files] == [
        ("W3", "allwise"),
        ("W2", "neo7"),
    ]
    notes = []
    neo = find_images(
        wise, Cone(180.0, 0.0, 0.1), ["W2", "W3"], client, target, version="neo6", note=notes.append
    )
    assert {file.band for file in neo} == {"W2"}
    assert notes == ["Wide-field Infrared Survey Explorer: unWISE neo6 has no W3"]


@pytest.mark.parametrize("body", [b"not FITS", b""])
def test_a_list_of_tiles_that_is_none_names_the_service(server, wise, client, target, body):
    server.serve("/data/allsky-atlas.fits", body)
    with pytest.raises(ServiceError, match=r"(?s)archive: sent no table with coadd_id.*allsky-atlas.fits"):
        find_images(wise, Cone(0.0, 0.0, 0.1), ["W1"], client, target)


def test_unknown_plane_names_those_there_are(server, wise, client, target):
    serve_tiles(server, TILES)
    with pytest.raises(BadArguments, match=r"planes='mask': give one of 'img', 'invvar', 'std', 'n'"):
        find_images(wise, Cone(0.0, 0.0, 0.1), ["W1"], client, target, planes=("mask",))


def test_the_atlas_of_allwise_with_uncertainties_and_sums(server, wise, client, target):
    path = "/ibe/data/wise/allwise/p3am_cdd/00/0000/0000p000_ac51/0000p000_ac51-w{}-{}-3.fits{}"
    images = [
        SiaImage("wise_allwise", f"W{n}", path.format(n, "int", ""), square(0, 0, 0.78)) for n in (1, 2)
    ]
    other = SiaImage("wise_allwise", "W1", path.format(1, "cov", ".gz"), square(0, 0, 0.78), "coverage")
    serve_sia(server, [*images, other, SiaImage("wise_allsky", "W1", "/old.fits", square(0, 0, 0.78))])
    files = find_images(wise, Cone(359.8, 0.1, 0.1), ["W1"], client, target, kind="allwise")
    assert [file.url.removeprefix(server.url) for file in files] == [
        path.format(1, "int", ""),
        path.format(1, "unc", ".gz"),
    ]
    assert [file.checksum_url for file in files] == [file.url + ".md5" for file in files]
    assert places(files, target)[0].startswith("wise/allwise/p3am_cdd/00/0000/0000p000_ac51/")


def test_files_of_one_name_in_two_scans_have_places_of_their_own(server, twomass, client, target):
    images = [
        twomass_image("K", 10.0, 0.0, "990502s"),
        twomass_image("K", 10.1, 0.0, "980102n"),
        twomass_image("J", 10.0, 0.0),
        twomass_image("K", 14.0, 0.0, "000101n"),
    ]
    serve_sia(server, images)
    files = find_images(twomass, Cone(10.0, 0.0, 0.05), ["Ks"], client, target)
    assert places(files, target) == [
        "twomass/allsky/allsky/980102n/s135/image/ki1350080.fits.gz",
        "twomass/allsky/allsky/990502s/s135/image/ki1350080.fits.gz",
    ]
    assert {file.band for file in files} == {"Ks"}
    [request] = server.requests
    assert request.parameters["POS"] == "CIRCLE 10.000000 0.000000 0.050000"
    assert request.parameters["COLLECTION"] == "twomass_allsky"


def test_images_beside_the_region_are_left_out(server, twomass, client, target):
    serve_sia(server, [twomass_image("J", 0.0, 0.0), twomass_image("J", 0.0, 0.45, number=81)])
    files = find_images(twomass, Box(359.9, 0.1, -0.3, 0.3), ["J"], client, target)
    assert [file.url[-12:-8] for file in files] == ["0080"]


def test_an_answer_that_is_cut_off_is_asked_for_in_parts(server, twomass, client, target):
    images = [
        twomass_image("J", 10 + 0.2 * i, 0.2 * j, scan=i + 1, number=j) for i in range(8) for j in range(8)
    ]
    serve_sia(server, images, most=40)
    files = find_images(twomass, Box(9.9, 11.5, -0.1, 1.5), ["J"], client, target)
    assert len(files) == len(images)
    assert 2 <= len(server.requests) <= 30


def test_a_place_with_more_images_than_the_service_gives_is_an_error(server, twomass, client, target):
    serve_sia(server, [twomass_image("J", 10.0, 0.0, number=n) for n in range(30)], most=20)
    with pytest.raises(ServiceError, match=r"cut the answer off at 20 images"):
        find_images(twomass, Cone(10.0, 0.0, 0.3), ["J"], client, target)


def test_no_images_are_no_error(server, twomass, client, target):
    serve_sia(server, [])
    assert find_images(twomass, Cone(10.0, 0.0, 0.3), ["J"], client, target) == []


ERROR = b"""<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">unknown collection</INFO></RESOURCE></VOTABLE>"""


@pytest.mark.parametrize(
    ("body", "problem"),
    [(ERROR, "unknown collection"), (b"<VOTABLE", "table of images"), (b"oops", "table of images")],
)
def test_an_error_of_the_service_names_query_and_cause(server, twomass, client, target, body, problem):
    server.serve("/SIA", body, "application/x-votable+xml")
    with pytest.raises(
        ServiceError, match=rf"(?s)archive: .*{problem}.*images of twomass_allsky in CIRCLE 10"
    ):
        find_images(twomass, Cone(10.0, 0.0, 0.3), ["J"], client, target)
