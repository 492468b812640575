"""One file on its way from a server to a place of the lake, looked at while it passes."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests
import urllib3

from astrolake.data_access.checksums import new_hash
from astrolake.data_access.fits_stream import BLOCK_BYTES, DamagedFile, FitsCheck, NotFits
from astrolake.data_access.services.answers import reason
from astrolake.data_access.services.client import HttpClient
from astrolake.errors import AstrolakeError, BadInput
from astrolake.lake.atomic_file import replacing
from astrolake.lake.storage import Storage
from astrolake.redact import redact

_HEAD, _BLOCK = 1 << 16, 1 << 20
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class BrokenTransfer(Exception):
    """A body broke off; another try may get the rest."""


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it comes: parts of a checksum, which may be empty, and the size."""

    algorithm: str = ""
    digest: str = ""
    n_bytes: int | None = None

    @property
    def checksum(self) -> str:
        """Algorithm and digest, or nothing."""
        return f"{self.algorithm}:{self.digest}" if self.digest else ""


class Passed:
    """What went by of a file: its length, hash, and whether it is FITS.

    Parameters
    ----------
    expected : Expected
        With a checksum the file is hashed; without one, packed files are unpacked to see if they are whole.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._hash = new_hash(expected.algorithm) if expected.digest else None
        self._fits = FitsCheck(whole=not expected.digest)
        self.n_bytes = 0

    def update(self, block: bytes) -> None:
        """Look at the next block.

        Raises
        ------
        NotFits, DamagedFile
        """
        self._fits.update(block)
        if self._hash is not None:
            self._hash.update(block)
        self.n_bytes += len(block)

    def finish(self, length_known: bool) -> None:
        """Compare with what was expected; without a known length a plain file must be whole blocks of FITS.

        Raises
        ------
        NotFits, DamagedFile
        """
        expected = self._expected
        if expected.n_bytes not in (None, self.n_bytes):
            raise DamagedFile(f"it has {self.n_bytes} bytes, the archive lists {expected.n_bytes}")
        self._fits.finish()
        if self._hash is not None and (found := self._hash.hexdigest()) != expected.digest:
            raise DamagedFile(
                f"its checksum {expected.algorithm}:{found} is not the published {expected.digest}"
            )
        if not (length_known or expected.digest or self._fits.packed) and self.n_bytes % BLOCK_BYTES:
            raise DamagedFile(f"it ends in the middle of a block, after {self.n_bytes} bytes")


def transfer(url: str, storage: Storage, client: HttpClient, expected: Expected) -> Passed:
    """Bring one file to its place, once; it has its name only when it is whole.

    On a disk ``<name>.part`` keeps what a broken transfer brought, and the next one gets the rest, if the
    server says which version of the file it sends (ETag or Last-Modified).

    Raises
    ------
    BrokenTransfer, DamagedFile
        Another try may succeed.
    NotFits
    AstrolakeError
        As from `HttpClient.get`.
    """
    if storage.is_local:
        with _Part.of(Path(storage.path())) as part:
            return _to_disk(url, part, client, expected)
    passed = Passed(expected)
    with _open(client, url, {}) as response:
        _check_whole(response)
        with replacing(storage.root, storage.options) as sink:
            _receive(response, sink, passed)
    return passed


def _to_disk(url: str, part: _Part, client: HttpClient, expected: Expected) -> Passed:
    passed = Passed(expected)
    try:
        asked = part.replay(passed)
        with _open(client, url, asked) as response:
            if asked and not part.continues(response):
                part.begin_anew()
                passed = Passed(expected)
            elif not asked:
                _check_whole(response)
            part.remember_version(response)
            _receive(response, part.stream, passed)
    except BadInput as error:
        if error.kind == "BadRange":
            part.begin_anew()
            raise BrokenTransfer("what came before does not fit the file") from error
        raise
    except (DamagedFile, NotFits):
        part.remove()
        raise
    part.finish()
    return passed


@contextmanager
def _open(client: HttpClient, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    # Packed files are kept as they are, and a range is one of the file itself.
    with client.get(url, stream=True, headers={"Accept-Encoding": "identity", **headers}) as response:
        yield response


def _check_whole(response: requests.Response) -> None:
    if response.status_code == 206:
        raise BrokenTransfer("it sent a part of the file where all of it was asked for")


def _receive(response: requests.Response, sink: BinaryIO, passed: Passed) -> None:
    for block in _blocks(response):
        passed.update(block)
        try:
            sink.write(block)
        except OSError as error:
            problem = f"{response.url} cannot be kept ({error}); free some space, or name another lake"
            raise AstrolakeError(redact(problem)) from error
    passed.finish("Content-Length" in response.headers)


def _blocks(response: requests.Response) -> Iterator[bytes]:
    # The first block is filled up to be looked at; the others are what one call of the system brings.
    read, n_bytes = response.raw.read, _HEAD
    while True:
        try:
            block = read(n_bytes, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise BrokenTransfer(reason(error)) from error
        if not block:
            return
        yield block
        read, n_bytes = response.raw.read1, _BLOCK


class _Part:
    """The unfinished file beside the place of the whole one, for one process at a time."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path, self.stream = path, stream
        self._part = Path(stream.name)
        self._version = self._part.with_name(self._part.name + ".version")

    @classmethod
    @contextmanager
    def of(cls, path: Path) -> Iterator[_Part]:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with part.open("ab") as stream:
            _lock(stream)
            if not part.exists() or not os.path.samestat(os.fstat(stream.fileno()), part.stat()):
                raise BrokenTransfer("another process has just fetched it")
            found = cls(path, stream)
            try:
                yield found
            finally:
                if not found.size():
                    found.remove()

    def size(self) -> int:
        self.stream.flush()
        return os.fstat(self.stream.fileno()).st_size

    def replay(self, passed: Passed) -> dict[str, str]:
        """Let pass what is there already, and return the headers that ask for the rest."""
        size = self.size()
        if not size:
            return {}
        if not self._version.exists():
            self.begin_anew()
            return {}
        with self._part.open("rb") as stream:
            while block := stream.read(_BLOCK):
                passed.update(block)
        # Should the file have changed since, the server sends all of it.
        return {"Range": f"bytes={size}-", "If-Range": self._version.read_text("utf-8")}

    def continues(self, response: requests.Response) -> bool:
        """Whether an answer is the rest of this part."""
        if response.status_code != 206:
            return False
        sent = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        is_rest = sent and int(sent[1]) == self.size() and sent[3] in ("*", str(int(sent[2]) + 1))
        # Some servers do not know If-Range: the rest of another version would make a file of two halves.
        if not is_rest or _version_of(response) not in ("", self._version.read_text("utf-8")):
            self.begin_anew()
            raise BrokenTransfer("it sent another range, or of another version, than was asked for")
        return True

    def remember_version(self, response: requests.Response) -> None:
        if validator := _version_of(response):
            self._version.write_text(validator, "utf-8")
        else:
            self._version.unlink(missing_ok=True)

    def begin_anew(self) -> None:
        self._version.unlink(missing_ok=True)
        self.stream.truncate(0)

    def remove(self) -> None:
        self._version.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def finish(self) -> None:
        self.stream.flush()
        self._version.unlink(missing_ok=True)
        self._part.replace(self._path)


def _version_of(response: requests.Response) -> str:
    etag = response.headers.get("ETag", "")
    # A weak validator does not promise the same bytes (RFC 9110, section 13.1.5).
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _lock(stream: BinaryIO) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BrokenTransfer("another process is fetching it") from error
    except OSError as error:
        # Some network file systems know no locks.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
