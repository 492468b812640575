"""What a write replaces, and what becomes of the files that it goes on top of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from astrolake.errors import CommitConflict
from astrolake.lake.delta import DataFile, Snapshot
from astrolake.lake.merge import Gone
from astrolake.lake.partitioning import COUNT_ORDER, Leaves
from astrolake.lake.reader import frame_of
from astrolake.lake.staging import Staged, StagedRun, count_cells, less
from astrolake.lake.storage import Storage
from astrolake.schema.arrow import arrow_schema, delta_schema
from astrolake.schema.model import HEALPIX_COLUMN, Table
from astrolake.sky.healpix import KEY_ORDER, Int64, cell_range

_SHIFT = 2 * (KEY_ORDER - COUNT_ORDER)


@dataclass(frozen=True)
class Replace:
    """What a write replaces: the rows whose key is among `values`.

    Parameters
    ----------
    key : str or tuple of str
        Column that says who owns a row, e.g. ``image_id``, or columns that do together.
    values : DataFrame
        The columns of `key`, distinct.
    others : bool
        Replace the rows whose key is not among `values`, instead.
    few : bool
        Values are a handful, and are handed to the tasks that write.
    """

    key: str | tuple[str, ...]
    values: DataFrame
    others: bool = False
    few: bool = False

    @property
    def keys(self) -> list[str]:
        """The columns of `key`."""
        return [self.key] if isinstance(self.key, str) else list(self.key)

    def kept(self, rows: DataFrame) -> DataFrame:
        """Return the rows that stay."""
        return rows.join(self.values, self.keys, how="left_semi" if self.others else "left_anti")

    def gone(self, rows: DataFrame) -> DataFrame:
        """Return the rows that do not."""
        return rows.join(self.values, self.keys, how="left_anti" if self.others else "left_semi")


@dataclass(frozen=True)
class Division:
    """The files of a table on both sides of a write.

    Parameters
    ----------
    fixed, removed : list of DataFile
        Files that stay and files that go.
    kept : Staged
        Rows of the latter that stay.
    gone : Gone or None
        Keys of the rows of `kept.runs` that do not stay.
    """

    fixed: list[DataFile]
    removed: list[DataFile]
    kept: Staged
    gone: Gone | None = None


@dataclass(frozen=True)
class OldFiles:
    """The version of a table that a write goes on top of.

    Parameters
    ----------
    snapshot : Snapshot
    table : Table
        As it is declared now.
    root : Storage
        The lake.
    stage : callable
        Stages rows of a schema under a name.
    """

    spark: SparkSession
    snapshot: Snapshot
    table: Table
    root: Storage
    stage: Callable[[DataFrame, str, pa.Schema], Staged]

    def divide(self, what: Replace, new: Staged) -> Division:
        """Return what becomes of the files when `new` rows take the place of those that `what` names.

        Rows that stay go from the old files to the new ones past Spark; only their keys are compared.

        Raises
        ------
        CommitConflict
            When rows are to stay whose columns are not those of the table as declared now.
        """
        old, types = self.snapshot, delta_schema(self.table)
        if any(old.schema.field(key).type != types.field(key).type for key in what.keys):
            self._require_columns()
        gone, cells, counts = self._gone(what)
        files = sorted(old.files, key=lambda file: cell_range(file.order, file.npix))
        layout, rows = leaves_of(files), np.array([file.rows for file in files], np.int64)
        at, into = (layout.find(found << _SHIFT) for found in (cells, new.cells))
        left = rows - np.bincount(at, counts, len(files)).astype(np.int64)
        if left.any():
            self._require_columns()
        whole = left == rows
        fixed = whole & ~np.isin(np.arange(len(files)), into)
        partly = ~whole & (left > 0)
        stays = np.flatnonzero(~fixed & (left > 0))
        runs = tuple(self._run(files[i], int(left[i]), thinned=bool(partly[i])) for i in stays)
        mine = partly[at]
        counted = less(self._counts([files[i] for i in stays]), (cells[mine], counts[mine]))
        removed = [files[i] for i in np.flatnonzero(~fixed)]
        return Division(
            [files[i] for i in np.flatnonzero(fixed)],
            removed,
            Staged(runs, *counted),
            gone if partly.any() else None,
        )

    def _gone(self, what: Replace) -> tuple[Gone, Int64, Int64]:
        """Return what tells the rows that go, and how many of them are in which cells of `COUNT_ORDER`."""
        rows = what.gone(frame_of(self.spark, self.snapshot))
        if what.few and not what.others:
            named = tuple(row.asDict() for row in what.values.select(*what.keys).collect())
            return Gone(values=named), *count_cells(rows)
        key = tuple(dict.fromkeys((HEALPIX_COLUMN, *what.keys)))
        schema = arrow_schema(self.table)
        fields = pa.schema([schema.field(name) for name in key])
        staged = self.stage(rows.select(*key), f"{self.table.name}.gone", fields)
        return Gone(staged.runs, key), staged.cells, staged.counts

    def _run(self, file: DataFile, rows: int, *, thinned: bool) -> StagedRun:
        """Return a file of the table as a run: it is sorted, too."""
        base = self.snapshot.storage.root.removeprefix(self.root.root).lstrip("/")
        return StagedRun(f"{base}/{file.path}", rows, *cell_range(file.order, file.npix), thinned)

    def _counts(self, files: Sequence[DataFile]) -> tuple[Int64, Int64]:
        none = np.array([], np.int64)
        return count_cells(frame_of(self.spark, self.snapshot, files)) if files else (none, none)

    def _require_columns(self) -> None:
        """Raise CommitConflict when rows of the old version cannot stay in the table as declared now."""
        old, ours = self.snapshot, delta_schema(self.table)
        there, here = ({f.name: f.type for f in schema} for schema in (old.schema, ours))
        differ = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
        if differ:
            said = ", ".join(
                f"{name} ({there.get(name, 'absent')}, now {here.get(name, 'absent')})" for name in differ
            )
            raise CommitConflict(
                f"the columns of {old.storage.root} differ from those this run writes: {said}; "
                "run the job over the whole table to change them"
            )


def leaves_of(files: Sequence[DataFile]) -> Leaves:
    """Return the partitions that files are, sorted by the sky."""
    return Leaves.of(
        np.array([f.order for f in files], np.int64), np.array([f.npix for f in files], np.int64)
    )
