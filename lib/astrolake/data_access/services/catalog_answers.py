"""What a catalog service answers: rows or something else, told apart, read into Arrow, asked for again."""

from __future__ import annotations

import gzip
import logging
import mmap
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import requests

from astrolake.data_access.catalog_files import file_schema, read_batches
from astrolake.data_access.formats import votable
from astrolake.data_access.formats.base import InputFile, ReadOptions
from astrolake.data_access.formats.damage import naming
from astrolake.data_access.services.answers import reason, words
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.pace import pause_s
from astrolake.errors import AstrolakeError, BadInput, ServiceError
from astrolake.redact import redact

_LOG = logging.getLogger(__name__)
_TRIES = 3
_BLOCK = 1 << 20
_HEAD_BYTES = 1 << 14
#: 20 kB for each of the most rows that are asked for; what is packed may unpack to a thousand times its size.
_MOST_BYTES = 2 << 30
_INFO = re.compile(rb"<(?:\w+:)?INFO\b([^>]*?)(?:/>|>(.*?)</(?:\w+:)?INFO\s*>)", re.DOTALL)
_ATTRIBUTE = re.compile(rb"""(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


@dataclass(frozen=True)
class Answer:
    """Rows of a query.

    Parameters
    ----------
    rows : pa.Table
        In native columns, as the service names and types them.
    overflow : bool
        Whether there are, or may be, more.
    """

    rows: pa.Table
    overflow: bool


class CatalogService(Protocol):
    """A service that answers queries."""

    def query(self, sql: str, max_rows: int, expected_rows: float | None = None) -> Answer:
        """Return the rows of a query.

        Parameters
        ----------
        sql : str
            In the dialect of the service.
        max_rows : int
            Rows that are asked for at most.
        expected_rows : float, optional
            A guess, by which the service may be asked in a way that suits small answers.

        Raises
        ------
        ServiceError
            When the service fails or refuses; the message names the service and the query.
        """
        ...


class TryAgain(Exception):
    """An answer that another try may better, after so many seconds at the earliest."""

    def __init__(self, problem: str, wait_s: float = 0.0) -> None:
        super().__init__(problem)
        self.wait_s = wait_s


def tried(ask: Callable[[], Answer], client: HttpClient, url: str, sql: str) -> Answer:
    """Return what a function that sends a query returns, calling it again when it raises `TryAgain`.

    Raises
    ------
    ServiceError
        When no try has succeeded; it names the service and the query.
    """
    attempt = 0
    while True:
        try:
            return ask()
        except TryAgain as error:
            attempt += 1
            if attempt == _TRIES:
                raise client.failure(f"{error} ({attempt} tries)", url, sql) from error
            _LOG.info("%s: %s; the query is sent again", client.name, redact(str(error)))
            client.sleep(max(pause_s(attempt - 1), error.wait_s))


@contextmanager
def kept(response: requests.Response) -> Iterator[Path]:
    """Stream the body of a response to a temporary file, unpacked, which is there during the block.

    Raises
    ------
    TryAgain
        When the body ends early or is empty.
    """
    with tempfile.TemporaryDirectory(prefix="astrolake-answer-") as directory:
        path = Path(directory) / "answer"
        with response:
            _write(path, _received(response))
        if path.stat().st_size == 0:
            raise TryAgain("the answer is empty")
        yield _unpacked(path)


def _received(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(_BLOCK)
    except (requests.RequestException, OSError) as error:
        raise TryAgain(f"the answer broke off: {reason(error)}") from error


def _write(path: Path, blocks: Iterator[bytes]) -> None:
    """Write blocks to a temporary file, no more than an answer may have."""
    size = 0
    with _writable(path), path.open("wb") as stream:
        for block in blocks:
            size += len(block)
            if size > _MOST_BYTES:
                raise ServiceError(
                    f"an answer has more than {_MOST_BYTES:,} bytes, packed or not; ask for fewer columns"
                )
            stream.write(block)


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AstrolakeError(
            f"{path}: an answer cannot be kept ({error.strerror}); free some space, or set TMPDIR"
        ) from error


def _unpacked(path: Path) -> Path:
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            return path
    plain = path.with_suffix(".plain")
    with gzip.open(path, "rb") as packed:
        _write(plain, _inflated(packed))
    return plain


def _inflated(packed: gzip.GzipFile) -> Iterator[bytes]:
    try:
        while block := packed.read(_BLOCK):
            yield block
    except (OSError, EOFError, zlib.error) as error:
        raise TryAgain(f"the answer came damaged: {error}") from error


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file without blanks before them."""
    with path.open("rb") as stream:
        return stream.read(_HEAD_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")


def query_status(path: Path) -> tuple[str, str]:
    """Return the status of a VOTable (OK, ERROR, OVERFLOW) and its message (DALI 1.1, section 4.4).

    The last one counts: overflow is told behind the rows.
    """
    status, message = "", ""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for info in _INFO.finditer(text):
            found = {name.lower(): one or two for name, one, two in _ATTRIBUTE.findall(info[1])}
            if found.get(b"name", b"").upper() == b"QUERY_STATUS":
                status = found.get(b"value", b"").decode("utf-8", errors="replace").upper()
                message = words(info[2] or b"")
    return status, message


def read_rows(path: Path, kind: str) -> pa.Table:
    """Return the rows of a file of a known format (votable, fits, csv).

    Raises
    ------
    TryAgain
        When the file is damaged, or some of its rows are.
    """
    file = InputFile(f"file://{path}", kind, path.stat().st_size, label="answer")
    options = ReadOptions(delimiter="," if kind == "csv" else "")
    try:
        if kind == "votable":
            # Its schema is known from its rows alone: one reading gives both.
            with naming(file):
                return pa.Table.from_batches([votable.records(file, options)])
        schema = _typed(file_schema(file, options))
        batches = list(read_batches(file, schema, options))
    except BadInput as error:
        raise TryAgain(f"the answer cannot be read: {error}") from error
    if bad := [row for batch in batches for row in batch.malformed]:
        raise TryAgain(f"{len(bad)} rows of the answer cannot be read, such as {bad[0].text[:200]!r}")
    return pa.Table.from_batches([batch.records for batch in batches], schema)


def _typed(schema: pa.Schema) -> pa.Schema:
    """Return a schema in which columns without any value have a type that becomes any other."""
    fields = (field.with_type(pa.int64()) if pa.types.is_null(field.type) else field for field in schema)
    return pa.schema(list(fields))
