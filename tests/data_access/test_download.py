"""Frames come whole, over a server that fails, and nothing else takes their name."""

import bz2
import hashlib
import http.server
import json
import threading
from pathlib import Path

import pytest

from astrolake.cli import main
from astrolake.data_access.download import RemoteFile, download_file, sdss_frames
from astrolake.errors import AstrolakeError, BadArguments, BadInput

FRAME = "frame-r-004510-4-0030.fits.bz2"


class Archive(http.server.BaseHTTPRequestHandler):
    """Serves files with ranges and validators; what goes wrong first is said by the test."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        fault = server.faults.pop(0) if server.faults else ""
        if fault.isdecimal():
            return self.send(int(fault), b"busy")
        body = server.files.get(self.path.rpartition("/")[2])
        if body is None:
            return self.send(404, b"no such file")
        if fault == "html":
            return self.send(200, b"<!DOCTYPE html><html><body>The archive is down.</body></html>")
        start = 0
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        if (asked := self.headers.get("Range")) and self.headers.get("If-Range") == etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(body):
            return self.send(416, b"")
        self.send(206 if start else 200, body[start:], etag, half=fault == "half", broken=fault == "bits")
        return None

    def send(self, status, body, etag="", half=False, broken=False):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if broken:
            body = body[: len(body) // 2] + b"\0" * 64 + body[len(body) // 2 + 64 :]
        self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def archive():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    server.files, server.faults, server.asked = {}, [], []
    server.url = f"http://127.0.0.1:{server.server_port}/frames/301"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def fits_bytes():
    card = b"SIMPLE  =                    T".ljust(80)
    return bz2.compress(card + b"END".ljust(80) + hashlib.sha256(b"noise").digest() * 20_000)


@pytest.fixture
def frame(archive, fits_bytes, tmp_path):
    archive.files[FRAME] = fits_bytes
    return RemoteFile(f"{archive.url}/4510/4/{FRAME}", tmp_path / "out" / FRAME)


def fetch(frame):
    waits = []
    return download_file(frame, waits.append), waits


def leftovers(frame):
    return sorted(path.name for path in frame.path.parent.iterdir() if path != frame.path)


def test_a_file_comes_whole_and_once(archive, frame, fits_bytes):
    done, waits = fetch(frame)
    assert (done.n_bytes, done.skipped, waits) == (len(fits_bytes), False, [])
    assert frame.path.read_bytes() == fits_bytes
    assert leftovers(frame) == []
    again, _ = fetch(frame)
    assert again.skipped
    assert len(archive.asked) == 1


def test_busy_servers_are_asked_again_later_each_time(archive, frame, fits_bytes):
    archive.faults = ["503", "429", "500"]
    _, waits = fetch(frame)
    assert frame.path.read_bytes() == fits_bytes
    assert waits == [1.0, 2.0, 4.0]


def test_a_body_that_breaks_off_is_continued_where_it_broke(archive, frame, fits_bytes):
    archive.faults = ["half", "half"]
    fetch(frame)
    assert frame.path.read_bytes() == fits_bytes
    ranges = [asked for _, asked in archive.asked]
    assert ranges[0] is None
    assert ranges[1] == f"bytes={len(fits_bytes) // 2}-"
    assert len(ranges) == 3
    assert leftovers(frame) == []


def test_a_download_that_was_killed_is_continued(archive, frame, fits_bytes):
    archive.faults = ["half"] + ["503"] * 4
    with pytest.raises(AstrolakeError, match="run it again"):
        fetch(frame)
    assert not frame.path.exists()
    fetch(frame)
    assert frame.path.read_bytes() == fits_bytes
    assert archive.asked[-1][1] == f"bytes={len(fits_bytes) // 2}-"


def test_a_file_that_was_replaced_meanwhile_begins_anew(archive, frame, fits_bytes):
    archive.faults = ["half"] + ["503"] * 4
    with pytest.raises(AstrolakeError):
        fetch(frame)
    archive.files[FRAME] = bz2.compress(b"SIMPLE  = " + b"other" * 1000)
    fetch(frame)
    assert frame.path.read_bytes() == archive.files[FRAME]


def test_damage_is_found_by_the_checksums_of_the_file_and_asked_for_anew(archive, frame, fits_bytes):
    archive.faults = ["bits"]
    _, waits = fetch(frame)
    assert frame.path.read_bytes() == fits_bytes
    assert len(waits) == 1


def test_a_page_of_html_with_status_200_is_no_image(archive, frame):
    archive.faults = ["html"]
    with pytest.raises(BadInput, match="no FITS file but a page of HTML"):
        fetch(frame)
    assert leftovers(frame) == []
    assert not frame.path.exists()


def test_a_missing_file_is_not_asked_for_twice(archive, frame):
    del archive.files[FRAME]
    with pytest.raises(BadInput, match="HTTP 404"):
        fetch(frame)
    assert len(archive.asked) == 1


def test_other_schemes_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no web address"):
        download_file(RemoteFile("file:///etc/passwd", tmp_path / "a.fits"))


def test_frames_lie_where_sdss_keeps_them(tmp_path):
    (file,) = sdss_frames(tmp_path, ["4510-4-30"], "r")
    assert file.url == (
        "https://data.sdss.org/sas/dr17/eboss/photoObj/frames/301/4510/4/frame-r-004510-4-0030.fits.bz2"
    )
    sample = [file.path.name for file in sdss_frames(tmp_path)]
    assert FRAME in sample
    assert "frame-i-002583-2-0136.fits.bz2" in sample
    assert len(sample) == len(set(sample)) == 18
    with pytest.raises(BadArguments, match="run-camcol-field"):
        sdss_frames(tmp_path, ["4510-9-30"])
    with pytest.raises(BadArguments, match="no bands"):
        sdss_frames(tmp_path, bands="gy")


@pytest.mark.data
def test_the_command_gets_real_frames_and_lists_what_failed(archive, survey_data, tmp_path, capsys):
    folder = survey_data / "images_sdss"
    for path in folder.glob("frame-*-004510-4-0030.fits.bz2"):
        archive.files[path.name] = path.read_bytes()
    del archive.files["frame-u-004510-4-0030.fits.bz2"]
    archive.faults = ["503", "half"]
    flags = ["--field", "4510-4-30", "--bands", "ugr", "--base-url", archive.url, "--out", str(tmp_path)]
    assert main(["download", *flags]) == 1
    printed = capsys.readouterr()
    assert "2 downloaded (6.7 MB), 0 there already, 1 failed" in printed.out
    assert "frame-u-004510-4-0030.fits.bz2: HTTP 404" in printed.err
    for band in "gr":
        name = f"frame-{band}-004510-4-0030.fits.bz2"
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_the_generated_sky_needs_no_network(tmp_path, capsys, monkeypatch):
    from astrolake import cli_aws_data
    from astrolake.demo.layout import Layout
    from astrolake.demo.write import write_sample_sky

    small = Layout(naxis1=256, naxis2=256, n_fields=1, overlap_px=32)
    monkeypatch.setattr(cli_aws_data, "write_sample_sky", lambda out: write_sample_sky(out, layout=small))
    assert main(["download", "--generated", "--out", str(tmp_path)]) == 0
    assert "6 images and 2 damaged ones" in capsys.readouterr().out
    assert len(list((tmp_path / "images").glob("*.fits*"))) == 8


def test_the_sample_list_is_shipped_with_the_package():
    from importlib import resources

    listed = json.loads(resources.files("astrolake.data_access").joinpath("sdss_sample.json").read_text())
    assert {Path(item["field"]).name for item in listed["fields"]} >= {"4510-4-30", "2583-2-136"}
