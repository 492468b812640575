"""What a job is given and what it hands back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pyspark.sql import DataFrame, SparkSession
from pyspark.storagelevel import StorageLevel

from astrolake.lake.delta import Snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.reader import frame_of, table_snapshot
from astrolake.lake.staging import clear_staging
from astrolake.lake.writer import TableWriter, Written

_LOG = logging.getLogger("astrolake")


@dataclass
class JobContext:
    """The session, the lake and the run; reads through it are recorded in `runs`."""

    spark: SparkSession
    lake: Lake
    run_id: str
    job: str
    max_rows: int
    orders: tuple[int, int]
    inputs: dict[str, int] = field(default_factory=dict)
    kept: list[DataFrame] = field(default_factory=list)

    def persist(self, rows: DataFrame) -> DataFrame:
        """Keep rows that are used more than once, in memory and on disk, until the run ends."""
        self.kept.append(rows.persist(StorageLevel.MEMORY_AND_DISK))
        return self.kept[-1]

    def close(self) -> None:
        """Let go of what `persist` kept and of what the writer staged.

        Tables are committed by now, or never: what cannot be cleared is left to maintain_tables.
        """
        try:
            for rows in self.kept:
                rows.unpersist()
            clear_staging(self.lake.storage, self.run_id)
        except Exception as error:  # noqa: BLE001 - whatever the store says must not hide how the run went
            _LOG.warning("run %s could not be cleared up: %s", self.run_id, error)

    @cached_property
    def writer(self) -> TableWriter:
        """Writer of this run."""
        return TableWriter(self.spark, self.lake, self.run_id, self.job, self.max_rows, self.orders)

    def snapshot(self, table: str) -> Snapshot:
        """Return the newest version of a table and note that this run read it."""
        found = table_snapshot(self.lake, table)
        self.inputs[table] = found.version
        return found

    def read(self, table: str) -> DataFrame:
        """Return the newest version of a table as a DataFrame and note that this run read it."""
        return frame_of(self.spark, self.snapshot(table))


@dataclass(frozen=True)
class Outcome:
    """What a job did, in units of its input (files, images or rows).

    Parameters
    ----------
    rows_in, rows_out, rows_rejected : int
        rows_in == rows_out + rows_rejected, or the run fails and commits nothing.
    written : sequence of Written
        Writes to commit, in order.
    rejects : DataFrame or None
        Columns source, error_type, message, payload.
    tables : dict
        Versions of tables handled without a commit of their own (publish, maintain).
    """

    rows_in: int
    rows_out: int
    rows_rejected: int = 0
    written: Sequence[Written] = ()
    rejects: DataFrame | None = None
    tables: dict[str, int] = field(default_factory=dict)
