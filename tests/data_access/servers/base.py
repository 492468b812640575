"""An HTTP/1.1 server on loopback: routes, files with ranges, a log of requests, and faults on demand."""

import hashlib
import http.server
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

HTML = b"<!DOCTYPE html><html><head><title>Down for maintenance</title></head><body>Sorry.</body></html>"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Recorded:
    """A request as it came; `time` is of `time.monotonic`, names of headers are in lower case."""

    time: float
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    #: All values of parameters that are given more than once.
    values: dict[str, list[str]] = field(default_factory=dict)
    #: What the groups of the route's expression matched.
    groups: tuple[str, ...] = ()

    @property
    def form(self) -> dict[str, str]:
        """Parameters of a form that was posted (not of multipart/form-data)."""
        return _firsts(parse_qs(self.body.decode("utf-8"), keep_blank_values=True))

    @property
    def parameters(self) -> dict[str, str]:
        """Those of the query and of the form, with names in upper case as DALI lets any case pass."""
        urlencoded = self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        return {
            name.upper(): value for name, value in (self.query | (self.form if urlencoded else {})).items()
        }


@dataclass(frozen=True)
class Reply:
    """What a route answers; a path is sent as a file."""

    status: int = 200
    body: bytes | Path = b""
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whether parts of it can be asked for.
    ranges: bool = False
    #: Whether its length is said; else the end of the connection is that of the body.
    length: bool = True


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    `kind`: a status such as 503 (429:2 and 429:DATE send Retry-After too), html (a page with status 200),
    half (the body ends in the middle), half-reset (and the connection is reset there), half-hang (and nothing
    more comes until the server closes), reset (at once), bits (64 bytes of the body are wrong), empty (a body of no bytes), hang (no answer until the server closes).
    `path`: expression that the path of the request must contain, in place of the next request whatever it is.
    """

    kind: str
    path: str = ""


Handler = Callable[[Recorded], Reply]


class LoopbackServer:
    """A server that runs while its `with` block does."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.faults: list[str | Fault] = []
        #: Greatest number of requests that were under way at a time.
        self.busiest = 0
        self._under_way = 0
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _RequestHandler)
        self._http.owner = self
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def route(self, method: str, path_regex: str, handler: Handler) -> None:
        """Answer requests whose whole path (without its query) matches; later routes go first."""
        self._routes.insert(0, (method, re.compile(path_regex), handler))

    def serve(self, path: str, body: bytes | Path, content_type: str = "application/octet-stream") -> str:
        """Serve bytes or a file at a path, parts of it too, and return its URL."""
        reply = Reply(200, body, content_type, ranges=True)
        self.route("GET", re.escape(path), lambda request: reply)
        return self.url + path

    def serve_directory(self, path: str, directory: Path) -> str:
        """Serve the files below a directory, and return the URL of the directory."""

        def file_of(request: Recorded) -> Reply:
            found = (directory / request.groups[0]).resolve()
            if not found.is_file() or directory.resolve() not in found.parents:
                return Reply(404, b"no such file", "text/plain")
            return Reply(200, found, ranges=True)

        self.route("GET", re.escape(path.rstrip("/")) + "/(.+)", file_of)
        return self.url + path.rstrip("/")

    def paths(self) -> list[str]:
        """Paths of the requests, in the order in which they came."""
        return [request.path for request in self.requests]

    def answer(self, request: Recorded) -> tuple[Reply, str]:
        """Record a request and return its answer and what goes wrong with it."""
        with self._lock:
            self.requests.append(request)
            kind = self._next_fault(request.path)
        method = "GET" if request.method == "HEAD" else request.method
        for routed, pattern, handler in self._routes:
            if routed == method and (match := pattern.fullmatch(request.path)):
                return handler(replace(request, groups=match.groups())), kind
        return Reply(404, b"no such resource", "text/plain"), kind

    @contextmanager
    def counting(self):
        """Count a request as under way."""
        with self._lock:
            self._under_way += 1
            self.busiest = max(self.busiest, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _next_fault(self, path: str) -> str:
        for index, fault in enumerate(self.faults):
            if isinstance(fault, str):
                return str(self.faults.pop(index))
            if re.search(fault.path, path):
                del self.faults[index]
                return fault.kind
        return ""


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: LoopbackServer

    def handle_error(self, request, client_address):
        """Clients that go away are no errors of the server."""


class _RequestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self):
        owner: LoopbackServer = self.server.owner
        with owner.counting():
            reply, fault = owner.answer(self._recorded())
            if fault in ("reset", "hang"):
                if fault == "hang":
                    owner.closing.wait(60)
                self._reset()
            elif fault == "html":
                self._send(Reply(200, HTML, "text/html"))
            elif fault[:3].isdecimal():
                status, _, retry_after = fault.partition(":")
                headers = {"Retry-After": retry_after} if retry_after else {}
                self._send(Reply(int(status), b"busy", "text/plain", headers))
            else:
                self._send(self._damaged(reply, fault), fault)

    def do_POST(self):
        self.do_GET()

    def do_DELETE(self):
        self.do_GET()

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *args):
        """Say nothing."""

    def _recorded(self) -> Recorded:
        parts = urlsplit(self.path)
        values = parse_qs(parts.query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        path = unquote(parts.path)
        return Recorded(time.monotonic(), self.command, path, _firsts(values), headers, body, values)

    def _damaged(self, reply: Reply, fault: str) -> Reply:
        if fault == "empty":
            return replace(reply, body=b"")
        if fault != "bits":
            return reply
        body = bytearray(reply.body if isinstance(reply.body, bytes) else reply.body.read_bytes())
        middle = slice(len(body) // 2, len(body) // 2 + 64)
        body[middle] = bytes(byte ^ 0x55 for byte in body[middle])
        # What changes on the way is not known to the server: the validator is that of the whole file.
        return replace(reply, body=bytes(body), headers={**reply.headers, "ETag": _etag(reply.body)})

    def _send(self, reply: Reply, fault: str = "") -> None:
        size = len(reply.body) if isinstance(reply.body, bytes) else reply.body.stat().st_size
        status, start, end = reply.status, 0, size
        headers = {"Content-Type": reply.content_type, **reply.headers}
        if reply.ranges and reply.status == 200:
            headers = {"Accept-Ranges": "bytes", "ETag": _etag(reply.body), **headers}
            status, start, end = self._range(size, headers["ETag"])
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        elif status == 416:
            headers["Content-Range"] = f"bytes */{size}"
        self.send_response(status)
        headers |= {"Content-Length": str(end - start)} if reply.length else {"Connection": "close"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        halved = fault.startswith("half")
        self._send_body(reply.body, start, start + (end - start) // 2 if halved else end)
        if fault == "half-hang":
            self.server.owner.closing.wait(60)
        if fault == "half-reset":
            self._reset()
        elif halved:
            self.close_connection = True

    def _range(self, size: int, etag: str) -> tuple[int, int, int]:
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None or self.headers.get("If-Range", etag) != etag:
            return 200, 0, size
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
        return (206, start, end) if start < end else (416, 0, 0)

    def _send_body(self, body: bytes | Path, start: int, end: int) -> None:
        if isinstance(body, bytes):
            self.wfile.write(memoryview(body)[start:end])
            return
        with body.open("rb") as stream:
            while start < end:
                start += os.sendfile(
                    self.connection.fileno(), stream.fileno(), start, min(end - start, _BLOCK)
                )

    def _reset(self) -> None:
        """End the connection by RST, as a router does that forgets it."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


def _etag(body: bytes | Path) -> str:
    if isinstance(body, bytes):
        return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    found = body.stat()
    return f'"{found.st_size:x}-{found.st_mtime_ns:x}"'


def _firsts(values: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: found[0] for name, found in values.items()}
