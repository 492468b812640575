"""Images of Pan-STARRS1: the tessellation against real headers, lists of files, cutouts and faults."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolake.data_access.imaging.find import find_images
from astrolake.data_access.imaging.skycells import skycell_corners, skycells_of
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import BadArguments, ServiceError
from astrolake.photometry.headers import silence
from astrolake.sky.region import Box, Cone, Polygon
from astrolake.sky.separation import separation_arcsec
from tests.data_access.imaging_fixtures import client, places, server, target
from tests.data_access.servers.archives import SkycellImage, multipart, on_loopback, serve_skycells
from tests.data_access.servers.base import Reply

__all__ = ["client", "server", "target"]

HOST = Cone(334.0199, -7.8982, 0.005)
SHAPE = (6247, 6291)


def wcs_of(projection, cell, *, zone=(1143, 89, -6.0), step=(5811, 5767), first=(237.5, 240.0)):
    """Return the WCS of a skycell between -8 and -4 deg, as its headers have it."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [(projection - zone[0]) * 360 / zone[1], zone[2]]
    wcs.wcs.cdelt, wcs.wcs.pc = [0.25 / 3600] * 2, [[-1, 0], [0, 1]]
    wcs.wcs.crpix = [first[0] + step[0] * (5 - cell % 10), first[1] + step[1] * (5 - cell // 10)]
    return wcs


def stack(projection, cell, band, plane="", body=b""):
    ending = f".{plane}" if plane else ""
    name = f"rings.v3.skycell.{projection:04d}.{cell:03d}.stk.{band}.unconv{ending}.fits"
    path = f"/rings.v3.skycell/{projection:04d}/{cell:03d}/{name}"
    kind = f"stack{ending}"
    return SkycellImage(projection, cell, wcs_of(projection, cell), SHAPE, path, band, kind, body)


def stacks(cells, bands="gri"):
    return [
        stack(1226, cell, band, plane) for cell in cells for band in bands for plane in ("", "wt", "mask")
    ]


@pytest.fixture
def survey(server):
    return on_loopback(load_survey("panstarrs"), server)


@pytest.mark.data
@pytest.mark.parametrize("band", ["i", "r"])
def test_the_tessellation_is_that_of_real_headers(survey_data, band):
    """A cutout's reference pixel is its skycell's, shifted by whole pixels within the skycell."""
    with (
        silence(),
        fits.open(survey_data / "images_ps1_des" / f"frb190608_panstarrs_{band}band.fits") as hdus,
    ):
        header = hdus[0].header
    assert header["SKYCELL"] == "skycell.1226.009"
    whole = wcs_of(1226, 9).wcs
    # CRVAL1 is rounded to single precision, 0.03 arcsec here.
    assert [header["CRVAL1"], header["CRVAL2"]] == pytest.approx(list(whole.crval), abs=2e-5)
    shift = whole.crpix - [header["CRPIX1"], header["CRPIX2"]]
    assert shift == pytest.approx(np.rint(shift), abs=1e-6)
    assert (shift >= 0).all()
    assert shift[0] + header["NAXIS1"] <= SHAPE[1]
    assert shift[1] + header["NAXIS2"] <= SHAPE[0]
    assert [(cell.projection, cell.cell) for cell in skycells_of(HOST)] == [(1226, 9)]


def test_corners_are_those_of_the_wcs():
    ra, dec = skycell_corners(1226, np.array([9]))
    columns, rows = SHAPE[1], SHAPE[0]
    expected = wcs_of(1226, 9).all_pix2world(
        [-0.5, columns - 0.5, columns - 0.5, -0.5], [-0.5, -0.5, rows - 0.5, rows - 0.5], 0
    )
    assert separation_arcsec(ra[0], dec[0], *expected).max() < 1e-3


def test_the_centre_of_a_skycell_is_that_of_the_archives_list():
    """ps1filenames.py?skycell=1405.053 gives its centre as 332.6004516572 2.1998090576."""
    ra, dec = skycell_corners(1405, np.array([53]))
    assert separation_arcsec(ra.mean(), dec.mean(), 332.6004516572, 2.1998090576) < 1.0


@pytest.mark.parametrize("dec", [-29.9, -12.0, 0.0, 35.99, 63.97, 83.9, 87.9, 88.0, 89.99])
def test_every_place_is_in_the_image_of_a_skycell(dec):
    for ra in (0.0, 123.4, 359.999):
        cells = skycells_of(Cone(ra, dec, 0.001))
        assert cells
        assert len(cells) <= 12
        corners = [skycell_corners(cell.projection, np.array([cell.cell])) for cell in cells]
        held = [
            Polygon(tuple(a[0]), tuple(d[0])).contains(np.array([ra]), np.array([dec])) for a, d in corners
        ]
        assert np.any(held)


def test_positions_asked_for_lie_in_their_skycells():
    cells = skycells_of(Box(359.0, 1.0, -1.0, 1.0))
    # 2 x 2 deg of images 0.4 deg apart, those on the border too.
    assert 36 <= len(cells) <= 64
    assert len({(cell.projection, cell.cell) for cell in cells}) == len(cells)
    for cell in cells:
        ra, dec = skycell_corners(cell.projection, np.array([cell.cell]))
        assert Polygon(tuple(ra[0]), tuple(dec[0])).contains(np.array([cell.ra]), np.array([cell.dec])).all()


def test_one_request_lists_the_files_of_all_skycells(server, survey, client, target):
    serve_skycells(server, stacks(range(100)))
    files = find_images(survey, Cone(335.73, -6.0, 0.5), "ri", client, target)
    [request] = server.requests
    form = multipart(request)
    assert (form["filters"], form["type"]) == ("ri", "stack,stack.wt")
    assert len(form["file"].splitlines()) == len(files) / 4
    assert [file.url.removeprefix(server.url + "/") for file in files] == places(files, target)
    assert {file.band for file in files} == {"r", "i"}
    assert not [file for file in files if ".mask." in file.url]
    assert places(files, target) == sorted(places(files, target))


def test_a_skycell_without_files_is_told_and_no_error(server, survey, client, target):
    serve_skycells(server, stacks([9]))
    notes = []
    files = find_images(
        survey, Cone(334.05, -7.93, 0.3), "i", client, target, planes=("",), note=notes.append
    )
    assert places(files, target) == ["rings.v3.skycell/1226/009/rings.v3.skycell.1226.009.stk.i.unconv.fits"]
    assert "Pan-STARRS1 3pi survey: skycell 1226.008 has no stack" in notes
    assert not [note for note in notes if "1226.009" in note]


def test_a_small_region_is_cut_out(server, survey, client, target):
    serve_skycells(server, [stack(1226, 9, "i", body=b"cut")])
    [file] = find_images(survey, HOST, "i", client, target, planes=("",))
    assert client.get(file.url).content == b"cut"
    query = server.requests[-1].query
    assert (query["ra"], query["dec"], query["size"], query["format"]) == (
        "334.019900",
        "-7.898200",
        "144",
        "fits",
    )
    assert query["red"] == "/rings.v3.skycell/1226/009/rings.v3.skycell.1226.009.stk.i.unconv.fits"
    [whole] = find_images(survey, HOST, "i", client, target, planes=("",), cutout=False)
    assert whole.uri != file.uri


def test_a_region_in_two_skycells_is_cut_out_of_one_that_holds_it(server, survey, client, target):
    """Neighbours overlap by 2 arcmin: there a small region is in both, a wider one in neither as a whole."""
    serve_skycells(server, stacks(range(100), "i"))
    ra, dec = skycell_corners(1226, np.array([44]))
    middle = dec.mean()
    small = find_images(survey, Cone(ra.max() - 60 / 3600, middle, 0.005), "i", client, target, planes=("",))
    wide = find_images(survey, Cone(ra.max() - 60 / 3600, middle, 0.05), "i", client, target, planes=("",))
    names = [file.uri.split("skycell.")[1][:8] for file in (*small, *wide)]
    assert names == ["1226.043", "1226.043", "1226.044"]


def test_warps_are_asked_for_by_kind(server, survey, client, target):
    name = "rings.v3.skycell.1226.009.wrp.r.55331_37621.fits"
    path = f"/rings.v3.skycell/1226/009/{name}"
    serve_skycells(server, [SkycellImage(1226, 9, wcs_of(1226, 9), SHAPE, path, "r", "warp")])
    files = find_images(survey, HOST, "r", client, target, kind="warp", cutout=False)
    assert places(files, target) == [path.lstrip("/")]
    with pytest.raises(BadArguments, match=r"planes='num'"):
        find_images(survey, HOST, "r", client, target, kind="warp", planes=("num",))


def test_too_large_a_cutout_says_how_large_one_may_be(server, survey, client, target):
    with pytest.raises(BadArguments, match=r"at most 25 arcmin"):
        find_images(survey, Cone(334.0, -7.9, 0.5), "i", client, target, cutout=True)


@pytest.mark.parametrize(
    "body", [b"Internal error", b"", b"projcell subcell ra dec filter type filename\n1 x 2 3 i stack f\n"]
)
def test_garbage_names_service_and_query(server, survey, client, target, body):
    server.route("POST", "/cgi-bin/ps1filenames.py", lambda request: Reply(200, body, "text/plain"))
    with pytest.raises(ServiceError, match=r"(?s)ps1filenames.py.*stack,stack.wt in i of 1 skycells"):
        find_images(survey, HOST, "i", client, target)


def test_outside_the_survey_nothing_is_asked_for(server, survey, client, target):
    assert find_images(survey, Cone(10.0, -60.0, 0.2), "i", client, target) == []
    assert server.requests == []
