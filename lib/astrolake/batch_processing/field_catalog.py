"""The catalog of one field: its frames in, one Parquet file of sources in all bands out, without Spark."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from astrolake import __version__
from astrolake.batch_processing.field_task import SUFFIXES, Extraction, FieldTask
from astrolake.errors import BadArguments, BadInput
from astrolake.lake.atomic_file import remove, write_whole
from astrolake.lake.storage import Storage
from astrolake.photometry.image_tasks import (
    KIND,
    NOTE,
    PASSING,
    REJECT,
    REJECT_COLUMNS,
    SourceOptions,
    guarded,
    reject_row,
    source_measure,
)
from astrolake.photometry.multiband import MultibandPhotometry
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import scan_file
from astrolake.schema import DETECTIONS
from astrolake.schema.arrow import arrow_schema

#: A row of a field's catalog is a row of `detections` and two columns that bring the bands together.
OBJECT_COLUMNS = (
    pa.field("object_number", pa.int32(), nullable=False, metadata={"doc": "The same in all bands"}),
    pa.field("n_bands", pa.int32(), nullable=False, metadata={"doc": "Bands the object is seen in"}),
)
SCHEMA = pa.schema([*arrow_schema(DETECTIONS), *OBJECT_COLUMNS])
#: Keys of the Parquet file's metadata: what the catalog was made from, and the bands that could be used.
_MADE_FROM, _BANDS = b"astrolake.made_from", b"astrolake.bands"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FieldResult:
    """What became of a field; units are frames, one a band.

    Parameters
    ----------
    catalog_uri, run_id : str
    rows : int
        Sources, of all bands.
    frames, rejected : int
    rejects : list of dict
        source, error_type, message, payload.
    kept : bool
        Whether the catalog was there, made from the same frames in the same way.
    """

    catalog_uri: str
    run_id: str
    rows: int
    frames: int
    rejected: int
    rejects: list[dict[str, Any]] = field(default_factory=list)
    kept: bool = False


@dataclass
class _Bands:
    """What the bands of a field gave."""

    tables: dict[str, pa.Table] = field(default_factory=dict)
    rejects: list[dict[str, Any]] = field(default_factory=list)


def process_field(
    task: FieldTask, *, again: bool = False, storage_options: dict[str, str] | None = None
) -> FieldResult:
    """Extract the sources of a field in all its bands and write its catalog.

    What is missing or damaged is recorded beside the catalog (`FieldTask.rejects_uri`), the other bands
    are processed. Running it again writes the same bytes to the same key, or finds them there.

    Parameters
    ----------
    task : FieldTask
    again : bool
        Extract even where the catalog is up to date.
    storage_options : dict
        Object-store options.

    Raises
    ------
    BadArguments
        When the task does not say where frames lie, or asks for what the kernel refuses.
    BadInput
        When no band can be used, or a frame cannot be read for a passing reason; nothing is written then.
    """
    if not task.images:
        raise BadArguments("where the frames lie is not known: give --images, or set IMAGES_URI")
    options = _source_options(task.extraction, storage_options)
    frames = {band: _find_frame(task, band, storage_options) for band in task.bands}
    made_from = _made_from(task, frames)
    run_id = f"field-{task.label}-{made_from[:12]}"
    if not again and (current := _current(task.catalog_uri, made_from, storage_options)) is not None:
        _LOG.info("%s is up to date", task.catalog_uri)
        return _result(task, run_id, *current, _read_rejects(task, storage_options), kept=True)
    found = _Bands()
    for band, frame in frames.items():
        _add_band(found, task, band, frame, options)
    if not found.tables:
        reasons = "; ".join(reject["message"] for reject in found.rejects)
        raise BadInput(f"no frame of field {task.label} can be used: {reasons}", "NoFrame")
    catalog = _joined(found.tables, run_id, task.extraction.match_radius_arcsec)
    # The catalog comes last: where it is, its rejects are.
    _write_rejects(task, found.rejects, storage_options)
    bands = "".join(found.tables)
    write_whole(task.catalog_uri, _parquet_bytes(catalog, made_from, bands), storage_options)
    return _result(task, run_id, len(catalog), bands, found.rejects)


def _result(
    task: FieldTask, run_id: str, rows: int, bands: str, rejects: list[dict[str, Any]], *, kept: bool = False
) -> FieldResult:
    rejected = len(task.bands) - len(bands)
    return FieldResult(task.catalog_uri, run_id, rows, len(task.bands), rejected, rejects, kept)


def _source_options(extraction: Extraction, storage_options: dict[str, str] | None) -> SourceOptions:
    kernel = ExtractionOptions(
        extraction.detect_sigma,
        extraction.min_pixels,
        depth=extraction.depth,  # type: ignore[arg-type] # checked by its parser
        psf=extraction.psf,  # type: ignore[arg-type]
        aperture_radii_px=extraction.aperture_radii_arcsec,
    )
    return SourceOptions(kernel, storage_options or {})


def _find_frame(
    task: FieldTask, band: str, storage_options: dict[str, str] | None
) -> tuple[str, dict[str, Any]]:
    """Return the URI and the listing of a band's frame; an empty listing where there is none."""
    uris = task.frame_uris(band)
    storage = Storage.at(task.images, storage_options)
    for uri in uris:
        try:
            return uri, storage.fs.info(storage.path(uri.removeprefix(f"{task.images}/")))
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise BadInput(f"{uri}: no permission to read it ({error}); grant it", "NoPermission") from error
    return uris[0], {}


