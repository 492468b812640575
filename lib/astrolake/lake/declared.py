"""The declaration of a table that exists: from the registry, or from its own files."""

from __future__ import annotations

import pyarrow.parquet as pq

from astrolake.lake.delta import Snapshot
from astrolake.schema import REGISTRY, Table
from astrolake.schema.arrow import column_of

_KEYS = (("source_id",), ("object_id",), ("detection_id",), ("left_id", "right_id"))


def declared(table: str, snapshot: Snapshot) -> Table:
    """Return the declaration of an existing positional table, units and UCDs from its files."""
    known = REGISTRY.get(table)
    if known is not None and list(known.column_names) == snapshot.stored_names:
        return known
    schema = snapshot.schema
    if snapshot.files:
        path = snapshot.storage.path(snapshot.files[0].path)
        with snapshot.storage.fs.open(path, "rb") as stream:
            schema = pq.read_schema(stream)
    columns = tuple(column_of(schema.field(name)) for name in snapshot.stored_names)
    key = next((key for key in _KEYS if set(key) <= set(snapshot.stored_names)), (snapshot.stored_names[0],))
    return Table(table, "a row", key, columns, positional=True)
