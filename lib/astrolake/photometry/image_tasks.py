"""What a worker does with one image, and what it says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from astrolake.errors import BadInput
from astrolake.photometry.calibration_plan import HEADER_ONLY, CalibrationPlan
from astrolake.photometry.forced_image import ForcedPlan, forced_image
from astrolake.photometry.image_sources import ImageSources, image_sources
from astrolake.photometry.options import ExtractionOptions
from astrolake.schema import DETECTIONS, IMAGE_QUALITY, PIXEL_DETECTIONS

#: What a row of a worker's output is: rows of several tables share one schema.
KIND = "kind"
IMAGE, SOURCE, REJECT = "image", "source", "reject"
#: An image that was measured, with a WCS or without.
MEASURED = "measured"
#: A reject beside a measured image, which does not count as one.
NOTE = "note"
#: Reasons that say nothing about a file's content and may be gone at the next try.
PASSING = ("FileNotFound", "NoPermission", "ReadError", "Replaced")
REJECT_COLUMNS = ("source", "error_type", "message", "payload")
#: What became of an image: staged beside its sources.
STATUSES = "statuses"
STATUS_SCHEMA = pa.schema(
    [("image_id", pa.int64()), *((name, pa.string()) for name in (KIND, *REJECT_COLUMNS))]
)

Row = dict[str, Any]
#: Measures an image: rows by the name of their table, and what is to say of the image, how it went first.
Measure = Callable[[Mapping[str, Any]], tuple[dict[str, pa.Table], list[Row]]]


@dataclass(frozen=True)
class SourceOptions:
    """Options of `extract_sources`: detection (radii of apertures in arcsec), files, and calibration."""

    extraction: ExtractionOptions
    storage_options: dict[str, str]
    calibration: CalibrationPlan = HEADER_ONLY


def source_measure(options: SourceOptions) -> Measure:
    """Return what extracts the sources of an image of `with_overlaps`, and its quality."""
    return lambda image: _extract_one(image, options)


def forced_measure(plan: ForcedPlan, storage: dict[str, str]) -> Measure:
    """Return what measures an image of `with_quality` at the plan's positions."""

    def measure(image: Mapping[str, Any]) -> tuple[dict[str, pa.Table], list[Row]]:
        found = forced_image(image, plan, storage)
        return {plan.table.name: found}, [{KIND: IMAGE, "source": _place(image)}]

    return measure


def guarded(image: Mapping[str, Any], measure: Measure) -> tuple[dict[str, pa.Table], list[Row]]:
    """Return what is measured on an image, or why nothing is."""
    source, known = _place(image), {"image_id": image["image_id"]}
    try:
        tables, statuses = measure(image)
    except BadInput as error:
        settled = {} if error.kind in PASSING else known
        return {}, [reject_row(source, error.kind, str(error)) | settled]
    except Exception as error:  # noqa: BLE001 - one image must never take the others with it; it is recorded
        message = f"{source}: {type(error).__name__}: {error}"
        return {}, [reject_row(source, type(error).__name__, message)]
    return tables, [statuses[0] | known, *statuses[1:]]


def _place(image: Mapping[str, Any]) -> str:
    return f"{image['uri']}#{image['hdu']}"


def _extract_one(image: Mapping[str, Any], options: SourceOptions) -> tuple[dict[str, pa.Table], list[Row]]:
    """Return the sources of an image under the name of their table, and what is to say of the image."""
    source = _place(image)
    found = image_sources(
        image,
        image["overlapping"] or [],
        options.extraction,
        options.extraction.aperture_radii_px,
        options.storage_options,
        options.calibration,
    )
    table = DETECTIONS if found.has_wcs else PIXEL_DETECTIONS
    statuses = [_status_row(source, found)]
    if found.n_lost:
        message = f"{source}: {found.n_lost} of its sources have no place on the sky; check its WCS"
        statuses.append(reject_row(source, "OffTheSky", message) | {KIND: NOTE})
    return {table.name: found.rows, IMAGE_QUALITY.name: found.quality}, statuses


def _status_row(source: str, found: ImageSources) -> dict[str, Any]:
    if found.has_wcs:
        return {KIND: IMAGE, "source": source}
    n = found.rows.num_rows
    message = (
        f"{source} has no usable WCS: its {n} sources have pixel coordinates only and are in "
        "pixel_detections, not in detections; add a WCS to the header and ingest it again"
    )
    return reject_row(source, "NoWcs", message, json.dumps({"n_sources": n}))


def reject_row(source: str, error_type: str, message: str, payload: str | None = None) -> dict[str, Any]:
    """Return what to record of an input that could not be used."""
    return {KIND: REJECT, "source": source, "error_type": error_type, "message": message, "payload": payload}
