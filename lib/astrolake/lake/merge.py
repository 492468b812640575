"""The executor's second half of a write: sorted runs in, one finished file for a partition out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from astrolake.errors import CommitConflict, RowsDoNotReconcile
from astrolake.lake.delta import DataFile
from astrolake.lake.reader import touched_groups
from astrolake.lake.sink import PartitionFile, SinkSpec, conform
from astrolake.lake.staging import GROUP_ROWS, StagedRun, StageSpec, in_order, open_run, run_path
from astrolake.lake.storage import Storage
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.healpix import Int64, cell_range

#: Rows are merged in slices of about this size.
SLICE_BYTES = 64 << 20
#: More runs than this are first joined to fewer: each costs a file opened and a row group decoded.
FAN_IN = 64
#: Slices are cut by a sample of about this many rows.
_SAMPLE_ROWS = 1_000_000


@dataclass(frozen=True)
class Gone:
    """Rows that runs which are `thinned` are read without.

    Parameters
    ----------
    runs : tuple of StagedRun
        Sorted runs of the columns `key`, `_healpix_29` first: rows that equal one of theirs in all go.
    key : tuple of str
    values : tuple of dict
        Rows that have all values of any item go, too.
    """

    runs: tuple[StagedRun, ...] = ()
    key: tuple[str, ...] = ()
    values: tuple[dict[str, object], ...] = ()

    def schema(self, of: pa.Schema) -> pa.Schema:
        """Return the columns of `key` of a schema."""
        return pa.schema([of.field(name) for name in self.key])

    def thin(self, rows: pa.Table, keys: Sequence[pa.Table]) -> pa.Table:
        """Return the rows that stay, given those of `runs` in their span; a null equals nothing."""
        goes = np.zeros(rows.num_rows, bool)
        for values in self.values:
            same = [pc.fill_null(pc.equal(rows.column(name), value), False) for name, value in values.items()]
            goes |= reduce(pc.and_, same).to_numpy()
        if keys:
            going, names = pa.concat_tables(keys), list(self.key)
            places = (table.column(HEALPIX_COLUMN).to_numpy() for table in (rows, going))
            at = pa.array(np.flatnonzero(np.isin(*places)))
            ours = rows.select(names).take(at).append_column("_at", at)
            found = ours.join(going, names, names, join_type="left semi", use_threads=False)
            goes[found.column("_at").to_numpy()] = True
        return rows.filter(pa.array(~goes))


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
    gone : Gone or None
        What runs that are `thinned` are read without.
    """

    root: Storage
    sink: SinkSpec
    runs: tuple[StagedRun, ...]
    key: tuple[str, ...]
    gone: Gone | None = None

    @cached_property
    def _lows(self) -> Int64:
        return np.array([run.low for run in self.runs], np.int64)

    @cached_property
    def _highs(self) -> Int64:
        return np.array([run.high for run in self.runs], np.int64)

    def fan_in(self, starts: Int64, ends: Int64) -> int:
        """Return the greatest number of runs that meet in one of the spans [start, end)."""
        begun = np.searchsorted(np.sort(self._lows), ends, side="left")
        ended = np.searchsorted(np.sort(self._highs), starts, side="left")
        return int((begun - ended).max(initial=0))

    def write_partition(self, order: int, npix: int, rows: int) -> DataFile:
        """Write the `rows` rows of a cell, sorted by `_healpix_29`, then key.

        Raises
        ------
        RowsDoNotReconcile
            When the runs hold another number of rows.
        """
        low, high = cell_range(order, npix)
        file = PartitionFile(self.sink, (order, npix // 10_000 * 10_000, npix))
        chosen = np.flatnonzero((self._lows < high) & (self._highs >= low))
        for slice_ in self._merged([self.runs[i] for i in chosen], low, high):
            file.write(conform(slice_, self.sink.schema))
        written = file.close()
        if written.rows != rows:
            raise RowsDoNotReconcile(
                f"partition Norder={order} Npix={npix} got {written.rows} rows where {rows} were counted"
            )
        return written

    def join_runs(self, first: int, last: int, spec: StageSpec) -> StagedRun:
        """Write the runs from number `first` to before `last` as one run."""
        low, high = int(self._lows[first:last].min()), int(self._highs[first:last].max())
        path, rows = run_path(spec), 0
        with open_run(spec, path) as writer:
            for slice_ in self._merged(self.runs[first:last], low, high + 1):
                writer.write_table(slice_, row_group_size=GROUP_ROWS)
                rows += slice_.num_rows
        return StagedRun(path, rows, low, high)

    def _merged(self, runs: Sequence[StagedRun], low: int, high: int) -> Iterator[pa.Table]:
        """Yield the rows of a span in order, in slices of about `SLICE_BYTES`."""
        gone = self.gone if self.gone and any(run.thinned for run in runs) else Gone()
        with ExitStack() as stack:
            files = [stack.enter_context(_opened(self.root, run, self.sink.schema)) for run in runs]
            keys = [
                stack.enter_context(_opened(self.root, run, gone.schema(self.sink.schema)))
                for run in gone.runs
                if run.low < high and run.high >= low
            ]
            for begin, end in _slices(files, low, high):
                going = [file.read(begin, end) for file in keys]
                parts = [
                    gone.thin(file.read(begin, end), going) if run.thinned else file.read(begin, end)
                    for run, file in zip(runs, files, strict=True)
                ]
                yield self._sorted(pa.concat_tables(parts))

    def _sorted(self, rows: pa.Table) -> pa.Table:
        """Sort by `_healpix_29`; only rows that share one are compared by key."""
        rows = rows.combine_chunks()
        index = rows.column(HEALPIX_COLUMN).to_numpy()
        order = np.argsort(index, kind="stable")
        same = np.diff(index[order]) == 0
        tied = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
        if len(tied):
            members = order[tied]
            names = list(dict.fromkeys((HEALPIX_COLUMN, *self.key)))
            ties = rows.select(names).take(pa.array(members))
            order[tied] = members[
                pc.sort_indices(ties, sort_keys=[(name, "ascending") for name in names]).to_numpy()
            ]
        return in_order(rows, order)


class _RunFile:
    """A run that is open for reading."""

    def __init__(self, parquet: pq.ParquetFile, schema: pa.Schema) -> None:
        self.parquet = parquet
        self.schema = schema

    def read(self, low: int, high: int) -> pa.Table:
        """Return the rows of a span [low, high), under the schema."""
        rows = self._groups(low, high, self.schema.names)
        begin, end = np.searchsorted(rows.column(HEALPIX_COLUMN).to_numpy(), [low, high])
        if end - begin < rows.num_rows:
            # A slice would keep all of the row groups in memory, for as many runs as there are.
            rows = rows.take(pa.array(np.arange(begin, end)))
        return rows.select(self.schema.names).cast(self.schema)

    def keys(self, low: int, high: int) -> Int64:
        """Return `_healpix_29` of the rows of a span."""
        index: Int64 = self._groups(low, high, [HEALPIX_COLUMN]).column(0).to_numpy()
        return index[slice(*np.searchsorted(index, [low, high]))]

    def size(self, low: int, high: int) -> tuple[int, int]:
        """Return rows and bytes of the row groups that hold a span."""
        metadata = self.parquet.metadata
        groups = [metadata.row_group(g) for g in touched_groups(self.parquet, np.array([[low, high]]))]
        return sum(g.num_rows for g in groups), sum(g.total_byte_size for g in groups)

    def _groups(self, low: int, high: int, names: list[str]) -> pa.Table:
        groups = touched_groups(self.parquet, np.array([[low, high]], np.int64))
        return self.parquet.read_row_groups(groups, columns=names)


@contextmanager
def _opened(root: Storage, run: StagedRun, schema: pa.Schema) -> Iterator[_RunFile]:
    try:
        stream = root.fs.open(root.path(run.path), "rb")
    except FileNotFoundError:
        raise CommitConflict(
            f"{root.path(run.path)} is gone: a vacuum took what this run had written; run the job again, "
            "and no maintain_tables --vacuum-hours 0 beside it"
        ) from None
    with stream:
        yield _RunFile(pq.ParquetFile(stream), schema)


def _slices(files: Sequence[_RunFile], low: int, high: int) -> Iterator[tuple[int, int]]:
    """Cut a span so that a slice holds about `SLICE_BYTES`, however unevenly the sky is filled."""
    rows, size = (sum(column) for column in zip(*(file.size(low, high) for file in files), strict=True))
    # What is coded with a dictionary is larger in memory.
    fixed = sum(f.type.bit_width // 8 if pa.types.is_primitive(f.type) else 8 for f in files[0].schema)
    step = max(1, SLICE_BYTES // max(size // max(rows, 1), fixed, 1))
    cuts: Int64 = np.array([], np.int64)
    if rows > step:
        every = -(-rows // _SAMPLE_ROWS)
        keys = np.sort(np.concatenate([file.keys(low, high)[::every] for file in files]))
        cuts = np.unique(keys[max(1, step // every) :: max(1, step // every)])
    yield from itertools.pairwise([low, *cuts[cuts > low].tolist(), high])
