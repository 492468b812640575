"""From what a user names (files, globs, directories, prefixes, manifests) to a list of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from astrolake.errors import BadInput
from astrolake.lake.storage import canonical_uri, filesystem

_GLOB = "*?["


def list_files(patterns: Sequence[str], options: dict[str, str] | None = None) -> list[str]:
    """Return the URIs of all files that the patterns name, sorted, each once.

    Parameters
    ----------
    patterns : sequence of str
        Files, globs, directories or prefixes (searched to the bottom; hidden files and
        Delta logs are passed over), or ``@manifest``: a text file with one of these a line.
    options : dict
        Object-store options.

    Raises
    ------
    BadInput
        When a pattern names nothing; the message says which.
    """
    found: set[str] = set()
    for pattern in patterns:
        if pattern.startswith("@"):
            found.update(list_files(_manifest(pattern[1:], options), options))
        else:
            found.update(_expand(pattern, options))
    return sorted(found)


def _expand(pattern: str, options: dict[str, str] | None) -> list[str]:
    uri = canonical_uri(pattern)
    fs = filesystem(uri, options)
    path = uri.removeprefix("file://")
    try:
        if fs.isdir(path):
            files = [name for name in _find(fs, path) if not _hidden(name, path)]
            remedy = "the directory holds no files"
        elif fs.exists(path):
            files, remedy = [path], ""
        elif any(mark in path for mark in _GLOB):
            files, remedy = [name for name in fs.glob(path) if fs.isfile(name)], "the pattern matches no file"
        else:
            # A single file that is not there is the job's to reject, beside good ones.
            files, remedy = [path], ""
    except PermissionError as error:
        raise BadInput(f"{pattern}: no permission to list it ({error})", "NoPermission") from error
    if not files:
        raise BadInput(f"{pattern}: {remedy}; check the path", "EmptyInput")
    scheme = "file://" if uri.startswith("file://") else "s3://"
    return [scheme + name.removeprefix("s3://") for name in files]


def _find(fs: Any, path: str) -> list[str]:
    # A local search passes over directories it may not read, which would lose their files unseen.
    found: list[str] = fs.find(path, on_error="raise") if "file" in fs.protocol else fs.find(path)
    return found


def _hidden(name: str, base: str) -> bool:
    below = name.removeprefix(base.removeprefix("s3://")).strip("/").split("/")
    return any(part.startswith(".") or part == "_delta_log" for part in below)


def _manifest(location: str, options: dict[str, str] | None) -> list[str]:
    uri = canonical_uri(location)
    try:
        with filesystem(uri, options).open(uri.removeprefix("file://"), "rt", encoding="utf-8") as stream:
            lines = [line.strip() for line in stream]
    except FileNotFoundError:
        raise BadInput(f"manifest {location} does not exist; give a text file with one path a line") from None
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise BadInput(f"manifest {location} names no files", "EmptyInput")
    return names
