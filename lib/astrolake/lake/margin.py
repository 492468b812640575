"""The margin of a table: for each partition the rows of others close to its edge, in files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from astrolake.lake.cells import Cell, map_cells
from astrolake.lake.delta import DataFile, Snapshot
from astrolake.lake.hats import MARGIN, write_hats_metadata
from astrolake.lake.reader import RegionReader
from astrolake.lake.sink import PartitionFile, SinkSpec, conform
from astrolake.lake.storage import Storage
from astrolake.lake.writer import FILE_FIELDS, described, files_of
from astrolake.schema.model import HEALPIX_COLUMN, PARTITION_COLUMNS
from astrolake.sky.cell_edge import near_cell
from astrolake.sky.separation import unit_vectors

#: Wider margins would hold most of a table many times.
WIDEST_ARCSEC = 18_000.0


def write_margin(
    spark: SparkSession,
    table: tuple[str, Storage, Snapshot],
    margin_arcsec: float,
    run_id: str,
    created: datetime,
) -> None:
    """Write the margin catalog of a version of a table beside the table.

    A partition's margin holds the rows outside it whose exact distance to its edge is at most
    `margin_arcsec`. One task reads a partition's surroundings and writes its file; nothing is shuffled.

    Parameters
    ----------
    table : (str, Storage, Snapshot)
        Name, directory and version.
    margin_arcsec : float
        Up to `WIDEST_ARCSEC`.
    """
    name, root, snapshot = table
    margin = f"{MARGIN}{margin_arcsec:g}arcs"
    directory = Storage(root.root + margin, root.options)
    sink = SinkSpec(Storage(directory.uri("dataset"), root.options), _stored_schema(snapshot), run_id)
    cells = [Cell(file.order, file.npix, file.rows) for file in snapshot.files]
    shared = spark.sparkContext.broadcast(
        (RegionReader(snapshot.storage, snapshot.files, tuple(sink.schema.names)), sink)
    )

    def work(cells: Iterator[Cell]) -> Iterator[pa.RecordBatch]:
        reader, sink = shared.value
        for cell in cells:
            file = _write_cell(reader, sink, cell, margin_arcsec / 3600)
            if file is not None:
                yield described(file)

    files = files_of(map_cells(spark, cells, work, FILE_FIELDS)) if cells else []
    _delete_others(sink.storage, files)
    version = Snapshot(sink.storage, snapshot.version, tuple(files), snapshot.schema)
    entries = {
        "dataproduct_type": "margin",
        "hats_primary_table_url": f"../{root.root.rpartition('/')[2]}",
        "hats_margin_threshold": f"{margin_arcsec:g}",
    }
    write_hats_metadata(directory, f"{name}{margin}", version, created, entries)


def _write_cell(reader: RegionReader, sink: SinkSpec, cell: Cell, margin_deg: float) -> DataFile | None:
    """Write the margin of a partition; without rows there is no file."""
    low, high = cell.span
    file: PartitionFile | None = None
    for slice_ in reader.slices(cell.surroundings(margin_deg)):
        index = slice_.column(HEALPIX_COLUMN).to_numpy()
        outside = slice_.filter(pa.array((index < low) | (index >= high)))
        vectors = unit_vectors(*(outside.column(name).to_numpy() for name in ("ra", "dec")))
        rows = outside.filter(pa.array(near_cell(vectors, cell.order, cell.npix, margin_deg)))
        if rows.num_rows:
            file = file or PartitionFile(sink, (cell.order, cell.npix // 10_000 * 10_000, cell.npix))
            file.write(conform(rows, sink.schema))
    return None if file is None else file.close()


def _stored_schema(snapshot: Snapshot) -> pa.Schema:
    """Return the schema of the files, which may have finer types than Delta knows."""
    for file in snapshot.files:
        with snapshot.storage.fs.open(snapshot.storage.path(file.path), "rb") as stream:
            return pq.read_schema(stream)
    return pa.schema([f for f in snapshot.schema if f.name not in PARTITION_COLUMNS])


def _delete_others(storage: Storage, files: list[DataFile]) -> None:
    """Delete what tasks that were repeated have left: readers list directories."""
    ours = {storage.path(file.path) for file in files}
    if storage.fs.exists(storage.path()):
        for path in set(storage.fs.find(storage.path())) - ours:
            storage.fs.rm_file(path)
    elif storage.is_local:
        storage.fs.makedirs(storage.path(), exist_ok=True)
