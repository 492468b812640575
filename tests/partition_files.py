"""Writes rows tagged with the number of their partition, as the tables of many tests need them."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from astrolake.lake.delta import DataFile
from astrolake.lake.sink import SinkSpec, write_file


def write_partitions(
    batches: Iterable[pa.RecordBatch], spec: SinkSpec, partitions: dict[int, tuple[int, ...]]
) -> Iterator[DataFile]:
    """Write one file for each part; rows (sorted inside it) say theirs in the column `_part`."""
    pieces = list(batches)
    if not pieces:
        return
    rows = pa.Table.from_batches(pieces)
    for part in pc.unique(rows.column("_part")).to_pylist():
        mine = rows.filter(pc.equal(rows.column("_part"), part))
        yield from write_file(mine.to_batches(), spec, partitions[part])
