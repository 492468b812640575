"""From what a user names to the files of a catalog: paths, globs, directories, HATS and Delta tables."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from astrolake.data_access.formats.base import InputFile, ReadOptions
from astrolake.data_access.formats.detect import (
    FORMATS,
    extensions_of,
    format_by_content,
    format_by_name,
    stem,
)
from astrolake.errors import BadArguments, BadInput
from astrolake.lake.storage import canonical_uri, filesystem
from astrolake.schema import PARTITION_COLUMNS

_GLOB = "*?["
_HATS_MARKS = ("hats.properties", "collection.properties", "properties", "catalog_info.json")
#: Features that hide or rename what stands in a Delta table's files.
_DELTA_FEATURES = {"deletionVectors", "columnMapping"}


@dataclass(frozen=True)
class _Found:
    """A file that a pattern names: path for fsspec, size, partition columns in its path."""

    path: str
    size: int
    partition: tuple[tuple[str, str | None], ...] = ()
    format: str = "auto"


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
        When a pattern names nothing, or a file of unknown or unsupported format; the
        message names it and the remedy.
    BadArguments
        For an unknown `fmt`.
    """
    if fmt not in FORMATS:
        raise BadArguments(f"--format {fmt!r} is unknown; choose one of {list(FORMATS)}")
    options = ReadOptions(storage_options=dict(storage_options or {}))
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        for item in _expand(pattern, fmt, options):
            uri = canonical_uri(
                item.path if item.path.startswith("/") else f"s3://{item.path.removeprefix('s3://')}"
            )
            found.setdefault(uri, _input_file(uri, item, fmt, options))
    if not found:
        raise BadInput("no input is given; name files, globs or directories", "EmptyInput")
    return _labelled([found[uri] for uri in sorted(found)])


def _labelled(files: list[InputFile]) -> list[InputFile]:
    base = posixpath.commonpath([posixpath.dirname(file.uri) for file in files])
    return [replace(file, label=posixpath.relpath(file.uri, base)) for file in files]


def _expand(pattern: str, fmt: str, options: ReadOptions) -> list[_Found]:
    uri = canonical_uri(pattern)
    fs = filesystem(uri, dict(options.storage_options))
    path = uri.removeprefix("file://")
    try:
        if fs.isdir(path):
            return _directory(fs, path, fmt, options)
        if fs.exists(path):
            return [_Found(path, int(fs.info(path)["size"]))]
        matches = fs.glob(path, detail=True) if any(mark in path for mark in _GLOB) else {}
    except PermissionError as error:
        raise BadInput(
            f"{pattern}: no permission to read it ({error}); check the rights", "NoPermission"
        ) from error
    found = []
    for name, info in sorted(matches.items()):
        if info["type"] == "directory":
            found.extend(_directory(fs, name, fmt, options))
        else:
            found.append(_Found(name, int(info["size"]), _hive_partition(_below(name, _fixed_part(path)))))
    if not found:
        raise BadInput(
            f"{pattern}: no such file or directory, and no file matches; check the path", "EmptyInput"
        )
    return found


def _fixed_part(pattern: str) -> str:
    """Return the directories of a glob before its first wildcard."""
    first = min(pattern.index(mark) for mark in _GLOB if mark in pattern)
    return posixpath.dirname(pattern[:first])


def _directory(fs: Any, path: str, fmt: str, options: ReadOptions) -> list[_Found]:
    if fs.isdir(f"{path}/_delta_log"):
        return _delta_files(path, options)
    if fmt == "hats" or any(fs.exists(f"{path}/{mark}") for mark in _HATS_MARKS):
        return _hats_files(fs, path)
    entries = {name: info for name, info in fs.find(path, detail=True).items() if info["type"] == "file"}
    _check_no_nested_table(path, entries)
    extensions = extensions_of(fmt)
    found = [
        _Found(name, int(info["size"]), _hive_partition(_below(name, path)))
        for name, info in entries.items()
        if not _is_hidden(_below(name, path)) and stem(name).endswith(extensions)
    ]
    if not found:
        raise BadInput(
            f"{path}: none of the {len(entries)} files in the directory ends in one of {list(extensions)} "
            "(compressed or not); name files or a glob",
            "EmptyInput",
        )
    return found


