"""Releases of whole surveys as Parquet on public buckets: read in place, only what a region touches."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from astrolake.data_access.source_tables import HATS_MARKS
from astrolake.data_access.surveys.conditions import keep, keep_native
from astrolake.data_access.surveys.model import Bulk, Condition, SurveyColumn, SurveyTable
from astrolake.data_access.surveys.native_rows import NativeRows
from astrolake.data_access.surveys.translate import lake_fields, translate
from astrolake.errors import BadArguments, BadInput, MissingDependency
from astrolake.lake.storage import filesystem
from astrolake.schema import HEALPIX_COLUMN
from astrolake.sky.healpix import KEY_ORDER, N_BASE
from astrolake.sky.ranges import EVERYWHERE, overlap
from astrolake.sky.region import Region

LAYOUTS = ("hats", "healpix_k5")
_K5 = 5
_BATCH_ROWS = 65_536
_OF_K5 = re.compile(r"healpix_k5=(\d+)")
_WEB = ("https://", "http://")


@dataclass(frozen=True)
class Partition:
    """A file of a release, and the HEALPix cell (NESTED) that holds its rows."""

    path: str
    order: int
    npix: int


@dataclass(frozen=True)
class BulkQuery:
    """What to read of a release; cheap to send to executors.

    Parameters
    ----------
    table : SurveyTable
    columns : tuple of SurveyColumn
        Columns of the lake.
    conditions : tuple of Condition
        In names and values of the lake.
    cuts : tuple of str
    region : Region, optional
        None is the whole sky.
    options : dict
        Object-store options.
    """

    table: SurveyTable
    columns: tuple[SurveyColumn, ...]
    conditions: tuple[Condition, ...] = ()
    cuts: tuple[str, ...] = ()
    region: Region | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def schema(self) -> pa.Schema:
        """The columns of `rows`."""
        return lake_fields(self.columns)

    def partitions(self) -> list[Partition]:
        """Return the files that may hold rows of the region, by cell.

        Raises
        ------
        BadArguments
            When the table has no release in bulk.
        BadInput
            When there is no such catalog at its place.
        """
        bulk = _bulk_of(self.table)
        ranges = EVERYWHERE if self.region is None else self.region.ranges()
        listed = _hats_partitions if bulk.layout == "hats" else _k5_partitions
        return sorted(listed(bulk, ranges, self.store), key=lambda part: (part.order, part.npix, part.path))

    @property
    def store(self) -> Any:
        """The fsspec file system of the release; public buckets take requests without a signature."""
        bulk = _bulk_of(self.table)
        if bulk.uri.startswith(_WEB):
            return _web_filesystem(bulk.uri)
        unsigned = {"AWS_SKIP_SIGNATURE": "true", "AWS_REGION": bulk.region}
        return filesystem(bulk.uri, unsigned | self.options)

    def rows(self, partition: Partition) -> Iterator[pa.Table]:
        """Yield the rows of a file that are asked for, in the columns of the lake, a batch at a time.

        Row groups outside the region are passed over where the file has statistics of its
        HEALPix index; columns that nobody asked for are not read.

        Raises
        ------
        MissingColumns
            When the file lacks a column; the message lists those it has.
        BadInput
            When the file cannot be read.
        """
        try:
            with self.store.open(partition.path, "rb") as stream, pq.ParquetFile(stream) as parquet:
                wanted = self._names(parquet.schema_arrow)
                groups = self._groups(parquet)
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=groups, columns=wanted):
                    yield from self._chosen(pa.Table.from_batches([batch]))
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise BadInput(
                f"{partition.path}: cannot be read as Parquet ({error}); try again, it may be changing",
                "UnreadableFile",
            ) from error

    def _names(self, schema: pa.Schema) -> list[str]:
        native = NativeRows(self.table, schema.empty_table())
        needed = self.table.native_names(self._read_columns, self.cuts)
        found = [native.spelling(name) for name in needed]
        return [name for name in dict.fromkeys(found) if name is not None]

    @property
    def _read_columns(self) -> tuple[SurveyColumn, ...]:
        """What is asked for, and what the conditions are about."""
        extra = [condition.column for condition in self.conditions]
        missing = [name for name in extra if name not in {column.name for column in self.columns}]
        return (*self.columns, *(c for c in self.table.select(missing) if c.name in missing))

    def _groups(self, parquet: pq.ParquetFile) -> list[int]:
        every = list(range(parquet.num_row_groups))
        names = [parquet.metadata.schema.column(i).path for i in range(parquet.metadata.num_columns)]
        if self.region is None or HEALPIX_COLUMN not in names:
            return every
        at = names.index(HEALPIX_COLUMN)
        found = [parquet.metadata.row_group(group).column(at).statistics for group in every]
        if any(s is None or not s.has_min_max for s in found):
            return every
        spans = np.array([(s.min, s.max + 1) for s in found], np.int64).reshape(-1, 2)
        return [int(group) for group in np.flatnonzero(overlap(self.region.ranges(), *spans.T))]

    def _chosen(self, native: pa.Table) -> Iterator[pa.Table]:
        if self.cuts:
            native = native.filter(pa.array(keep_native(self.table, self.cuts, native)))
        rows = translate(self.table, self._read_columns, native)
        if self.region is not None:
            ra, dec = (rows.column(name).to_numpy() for name in ("ra", "dec"))
            rows = rows.filter(pa.array(self.region.contains(np.mod(ra, 360.0), dec)))
        if self.conditions:
            rows = rows.filter(pa.array(keep(self.table, self.conditions, rows)))
        if rows.num_rows:
            yield rows.select(self.schema.names)


def _bulk_of(table: SurveyTable) -> Bulk:
    if table.bulk is None:
        raise BadArguments(f"table {table.name} has no release in bulk; ask its service instead")
    return table.bulk


def _web_filesystem(uri: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(uri.partition(":")[0])
    except ImportError as error:
        raise MissingDependency(f"{uri} needs aiohttp: pip install 'astrolake[aws]'") from error


def _plain(uri: str) -> str:
    """Return a location as fsspec takes it: with its scheme on the web, else without."""
    return uri.rstrip("/") if uri.startswith(_WEB) else uri.rstrip("/").removeprefix("file://")


def _hats_partitions(bulk: Bulk, ranges: np.ndarray, fs: Any) -> Iterator[Partition]:
    root, properties = _hats_root(_plain(bulk.uri), fs)
    orders, cells = _cells_of(root, fs)
    shift = 2 * (KEY_ORDER - orders)
    touched = overlap(ranges, cells << shift, (cells + 1) << shift)
    suffix = properties.get("hats_npix_suffix", ".parquet")
    # Catalogs of before version 0.4 have no directory of their own for the rows.
    base = f"{root}/dataset" if "hats_version" in properties or "hats_builder" in properties else root
    for order, npix in zip(orders[touched].tolist(), cells[touched].tolist(), strict=True):
        path = f"{base}/Norder={order}/Dir={npix // 10_000 * 10_000}/Npix={npix}"
        files = _listed(f"{path}/", fs) if suffix == "/" else [f"{path}{suffix}"]
        yield from (Partition(name, order, npix) for name in files)


def _hats_root(root: str, fs: Any) -> tuple[str, dict[str, str]]:
    """Return the directory of a catalog, or of the primary table of a collection, with its properties."""
    for mark in HATS_MARKS:
        try:
            text = fs.cat_file(f"{root}/{mark}").decode()
        except (FileNotFoundError, PermissionError):
            # Buckets that may not be listed refuse what is not there.
            continue
        if mark.endswith(".json"):
            return root, {}
        lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
        found = {key.strip(): value.strip() for key, _, value in lines}
        if primary := found.get("hats_primary_table_url"):
            return _hats_root(posixpath.join(root, primary), fs)
        return root, found
    raise BadInput(f"{root}: there is no HATS catalog (none of {', '.join(HATS_MARKS)}); check the address")


def _cells_of(root: str, fs: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        listed = pacsv.read_csv(pa.BufferReader(fs.cat_file(f"{root}/partition_info.csv")))
    except FileNotFoundError:
        raise BadInput(f"{root}: the HATS catalog has no partition_info.csv; ask its publisher") from None
    except pa.ArrowInvalid as error:
        raise BadInput(f"{root}/partition_info.csv cannot be read ({error}); ask its publisher") from error
    orders, cells = (listed.column(name).to_numpy().astype(np.int64) for name in ("Norder", "Npix"))
    return orders, cells


def _listed(path: str, fs: Any) -> list[str]:
    return sorted(name for name in fs.ls(path, detail=False) if name.endswith((".parquet", ".parq")))


def _k5_partitions(bulk: Bulk, ranges: np.ndarray, fs: Any) -> Iterator[Partition]:
    """List the directories of the base cells that the region touches: twelve at most."""
    shift = 2 * (KEY_ORDER - _K5)
    root = _plain(bulk.uri)
    cells = np.arange(N_BASE << (2 * _K5))
    touched = set(cells[overlap(ranges, cells << shift, (cells + 1) << shift)].tolist())
    bases = sorted({cell >> (2 * _K5) for cell in touched})
    found = [name for base in bases for name in fs.find(f"{root}/healpix_k0={base}")]
    if bases and not found and not fs.exists(root):
        raise BadInput(f"{root}: there is nothing there; check the address")
    for name in sorted(found):
        match = _OF_K5.search(name)
        if match and name.endswith(".parquet") and int(match[1]) in touched:
            yield Partition(name, _K5, int(match[1]))
