"""The server that stands for the archives does what its faults and ranges say."""

import http.client
import urllib.error
import urllib.request

import pytest

from tests.data_access.servers.base import Fault, LoopbackServer, Reply

BODY = bytes(range(256)) * 40


@pytest.fixture
def server():
    with LoopbackServer() as started:
        started.serve("/data/a.bin", BODY)
        yield started


def ask(server, path, headers=None, data=None):
    request = urllib.request.Request(server.url + path, data, headers or {})
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status, response.headers, response.read()


def test_routes_see_query_form_and_groups(server):
    def handler(request):
        text = f"{request.groups} {request.parameters} {request.values.get('b')}"
        return Reply(200, text.encode(), "text/plain", {"X-More": "1"})

    server.route("POST", "/jobs/([0-9]+)", handler)
    status, headers, body = ask(server, "/jobs/12?b=1&b=2", data=b"LANG=ADQL&query=a%20b")
    assert (status, headers["X-More"]) == (200, "1")
    assert body.decode() == "('12',) {'B': '1', 'LANG': 'ADQL', 'QUERY': 'a b'} ['1', '2']"
    assert server.requests[0].form == {"LANG": "ADQL", "query": "a b"}
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(server, "/jobs/12")


@pytest.mark.parametrize("as_file", [False, True])
def test_ranges_need_the_validator(server, as_file, tmp_path):
    (tmp_path / "b.bin").write_bytes(BODY)
    server.serve_directory("/files", tmp_path)
    path = "/files/b.bin" if as_file else "/data/a.bin"
    status, headers, body = ask(server, path)
    assert (status, body) == (200, BODY)
    part = {"Range": "bytes=100-", "If-Range": headers["ETag"]}
    status, found, body = ask(server, path, part)
    assert (status, body, found["Content-Range"]) == (
        206,
        BODY[100:],
        f"bytes 100-{len(BODY) - 1}/{len(BODY)}",
    )
    assert ask(server, path, {**part, "If-Range": '"other"'})[::2] == (200, BODY)
    with pytest.raises(urllib.error.HTTPError, match="416"):
        ask(server, path, {"Range": f"bytes={len(BODY)}-"})


def test_faults_come_once_each_and_in_order(server):
    server.faults = [
        Fault("404", "elsewhere"),
        "503",
        "429:2",
        "html",
        "half",
        "bits",
        "reset",
        "half-reset",
        "empty",
    ]
    for status, wait in ((503, None), (429, "2")):
        with pytest.raises(urllib.error.HTTPError) as raised:
            ask(server, "/data/a.bin")
        assert (raised.value.code, raised.value.headers["Retry-After"]) == (status, wait)
    assert b"<title>Down" in ask(server, "/data/a.bin")[2]
    with pytest.raises(http.client.IncompleteRead) as incomplete:
        ask(server, "/data/a.bin")
    assert len(incomplete.value.partial) == len(BODY) // 2
    damaged = ask(server, "/data/a.bin")[2]
    assert sum(a != b for a, b in zip(damaged, BODY, strict=True)) == 64
    for _ in range(2):
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            ask(server, "/data/a.bin")
    assert ask(server, "/data/a.bin")[2] == b""
    assert ask(server, "/data/a.bin")[2] == BODY
    assert server.faults == [Fault("404", "elsewhere")]
    assert server.paths() == ["/data/a.bin"] * 9
