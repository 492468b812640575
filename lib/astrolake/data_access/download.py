"""Files from a web archive: resumed, tried again, checked, and under their name only when they are whole."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from astrolake.data_access.checksums import SumsFiles, new_hash, parse_checksum
from astrolake.data_access.fits_stream import DamagedFile, NotFits
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.transfer import BrokenTransfer, Expected, transfer
from astrolake.errors import BadInput
from astrolake.lake.storage import Storage
from astrolake.parallel import Outcome, run_parallel
from astrolake.redact import redact

_LOG = logging.getLogger(__name__)
_BLOCK = 1 << 20
#: Of files that came damaged, or as a page of HTML: what is damaged in an archive stays so.
_TRIES_OF_DAMAGED = 3


@dataclass(frozen=True)
class RemoteFile:
    """A FITS file of an archive, packed or not, and where it goes.

    Parameters
    ----------
    url : str
    uri : str
        Canonical ``file://`` or ``s3://`` place.
    checksum : str
        Published one, as ``sha256:HEX``, ``sha1:HEX``, ``md5:HEX`` or ``sha512:HEX``.
    checksum_url : str
        A published list of checksums, as sha256sum writes it, in place of `checksum`.
    band : str
    n_bytes : int, optional
        Published size.
    """

    url: str
    uri: str
    checksum: str = ""
    checksum_url: str = ""
    band: str = ""
    n_bytes: int | None = None


@dataclass(frozen=True)
class Downloaded:
    """A file that is there, whole; `skipped` when it was before.

    Parameters
    ----------
    uri : str
    n_bytes : int
    checksum : str
        The published one, as ``sha256:HEX``, which the file has; empty where none is published.
    skipped : bool
    """

    uri: str
    n_bytes: int
    checksum: str
    skipped: bool


def download_files(
    files: Iterable[RemoteFile],
    client: HttpClient,
    workers: int = 8,
    storage_options: dict[str, str] | None = None,
    known: Mapping[str, Downloaded] | None = None,
) -> Iterator[Outcome[RemoteFile, Downloaded]]:
    """Download files and yield what became of each, in any order.

    A file that is there already is left alone if it has the published size and checksum.

    Parameters
    ----------
    files : iterable of RemoteFile
        Taken as workers become free.
    client : HttpClient
        Of the archive; its number of connections limits the files at a time, too.
    workers : int
        Files at a time.
    storage_options : dict, optional
        Options of an object store.
    known : mapping of str to Downloaded, optional
        By their place, files whose checksums are known from an earlier run (`manifest.downloaded_before`):
        those of the same size are not read again to compute them.
    """
    sums = SumsFiles(client)
    fetch = partial(
        download_file, client=client, storage_options=storage_options, known=known or {}, sums=sums
    )
    yield from run_parallel(fetch, files, workers)


def download_file(
    file: RemoteFile,
    client: HttpClient,
    storage_options: dict[str, str] | None = None,
    known: Mapping[str, Downloaded] | None = None,
    sums: SumsFiles | None = None,
) -> Downloaded:
    """Download one file; on a disk what a broken transfer left in ``<name>.part`` is continued.

    Parameters
    ----------
    file, client, storage_options, known
        As of `download_files`.
    sums : SumsFiles, optional
        Lists of checksums that were read before.

    Raises
    ------
    BadInput
        When the server has no such file, or sends something else.
    ServiceError
        When it cannot be reached, or what it sends breaks off or is damaged again and again.
    BadArguments
        When the checksum cannot be understood.
    """
    storage = Storage.at(file.uri, storage_options)
    sums = sums or SumsFiles(client)
    attempt = damaged = 0
    while True:
        attempt += 1
        try:
            return _present(file, storage, known or {}, sums) or _fetch(file, storage, client, sums)
        except _TryAgain as error:
            damaged += error.damaged
            if attempt >= client.tries or damaged >= _TRIES_OF_DAMAGED:
                problem = f"cannot fetch a file, {error} ({attempt} tries)"
                raise client.failure(problem, file.url, remedy=error.remedy) from error
            client.pause(attempt - 1)


class _TryAgain(Exception):
    def __init__(self, problem: str, remedy: str, damaged: bool) -> None:
        super().__init__(problem)
        self.remedy, self.damaged = remedy, damaged


def _present(
    file: RemoteFile, storage: Storage, known: Mapping[str, Downloaded], sums: SumsFiles
) -> Downloaded | None:
    """Return the file that is at its place already, if it is the published one."""
    size = _size(storage)
    if size is None:
        return None
    expected = _expected(file, sums)
    if expected.n_bytes in (None, size) and (
        known.get(file.uri) == Downloaded(file.uri, size, expected.checksum, skipped=True)
        or not expected.digest
        or _digest(storage, expected.algorithm) == expected.digest
    ):
        return Downloaded(file.uri, size, expected.checksum, skipped=True)
    _LOG.warning("%s is not as %s publishes it: fetched anew", file.uri, redact(file.url))
    return None


def _digest(storage: Storage, algorithm: str) -> str:
    found = new_hash(algorithm)
    with storage.fs.open(storage.path(), "rb") as stream:
        while block := stream.read(_BLOCK):
            found.update(block)
    return str(found.hexdigest())


def _size(storage: Storage) -> int | None:
    try:
        found = storage.fs.info(storage.path())
    except FileNotFoundError:
        return None
    return int(found["size"]) if found["type"] == "file" else None


def _fetch(file: RemoteFile, storage: Storage, client: HttpClient, sums: SumsFiles) -> Downloaded:
    expected = _expected(file, sums)
    try:
        passed = transfer(file.url, storage, client, expected)
    except BrokenTransfer as error:
        raise _TryAgain(
            f"it broke off: {error}", "run it again: it goes on with what is missing", False
        ) from error
    except DamagedFile as error:
        raise _TryAgain(f"it came damaged: {error}", "try again later", True) from error
    except NotFits as error:
        if error.title is None:
            message = client.message(
                "sent no FITS file but something else", file.url, remedy="check the address"
            )
            raise BadInput(message, "NotFits") from error
        problem = f"it is a page of HTML, {error.title!r}"
        raise _TryAgain(problem, "check the address or try again later", True) from error
    return Downloaded(file.uri, passed.n_bytes, expected.checksum, skipped=False)


def _expected(file: RemoteFile, sums: SumsFiles) -> Expected:
    text = file.checksum
    if not text and file.checksum_url:
        text = sums.checksum(file.checksum_url, file.url)
    return Expected(*parse_checksum(text), file.n_bytes)
