"""Delta snapshots and commits through delta-rs: the one writer engine of every table."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from astrolake.errors import CommitConflict, TableNotFound
from astrolake.lake.storage import Storage
from astrolake.schema.model import HEALPIX_COLUMN, PARTITION_COLUMNS

#: Statistics for the first 32 columns, keys first: what Athena engine v3 reads.
INDEXED_COLUMNS = 32
#: Threads that look whether files are there.
_LOOKUPS = 16
_CONFIGURATION: dict[str, str | None] = {
    "delta.dataSkippingNumIndexedCols": str(INDEXED_COLUMNS),
    # Superseded files stay until a publish or maintain run vacuums them, however late that is.
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
}
_ATTEMPTS = 30
_LONGEST_WAIT_MS = 2_000


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a table; `partition` holds (Norder, Dir, Npix) or nothing.

    `low` and `high` are the smallest and largest `_healpix_29`, None when unknown.
    """

    path: str
    size: int
    rows: int
    partition: tuple[int, ...] = ()
    stats: str = "{}"
    low: int | None = None
    high: int | None = None

    @property
    def order(self) -> int:
        """HEALPix order of the partition."""
        return self.partition[0]

    @property
    def npix(self) -> int:
        """HEALPix cell of the partition."""
        return self.partition[2]

    def partition_values(self) -> dict[str, str | None]:
        """Return the Hive partition values."""
        return {name: str(value) for name, value in zip(PARTITION_COLUMNS, self.partition, strict=False)}


@dataclass(frozen=True)
class Snapshot:
    """A version of a table: its files and schema (partition columns last)."""

    storage: Storage
    version: int
    files: tuple[DataFile, ...]
    schema: pa.Schema

    @property
    def rows(self) -> int:
        """Number of rows, by the statistics."""
        return sum(file.rows for file in self.files)

    @property
    def is_positional(self) -> bool:
        """Whether the table is partitioned by HEALPix."""
        return PARTITION_COLUMNS[0] in self.schema.names

    @property
    def stored_names(self) -> list[str]:
        """Names of the columns inside the files."""
        return [name for name in self.schema.names if name not in PARTITION_COLUMNS]


def load_table(storage: Storage, version: int | None = None) -> DeltaTable | None:
    """Return a delta-rs handle, or None when there is no table.

    Raises
    ------
    TableNotFound
        When the table exists but not that version (vacuumed or never written).
    """
    try:
        return DeltaTable(storage.delta_uri(), version=version, storage_options=storage.options or None)
    except TableNotFoundError:
        return None
    except DeltaError as error:
        if version is None:
            raise
        raise TableNotFound(f"{storage.root} has no version {version}: {error}") from error


def read_snapshot(storage: Storage, version: int | None = None) -> Snapshot | None:
    """Return a version (the newest by default) of the table, or None when there is no table."""
    handle = load_table(storage, version)
    return None if handle is None else snapshot_of(handle, storage)


def snapshot_of(handle: DeltaTable, storage: Storage) -> Snapshot:
    """Return the snapshot that a handle has loaded."""
    schema = pa.schema(handle.schema().to_arrow())
    actions = pa.table(handle.get_add_actions(flatten=True))
    return Snapshot(storage, handle.version(), tuple(_data_files(actions)), schema)


def _data_files(actions: pa.Table) -> list[DataFile]:
    columns: dict[str, list[Any]] = {name: actions.column(name).to_pylist() for name in actions.column_names}
    n = actions.num_rows
    missing = [None] * n
    partitions = [columns.get(f"partition.{name}") for name in PARTITION_COLUMNS]
    keys = list(zip(*partitions, strict=True)) if all(p is not None for p in partitions) else [()] * n
    rows = zip(
        columns["path"],
        columns["size_bytes"],
        columns.get("num_records", missing),
        keys,
        columns.get(f"min.{HEALPIX_COLUMN}", missing),
        columns.get(f"max.{HEALPIX_COLUMN}", missing),
        strict=True,
    )
    return [
        DataFile(path, size, int(count or 0), tuple(int(k) for k in key), low=low, high=high)
        for path, size, count, key, low, high in sorted(rows, key=lambda row: str(row[0]))
    ]


@dataclass(frozen=True)
class Commit:
    """What to change in a table in one transaction.

    `base` is the version the removed files were read from, None for a new table. A commit
    that is `whole` replaces all rows, so that no other writer may have added any since; one
    that `appends` adds rows with keys of its own run, which no other writer can be in the way of.
    """

    storage: Storage
    schema: pa.Schema
    adds: tuple[DataFile, ...]
    removes: tuple[DataFile, ...]
    base: int | None
    run_id: str
    job: str
    whole: bool = False
    appends: bool = False

    @property
    def partition_by(self) -> list[str]:
        """Partition columns of the schema."""
        return [name for name in PARTITION_COLUMNS if name in self.schema.names]

    @property
    def transaction(self) -> Transaction:
        """The application transaction: the run, with a hash of the files to know this very commit again."""
        paths = "\n".join(file.path for file in (*self.adds, *self.removes))
        number = int.from_bytes(hashlib.sha256(paths.encode()).digest()[:8], "big") >> 1
        return Transaction(self.run_id, number)


