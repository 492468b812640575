"""Files in a table's directory that its current version does not use.

Superseded files (once part of the table) and orphans (left by a run that was killed
before its commit) look alike to a reader that lists directories. Only the log tells
them apart, and only the run's age tells an orphan from a file being written now.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from astrolake.errors import BadArguments
from astrolake.lake.delta import load_table, snapshot_of
from astrolake.lake.storage import Storage, modified_s

#: Longer retention (a century) is a mistake.
_MOST_HOURS = 1e6


def check_hours(flag: str, hours: float) -> None:
    """Raise BadArguments unless files can be kept for so long."""
    if not 0 <= hours <= _MOST_HOURS:
        raise BadArguments(f"{flag} {hours}: give 0 to {_MOST_HOURS:g}")


@dataclass(frozen=True)
class Orphan:
    """A data file that no version of the table knows."""

    path: str
    size: int
    modified_s: float

    @property
    def run_id(self) -> str:
        """The run that wrote it, from its name ``part-<run_id>-<random>.parquet``."""
        return self.path.rsplit("/", 1)[-1].removeprefix("part-").rsplit("-", 1)[0]


def vacuum_superseded(storage: Storage, retain_hours: float, *, dry_run: bool = False) -> list[str]:
    """Delete files superseded at least that long ago and return the paths of those that were there.

    Versions that used them can no longer be read; the current one is untouched.
    """
    handle = load_table(storage)
    if handle is None:
        return []
    # delta-rs takes whole hours; rounding up keeps a file rather longer than shorter.
    hours = int(-(-retain_hours // 1))
    # It names every tombstone of the log, also of files that are long gone.
    named = handle.vacuum(retention_hours=hours, dry_run=True, enforce_retention_duration=False)
    present = sorted(set(named) & set(_data_files(storage)))
    if present and not dry_run:
        handle.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False)
    return present


def find_orphans(storage: Storage) -> list[Orphan]:
    """Return the data files that neither the current version nor a tombstone mentions, sorted."""
    handle = load_table(storage)
    if handle is None:
        return []
    known = {file.path for file in snapshot_of(handle, storage).files}
    known |= set(handle.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False))
    return [
        Orphan(name, int(str(info["size"])), modified_s(info))
        for name, info in sorted(_data_files(storage).items())
        if name not in known
    ]


def delete_orphans(storage: Storage, orphans: Collection[Orphan]) -> None:
    """Delete orphans and, on a local disk, empty partition directories."""
    for orphan in orphans:
        storage.fs.rm_file(storage.path(orphan.path))
    prune_empty(storage)


def prune_empty(storage: Storage) -> None:
    """Delete empty partition directories of a local table: HATS takes each for a partition."""
    if not storage.is_local:
        return
    for folder, _, _ in os.walk(storage.path(), topdown=False):
        if os.path.basename(folder).partition("=")[0] in ("Norder", "Dir", "Npix") and not os.listdir(folder):
            os.rmdir(folder)


def _data_files(storage: Storage) -> dict[str, dict[str, object]]:
    """Return the data files below a Delta root, by their path from it."""
    base = storage.path() + "/"
    found = storage.fs.find(storage.path(), detail=True)
    names = {path.removeprefix(base): info for path, info in found.items()}
    return {name: info for name, info in names.items() if _is_data(name)}


def _is_data(name: str) -> bool:
    return name.endswith(".parquet") and not any(part.startswith(("_", ".")) for part in name.split("/"))
