"""HATS metadata beside the Delta log, so that LSDB and hats read the same files.

A HATS reader lists whole directories: the metadata may only be written when the
dataset directory holds the files of the current version and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from astrolake import __version__
from astrolake.lake.delta import Snapshot
from astrolake.lake.lake import sql_name
from astrolake.lake.storage import Storage
from astrolake.schema.model import HEALPIX_COLUMN

#: A directory is a HATS catalog when it has these; the second is the name of older readers.
PROPERTIES = ("hats.properties", "properties")
#: Counts of rows on the sky, if they were asked for.
SKYMAP = "skymap.fits"
#: The margins of a table lie beside it, below its name and this, which no name of a table holds.
MARGIN = ".margin_"
#: Where runs note that they are writing to a table; readers pass over names with an underscore.
CLAIMS = "_claims"
#: Number of columns that readers load unless told otherwise.
_DEFAULT_COLUMNS = 12
_READERS = 16


def write_hats_metadata(
    table_root: Storage,
    table: str,
    snapshot: Snapshot,
    created: datetime,
    entries: Mapping[str, object] | None = None,
) -> None:
    """Write `hats.properties` (and its copy), `partition_info.csv`, `_metadata`, `_common_metadata`.

    Parameters
    ----------
    table_root : Storage
        The table's directory, parent of the Delta root ``dataset``.
    table : str
        Name of the table.
    snapshot : Snapshot
        The version to describe; a table without rows gets no metadata files of rows.
    created : datetime
        Creation time to state.
    entries : dict, optional
        Properties beside, or instead of, the usual ones.
    """
    footers = _read_footers(snapshot)
    schema = pa.schema([snapshot.schema.field(name) for name in snapshot.stored_names])
    if footers:
        schema = footers[0].schema.to_arrow_schema()
    _write_parquet_metadata(snapshot, footers, schema)
    _put(table_root, "partition_info.csv", _partition_info(snapshot))
    text = _text(
        "HATS catalog", _properties(sql_name(table), snapshot, schema, created) | dict(entries or {})
    )
    # Last, since a catalog is one once it has its properties.
    for name in reversed(PROPERTIES):
        _put(table_root, name, text)


def claim_table(table_root: Storage, run_id: str) -> None:
    """Note that a run is about to write to a table, so that nobody publishes it until the run has ended."""
    if table_root.is_local:
        table_root.fs.makedirs(table_root.path(CLAIMS), exist_ok=True)
    table_root.fs.pipe_file(table_root.path(CLAIMS, run_id), b"writing\n")


def claims_of(table_root: Storage) -> list[str]:
    """Return the runs that have claimed a table."""
    if not table_root.fs.exists(table_root.path(CLAIMS)):
        return []
    return sorted(name.rsplit("/", 1)[-1] for name in table_root.fs.find(table_root.path(CLAIMS)))


def release_claim(table_root: Storage, run_id: str) -> None:
    """Withdraw the claim of a run that has ended; none is no error."""
    path = table_root.path(CLAIMS, run_id)
    if table_root.fs.exists(path):
        table_root.fs.rm_file(path)


def retract_hats_metadata(table_root: Storage) -> None:
    """Withdraw the catalog from HATS readers before new files come: an error is better than doubled rows."""
    for name in PROPERTIES:
        if table_root.fs.exists(table_root.path(name)):
            table_root.fs.rm_file(table_root.path(name))
    drop_beside(table_root)


def drop_beside(table_root: Storage) -> None:
    """Delete the skymap and the margins of a table, of these the properties first."""
    if table_root.fs.exists(table_root.path(SKYMAP)):
        table_root.fs.rm_file(table_root.path(SKYMAP))
    fs, (parent, _, name) = table_root.fs, table_root.path().rpartition("/")
    margins = [
        path for path in _listed(table_root, parent) if path.rpartition("/")[2].startswith(name + MARGIN)
    ]
    for path in (f"{margin}/{name}" for margin in margins for name in PROPERTIES):
        if fs.exists(path):
            fs.rm_file(path)
    for margin in margins:
        fs.rm(margin, recursive=True)


def _listed(storage: Storage, path: str) -> list[str]:
    return (
        [found.rstrip("/") for found in storage.fs.ls(path, detail=False)] if storage.fs.exists(path) else []
    )


def _margins_of(table_root: Storage) -> list[str]:
    if not table_root.fs.exists(table_root.path()):
        return []
    names = (
        path.rstrip("/").rpartition("/")[2] for path in table_root.fs.ls(table_root.path(), detail=False)
    )
    return sorted(name for name in names if name.startswith(MARGIN))


def _read_footers(snapshot: Snapshot) -> list[Any]:
    def footer(path: str) -> Any:
        with snapshot.storage.fs.open(snapshot.storage.path(path), "rb") as stream:
            metadata = pq.read_metadata(stream)
        metadata.set_file_path(path)
        return metadata

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(footer, [file.path for file in snapshot.files]))


def _write_parquet_metadata(snapshot: Snapshot, footers: list[Any], schema: pa.Schema) -> None:
    common = io.BytesIO()
    pq.write_metadata(schema, common)
    _put(snapshot.storage, "_common_metadata", common.getvalue())
    merged = io.BytesIO()
    if footers:
        first, *others = footers
        for other in others:
            first.append_row_groups(other)
        first.write_metadata_file(merged)
    else:
        merged = common
    _put(snapshot.storage, "_metadata", merged.getvalue())


def _partition_info(snapshot: Snapshot) -> bytes:
    lines = ["Norder,Npix"]
    lines += [f"{order},{npix}" for order, npix in sorted({(f.order, f.npix) for f in snapshot.files})]
    return ("\n".join(lines) + "\n").encode()


def _text(title: str, entries: Mapping[str, object]) -> bytes:
    return (f"#{title}\n" + "".join(f"{key}={value}\n" for key, value in entries.items())).encode()


def _properties(name: str, snapshot: Snapshot, schema: pa.Schema, created: datetime) -> dict[str, object]:
    order = max((file.order for file in snapshot.files), default=0)
    return {
        "obs_collection": name,
        "dataproduct_type": "object",
        "hats_nrows": snapshot.rows,
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": HEALPIX_COLUMN,
        "hats_col_healpix_order": 29,
        "hats_cols_sort": HEALPIX_COLUMN,
        "hats_cols_default": " ".join(schema.names[:_DEFAULT_COLUMNS]),
        "hats_npix_suffix": "/",
        "hats_order": order,
        "hats_estsize": sum(file.size for file in snapshot.files) // 1024,
        "hats_release_date": f"{created:%Y-%m-%d}",
        "hats_creation_date": f"{created:%Y-%m-%dT%H:%M}UTC",
        "hats_builder": f"astrolake {__version__}",
        "hats_version": "v1.0",
        "hats_frame": "equatorial",
        "moc_sky_fraction": f"{_sky_fraction(snapshot):.5f}",
    }


def _sky_fraction(snapshot: Snapshot) -> float:
    return sum({(f.order, f.npix): 1.0 / (12 << (2 * f.order)) for f in snapshot.files}.values())


def _put(storage: Storage, name: str, content: bytes) -> None:
    """Replace a small file: through a rename on a local disk, in one put on S3."""
    target = storage.path(name)
    if not storage.is_local:
        storage.fs.pipe_file(target, content)
        return
    # The leading underscore hides the half-written file from every reader.
    temporary = storage.path(f"_{name}.tmp")
    storage.fs.pipe_file(temporary, content)
    storage.fs.mv(temporary, target)
