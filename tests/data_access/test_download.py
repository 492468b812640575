"""Files come whole, over a server that fails, and nothing else takes their name."""

import bz2
import fcntl
import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from astrolake.data_access.download import RemoteFile, download_file, download_files
from astrolake.data_access.manifest import (
    downloaded_before,
    manifest_row,
    read_manifest,
    write_manifest,
)
from astrolake.data_access.services.client import HttpClient
from astrolake.errors import BadArguments, BadInput, ServiceError
from tests.data_access.servers.base import Fault, LoopbackServer, Reply
from tests.data_access.servers.clock import FakeClock

FRAME = "frame-r-004510-4-0030.fits.bz2"
CARD = b"SIMPLE  =                    T".ljust(80)
PLAIN = CARD + b"END".ljust(2800) + b"".join(hashlib.sha256(bytes([i])).digest() for i in range(90)) * 900
SMALL = PLAIN[: 2880 * 100]
PACKED = bz2.compress(SMALL)


@pytest.fixture
def server():
    with LoopbackServer() as started:
        yield started


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def client(clock):
    return HttpClient("ARCHIVE", float("inf"), sleep=clock.sleep, clock=clock)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def publish(server, folder):
    """Function that serves bytes under a name, and returns where they are and shall go."""

    def add(name, body, **more):
        return RemoteFile(server.serve(f"/a/{name}", body), (folder / name).as_uri(), **more)

    return add


@pytest.fixture
def frame(publish):
    return publish(FRAME, PACKED)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def asked(server):
    return [request.headers.get("range") for request in server.requests]


def test_a_file_comes_whole_and_once(server, client, clock, frame, folder):
    done = download_file(frame, client)
    assert (done.uri, done.n_bytes, done.skipped, clock.waits) == (frame.uri, len(PACKED), False, [])
    assert done.checksum == ""
    assert (folder / FRAME).read_bytes() == PACKED
    assert names(folder) == [FRAME]
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert download_file(frame, client) == replace(done, skipped=True)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fault", ["503", "429", "500", "reset", "half", "half-reset", "bits", "empty", "html"]
)
def test_what_may_pass_is_tried_again(server, client, clock, frame, folder, fault):
    server.faults = [fault, fault]
    download_file(frame, client)
    assert (folder / FRAME).read_bytes() == PACKED
    assert names(folder) == [FRAME]
    assert len(clock.waits) == 2


def test_downloads_keep_the_rate_of_the_client(server, clock, publish):
    client = HttpClient("ARCHIVE", 10.0, sleep=clock.sleep, clock=clock)
    server.faults = ["503:0", "429:0"]
    outcomes = list(download_files([publish(f"{i}.fits", SMALL) for i in range(8)], client))
    assert all(outcome.value for outcome in outcomes)
    assert len(server.requests) == 10
    assert clock.now - 1000.0 == pytest.approx(9 / 10.0)


def test_retry_after_is_kept(server, client, clock, frame):
    server.faults = ["429:40", "503:50"]
    download_file(frame, client)
    assert clock.waits == [40.0, 50.0]


@pytest.mark.parametrize("fault", ["half", "half-reset"])
def test_a_body_that_breaks_off_is_continued_where_it_broke(server, client, publish, folder, fault):
    file = publish("a.fits", PLAIN)
    server.faults = [fault, fault]
    download_file(file, client)
    assert (folder / "a.fits").read_bytes() == PLAIN
    ranges = asked(server)
    assert ranges[0] is None
    assert len(ranges) == 3
    if fault == "half":
        assert ranges[1] == f"bytes={len(PLAIN) // 2}-"


@pytest.mark.parametrize("fault", ["503", "half", "reset"])
def test_an_archive_that_stays_down_is_named_and_nothing_takes_the_name(server, client, frame, folder, fault):
    server.faults = ["half", *[fault] * 100]
    with pytest.raises(ServiceError, match=rf"ARCHIVE: .*\(6 tries\): {frame.url}"):
        download_file(frame, client)
    assert not (folder / FRAME).exists()
    server.faults.clear()
    download_file(frame, client)
    assert (folder / FRAME).read_bytes() == PACKED
    assert asked(server)[-1].startswith("bytes=")
    assert names(folder) == [FRAME]


def test_a_file_that_was_replaced_meanwhile_begins_anew(server, client, frame, folder):
    server.faults = ["half"] + ["503"] * 6
    with pytest.raises(ServiceError):
        download_file(frame, client)
    other = bz2.compress(PLAIN[:2880] + os.urandom(len(PACKED)))
    server.serve(f"/a/{FRAME}", other)
    assert download_file(frame, client).n_bytes == len(other)
    assert (folder / FRAME).read_bytes() == other