def apply_commit(commit: Commit) -> int:
    """Commit and return the new version of the table.

    A commit that was already applied is not applied twice.

    Raises
    ------
    CommitConflict
        When another writer changed the files this commit replaces, or put rows into
        the same partitions, since `commit.base`.
    """
    _check_files(commit)
    for attempt in range(_ATTEMPTS):
        handle = load_table(commit.storage)
        if handle is not None and handle.transaction_version(commit.run_id) == commit.transaction.version:
            return int(handle.version())
        try:
            return _create(commit) if handle is None else _write(commit, handle)
        except CommitFailedError as error:
            # Another commit came first: whether it is in the way is decided on the new version.
            cause = error
        time.sleep(secrets.randbelow(min(20 << attempt, _LONGEST_WAIT_MS)) / 1000)
    raise CommitConflict(f"{commit.storage.root} was busy: {cause}; run the job again") from cause


def _check_files(commit: Commit) -> None:
    """Raise CommitConflict when files of the commit are gone: a version must never point at nothing."""
    fs, path = commit.storage.fs, commit.storage.path
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        there = pool.map(lambda file: bool(fs.exists(path(file.path))), commit.adds)
        gone = [file.path for file, found in zip(commit.adds, there, strict=True) if not found]
    if gone:
        raise CommitConflict(
            f"{len(gone)} files that this run wrote to {commit.storage.root} were deleted meanwhile, "
            f"the first {gone[0]}; run the job again"
        )


def _write(commit: Commit, handle: DeltaTable) -> int:
    newest = snapshot_of(handle, commit.storage)
    _check_not_overtaken(commit, newest)
    same = newest.schema.equals(_plain(commit.schema))
    if not same and len(commit.removes) != len(newest.files):
        raise CommitConflict(
            f"the columns of {commit.storage.root} differ from those this run writes; "
            "run the job over the whole table to change them"
        )
    # Overwriting removes all files by itself; an append states which.
    removes = _remove_actions(commit.removes) if same else []
    handle.create_write_transaction(
        [*_add_actions(commit.adds), *removes],
        mode="append" if same else "overwrite",
        schema=_schema(commit),
        partition_by=commit.partition_by,
        commit_properties=_properties(commit),
        post_commithook_properties=_HOOKS,
    )
    return newest.version + 1


#: A write never removes old log entries: they are what time travel reads.
_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)


def _create(commit: Commit) -> int:
    if commit.storage.is_local:
        commit.storage.fs.makedirs(commit.storage.path(), exist_ok=True)
    try:
        create_table_with_add_actions(
            commit.storage.delta_uri(),
            _schema(commit),
            _add_actions(commit.adds),
            mode="error",
            partition_by=commit.partition_by,
            configuration=_CONFIGURATION,
            storage_options=commit.storage.options or None,
            commit_properties=_properties(commit),
            post_commithook_properties=_HOOKS,
        )
    except DeltaError as error:
        if load_table(commit.storage) is None:
            raise
        raise CommitFailedError(str(error)) from error
    return 0


def _check_not_overtaken(commit: Commit, newest: Snapshot) -> None:
    if commit.base == newest.version:
        return
    present = {file.path for file in newest.files}
    removed = {file.path for file in commit.removes}
    ours = _ranges(commit.adds) + _ranges(commit.removes)
    others = [file for file in newest.files if file.path not in removed]
    in_the_way = commit.whole or _overlaps(ours, _ranges(tuple(others)), commit)
    if removed <= present and (not others or commit.appends or not in_the_way):
        return
    raise CommitConflict(
        f"{commit.storage.root} moved from version {commit.base} to {newest.version} under this run; "
        "run the job again"
    )


def _ranges(files: tuple[DataFile, ...]) -> list[tuple[int, int]]:
    spans = ((file.npix, 2 * (29 - file.order)) for file in files if file.partition)
    return [(npix << shift, (npix + 1) << shift) for npix, shift in spans]


def _overlaps(ours: list[tuple[int, int]], others: list[tuple[int, int]], commit: Commit) -> bool:
    """Tell whether any partition of ours shares sky with another; unpartitioned tables always do."""
    if not commit.partition_by:
        return True
    if not ours or not others:
        return False
    spans = np.array(sorted(others), dtype=np.int64)
    lows = np.array([low for low, _ in ours], dtype=np.int64)
    highs = np.array([high for _, high in ours], dtype=np.int64)
    # The partitions of a snapshot are disjoint, so the last one that starts below `high` decides.
    last = np.searchsorted(spans[:, 0], highs, side="left") - 1
    return bool(((last >= 0) & (spans[np.maximum(last, 0), 1] > lows)).any())


def _schema(commit: Commit) -> Schema:
    return Schema.from_arrow(_plain(commit.schema))


def _plain(schema: pa.Schema) -> pa.Schema:
    """Drop Arrow metadata and NOT NULL: Delta keeps writer version 2 and reads nullable columns."""
    return pa.schema([pa.field(field.name, field.type) for field in schema])


def _properties(commit: Commit) -> CommitProperties:
    return CommitProperties(
        custom_metadata={"astrolake.job": commit.job, "astrolake.run_id": commit.run_id},
        # delta-rs does not compare partitions when it retries; `apply_commit` does.
        max_commit_retries=0,
        app_transactions=[commit.transaction],
    )


def _add_actions(files: Sequence[DataFile]) -> list[AddAction]:
    now = int(time.time() * 1000)
    return [AddAction(f.path, f.size, f.partition_values(), now, True, f.stats) for f in files]


def _remove_actions(files: Sequence[DataFile]) -> list[RemoveAction]:
    now = int(time.time() * 1000)
    return [RemoveAction(f.path, True, now, f.size, f.partition_values()) for f in files]
