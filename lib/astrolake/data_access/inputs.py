"""From what a user names to the files of a catalog: paths, globs, directories, HATS and Delta tables."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from astrolake.data_access.formats.base import InputFile, ReadOptions
from astrolake.data_access.formats.detect import (
    FORMATS,
    extensions_of,
    format_by_content,
    format_by_name,
    stem,
)
from astrolake.data_access.source_tables import (
    HATS_MARKS,
    Found,
    below,
    delta_files,
    hats_files,
    is_hidden,
)
from astrolake.errors import BadArguments, BadInput
from astrolake.lake.storage import canonical_uri, filesystem
from astrolake.schema import PARTITION_COLUMNS

_GLOB = "*?["


def list_inputs(
    patterns: Sequence[str], fmt: str = "auto", storage_options: Mapping[str, str] | None = None
) -> list[InputFile]:
    """Return the catalog files that the patterns name, sorted, each once.

    Parameters
    ----------
    patterns : sequence of str
        Files, globs or directories: paths, ``file://`` or ``s3://`` URIs. A directory is
        searched to the bottom for files with a known extension, names that start with
        ``.`` or ``_`` passed over; of a Delta table the newest snapshot is taken, of a HATS
        catalog the partitions, of a HATS collection those of its primary table.
    fmt : str
        One of `FORMATS`; auto goes by the extension, then by the first bytes.
    storage_options : mapping
        Object-store options in the spelling of delta-rs.

    Raises
    ------
    BadInput
        When a pattern names nothing, or all files are of unknown or unsupported format; the
        message names one and the remedy. If only some are, their format is empty.
    BadArguments
        For an unknown `fmt`.
    """
    if fmt not in FORMATS:
        raise BadArguments(f"--format {fmt!r} is unknown; choose one of {list(FORMATS)}")
    options = ReadOptions(storage_options=dict(storage_options or {}))
    found: dict[str, InputFile] = {}
    problems: list[BadInput] = []
    for pattern in patterns:
        for item in _expand(pattern, fmt, options):
            if item.uri in found:
                continue
            try:
                kind = _format(item, fmt, options)
            except BadInput as problem:
                problems.append(problem)
                kind = ""
            found[item.uri] = InputFile(item.uri, kind, item.size, item.label, item.partition)
    if not found:
        raise BadInput("no input is given; name files, globs or directories", "EmptyInput")
    if len(problems) == len(found):
        raise problems[0]
    return _told_apart([found[uri] for uri in sorted(found)])


def _told_apart(files: list[InputFile]) -> list[InputFile]:
    """Return the files with longer labels where two patterns gave the same one."""
    if len({file.label for file in files}) == len(files):
        return files
    base = posixpath.commonpath([posixpath.dirname(file.uri) for file in files])
    return [replace(file, label=posixpath.relpath(file.uri, base)) for file in files]


def _format(item: Found, fmt: str, options: ReadOptions) -> str:
    if fmt not in ("auto", "hats"):
        return fmt
    known = item.format or format_by_name(item.uri)
    return known or format_by_content(InputFile(item.uri, "auto"), options)


def _expand(pattern: str, fmt: str, options: ReadOptions) -> list[Found]:
    uri = canonical_uri(pattern)
    fs = filesystem(uri, dict(options.storage_options))
    path = uri.removeprefix("file://")
    try:
        if fs.isdir(path):
            return _directory(fs, path, fmt, options)
        if fs.exists(path):
            return [Found(path, posixpath.dirname(path), int(fs.info(path)["size"]))]
        matches = fs.glob(path, detail=True) if any(mark in path for mark in _GLOB) else {}
    except PermissionError as error:
        raise BadInput(
            f"{pattern}: no permission to read it ({error}); check the rights", "NoPermission"
        ) from error
    found: list[Found] = []
    for name, info in sorted(matches.items()):
        if info["type"] == "directory":
            found.extend(_directory(fs, name, fmt, options))
        else:
            found.append(_hive_file(name, _fixed_part(path), int(info["size"])))
    if not found:
        raise BadInput(
            f"{pattern}: no such file or directory, and no file matches; check the path", "EmptyInput"
        )
    return found


def _fixed_part(pattern: str) -> str:
    """Return the directories of a glob before its first wildcard."""
    first = min(pattern.index(mark) for mark in _GLOB if mark in pattern)
    return posixpath.dirname(pattern[:first])


def _directory(fs: Any, path: str, fmt: str, options: ReadOptions) -> list[Found]:
    if fs.isdir(f"{path}/_delta_log"):
        return delta_files(path, options)
    if fmt == "hats" or any(fs.exists(f"{path}/{mark}") for mark in HATS_MARKS):
        return hats_files(fs, path)
    entries = {name: info for name, info in fs.find(path, detail=True).items() if info["type"] == "file"}
    _check_no_nested_table(path, entries)
    extensions = extensions_of(fmt)
    found = [
        _hive_file(name, path, int(info["size"]))
        for name, info in entries.items()
        if not is_hidden(below(name, path)) and stem(name).endswith(extensions)
    ]
    if not found:
        raise BadInput(
            f"{path}: none of the {len(entries)} files in the directory ends in one of {list(extensions)} "
            "(compressed or not); name files or a glob",
            "EmptyInput",
        )
    return found


def _check_no_nested_table(path: str, entries: Iterable[str]) -> None:
    """Refuse a directory of tables: their logs and margins would be taken for rows."""
    inner = set()
    for name in entries:
        parts = below(name, path)
        if "_delta_log" in parts:
            inner.add("/".join(parts[: parts.index("_delta_log")]))
        elif parts[-1] in HATS_MARKS:
            inner.add("/".join(parts[:-1]))
    if inner:
        raise BadInput(f"{path} holds the tables {sorted(inner)}; name one of them", "SeveralTables")


def _hive_file(name: str, base: str, size: int) -> Found:
    """Return a file with the values of the ``name=value`` directories above it."""
    pairs = [part.partition("=") for part in below(name, base)[:-1] if "=" in part]
    partition = tuple(
        (key, None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value))
        for key, _, value in pairs
        if key not in PARTITION_COLUMNS
    )
    return Found(name, base, size, partition)
