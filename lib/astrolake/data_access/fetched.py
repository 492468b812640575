"""The files of a fetch as a table of the kind that a user works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.table import Column, MaskedColumn, Table

from astrolake.errors import BadInput
from astrolake.lake.storage import Storage

OUTPUTS = ("pandas", "astropy", "arrow", "spark")


def read_fetched(uris: Sequence[str], storage_options: Mapping[str, str], output: str) -> Any:
    """Return the rows of a fetch's files as one of `OUTPUTS`; only spark leaves them where they are."""
    places = [
        (Storage.at(uri.rpartition("/")[0], dict(storage_options)), uri.rpartition("/")[2]) for uri in uris
    ]
    root, names = places[0][0], [name for _, name in places]
    if output == "spark":
        return _spark_frame(root, names)
    rows = _concatenated(root, names)
    if output == "arrow":
        return rows
    return rows.to_pandas() if output == "pandas" else _astropy_table(rows)


def _concatenated(root: Storage, names: Sequence[str]) -> pa.Table:
    try:
        return pa.concat_tables([_read(root, name) for name in names])
    except pa.ArrowInvalid as error:
        raise _damaged(root.root, error) from error


def _read(root: Storage, name: str) -> pa.Table:
    with root.fs.open(root.path(name), "rb") as stream:
        try:
            return pq.read_table(stream, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(root.uri(name), error) from error


def _damaged(uri: str, error: Exception) -> BadInput:
    return BadInput(
        f"{uri}: what was fetched is damaged ({error}); delete it and fetch again", "UnreadableFile"
    )


def _spark_frame(root: Storage, names: Sequence[str]) -> Any:
    from astrolake.lake.parquet_frame import parquet_frame
    from astrolake.lake.reader import spark_fields
    from astrolake.lake.session import spark_session

    with root.fs.open(root.path(names[0]), "rb") as stream:
        schema = pq.read_schema(stream)
    return parquet_frame(spark_session("astrolake", root), root, names, spark_fields(schema))


def _astropy_table(rows: pa.Table) -> Table:
    """Return rows with units and descriptions; missing values are masked."""
    found = Table()
    for field in rows.schema:
        values = rows.column(field.name)
        missing = pc.is_null(values).to_numpy()
        fill = {pa.string(): "", pa.bool_(): False}.get(field.type, 0)
        data = np.asarray(values.fill_null(fill).to_numpy() if missing.any() else values.to_numpy())
        if data.dtype == object:
            data = data.astype(str)
        metadata = field.metadata or {}
        unit, doc = (metadata.get(key, b"").decode() or None for key in (b"unit", b"doc"))
        kind = MaskedColumn if missing.any() else Column
        more = {"mask": missing} if missing.any() else {}
        found[field.name] = kind(data, unit=unit, description=doc, **more)
    return found
