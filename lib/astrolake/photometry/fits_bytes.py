"""The bytes of a file, from a disk or an object store, unpacked where it is gzipped or bzipped."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from astrolake.errors import AstrolakeError, BadInput
from astrolake.lake.storage import canonical_uri, filesystem

Options = dict[str, str] | None

_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"
#: Packed files up to this size are kept unpacked until the next one is read.
_REMEMBERED_BYTES = 8 << 20
_PIECE_BYTES = 1 << 20
#: Packings that FITS files do not come in; the name goes into the message.
_FOREIGN = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x9d": "a compress (.Z) file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
}


def read_bytes(uri: str, storage_options: Options = None) -> bytes:
    """Return the bytes of a file as they lie, in one read.

    Raises
    ------
    BadInput
        When the file is not there or cannot be read.
    """
    path = _path(uri)
    _require_regular(path, uri)
    with _reading(uri):
        return bytes(filesystem(canonical_uri(uri), storage_options).cat_file(path))


def unpack(raw: bytes, uri: str) -> bytes:
    """Return the bytes of a FITS file, unpacked by what they are, whatever the name says.

    Tile compression (.fz) is inside FITS and left alone.

    Raises
    ------
    BadInput
        When packed bytes are cut off or damaged, or the packing is not gzip or bzip2.
    """
    _refuse_foreign(raw, uri)
    if not raw.startswith((_GZIP, _BZIP2)):
        return raw
    with _unpacking(uri):
        return _decompressed_last(raw) if len(raw) <= _REMEMBERED_BYTES else _decompressed(raw)


def unpack_file(source: Path, target: Path, most_bytes: int, uri: str) -> Path:
    """Return the file with the bytes of a FITS file unpacked: `target`, or `source` where it is not packed.

    Equivalent to `unpack`, with memory for a piece at a time.

    Raises
    ------
    BadInput
        As `unpack`; and when there are more than `most_bytes`, without writing them.
    """
    with source.open("rb") as stream:
        head = stream.read(8)
    _refuse_foreign(head, uri)
    if not head.startswith((_GZIP, _BZIP2)):
        return source
    opener: Callable[..., Any] = gzip.open if head.startswith(_GZIP) else bz2.open
    n_bytes = 0
    with _unpacking(uri), opener(source, "rb") as packed, target.open("wb") as plain:
        while piece := packed.read(_PIECE_BYTES):
            n_bytes += len(piece)
            if n_bytes > most_bytes:
                raise BadInput(f"{uri}: more than {most_bytes} bytes when unpacked; split it", "TooLarge")
            plain.write(piece)
    return target


def _refuse_foreign(head: bytes, uri: str) -> None:
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise BadInput(f"{uri}: not FITS but {what}; unpack it and ingest what is in it", "NotFits")


@contextmanager
def _unpacking(uri: str) -> Iterator[None]:
    """Turn what gzip and bzip2 raise into a BadInput."""
    try:
        yield
    except EOFError as error:
        raise _cut_off(uri, error) from error
    except (OSError, zlib.error, ValueError) as error:
        # bz2 tells a cut-off stream by a ValueError of this text.
        if "before the end-of-stream" in str(error):
            raise _cut_off(uri, error) from error
        raise BadInput(
            f"{uri}: its packing is damaged ({error}); fetch the file again", "BadPacking"
        ) from error


def _decompressed(raw: bytes) -> bytes:
    return gzip.decompress(raw) if raw.startswith(_GZIP) else bz2.decompress(raw)


#: An image is often extracted right after it was scanned, and bzip2 takes as long as its extraction.
_decompressed_last = lru_cache(maxsize=1)(_decompressed)


@contextmanager
def open_stream(uri: str, storage_options: Options = None) -> Iterator[BinaryIO]:
    """Open a FITS file for reading and seeking; only packed files are read as a whole.

    Raises
    ------
    BadInput
        When the file is not there, cannot be read, or its packing is damaged.
    """
    fs = filesystem(canonical_uri(uri), storage_options)
    _require_regular(_path(uri), uri)
    with _reading(uri), fs.open(_path(uri), "rb") as stream:
        head = stream.read(3)
        stream.seek(0)
        if head.startswith((_GZIP, _BZIP2)):
            yield io.BytesIO(unpack(stream.read(), uri))
        else:
            yield cast(BinaryIO, stream)


def file_size(uri: str, storage_options: Options = None) -> int:
    """Return the size of a file in bytes, as it lies there.

    Raises
    ------
    BadInput
        When the file is not there or cannot be reached.
    """
    with _reading(uri):
        return int(filesystem(canonical_uri(uri), storage_options).size(_path(uri)) or 0)


def sibling_names(uri: str, storage_options: Options = None) -> list[str]:
    """Return the names of the files in the directory of a file; empty when it cannot be listed."""
    path = _path(uri)
    fs = filesystem(canonical_uri(uri), storage_options)
    try:
        return sorted(name.rsplit("/", 1)[-1] for name in fs.ls(path.rsplit("/", 1)[0], detail=False))
    except OSError:
        # A file may be readable where its directory is not: it then has no companions.
        return []


def _require_regular(path: str, uri: str) -> None:
    """Refuse pipes, sockets and devices, which could be read for ever."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise BadInput(f"{uri}: a pipe, socket or device, not a file; leave it out", "NotAFile")


def _path(uri: str) -> str:
    return canonical_uri(uri).removeprefix("file://")


def _cut_off(uri: str, error: Exception) -> BadInput:
    return BadInput(f"{uri}: truncated inside its packing ({error}); fetch the file again", "Truncated")


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Turn what a file system raises into a BadInput that names file, cause and remedy."""
    try:
        yield
    except AstrolakeError:
        raise
    except FileNotFoundError as error:
        raise BadInput(f"{uri}: there is no such file; check the path", "FileNotFound") from error
    except PermissionError as error:
        raise BadInput(f"{uri}: no permission to read it; grant read access", "NoPermission") from error
    except IsADirectoryError as error:
        raise BadInput(f"{uri}: a directory, not a file; name the files in it", "NotAFile") from error
    except OSError as error:
        raise BadInput(
            f"{uri}: cannot be read ({error}); check the storage and try again", "ReadError"
        ) from error