def _made_from(task: FieldTask, frames: dict[str, tuple[str, dict[str, Any]]]) -> str:
    """Return a digest of all that a catalog depends on: frames as they lie there, options, version."""
    seen = {
        band: [uri, info.get("size"), str(info.get("ETag", info.get("mtime", "")))]
        for band, (uri, info) in frames.items()
    }
    return hashlib.sha256(json.dumps([__version__, asdict(task.extraction), seen]).encode()).hexdigest()


def _current(uri: str, made_from: str, storage_options: dict[str, str] | None) -> tuple[int, str] | None:
    """Return rows and bands of a catalog made from the same; None where there is none."""
    storage = Storage.at(uri, storage_options)
    try:
        with storage.fs.open(storage.path(), "rb") as stream:
            footer = pq.read_metadata(stream)
    except FileNotFoundError:
        return None
    except pa.ArrowInvalid as error:
        raise BadInput(f"{uri} is no catalog of a field ({error}); move it away", "NotACatalog") from error
    said = footer.metadata or {}
    return (footer.num_rows, said[_BANDS].decode()) if said.get(_MADE_FROM) == made_from.encode() else None


def _add_band(
    found: _Bands, task: FieldTask, band: str, frame: tuple[str, dict[str, Any]], options: SourceOptions
) -> None:
    """Add the sources of a frame, or why it has none."""
    uri, info = frame
    if not info:
        packings = ", ".join(SUFFIXES)
        message = f"{uri}: there is no frame of band {band} (nor another of {packings}); upload it"
        found.rejects.append(_reject(reject_row(uri, "FileNotFound", message)))
        return
    scan = scan_file(uri, storage_options=options.storage_options)
    for damaged in scan.rejects:
        _raise_if_passing(damaged.error_type, damaged.message)
        found.rejects.append(_reject(reject_row(damaged.source, damaged.error_type, damaged.message)))
    measure = source_measure(options)
    for image in scan.images:
        if image["image_type"] != "science":
            continue
        if image["band"] != band:
            message = f"{uri}: its header says band {image['band']}, its name {band}; name it rightly"
            found.rejects.append(_reject(reject_row(uri, "WrongBand", message)))
            continue
        tables, statuses = guarded(image | {"overlapping": None}, measure)
        for status in (status for status in statuses if status[KIND] in (REJECT, NOTE)):
            _raise_if_passing(status["error_type"], status["message"])
            found.rejects.append(_reject(status))
        if DETECTIONS.name in tables:
            found.tables[band] = tables[DETECTIONS.name]


def _raise_if_passing(error_type: str, message: str) -> None:
    """Fail on what may be gone at the next try: the field is to be run again, not to stay without a band."""
    if error_type in PASSING:
        raise BadInput(message, error_type)


def _reject(row: dict[str, Any]) -> dict[str, Any]:
    _LOG.warning("%s", row["message"])
    return {name: row[name] for name in REJECT_COLUMNS}


def _joined(tables: dict[str, pa.Table], run_id: str, radius_arcsec: float) -> pa.Table:
    """Return the sources of all bands under each other, with the objects they are of."""
    numbers, seen_in = _objects(tables, radius_arcsec)
    rows = pa.concat_tables(tables.values())
    rows = rows.append_column("run_id", pa.array([run_id] * len(rows), pa.string()))
    for column, values in zip(OBJECT_COLUMNS, (numbers, seen_in), strict=True):
        rows = rows.append_column(column, pa.array(values, column.type))
    return rows.select(SCHEMA.names).cast(SCHEMA)


def _objects(tables: dict[str, pa.Table], radius_arcsec: float) -> tuple[np.ndarray, np.ndarray]:
    """Return number and count of bands of the object that each source, band after band, is of."""
    counts = [len(table) for table in tables.values()]
    if len(tables) == 1:
        return np.arange(counts[0]), np.ones(counts[0], int)
    sides = {
        f"{band}_sources": pd.DataFrame(
            {"ra": table["ra"].to_numpy(), "dec": table["dec"].to_numpy(), "row": np.arange(len(table))}
        )
        for band, table in tables.items()
    }
    objects = MultibandPhotometry().match_multiband(match_radius=radius_arcsec, **sides)
    seen_in = objects["n_bands"].to_numpy()
    parts = [_numbers(objects[f"{band}_row"], n) for band, n in zip(tables, counts, strict=True)]
    numbers = np.concatenate(parts)
    return numbers, seen_in[numbers]


def _numbers(row_of_object: pd.Series, n_sources: int) -> np.ndarray:
    """Return the object of each source of a band from the source of each object."""
    has_one = row_of_object.notna().to_numpy()
    numbers = np.empty(n_sources, dtype=int)
    numbers[row_of_object[has_one].to_numpy(dtype=int)] = np.flatnonzero(has_one)
    return numbers


def _parquet_bytes(catalog: pa.Table, made_from: str, bands: str) -> bytes:
    metadata = {_MADE_FROM: made_from.encode(), _BANDS: bands.encode()}
    buffer = io.BytesIO()
    pq.write_table(catalog.replace_schema_metadata(metadata), buffer, compression="zstd")
    return buffer.getvalue()


def _write_rejects(
    task: FieldTask, rejects: Sequence[dict[str, Any]], storage_options: dict[str, str] | None
) -> None:
    if not rejects:
        remove(task.rejects_uri, storage_options)
        return
    lines = "".join(json.dumps(reject) + "\n" for reject in rejects)
    write_whole(task.rejects_uri, lines.encode(), storage_options)


def _read_rejects(task: FieldTask, storage_options: dict[str, str] | None) -> list[dict[str, Any]]:
    storage = Storage.at(task.rejects_uri, storage_options)
    try:
        lines = storage.fs.cat_file(storage.path()).decode().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]
