"""Publishing a table: one current set of files that every engine reads as it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from astrolake.errors import AstrolakeError
from astrolake.lake.delta import Snapshot
from astrolake.lake.glue import register_table
from astrolake.lake.hats import (
    claims_of,
    drop_beside,
    release_claim,
    retract_hats_metadata,
    write_hats_metadata,
)
from astrolake.lake.lake import Lake
from astrolake.lake.reader import table_snapshot
from astrolake.lake.runs import read_runs
from astrolake.lake.storage import Storage
from astrolake.lake.vacuum import delete_orphans, find_orphans, prune_empty, vacuum_superseded

#: A run that has not ended after this long was killed.
RUN_LIMIT_HOURS = 24.0


class NotPublishable(AstrolakeError):
    """A directory holds files that a HATS reader would take for rows of the table."""


#: Writes what HATS readers find beside a version (name, the table's directory, version, time) and returns
#: what its properties say of it.
WriteBeside = Callable[[str, Storage, Snapshot, datetime], dict[str, object]]


def publish_hats(
    lake: Lake, table: str, retain_hours: float, now: datetime, beside: WriteBeside | None = None
) -> int:
    """Clear a positional table's directory of superseded files, write its HATS metadata, return its version.

    The files of the current version are never touched, so its readers go on undisturbed.

    Raises
    ------
    NotPublishable
        When superseded files are younger than `retain_hours`, or files of a run that
        may still be writing lie there.
    """
    storage = lake.delta_storage(table, positional=True)
    _refuse_claimed(lake, table, now)
    vacuum_superseded(storage, retain_hours)
    young = vacuum_superseded(storage, 0, dry_run=True)
    if young:
        raise NotPublishable(
            f"table {table}: {len(young)} superseded files are younger than {retain_hours:g} h and HATS "
            "readers would count their rows twice; publish later or with --retain-hours 0"
        )
    _clear_orphans(lake, table, now)
    prune_empty(storage)
    snapshot = table_snapshot(lake, table)
    root = lake.table_storage(table)
    drop_beside(root)
    entries = beside(table, root, snapshot, now) if beside else {}
    write_hats_metadata(root, table, snapshot, now, entries)
    try:
        # A writer claims the table before it withdraws the metadata: one of the two sees the other.
        _refuse_claimed(lake, table, now)
        changed = table_snapshot(lake, table).version != snapshot.version
        if changed or find_orphans(storage) or vacuum_superseded(storage, 0, dry_run=True):
            raise NotPublishable(f"table {table}: another run wrote to it meanwhile; publish it again")
    except NotPublishable:
        retract_hats_metadata(lake.table_storage(table))
        raise
    return snapshot.version


def _refuse_claimed(lake: Lake, table: str, now: datetime) -> None:
    """Raise NotPublishable while a run is writing to the table; claims of ended runs are withdrawn."""
    root = lake.table_storage(table)
    claims = claims_of(root)
    alive = live_runs(lake, now) if claims else set()
    for run_id in claims:
        if run_id in alive:
            raise NotPublishable(
                f"table {table}: run {run_id} is writing to it; wait for it, or, if it was killed, "
                "run maintain_tables --vacuum-hours 0"
            )
        release_claim(root, run_id)


def _clear_orphans(lake: Lake, table: str, now: datetime) -> None:
    storage = lake.delta_storage(table)
    orphans = find_orphans(storage)
    alive = live_runs(lake, now) if orphans else set()
    writing = [orphan for orphan in orphans if orphan.run_id in alive]
    if writing:
        raise NotPublishable(
            f"table {table}: {len(writing)} files of run {writing[0].run_id}, which has not ended; "
            "wait for it, or, if it was killed, remove them with maintain_tables --vacuum-hours 0"
        )
    # A run that ended since the first look has committed its files: they are orphans no more.
    still = {orphan.path for orphan in find_orphans(storage)}
    delete_orphans(storage, [orphan for orphan in orphans if orphan.path in still])


def live_runs(lake: Lake, now: datetime) -> set[str]:
    """Return the runs that have not ended and started less than `RUN_LIMIT_HOURS` ago."""
    since = now - timedelta(hours=RUN_LIMIT_HOURS)
    rows = read_runs(lake, ["run_id", "status", "started_at"]).to_pylist()
    return {row["run_id"] for row in rows if row["status"] == "running" and row["started_at"] > since}


def publish_tables(
    lake: Lake,
    tables: list[str],
    retain_hours: float | None,
    database: str | None,
    now: datetime,
    beside: WriteBeside | None = None,
) -> tuple[dict[str, int], dict[str, str]]:
    """Publish tables and return their versions, and those refused with the reason.

    Parameters
    ----------
    retain_hours : float or None
        Age from which superseded files are deleted; None writes no HATS metadata.
    database : str or None
        Glue database to register the tables in.
    beside : callable, optional
        See `WriteBeside`.
    """
    versions: dict[str, int] = {}
    refused: dict[str, str] = {}
    for table in tables:
        snapshot = table_snapshot(lake, table)
        try:
            if retain_hours is not None and snapshot.is_positional:
                versions[table] = publish_hats(lake, table, retain_hours, now, beside)
            else:
                versions[table] = snapshot.version
        except NotPublishable as error:
            refused[table] = str(error)
            continue
        if database is not None:
            register_table(lake, table, database)
    return versions, refused
