"""What was downloaded from where: one line of JSON a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from astrolake.data_access.download import Downloaded, RemoteFile
from astrolake.errors import BadInput
from astrolake.lake.atomic_file import write_whole
from astrolake.lake.storage import Storage


def manifest_row(file: RemoteFile, done: Downloaded) -> dict[str, Any]:
    """Return the line of a file."""
    return {
        "uri": done.uri,
        "url": file.url,
        "band": file.band,
        "n_bytes": done.n_bytes,
        "checksum": done.checksum,
    }


def write_manifest(
    uri: str, rows: Iterable[Mapping[str, Any]], storage_options: dict[str, str] | None = None
) -> None:
    """Write a manifest whole, in place of an older one; the same rows in any order make the same bytes.

    Parameters
    ----------
    uri : str
        Canonical URI.
    rows : iterable of mapping
        With the key `uri`, as from `manifest_row`, and further keys if need be; all are in memory together,
        a few hundred bytes each.
    storage_options : dict, optional
        Options of an object store.
    """
    lines = sorted(
        (str(row["uri"]), json.dumps(dict(row), sort_keys=True, ensure_ascii=False)) for row in rows
    )
    write_whole(uri, "".join(f"{line}\n" for _, line in lines).encode(), storage_options)


def read_manifest(uri: str, storage_options: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a manifest, in the order of their `uri`; none when there is no such file.

    Raises
    ------
    BadInput
        When a line cannot be read.
    """
    storage = Storage.at(uri, storage_options)
    try:
        text = storage.fs.cat_file(storage.path()).decode("utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise BadInput(f"{uri} is no manifest: {error}; delete it and run again", "BadManifest") from error
    if not all(isinstance(row, dict) and isinstance(row.get("uri"), str) for row in rows):
        raise BadInput(f"{uri} is no manifest: a line names no file; delete it and run again", "BadManifest")
    return rows


def downloaded_before(rows: Iterable[Mapping[str, Any]]) -> dict[str, Downloaded]:
    """Return what a manifest says of its files, by their place, as `download_files` takes it.

    Rows without size and checksum, such as of files that failed, are left out.
    """
    return {
        row["uri"]: Downloaded(row["uri"], row["n_bytes"], row["checksum"], skipped=True)
        for row in rows
        if isinstance(row.get("n_bytes"), int) and isinstance(row.get("checksum"), str)
    }
