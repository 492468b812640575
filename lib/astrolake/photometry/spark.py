"""The Spark side of ingesting and extracting images: one image at a time in each worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from astrolake.errors import BadArguments, BadInput
from astrolake.lake.reader import spark_fields
from astrolake.photometry.image_sources import ImageSources, image_sources
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import scan_file
from astrolake.schema import DETECTIONS, IMAGES, REJECTS, Table
from astrolake.schema.arrow import arrow_schema

#: What a row of a worker's output is: rows of several tables share one schema.
KIND = "_kind"
IMAGE, DETECTION, PIXEL_DETECTION, REJECT = "image", "detection", "pixel_detection", "reject"
#: A reject beside a measured image, which does not count as one.
NOTE = "note"
#: Reasons that say nothing about a file's content and may be gone at the next try.
PASSING = ("FileNotFound", "NoPermission", "ReadError")
#: Images in a task: enough to spread a task's fixed cost, few enough to balance.
_IMAGES_PER_TASK = 8
_REJECT_COLUMNS = ("source", "error_type", "message", "payload")


@dataclass(frozen=True)
class SourceOptions:
    """Options of `extract_sources`: detection, apertures, and how to reach the files."""

    extraction: ExtractionOptions
    radii_arcsec: tuple[float, ...]
    storage_options: dict[str, str]


def scan_frame(
    spark: SparkSession, uris: Sequence[str], survey: str, storage_options: dict[str, str]
) -> DataFrame:
    """Return the rows of `images` (kind image) and of `rejects` (kind reject) of some files.

    Every file gives at least one row; `file_uri` says which file a row is of.
    """
    schema = _tagged(IMAGES, ("file_uri",))

    def scan(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for uri in batch.column("uri").to_pylist():
                found = scan_file(uri, survey=survey, storage_options=storage_options)
                rows = [{**image, KIND: IMAGE, "file_uri": uri} for image in found.images]
                rows += [
                    _reject_row(reject.source, reject.error_type, reject.message) | {"file_uri": uri}
                    for reject in found.rejects
                ]
                yield from pa.Table.from_pylist(rows, schema=schema).to_batches()

    files = spark.createDataFrame([(uri,) for uri in uris], "uri string")
    return _spread(files, len(uris)).mapInArrow(scan, spark_fields(schema))


def select_images(images: DataFrame, bands: Sequence[str], survey: str, where: str) -> DataFrame:
    """Return the science images that the filters leave.

    Raises
    ------
    BadArguments
        When a band or survey does not occur (the message lists those that do), the condition
        cannot be understood, or no image is left.
    """
    science = images.where("image_type = 'science'")
    for column, wanted in (("band", bands), ("survey", [survey] if survey else [])):
        if wanted:
            present = sorted(row[0] for row in science.select(column).distinct().collect())
            if unknown := sorted(set(wanted) - set(present)):
                raise BadArguments(
                    f"--{column} {' '.join(unknown)}: no science image; the lake has {present}"
                )
            science = science.where(F.col(column).isin(*wanted))
    try:
        science = science.where(where) if where else science
    except PySparkException as error:
        first = str(error).splitlines()[0]
        raise BadArguments(f"--where {where!r} is no condition on images: {first}") from error
    try:
        nothing = science.isEmpty()
    except PySparkException as error:
        first = str(error).splitlines()[0]
        raise BadArguments(f"--where {where!r} fails on a row of images: {first}") from error
    if nothing:
        raise BadArguments("no science image matches; see `astrolake sql 'SELECT * FROM images'`")
    return science


def with_overlaps(images: DataFrame, chosen: DataFrame) -> DataFrame:
    """Return the chosen images with `overlapping`: the images of their visit and band that share sky."""
    footprint = F.struct("image_id", "naxis1", "naxis2", "pixel_scale_arcsec", "wcs_header").alias("other")
    cells = images.where("wcs_kind <> 'none' AND image_type = 'science'").select(
        "survey", "band", "visit", footprint, F.explode("coverage").alias("cell")
    )
    ours = chosen.where("wcs_kind <> 'none'").select(
        "image_id", "survey", "band", "visit", F.explode("coverage").alias("cell")
    )
    pairs = ours.join(cells, ["survey", "band", "visit", "cell"], how="inner").where(
        "image_id <> other.image_id"
    )
    grouped = pairs.groupBy("image_id").agg(F.array_sort(F.collect_set("other")).alias("overlapping"))
    return chosen.join(grouped, "image_id", how="left")


def source_frame(images: DataFrame, count: int, options: SourceOptions) -> DataFrame:
    """Return the sources of images (with `overlapping`), what became of each image, and rejects.

    Rows have kind detection, pixel_detection, image (one for each image that was measured;
    `n_sources` counts its rows) or reject (one for each that was not, or that has no WCS).
    """
    schema = _tagged(DETECTIONS, ("n_sources",))

    def extract(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in range(batch.num_rows):
                image = batch.slice(row, 1).to_pylist()[0]
                for table in _extract_one(image, options, schema):
                    yield from table.to_batches(max_chunksize=16_384)

    return _spread(images, count).mapInArrow(extract, spark_fields(schema))


def _extract_one(image: Mapping[str, Any], options: SourceOptions, schema: pa.Schema) -> Iterator[pa.Table]:
    source = f"{image['uri']}#{image['hdu']}"
    try:
        found = image_sources(
            image,
            image["overlapping"] or [],
            options.extraction,
            options.radii_arcsec,
            options.storage_options,
        )
    except BadInput as error:
        settled = {} if error.kind in PASSING else {"image_id": image["image_id"]}
        yield _rows([_reject_row(source, error.kind, str(error)) | settled], schema)
        return
    except Exception as error:  # noqa: BLE001 - one image must never take the others with it; it is recorded
        message = f"{source}: {type(error).__name__}: {error}"
        yield _rows([_reject_row(source, type(error).__name__, message)], schema)
        return
    yield _under(found.rows, schema, DETECTION if found.has_wcs else PIXEL_DETECTION)
    yield _rows([_status_row(source, found) | {"image_id": image["image_id"]}], schema)
    if found.n_lost:
        message = f"{source}: {found.n_lost} of its sources have no place on the sky; check its WCS"
        yield _rows([_reject_row(source, "OffTheSky", message) | {KIND: NOTE}], schema)


def _status_row(source: str, found: ImageSources) -> dict[str, Any]:
    n = found.rows.num_rows
    if found.has_wcs:
        return {KIND: IMAGE, "source": source, "n_sources": n}
    message = (
        f"{source} has no usable WCS: its {n} sources have pixel coordinates only and are in "
        "pixel_detections, not in detections; add a WCS to the header and ingest it again"
    )
    return _reject_row(source, "NoWcs", message, json.dumps({"n_sources": n})) | {"n_sources": n}


def _reject_row(source: str, error_type: str, message: str, payload: str | None = None) -> dict[str, Any]:
    return {KIND: REJECT, "source": source, "error_type": error_type, "message": message, "payload": payload}


def count_kinds(found: DataFrame) -> tuple[int, int, int]:
    """Return the images measured, the images rejected, and the sources on measured images."""
    counts = {
        row[KIND]: row
        for row in found.groupBy(KIND).agg(F.count("*").alias("n"), F.sum("n_sources")).collect()
    }
    done, rejected = counts.get(IMAGE), counts.get(REJECT)
    return (done["n"] if done else 0), (rejected["n"] if rejected else 0), int(done[2] or 0) if done else 0


def rejects_of(found: DataFrame) -> DataFrame:
    """Return the rejects among tagged rows."""
    return found.where(F.col(KIND).isin(REJECT, NOTE)).select(*_REJECT_COLUMNS)


def settled_images(found: DataFrame) -> DataFrame:
    """Return the image_id of the images whose sources are now known, or known to be none.

    An image that could not be read for a passing reason is not among them: it keeps its rows.
    """
    return found.where(F.col(KIND).isin(IMAGE, REJECT) & F.col("image_id").isNotNull()).select("image_id")


def with_gone(settled: DataFrame, images: DataFrame, known: Sequence[DataFrame]) -> DataFrame:
    """Return the settled image_ids and those of known sources whose image is no longer in `images`."""
    for sources in known:
        ids = sources.select("image_id").distinct()
        settled = settled.unionByName(ids.join(images.select("image_id"), "image_id", how="left_anti"))
    return settled.distinct()


def settled_files(found: DataFrame) -> DataFrame:
    """Return the uri of the files whose images are now known; see `settled_images`."""
    passing = F.coalesce(F.col("error_type").isin(*PASSING), F.lit(False))
    return found.where(~passing).select(F.col("file_uri").alias("uri")).distinct()


def _tagged(table: Table, extra: tuple[str, ...]) -> pa.Schema:
    """Return the stored columns of a table but run_id, then kind, reject columns and extras."""
    kinds = {"n_sources": pa.int64(), "file_uri": pa.string()}
    fields = [pa.field(f.name, f.type) for f in arrow_schema(table) if f.name != "run_id"]
    fields.append(pa.field(KIND, pa.string()))
    fields += [pa.field(f.name, f.type) for f in arrow_schema(REJECTS) if f.name in _REJECT_COLUMNS]
    return pa.schema([*fields, *(pa.field(name, kinds[name]) for name in extra)])


def _rows(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def _under(rows: pa.Table, schema: pa.Schema, kind: str) -> pa.Table:
    """Return rows under the tagged schema, absent columns as null."""
    n = rows.num_rows
    present: Callable[[str], bool] = set(rows.column_names).__contains__
    columns = [
        pa.array([kind] * n, pa.string())
        if field.name == KIND
        else rows.column(field.name).cast(field.type)
        if present(field.name)
        else pa.nulls(n, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _spread(rows: DataFrame, count: int) -> DataFrame:
    """Return the rows in tasks of a few images, at least one task for each core."""
    cores = rows.sparkSession.sparkContext.defaultParallelism
    tasks = max(1, min(count, max(2 * cores, -(-count // _IMAGES_PER_TASK))))
    return rows.repartition(tasks)