def test_a_part_as_long_as_the_file_or_longer_begins_anew(server, client, publish, folder):
    file = publish("a.fits", PLAIN)
    server.faults = ["half"] + ["503"] * 6
    with pytest.raises(ServiceError):
        download_file(file, client)
    with (folder / "a.fits.part").open("ab") as stream:
        stream.write(b"x" * len(PLAIN))
    download_file(file, client)
    assert (folder / "a.fits").read_bytes() == PLAIN


def test_without_a_validator_nothing_is_continued(server, client, folder):
    server.route("GET", "/a.fits", lambda request: Reply(200, PLAIN))
    server.faults = ["half"]
    download_file(RemoteFile(server.url + "/a.fits", (folder / "a.fits").as_uri()), client)
    assert asked(server) == [None, None]
    assert (folder / "a.fits").read_bytes() == PLAIN


def test_servers_that_send_another_range_are_not_trusted(server, client, folder):
    def wrong(request):
        if "range" not in request.headers:
            return Reply(200, PLAIN, headers={"ETag": '"1"'})
        return Reply(
            206, PLAIN[99:], headers={"ETag": '"1"', "Content-Range": f"bytes 99-{len(PLAIN) - 1}/*"}
        )

    server.route("GET", "/a.fits", wrong)
    server.faults = ["half"]
    download_file(RemoteFile(server.url + "/a.fits", (folder / "a.fits").as_uri()), client)
    assert (folder / "a.fits").read_bytes() == PLAIN


def test_the_rest_of_another_version_is_not_joined_to_what_is_there(server, client, folder):
    """A server that does not know If-Range sends it."""
    other = PLAIN[:2880] + os.urandom(len(PLAIN) - 2880)

    def careless(request):
        if not (match := re.match(r"bytes=(\d+)-", request.headers.get("range", ""))):
            return Reply(200, PLAIN if len(server.requests) == 1 else other, headers={"ETag": '"1"'})
        start = int(match[1])
        span = f"bytes {start}-{len(other) - 1}/{len(other)}"
        return Reply(206, other[start:], headers={"ETag": '"2"', "Content-Range": span})

    server.route("GET", "/a.fits", careless)
    server.faults = ["half"]
    download_file(RemoteFile(server.url + "/a.fits", (folder / "a.fits").as_uri()), client)
    assert (folder / "a.fits").read_bytes() == other


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
@pytest.mark.parametrize("listed", [False, True])
def test_published_checksums_are_compared(server, client, publish, folder, algorithm, listed):
    good = hashlib.new(algorithm, PLAIN).hexdigest()
    if listed:
        text = f"# sums of a brick\n{'0' * len(good)}  a.fits.old\n{good.upper()} *north/a.fits\n"
        published = {"checksum_url": server.serve("/a/brick.sums", text.encode(), "text/plain")}
    else:
        published = {"checksum": f"{algorithm}:{good}"}
    file = publish("a.fits", PLAIN, **published)
    server.faults = [Fault("bits", r"\.fits$")]
    assert download_file(file, client).checksum == f"{algorithm}:{good}"
    assert (folder / "a.fits").read_bytes() == PLAIN
    assert server.paths().count("/a/a.fits") == 2
    assert server.paths().count("/a/brick.sums") == listed


def test_a_wrong_checksum_is_an_error_that_names_it(server, client, publish, folder):
    file = publish("a.fits", PLAIN, checksum="sha256:" + "0" * 64)
    with pytest.raises(
        ServiceError, match=r"ARCHIVE: .*checksum sha256:[0-9a-f]{64} .*published 0{64}.*a\.fits"
    ):
        download_file(file, client)
    assert len(server.requests) == 3
    assert names(folder) == []


def test_a_wrong_size_is_an_error(client, publish, folder):
    with pytest.raises(ServiceError, match=f"it has {len(PLAIN)} bytes, the archive lists 12"):
        download_file(publish("a.fits", PLAIN, n_bytes=12), client)
    assert names(folder) == []


def test_a_checksum_that_is_none_is_refused(client, publish):
    with pytest.raises(BadArguments, match="ALGORITHM:HEXADECIMAL"):
        download_file(publish("a.fits", PLAIN, checksum="sha256:12"), client)


