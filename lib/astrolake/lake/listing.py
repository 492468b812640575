"""From what a user names (files, globs, directories, prefixes, manifests) to a list of files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from astrolake.errors import BadInput
from astrolake.lake.storage import canonical_uri, filesystem

_GLOB = "*?["


def list_files(patterns: Sequence[str], options: dict[str, str] | None = None) -> list[str]:
    """Return the URIs of all files that the patterns name, sorted, each once.

    Parameters
    ----------
    patterns : sequence of str
        Files, globs, directories or prefixes (searched to the bottom, links followed; hidden
        files and Delta logs are passed over), or ``@manifest``: a text file with one of these
        a line. A directory that a glob matches is searched too.
    options : dict
        Object-store options.

    Raises
    ------
    BadInput
        When a pattern names nothing or may not be read; the message says which.
    """
    return sorted(_named(patterns, options, ()))


def _named(patterns: Sequence[str], options: dict[str, str] | None, manifests: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        if not pattern.startswith("@"):
            found.update(_expand(pattern, options))
            continue
        uri = canonical_uri(pattern[1:])
        if uri in manifests:
            raise BadInput(f"manifest {pattern[1:]} names itself; remove that line")
        found |= _named(_manifest(pattern[1:], uri, options), options, (*manifests, uri))
    return found


def _expand(pattern: str, options: dict[str, str] | None) -> list[str]:
    uri = canonical_uri(pattern)
    fs = filesystem(uri, options)
    path = uri.removeprefix("file://")
    try:
        if fs.isdir(path):
            files, remedy = _search(fs, path), "the directory holds no files"
        elif any(mark in path for mark in _GLOB) and not fs.exists(path):
            files, remedy = _matching(fs, path), "the pattern matches no file"
        else:
            # A single file that is not there is the job's to reject, beside good ones.
            files, remedy = [path], ""
    except PermissionError as error:
        raise BadInput(f"{pattern}: no permission to list it ({error})", "NoPermission") from error
    if not files:
        raise BadInput(f"{pattern}: {remedy}; check the path", "EmptyInput")
    scheme = "file://" if uri.startswith("file://") else "s3://"
    return [scheme + name.removeprefix("s3://") for name in files]


def _matching(fs: Any, pattern: str) -> list[str]:
    fixed = pattern[: min(pattern.index(mark) for mark in _GLOB if mark in pattern)].rpartition("/")[0]
    wants_hidden = "/." in pattern[len(fixed) :]
    files: list[str] = []
    for name in fs.glob(pattern):
        if wants_hidden or not _hidden(name, fixed):
            files.extend(_search(fs, name) if fs.isdir(name) else [name])
    return files


def _search(fs: Any, path: str) -> list[str]:
    """Return the files below a directory or prefix but the hidden ones."""
    found = _walk(path) if "file" in fs.protocol else fs.find(path)
    return [name for name in found if not _hidden(name, path)]


def _walk(path: str) -> Iterator[str]:
    """Yield the files below a local directory; one that may not be listed is an error, not empty."""
    seen: set[str] = set()
    for folder, below, names in os.walk(path, onerror=_raise, followlinks=True):
        real = os.path.realpath(folder)
        below[:] = [] if real in seen else [name for name in below if not _is_hidden_name(name)]
        if real not in seen:
            yield from (os.path.join(folder, name) for name in names)
        seen.add(real)


def _raise(error: OSError) -> NoReturn:
    raise error


def _hidden(name: str, base: str) -> bool:
    below = name.removeprefix("s3://").removeprefix(base.removeprefix("s3://")).strip("/")
    return any(_is_hidden_name(part) for part in below.split("/"))


def _is_hidden_name(name: str) -> bool:
    return name.startswith(".") or name == "_delta_log"


def _manifest(location: str, uri: str, options: dict[str, str] | None) -> list[str]:
    try:
        with filesystem(uri, options).open(uri.removeprefix("file://"), "rt", encoding="utf-8") as stream:
            lines = [line.strip() for line in stream]
    except (FileNotFoundError, IsADirectoryError):
        raise BadInput(f"manifest {location} does not exist; give a text file with one path a line") from None
    except PermissionError as error:
        raise BadInput(f"manifest {location}: no permission to read it ({error})", "NoPermission") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"manifest {location} is no text file: give one with one path a line") from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise BadInput(f"manifest {location} names no files", "EmptyInput")
    return names
