"""Archives that lie: names that lead out of the lake, parts that are sent as a whole, other versions."""

import hashlib
import re

import pytest

from astrolake.data_access.download import RemoteFile, download_file
from astrolake.data_access.imaging.find import find_images
from astrolake.data_access.imaging.search import ImageSearch
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import AstrolakeError, BadInput, ServiceError
from astrolake.sky.region import Cone
from tests.data_access.imaging_fixtures import client, places, server, target
from tests.data_access.servers.archives import SiaImage, on_loopback, serve_sia
from tests.data_access.servers.base import Reply

__all__ = ["client", "server", "target"]

CARD = b"SIMPLE  =                    T".ljust(80)
BLOCKS = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(90))
OLD = CARD + b"END".ljust(2800) + BLOCKS * 300
NEW = CARD + b"END".ljust(2800) + BLOCKS[::-1] * 300
HOST = Cone(334.0199, -7.8982, 0.005)
ELSEWHERE = """<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/><TABLE><FIELD name="access_url" datatype="char"
arraysize="*"/><DATA><{kind}><STREAM href="{place}"/></{kind}></DATA></TABLE></RESOURCE></VOTABLE>"""
#: Names that the archive lists, and paths of their files.
OUTSIDE = ["/../../../../escaped.fits", "/a/../../b.fits", "/..", "/", "/a/./b.fits", "/a\x1b[31m.fits"]


@pytest.mark.parametrize("path", [*OUTSIDE, "@elsewhere.org/a.fits", "//../x.fits"])
@pytest.mark.parametrize("cutout", [True, False])
def test_a_list_cannot_lead_out_of_the_directory(server, client, target, path, cutout):
    text = f"projcell subcell ra dec filter mjd type filename\n1226 9 334.0 -7.9 i 0 stack {path}\n"
    server.route("POST", "/cgi-bin/ps1filenames.py", lambda request: Reply(200, text.encode(), "text/plain"))
    survey = on_loopback(load_survey("panstarrs"), server)
    if cutout and path.endswith(".fits") and path.isprintable() and path.startswith("/"):
        # The last part of the path alone names a cutout.
        [file] = find_images(survey, HOST, "i", client, target, cutout=True)
        [place] = places([file], target)
        assert re.fullmatch(r"cutouts/[^/]+/[^/]+\.fits", place)
        return
    with pytest.raises(ServiceError, match=r"archive: (names a file|sent the line)") as error:
        find_images(survey, HOST, "i", client, target, cutout=cutout)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("path", OUTSIDE[:3])
def test_addresses_of_images_cannot_lead_out_of_the_directory(server, client, target, path):
    corners = ((10.1, -0.1), (9.9, -0.1), (9.9, 0.1), (10.1, 0.1))
    serve_sia(server, [SiaImage("twomass_allsky", "J", path, corners)])
    twomass = on_loopback(load_survey("twomass"), server)
    with pytest.raises(ServiceError, match="not one below the lake's directory"):
        find_images(twomass, Cone(10.0, 0.0, 0.3), ["J"], client, target)


@pytest.mark.parametrize("kind", ["BINARY", "FITS"])
def test_a_list_of_images_in_a_local_file_is_not_read(server, client, target, tmp_path, kind):
    (tmp_path / "secret").write_bytes(b"secret")
    server.serve("/SIA", ELSEWHERE.format(kind=kind, place=(tmp_path / "secret").as_uri()).encode())
    twomass = on_loopback(load_survey("twomass"), server)
    with pytest.raises(ServiceError, match=r"archive: .*lie in another file.*images of twomass_allsky"):
        find_images(twomass, Cone(10.0, 0.0, 0.3), ["J"], client, target)


def test_an_option_cannot_lead_out_of_the_directory(client, target):
    search = ImageSearch(load_survey("wise"), HOST, (), client, target)
    with pytest.raises(ServiceError, match="not one below"):
        search.file("https://example.org/x", "../../x/unwise.fits")
    assert search.file("https://example.org/x", "a//b.fits").uri == f"{target.root}/a/b.fits"


