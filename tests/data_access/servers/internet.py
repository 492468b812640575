"""The archives' own addresses on loopback: a proxy that answers for any host, with certificates of its own.

Code under test then asks ``https://skyserver.sdss.org/...`` unchanged: through the proxy of its environment, with
the certificate authority that its environment names.
"""

import socket
import ssl
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from tests.data_access.servers.base import LoopbackServer

_BLOCK = 1 << 16


class Internet:
    """Takes what is sent to some hosts to a server on loopback; other hosts are not found.

    `hosts` are all that were asked for, in order.
    """

    def __init__(self, server: LoopbackServer, known: tuple[str, ...]) -> None:
        self.known = known
        self.hosts: list[str] = []
        self._target = urlsplit(server.url)
        self._authority = trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._folder = tempfile.TemporaryDirectory()
        self._bundle = Path(self._folder.name, "authority.pem")
        self._authority.cert_pem.write_to_path(str(self._bundle))

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead a process here."""
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        return {
            "HTTPS_PROXY": url,
            "NO_PROXY": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": str(self._bundle),
        }

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self._listener.close()
        self._folder.cleanup()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (block := client.recv(_BLOCK)):
                    return
                request += block
            host = request.split()[1].decode().partition(":")[0]
            self.hosts.append(host)
            if host not in self.known:
                client.sendall(b"HTTP/1.1 502 no such host\r\n\r\n")
                return
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with (
                self._context(host).wrap_socket(client, server_side=True) as secure,
                socket.create_connection((self._target.hostname, self._target.port)) as server,
            ):
                back = threading.Thread(target=_relay, args=(server, secure), daemon=True)
                back.start()
                _relay(secure, server)
                back.join()

    def _context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            if host not in self._contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._authority.issue_cert(host).configure_cert(context)
                self._contexts[host] = context
            return self._contexts[host]


def _relay(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until either side is done."""
    try:
        while block := source.recv(_BLOCK):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
