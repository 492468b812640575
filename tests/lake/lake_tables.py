"""Puts known rows into a lake: the files and commits of the writer, without Spark."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from partition_files import write_partitions

from astrolake.lake.delta import Commit, apply_commit, read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.sink import SinkSpec
from astrolake.schema import HEALPIX_COLUMN, Table
from astrolake.schema.arrow import arrow_schema, delta_schema
from astrolake.sky.healpix import healpix29


def put_rows(lake: Lake, table: Table, rows: Sequence[dict[str, object]], run_id: str = "run-1") -> int:
    """Replace a table by rows (missing columns are null), in one file for each base cell."""
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(table)])
    data = pa.Table.from_pylist([{"run_id": run_id, **row} for row in rows], schema=schema)
    part = np.zeros(data.num_rows, np.int32)
    if table.positional:
        index = healpix29(data.column("ra").to_numpy(), data.column("dec").to_numpy())
        at = data.schema.get_field_index(HEALPIX_COLUMN)
        data = data.set_column(at, schema.field(at), pa.array(index))
        part = (index >> 58).astype(np.int32)
    data = data.append_column("_part", pa.array(part))
    by = [("_part", "ascending"), ((HEALPIX_COLUMN if table.positional else table.key[0]), "ascending")]
    storage = lake.delta_storage(table.name, positional=table.positional)
    old = read_snapshot(storage)
    partitions = {int(cell): (0, 0, int(cell)) if table.positional else () for cell in np.unique(part)}
    batches = iter(data.sort_by(by).to_batches())
    adds = tuple(write_partitions(batches, SinkSpec(storage, schema, run_id), partitions))
    removes, base = (old.files, old.version) if old else ((), None)
    return apply_commit(Commit(storage, delta_schema(table), adds, removes, base, run_id, "test"))
