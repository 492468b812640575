"""Provenance: the `runs` table (one row a run) and what every run adds to it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError

from astrolake.errors import CommitConflict
from astrolake.lake.delta import load_table, read_snapshot
from astrolake.lake.lake import Lake
from astrolake.schema import RUNS
from astrolake.schema.arrow import delta_schema

_ATTEMPTS = 12


@dataclass
class RunRecord:
    """What is known of a run; `record` puts it into the table under its run_id."""

    run_id: str
    job: str
    code_version: str
    arguments: dict[str, object]
    started_at: datetime
    status: str = "running"
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    rows_written: dict[str, int] = field(default_factory=dict)
    rows_in: int | None = None
    rows_out: int | None = None
    rows_rejected: int | None = None
    ended_at: datetime | None = None
    message: str | None = None

    def record(self, lake: Lake) -> None:
        """Write the row of this run, in place of an earlier one with the same run_id.

        Raises
        ------
        CommitConflict
            When other runs kept the table busy for all attempts.
        """
        row = {column.name: getattr(self, column.name) for column in RUNS.columns}
        for name in ("arguments", "inputs", "outputs", "rows_written"):
            row[name] = json.dumps(row[name], sort_keys=True, default=str)
        rows = pa.Table.from_pylist([row], schema=delta_schema(RUNS))
        for attempt in range(_ATTEMPTS):
            try:
                _put(lake, rows, self.run_id)
            except CommitFailedError:
                time.sleep(0.1 * 2 ** min(attempt, 5))
            else:
                return
        raise CommitConflict(f"could not record run {self.run_id}: table runs was busy; run the job again")


def read_runs(lake: Lake, columns: Sequence[str]) -> pa.Table:
    """Return some columns of the table of runs, no rows when no job has run yet."""
    storage = lake.delta_storage(RUNS.name, positional=False)
    snapshot = read_snapshot(storage)
    tables = [pa.schema([delta_schema(RUNS).field(name) for name in columns]).empty_table()]
    for file in snapshot.files if snapshot else ():
        # Through delta-rs's own reader, threads of Arrow may outlive the interpreter and abort it.
        with storage.fs.open(storage.path(file.path), "rb") as stream:
            tables.append(pq.ParquetFile(stream).read(columns=list(columns)))
    return pa.concat_tables(tables, promote_options="permissive").select(list(columns))


def _put(lake: Lake, rows: pa.Table, run_id: str) -> None:
    storage = lake.delta_storage(RUNS.name, positional=False)
    if load_table(storage) is None:
        write_deltalake(storage.delta_uri(), rows, mode="append", storage_options=storage.options or None)
        return
    write_deltalake(
        storage.delta_uri(),
        rows,
        mode="overwrite",
        predicate=f"run_id = '{run_id}'",
        storage_options=storage.options or None,
    )
