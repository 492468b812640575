"""One portable file for a model: a zip of a JSON manifest and plain arrays, without pickled objects."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput

Arrays = dict[str, NDArray[Any]]

FORMAT = "astrolake-photoz"
VERSION = 1
_MANIFEST = "model.json"
_KINDS = "biufSU"  # numbers and strings; never objects
#: A file may unpack to this, and to so many times its size beyond: no small file fills the memory.
_UNPACKED_BYTES, _UNPACKED_TIMES = 64 << 20, 100
#: Zip entries carry a time; a constant makes equal models equal files.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def to_bytes(kind: str, manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a model as the content of a file.

    Parameters
    ----------
    kind : str
        What the model is, such as "learned" or "template_fit"; `from_bytes` gives it back.
    manifest : mapping
        Anything JSON holds.
    arrays : mapping of str to array
        Numbers or strings of fixed length.
    """
    described = {}
    blobs = {}
    for name, array in sorted(arrays.items()):
        if array.dtype.kind not in _KINDS:
            raise TypeError(f"array {name} of {array.dtype}: a model holds numbers and strings only")
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        blobs[name] = buffer.getvalue()
        described[name] = hashlib.sha256(blobs[name]).hexdigest()
    head = {"format": FORMAT, "version": VERSION, "kind": kind, "arrays": described, "model": dict(manifest)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(zipfile.ZipInfo(_MANIFEST, _EPOCH), json.dumps(head, sort_keys=True))
        for name, blob in blobs.items():
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, blob, compresslevel=1)
    return file.getvalue()


def from_bytes(content: bytes, name: str) -> tuple[str, dict[str, Any], Arrays]:
    """Return kind, manifest and arrays of a model file's content; `name` is what messages call the file.

    Raises
    ------
    BadInput
        When this is no model of astrolake, one of a newer version, or one that was changed or cut.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > _UNPACKED_BYTES + _UNPACKED_TIMES * len(content):
                raise BadInput(f"{name} is refused: its {len(content)} bytes would unpack to {unpacked}")
            if _MANIFEST not in archive.namelist():
                raise BadInput(f"{name} is no photo-z model of astrolake: it has no {_MANIFEST}")
            head = _head(_unpacked(archive, _MANIFEST, _MANIFEST, name), name)
            arrays = {key: _array(archive, key, digest, name) for key, digest in head["arrays"].items()}
    except zipfile.BadZipFile as error:
        raise BadInput(
            f"{name} is no photo-z model of astrolake ({error}); give what train_photoz wrote"
        ) from None
    return head["kind"], head["model"], arrays


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    partial.write_bytes(content)
    partial.replace(target)


def read(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file.

    Raises
    ------
    BadInput
        When it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"model {path} cannot be read: {error.strerror}") from None


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a model file's content, its version."""
    return hashlib.sha256(content).hexdigest()


class ModelFile(ABC):
    """What is kept as one file."""

    @abstractmethod
    def to_bytes(self) -> bytes:
        """Return the content of its file."""

    @classmethod
    @abstractmethod
    def from_bytes(cls, content: bytes, name: str = "the model") -> Self:
        """Return what a file's content holds."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to one file."""
        write(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return what a file holds; nothing in it is executed. Errors as `from_bytes`."""
        return cls.from_bytes(read(path), str(path))

    @cached_property
    def version(self) -> str:
        """First 16 digits of the SHA-256 of the file: equal models have equal versions."""
        return sha256(self.to_bytes())[:16]


def _unpacked(archive: zipfile.ZipFile, part: str, what: str, name: str) -> bytes:
    try:
        return archive.read(part)
    except (KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise BadInput(f"{name} is damaged: {what} cannot be read ({error})") from None


def _head(text: bytes, name: str) -> dict[str, Any]:
    try:
        head = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput(f"{name} is no photo-z model of astrolake: {_MANIFEST} is not JSON") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BadInput(f"{name} is no photo-z model of astrolake: its format is not {FORMAT!r}")
    if head.get("version") != VERSION:
        raise BadInput(f"{name} has version {head.get('version')} of the model format; this reads {VERSION}")
    if not all(
        isinstance(head.get(key), kind) for key, kind in (("arrays", dict), ("model", dict), ("kind", str))
    ):
        raise BadInput(f"{name}: {_MANIFEST} lacks arrays, model or kind")
    return head


def _array(archive: zipfile.ZipFile, key: str, digest: object, name: str) -> NDArray[Any]:
    blob = _unpacked(archive, f"{key}.npy", f"array {key}", name)
    if hashlib.sha256(blob).hexdigest() != digest:
        raise BadInput(f"{name} is damaged: array {key} is not the one that was written")
    try:
        array: NDArray[Any] = np.load(io.BytesIO(blob), allow_pickle=False)
    except (ValueError, MemoryError, OverflowError) as error:
        raise BadInput(f"{name}: array {key} is refused ({error})") from None
    return array
