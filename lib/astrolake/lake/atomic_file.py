"""Files that are there whole or not at all, on a disk and on S3."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from astrolake.lake.storage import Storage

#: Parts of a multipart upload: 10,000 of them, S3's greatest number, make 160 GB.
_PART_BYTES = 16 << 20


@contextmanager
def replacing(uri: str, options: dict[str, str] | None = None) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of the old one when the block ends, and only then.

    What fails inside the block leaves the old file as it was; of a process that is killed an unfinished
    multipart upload (or a hidden file) remains, which no reader sees.

    Parameters
    ----------
    uri : str
        Canonical URI, ``file:///...`` or ``s3://...``.
    options : dict
        Object-store options.
    """
    storage = Storage.at(uri, options)
    if storage.is_local:
        with _replacing_local(Path(storage.path())) as stream:
            yield stream
        return
    stream = storage.fs.open(storage.path(), "wb", block_size=_PART_BYTES, autocommit=False)
    try:
        yield cast(BinaryIO, stream)
        stream.close()
        stream.commit()
    except BaseException:
        stream.discard()
        # Else its finaliser would begin the upload anew.
        stream.closed = True
        raise


def write_whole(uri: str, data: bytes, options: dict[str, str] | None = None) -> None:
    """Write a file that fits in memory, in one request on S3."""
    storage = Storage.at(uri, options)
    if storage.is_local:
        with _replacing_local(Path(storage.path())) as stream:
            stream.write(data)
    else:
        storage.fs.pipe_file(storage.path(), data)


def remove(uri: str, options: dict[str, str] | None = None) -> None:
    """Delete a file that may not be there."""
    storage = Storage.at(uri, options)
    with suppress(FileNotFoundError):
        storage.fs.rm_file(storage.path())


@contextmanager
def _replacing_local(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with unfinished.open("wb") as stream:
            yield stream
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
