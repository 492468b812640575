"""A proxy before an S3 server that does to requests what networks and busy stores do."""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: What may happen, and how often of all faults.
FAULTS = {
    "slow_down": 4,  # refused: 503 SlowDown, nothing is done
    "reset": 3,  # the connection is reset before the request is passed on
    "lost_answer": 3,  # done, but the answer is lost: reset
    "error_after": 2,  # done, but 500 InternalError is answered
    "reset_in_body": 4,  # the body breaks off in the middle: reset
    "cut_body": 4,  # the body is cut, and its length is said to be that
    "stall": 1,  # no answer for longer than the client waits
}
_MEAN_DELAY_S = 0.02
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_INTERNAL = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


class FaultProxy:
    """Passes requests on to a server, and lets some of them go wrong.

    Parameters
    ----------
    upstream : str
        ``http://host:port``.
    rate : float
        Fraction of requests that go wrong.
    seed : int
    stall_s : float
        How long a stalled request takes.
    """

    def __init__(self, upstream: str, rate: float, seed: int, stall_s: float = 3.0) -> None:
        self.upstream = upstream.removeprefix("http://")
        self.rate, self.stall_s = rate, stall_s
        self.happened: Counter[str] = Counter()
        self._random, self._lock = random.Random(seed), threading.Lock()

        class Handler(_Handler):
            proxy = self

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self._server.server_address)

    def draw(self) -> tuple[str, float]:
        """Draw what happens to the next request, empty for nothing, and how long it takes to arrive."""
        with self._lock:
            self.happened["requests"] += 1
            delay_s = self._random.expovariate(1.0 / _MEAN_DELAY_S)
            if self._random.random() >= self.rate:
                return "", delay_s
            return self._random.choices(list(FAULTS), list(FAULTS.values()))[0], delay_s

    def note(self, fault: str) -> None:
        with self._lock:
            self.happened[fault] += 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that did not wait."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def _serve(self) -> None:
        fault, delay_s = self.proxy.draw()
        body = self._read_body()
        time.sleep(delay_s)
        if fault == "slow_down":
            return self._answer(503, {"Content-Type": "application/xml"}, _SLOW_DOWN, fault)
        if fault == "reset":
            return self._reset(fault)
        status, headers, content = self._ask(body)
        if fault == "stall":
            self.proxy.note(fault)
            time.sleep(self.proxy.stall_s)
        if fault == "lost_answer":
            return self._reset(fault)
        if fault == "error_after":
            return self._answer(500, {"Content-Type": "application/xml"}, _INTERNAL, fault)
        if fault == "reset_in_body" and content and self.command == "GET":
            self._head(status, headers, len(content))
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self._reset(fault)
        if fault == "cut_body" and content and self.command == "GET":
            return self._answer(status, headers, content[: len(content) // 2], fault)
        self._answer(status, headers, content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - the names of http.server

    def _read_body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def handle_expect_100(self) -> bool:
        return True

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if self.command == "HEAD":
            length = int(headers.get("Content-Length", headers.get("content-length", 0)))
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, status: int, headers: dict[str, str], content: bytes, fault: str = "") -> None:
        if fault:
            self.proxy.note(fault)
        self._head(status, headers, len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self, fault: str) -> None:
        """Close the connection so that the client's system tells it of a reset."""
        self.proxy.note(fault)
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