def _below(name: str, path: str) -> list[str]:
    return name.removeprefix("s3://").removeprefix(path.removeprefix("s3://")).strip("/").split("/")


def _is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith((".", "_")) for part in parts)


def _check_no_nested_table(path: str, entries: Iterable[str]) -> None:
    """Refuse a directory of tables: their logs and margins would be taken for rows."""
    inner = set()
    for name in entries:
        parts = _below(name, path)
        if "_delta_log" in parts:
            inner.add("/".join(parts[: parts.index("_delta_log")]))
        elif parts[-1] in _HATS_MARKS:
            inner.add("/".join(parts[:-1]))
    if inner:
        raise BadInput(f"{path} holds the tables {sorted(inner)}; name one of them", "SeveralTables")


def _hive_partition(parts: Sequence[str]) -> tuple[tuple[str, str | None], ...]:
    pairs = [part.partition("=") for part in parts[:-1] if "=" in part]
    return tuple(
        (name, None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value))
        for name, _, value in pairs
        if name not in PARTITION_COLUMNS
    )


def _hats_files(fs: Any, path: str) -> list[_Found]:
    if fs.exists(f"{path}/collection.properties"):
        lines = fs.cat_file(f"{path}/collection.properties").decode().splitlines()
        properties = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        path = f"{path}/{properties.get('hats_primary_table_url', '').strip()}".rstrip("/")
    found = []
    for name, info in fs.find(path, detail=True).items():
        parts = _below(name, path)
        # Beside the partitions lie thumbnails, maps and metadata that repeat rows or hold none.
        if parts[0] == "dataset":
            parts = parts[1:]
        if parts[0].startswith("Norder=") and name.endswith(".parquet") and not _is_hidden(parts):
            found.append(_Found(name, int(info["size"]), format="parquet"))
    if not found:
        raise BadInput(
            f"{path}: the HATS catalog has no Norder=*/Dir=*/Npix=* partitions; check the path", "EmptyInput"
        )
    return found


def _delta_files(path: str, options: ReadOptions) -> list[_Found]:
    local = path.startswith("/")
    root = path if local else f"s3://{path.removeprefix('s3://')}"
    try:
        table = DeltaTable(root, storage_options=dict(options.storage_options) or None)
    except DeltaError as error:
        problem = f"{path}: the Delta table cannot be opened ({error}); repair its log or name its files"
        raise BadInput(problem, "UnreadableFile") from error
    hiding = _DELTA_FEATURES & set(table.protocol().reader_features or ())
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        hiding |= {"columnMapping"}
    if hiding:
        raise BadInput(
            f"{path}: the Delta table uses {sorted(hiding)}, which its files alone do not show; rewrite it "
            "without (deletion vectors: REORG TABLE ... APPLY (PURGE))",
            "UnsupportedFormat",
        )
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    if not actions:
        raise BadInput(f"{path}: the Delta table is empty; there is nothing to ingest", "EmptyInput")
    names = [name for name in table.metadata().partition_columns if name not in PARTITION_COLUMNS]
    return [_delta_file(path, action, names) for action in actions]


def _delta_file(path: str, action: Mapping[str, Any], names: Sequence[str]) -> _Found:
    values = [(name, action[f"partition.{name}"]) for name in names]
    partition = tuple((name, None if value is None else str(value)) for name, value in values)
    inner = unquote(action["path"])
    whole = inner.removeprefix("file://") if "://" in inner or inner.startswith("/") else f"{path}/{inner}"
    return _Found(whole, int(action["size_bytes"]), partition, "parquet")


def _input_file(uri: str, item: _Found, fmt: str, options: ReadOptions) -> InputFile:
    if fmt in ("auto", "hats"):
        known = item.format if item.format != "auto" else format_by_name(uri)
        return InputFile(
            uri, known or format_by_content(InputFile(uri, "auto"), options), item.size, "", item.partition
        )
    return InputFile(uri, fmt, item.size, "", item.partition)