def test_a_list_without_the_file_is_told(client, publish, server, folder, caplog):
    server.serve("/sums", b"")
    for name, url in (("a.fits", "/sums"), ("b.fits", "/nowhere")):
        download_file(publish(name, PLAIN, checksum_url=server.url + url), client)
    assert [f"publishes no checksum of {name}" in caplog.text for name in ("a.fits", "b.fits")] == [
        True,
        True,
    ]
    assert names(folder) == ["a.fits", "b.fits"]


def test_a_list_of_checksums_is_asked_for_once(client, publish, server):
    digest = hashlib.md5(PLAIN).hexdigest()
    listed = "".join(f"{digest}  {i}.fits\n" for i in range(12))
    url = server.serve("/sums", listed.encode())
    files = [publish(f"{i}.fits", PLAIN, checksum_url=url) for i in range(12)]
    outcomes = list(download_files(files, client, workers=6))
    assert [outcome.error for outcome in outcomes] == [None] * 12
    assert server.paths().count("/sums") == 1


@pytest.mark.parametrize("pack", [bz2.compress, gzip.compress])
@pytest.mark.parametrize("cut", [slice(0, -5), slice(0, 2000)])
def test_packed_files_tell_themselves_that_they_are_cut(client, publish, folder, pack, cut):
    with pytest.raises(ServiceError, match="damaged: the packed file ends in its middle"):
        download_file(publish("a.fits.packed", pack(SMALL)[cut]), client)
    assert names(folder) == []


def test_packed_files_of_several_streams_and_padding_are_whole(client, publish, folder):
    bodies = {
        "a.fits.bz2": bz2.compress(SMALL[:50_000]) + bz2.compress(SMALL[50_000:]),
        "a.fits.gz": gzip.compress(SMALL[:50_000]) + gzip.compress(SMALL[50_000:]) + bytes(1000),
        "bomb.fits.gz": gzip.compress(PLAIN + bytes(30 << 20)),
    }
    for name, body in bodies.items():
        download_file(publish(name, body), client)
        assert (folder / name).read_bytes() == body