def test_a_list_whose_line_is_too_short_is_named(server, client, target):
    text = "projcell subcell filter filename type\n1226 9 i /a.fits\n"
    server.route("POST", "/cgi-bin/ps1filenames.py", lambda request: Reply(200, text.encode(), "text/plain"))
    with pytest.raises(ServiceError, match="sent the line '1226 9 i /a.fits'"):
        find_images(on_loopback(load_survey("panstarrs"), server), HOST, "i", client, target)


@pytest.fixture
def file(server, tmp_path):
    return RemoteFile(server.url + "/a.fits", (tmp_path / "a.fits").as_uri())


def test_a_part_that_nobody_asked_for_is_not_the_file(server, client, file, tmp_path):
    part = OLD[: 2880 * 10]
    headers = {"Content-Range": f"bytes 0-{len(part) - 1}/{len(OLD)}"}
    server.route("GET", "/a.fits", lambda request: Reply(206, part, headers=headers))
    with pytest.raises(ServiceError, match="a part of the file where all of it was asked for"):
        download_file(file, client)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [len(OLD) - 2881, len(OLD) // 2 + 1])
def test_a_rest_that_ends_early_is_not_the_file(server, client, file, tmp_path, end):
    def answer(request):
        if "range" not in request.headers:
            return Reply(200, OLD, headers={"ETag": '"1"'})
        start = int(re.search(r"\d+", request.headers["range"])[0])
        return Reply(206, OLD[start : end + 1], headers={"Content-Range": f"bytes {start}-{end}/{len(OLD)}"})

    server.route("GET", "/a.fits", answer)
    server.faults = ["half"]
    download_file(file, client)
    assert (tmp_path / "a.fits").read_bytes() == OLD


@pytest.mark.parametrize("versions", [("ETag", '"1"', '"2"'), ("Last-Modified", "yesterday", "today")])
def test_the_rest_of_another_version_is_not_joined_to_the_first(server, client, file, tmp_path, versions):
    """A server that does not know If-Range sends the rest of whatever is there."""
    header, before, after = versions
    bodies = iter([(OLD, before)])

    def answer(request):
        body, version = next(bodies, (NEW, after))
        if "range" not in request.headers:
            return Reply(200, body, headers={header: version})
        start = int(re.search(r"\d+", request.headers["range"])[0])
        headers = {header: version, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return Reply(206, body[start:], headers=headers)

    server.route("GET", "/a.fits", answer)
    server.faults = ["half"]
    download_file(file, client)
    assert (tmp_path / "a.fits").read_bytes() == NEW


@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher://x"])
def test_a_redirect_to_something_else_than_the_web_is_refused(server, client, file, tmp_path, place):
    server.route("GET", "/a.fits", lambda request: Reply(302, b"", headers={"Location": place}))
    with pytest.raises(BadInput, match=r"archive: is no web address: .*/a\.fits"):
        download_file(file, client)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "after", ["-1", "1e9", "soon", "9" * 400, "Wed, 21 Oct 2015 07:28:00 +99999999999999", "٣", "nan", ""]
)
def test_whatever_retry_after_says_is_survived(server, client, file, tmp_path, after):
    refusals = iter([Reply(503, b"busy", headers={"Retry-After": after.encode().decode("latin-1")})])
    server.route("GET", "/a.fits", lambda request: next(refusals, Reply(200, OLD)))
    download_file(file, client)
    assert (tmp_path / "a.fits").read_bytes() == OLD


def test_redirects_without_end_are_an_error(server, client, file):
    server.route("GET", "/a.fits", lambda request: Reply(302, b"", headers={"Location": "/a.fits"}))
    with pytest.raises(AstrolakeError, match=r"archive: .*redirects"):
        download_file(file, client)
