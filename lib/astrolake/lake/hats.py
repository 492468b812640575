"""HATS metadata beside the Delta log, so that LSDB and hats read the same files.

A HATS reader lists whole directories: the metadata may only be written when the
dataset directory holds the files of the current version and nothing else.
"""

from __future__ import annotations

import contextlib
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
SKYMAP_ORDER = "hats_skymap_order"
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
    """Withdraw the catalog from HATS readers before new files come: an error is better than doubled rows.

    What lies beside it loses its properties too; its files are left to the next publish.
    """
    for path in (table_root.path(), *margins_of(table_root)):
        for name in (*PROPERTIES, SKYMAP):
            remove_file(table_root, f"{path}/{name}")


def margins_of(table_root: Storage) -> list[str]:
    """Return the paths of the margins of a table."""
    parent, _, name = table_root.path().rpartition("/")
    try:
        found = [path.rstrip("/") for path in table_root.fs.ls(parent, detail=False)]
    except FileNotFoundError:
        return []
    return sorted(path for path in found if path.rpartition("/")[2].startswith(name + MARGIN))


def drop_stale_margins(table_root: Storage) -> None:
    """Delete the margins without properties: those of superseded versions, and of runs that were killed."""
    for path in margins_of(table_root):
        if not table_root.fs.exists(f"{path}/{PROPERTIES[0]}"):
            # Another publish may be about the same.
            with contextlib.suppress(FileNotFoundError):
                table_root.fs.rm(path, recursive=True)


def skymap_order_of(table_root: Storage) -> int | None:
    """Return the order of the skymap that the published properties tell of."""
    path = table_root.path(PROPERTIES[0])
    if not (table_root.fs.exists(path) and table_root.fs.exists(table_root.path(SKYMAP))):
        return None
    for line in table_root.fs.cat_file(path).decode().splitlines():
        key, _, value = line.partition("=")
        if key == SKYMAP_ORDER:
            return int(value)
    return None


def remove_file(storage: Storage, path: str) -> None:
    """Delete a file; none is no error, since others may delete it too."""
    with contextlib.suppress(FileNotFoundError):
        storage.fs.rm_file(path)


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