def test_a_packed_file_with_a_checksum_is_looked_at_only_in_the_beginning(client, publish):
    packed = gzip.compress(SMALL)
    cut = packed[: len(packed) // 2]
    file = publish("a.fits.gz", cut, checksum=f"md5:{hashlib.md5(cut).hexdigest()}")
    assert download_file(file, client).n_bytes == len(cut)
    table = bz2.compress(b"ra,dec\n" * 9000)
    file = publish("b.fits.bz2", table, checksum=f"md5:{hashlib.md5(table).hexdigest()}")
    with pytest.raises(BadInput, match="no FITS file"):
        download_file(file, client)


def test_plain_files_of_unknown_length_must_be_whole_blocks(client, server, folder):
    server.route("GET", "/a.fits", lambda request: Reply(200, PLAIN, length=False))
    server.faults = ["half", "half"]
    file = RemoteFile(server.url + "/a.fits", (folder / "a.fits").as_uri())
    assert download_file(file, client).n_bytes == len(PLAIN)
    server.faults = ["half"] * 3
    with pytest.raises(ServiceError, match="ends in the middle of a block"):
        download_file(replace(file, uri=file.uri + ".2"), client)
    assert names(folder) == ["a.fits"]


def test_a_page_of_html_with_status_200_is_no_image(server, client, publish, folder):
    file = publish("a.fits", PLAIN)
    server.faults = ["html"] * 3
    with pytest.raises(ServiceError, match=r"ARCHIVE: .*page of HTML, 'Down for maintenance' .*a\.fits"):
        download_file(file, client)
    assert names(folder) == []


@pytest.mark.parametrize(
    "body",
    [b"ra,dec\n1,2\n", bz2.compress(b"ra,dec\n1,2\n"), gzip.compress(b"<VOTABLE>", mtime=0)],
    ids=["text", "bzip2", "gzip"],
)
def test_what_is_no_fits_is_refused(client, publish, folder, body):
    with pytest.raises(BadInput, match=r"ARCHIVE: sent no FITS file.*a\.fits"):
        download_file(publish("a.fits", body), client)
    assert names(folder) == []


def test_a_missing_file_is_not_asked_for_twice(server, client, folder):
    with pytest.raises(BadInput, match=r"ARCHIVE: HTTP 404 .*/b\.fits"):
        download_file(RemoteFile(server.url + "/b.fits", (folder / "b.fits").as_uri()), client)
    assert len(server.requests) == 1
    assert names(folder) == []


def test_hosts_that_do_not_resolve_are_named_and_good_files_come(client, publish, folder):
    lost = RemoteFile("http://archive.invalid/a.fits", (folder / "lost.fits").as_uri())
    odd = RemoteFile("file:///etc/passwd", (folder / "odd.fits").as_uri())
    good = publish("a.fits", PLAIN)
    outcomes = {outcome.item: outcome for outcome in download_files([lost, odd, good], client)}
    assert "ARCHIVE: Failed to resolve 'archive.invalid'" in str(outcomes[lost].error)
    assert "no web address" in str(outcomes[odd].error)
    assert outcomes[good].value.n_bytes == len(PLAIN)
    assert names(folder) == ["a.fits"]


def test_a_file_of_another_size_or_checksum_is_replaced(server, client, publish, folder, caplog):
    folder.mkdir()
    for name, more in (("a.fits", {"n_bytes": len(PLAIN)}), ("b.fits", {"checksum": _md5(PLAIN)})):
        (folder / name).write_bytes(PLAIN[:2880])
        file = publish(name, PLAIN, **more)
        assert not download_file(file, client).skipped
        assert (folder / name).read_bytes() == PLAIN
        assert f"{name} is not as" in caplog.text
        assert download_file(file, client).skipped


def _md5(body):
    return f"md5:{hashlib.md5(body).hexdigest()}"


def test_two_processes_do_not_write_one_part(server, client, frame, folder):
    folder.mkdir()
    with (folder / f"{FRAME}.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ServiceError, match="another process is fetching it"):
            download_file(frame, client)
    download_file(frame, client)
    assert (folder / FRAME).read_bytes() == PACKED


KILLED = """
import sys
from astrolake.data_access.download import RemoteFile, download_file
from astrolake.data_access.services.client import HttpClient
download_file(RemoteFile(*sys.argv[1:]), HttpClient("ARCHIVE"))
"""


def test_a_process_that_is_killed_leaves_no_half_file_and_the_next_goes_on(server, client, publish, folder):
    file = publish("a.fits", PLAIN)
    server.faults = ["half-hang"]
    process = subprocess.Popen([sys.executable, "-c", KILLED, file.url, file.uri])
    part = folder / "a.fits.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = part.stat().st_size
    assert 0 < there < len(PLAIN)
    assert not (folder / "a.fits").exists()
    download_file(file, client)
    assert asked(server)[-1] == f"bytes={there}-"
    assert (folder / "a.fits").read_bytes() == PLAIN
    assert names(folder) == ["a.fits"]


def test_the_manifest_is_the_same_in_any_order_and_spares_reading(client, publish, folder):
    sums = f"sha256:{hashlib.sha256(PLAIN).hexdigest()}"
    files = [publish(f"{i}.fits", PLAIN, band="gri"[i], checksum=sums) for i in range(3)]
    rows = [manifest_row(o.item, o.value) for o in download_files(files, client)]
    uri = (folder / "manifest.jsonl").as_uri()
    write_manifest(uri, rows)
    first = Path(folder / "manifest.jsonl").read_bytes()
    write_manifest(uri, reversed(rows))
    assert (folder / "manifest.jsonl").read_bytes() == first
    found = read_manifest(uri)
    assert [row["uri"] for row in found] == [file.uri for file in files]
    assert found[1] == {
        "uri": files[1].uri,
        "url": files[1].url,
        "band": "r",
        "n_bytes": len(PLAIN),
        "checksum": sums,
    }
    # Same size, other bytes: only reading would tell.
    (folder / "0.fits").write_bytes(bytes(len(PLAIN)))
    again = list(download_files(files, client, known=downloaded_before(found)))
    assert sorted((manifest_row(o.item, o.value) for o in again), key=lambda row: row["uri"]) == found
    assert all(o.value.skipped for o in again)
    assert downloaded_before([{"uri": "s3://b/failed.fits", "error": "HTTP 404"}]) == {}
    changed = replace(files[0], checksum="sha256:" + "f" * 64)
    with pytest.raises(ServiceError, match="damaged: its checksum"):
        download_file(changed, client, known=downloaded_before(found))


def test_a_manifest_that_cannot_be_read_is_named(tmp_path):
    assert read_manifest((tmp_path / "none.jsonl").as_uri()) == []
    for text in ('{"uri": 1}\n{"ur', "[1]\n"):
        (tmp_path / "m.jsonl").write_text(text)
        with pytest.raises(BadInput, match=r"m\.jsonl is no manifest"):
            read_manifest((tmp_path / "m.jsonl").as_uri())
