"""Keeping tables small and tidy: layout as planned anew, superseded files and orphans removed."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from astrolake.lake.declared import declared
from astrolake.lake.delta import load_table
from astrolake.lake.hats import claims_of, release_claim
from astrolake.lake.lake import Lake
from astrolake.lake.publish import live_runs
from astrolake.lake.reader import frame_of, table_snapshot
from astrolake.lake.staging import clear_staging, stale_staging
from astrolake.lake.vacuum import delete_orphans, find_orphans, vacuum_superseded
from astrolake.lake.writer import TableWriter, Written

_LOG = logging.getLogger("astrolake")
#: An unpartitioned table is compacted when it has more files than this.
_FEW_FILES = 8


@dataclass(frozen=True)
class Tidied:
    """What vacuuming did, or would do, to a table."""

    table: str
    superseded: int
    orphans: int


def vacuum_table(lake: Lake, table: str, hours: float, *, dry_run: bool) -> Tidied:
    """Delete files that were superseded, or left by killed runs, at least `hours` ago.

    With 0 hours no run may be writing to the table. Versions that used the files are gone.
    """
    storage = lake.delta_storage(table)
    # Orphans first: a vacuumed tombstone would make its file look like one.
    before = time.time() - hours * 3600
    orphans = [orphan for orphan in find_orphans(storage) if orphan.modified_s <= before]
    superseded = vacuum_superseded(storage, hours, dry_run=dry_run)
    if not dry_run:
        delete_orphans(storage, orphans)
        if hours == 0:
            for run_id in claims_of(lake.table_storage(table)):
                release_claim(lake.table_storage(table), run_id)
    verb = "would delete" if dry_run else "deleted"
    _LOG.info("%s: %s %d superseded files, %d orphans", table, verb, len(superseded), len(orphans))
    return Tidied(table, len(superseded), len(orphans))


def vacuum_staging(lake: Lake, hours: float, *, dry_run: bool) -> list[str]:
    """Delete what killed runs staged at least `hours` ago and return those runs.

    With 0 hours no run may be writing to the lake.
    """
    runs = stale_staging(lake.storage, time.time() - hours * 3600)
    alive = live_runs(lake, datetime.now(UTC)) if runs and hours > 0 else set()
    runs = [run_id for run_id in runs if run_id not in alive]
    for run_id in runs:
        _LOG.info("%s what %s staged", "would delete" if dry_run else "deleting", run_id)
        if not dry_run:
            clear_staging(lake.storage, run_id)
    return runs


def compact_table(writer: TableWriter, table: str, *, dry_run: bool) -> Written | None:
    """Rewrite a table whose layout is not the one its rows would get today; None when it is.

    Unpartitioned tables are compacted by delta-rs at once, in a commit of their own.
    """
    storage = writer.lake.delta_storage(table)
    snapshot = table_snapshot(writer.lake, table)
    writer.base(table, positional=snapshot.is_positional)
    if not snapshot.is_positional:
        if len(snapshot.files) > _FEW_FILES:
            _LOG.info("%s: %s %d files", table, "would merge" if dry_run else "merging", len(snapshot.files))
            if not dry_run and (handle := load_table(storage)) is not None:
                handle.optimize.compact()
        return None
    rows = frame_of(writer.spark, snapshot).drop("Norder", "Dir", "Npix")
    planned = writer.plan(rows)
    present = sorted((file.order, file.npix) for file in snapshot.files)
    if present == sorted(zip(planned.order.tolist(), planned.npix.tolist(), strict=True)):
        return None
    verb = "would rewrite" if dry_run else "rewriting"
    _LOG.info("%s: %s %d files as %d partitions", table, verb, len(present), len(planned))
    return None if dry_run else writer.replace_rows(rows, declared(table, snapshot))
