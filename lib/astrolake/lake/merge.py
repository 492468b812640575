"""The executor's second half of a write: sorted runs in, one finished file for a partition out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from astrolake.errors import RowsDoNotReconcile
from astrolake.lake.delta import DataFile
from astrolake.lake.reader import touched_groups
from astrolake.lake.sink import PartitionFile, SinkSpec, conform
from astrolake.lake.staging import StagedRun
from astrolake.lake.storage import Storage
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.healpix import Int64, cell_range

#: Rows of a partition are merged in slices of about this size.
SLICE_BYTES = 64 << 20


@dataclass(frozen=True)
class MergePlan:
    """What a task needs to know besides its partition.

    Parameters
    ----------
    root : Storage
        The lake, where the runs lie.
    runs : tuple of StagedRun
    key : tuple of str
        Columns that order rows of one `_healpix_29`.
    row_bytes : int
        About the size of a row in memory.
    """

    root: Storage
    sink: SinkSpec
    runs: tuple[StagedRun, ...]
    key: tuple[str, ...]
    row_bytes: int

    @cached_property
    def _lows(self) -> Int64:
        return np.array([run.low for run in self.runs], np.int64)

    @cached_property
    def _highs(self) -> Int64:
        return np.array([run.high for run in self.runs], np.int64)

    def write_partition(self, order: int, npix: int, rows: int) -> DataFile:
        """Write the `rows` rows of a cell, sorted by `_healpix_29`, then key.

        Raises
        ------
        RowsDoNotReconcile
            When the runs hold another number of rows.
        """
        low, high = cell_range(order, npix)
        runs = [self.runs[i] for i in np.flatnonzero((self._lows < high) & (self._highs >= low))]
        file = PartitionFile(self.sink, (order, npix // 10_000 * 10_000, npix))
        for begin, end in self._slices(runs, low, high, rows):
            found = pa.concat_tables([self._read(run, begin, end, self.sink.schema.names) for run in runs])
            file.write(conform(self._sorted(found), self.sink.schema))
        written = file.close()
        if written.rows != rows:
            raise RowsDoNotReconcile(
                f"partition Norder={order} Npix={npix} got {written.rows} rows where {rows} were counted"
            )
        return written

    def _slices(self, runs: list[StagedRun], low: int, high: int, rows: int) -> Iterator[tuple[int, int]]:
        """Cut a span so that a slice holds about `SLICE_BYTES`, however unevenly the sky is filled."""
        step = max(1, SLICE_BYTES // max(self.row_bytes, 1))
        cuts: Int64 = np.array([], np.int64)
        if rows > step:
            keys = [self._read(run, low, high, [HEALPIX_COLUMN]).column(0).to_numpy() for run in runs]
            cuts = np.unique(np.sort(np.concatenate(keys))[step::step])
        edges = [low, *cuts[cuts > low].tolist(), high]
        yield from itertools.pairwise(edges)

    def _read(self, run: StagedRun, low: int, high: int, names: list[str]) -> pa.Table:
        with self.root.fs.open(self.root.path(run.path), "rb") as stream:
            parquet = pq.ParquetFile(stream)
            groups = touched_groups(parquet, np.array([[low, high]], np.int64))
            rows = parquet.read_row_groups(groups, columns=names)
        index = rows.column(HEALPIX_COLUMN).to_numpy()
        begin, end = np.searchsorted(index, [low, high])
        return rows.select(names).slice(begin, end - begin)

    def _sorted(self, rows: pa.Table) -> pa.Table:
        """Sort by `_healpix_29`; only rows that share one are compared by key."""
        rows = rows.combine_chunks()
        index = rows.column(HEALPIX_COLUMN).to_numpy()
        order = np.argsort(index, kind="stable")
        same = np.diff(index[order]) == 0
        tied = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
        if len(tied):
            members = order[tied]
            ties = rows.select([HEALPIX_COLUMN, *self.key]).take(pa.array(members))
            by = [(name, "ascending") for name in dict.fromkeys((HEALPIX_COLUMN, *self.key))]
            order[tied] = members[pc.sort_indices(ties, sort_keys=by).to_numpy()]
        return rows.take(pa.array(order))
