"""The Spark side of ingesting and extracting images: one image at a time in each worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from astrolake.errors import BadArguments, RowsDoNotReconcile
from astrolake.lake.declared import declared
from astrolake.lake.delta import Snapshot
from astrolake.lake.reader import RegionReader, require_columns, spark_fields
from astrolake.lake.replace import Replace
from astrolake.lake.staging import REPORT_FIELDS, Staged, Stager, StageSpec, collect_reports, report
from astrolake.lake.writer import TableWriter, Written
from astrolake.photometry.forced_image import ForcedPlan
from astrolake.photometry.image_tasks import (
    IMAGE,
    KIND,
    MEASURED,
    NOTE,
    PASSING,
    REJECT,
    REJECT_COLUMNS,
    SOURCE,
    STATUS_SCHEMA,
    STATUSES,
    Measure,
    guarded,
    reject_row,
)
from astrolake.photometry.reference import MOTION, Reference, ReferenceOptions
from astrolake.photometry.scan import scan_file
from astrolake.schema import IMAGE_QUALITY, IMAGES, PIXEL_DETECTIONS, Table
from astrolake.schema.arrow import arrow_schema

_TASKS_PER_CORE = 16
#: Images of a task in a large run: a task stages its sources in one run, and few large runs merge faster.
_IMAGES_PER_TASK = 16


@dataclass(frozen=True)
class MeasuredImages:
    """What became of images.

    Parameters
    ----------
    good, rejected : int
        Images.
    written : sequence of Written
        The tables.
    rejects : DataFrame or None
    """

    good: int
    rejected: int
    written: Sequence[Written]
    rejects: DataFrame | None


def scan_frame(
    spark: SparkSession, uris: Sequence[str], survey: str, storage_options: dict[str, str]
) -> DataFrame:
    """Return the rows of `images` (kind image) and of `rejects` (kind reject) of some files.

    Every file gives at least one row; `file_uri` says which file a row is of.
    """
    declared = [pa.field(f.name, f.type) for f in arrow_schema(IMAGES) if f.name != "run_id"]
    schema = pa.schema([*declared, *((name, pa.string()) for name in (KIND, *REJECT_COLUMNS, "file_uri"))])

    def scan(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for uri in batch.column("uri").to_pylist():
                found = scan_file(uri, survey=survey, storage_options=storage_options)
                rows = [{**image, KIND: IMAGE, "file_uri": uri} for image in found.images]
                rows += [
                    reject_row(reject.source, reject.error_type, reject.message) | {"file_uri": uri}
                    for reject in found.rejects
                ]
                yield from pa.Table.from_pylist(rows, schema=schema).to_batches()

    files = spark.createDataFrame([(uri,) for uri in uris], "uri string")
    return _spread(files, len(uris)).mapInArrow(scan, spark_fields(schema))


def select_images(images: DataFrame, bands: Sequence[str], survey: str, where: str) -> tuple[DataFrame, int]:
    """Return the science images that the filters leave, and how many.

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
        count = science.count()
    except PySparkException as error:
        first = str(error).splitlines()[0]
        raise BadArguments(f"--where {where!r} fails on a row of images: {first}") from error
    if not count:
        raise BadArguments("no science image matches; see `astrolake sql 'SELECT * FROM images'`")
    return science, count


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


def with_quality(images: DataFrame, quality: DataFrame | None) -> DataFrame:
    """Return images with FWHM, zero point, its error, and shift of positions as `image_quality` has them.

    Without that table, or a row of the same file in it, FWHM and zero point are those of the headers.
    """
    names = ("fwhm_arcsec", "zero_point_ab", "zero_point_err", "ra_shift_arcsec", "dec_shift_arcsec")
    keys = ["image_id", "checksum"]
    if quality is None:
        joined = images.select("*", *(F.lit(None).cast("double").alias(f"found_{name}") for name in names))
    else:
        found = quality.select(*keys, *(F.col(name).alias(f"found_{name}") for name in names))
        joined = images.join(found, keys, how="left")
    nothing = F.lit(0.0)
    return (
        joined.withColumn("zero_point_ab", F.coalesce("found_zero_point_ab", "zero_point_ab"))
        .withColumn("fwhm_arcsec", F.coalesce("found_fwhm_arcsec", "psf_fwhm_arcsec"))
        .withColumn("ra_shift_arcsec", F.coalesce("found_ra_shift_arcsec", nothing))
        .withColumn("dec_shift_arcsec", F.coalesce("found_dec_shift_arcsec", nothing))
        .withColumnRenamed("found_zero_point_err", "zero_point_err")
    )


def image_stages(writer: TableWriter, tables: Sequence[Table]) -> tuple[StageSpec, ...]:
    """Return where rows of the tables and statuses of images are staged.

    To be asked for before the images are read: rows of images that others ingest and measure meanwhile are
    not ours to replace.
    """
    return (*map(writer.stage_spec, tables), writer.stage_as(STATUSES, STATUS_SCHEMA))


def replace_measured(
    writer: TableWriter,
    images: DataFrame,
    chosen: tuple[DataFrame, int],
    stages: tuple[StageSpec, ...],
    tables: Sequence[Table],
    measure: Measure,
) -> MeasuredImages:
    """Measure each of the chosen images on an executor and replace its rows of the tables.

    Parameters
    ----------
    images : DataFrame
        All that the lake has: rows of others than these go.
    chosen : (DataFrame, int)
        The images to measure, and how many they are.
    stages
        Of `image_stages`.
    tables : sequence of Table
        `pixel_detections` comes to be with the first image that needs it.
    measure : callable
    """
    staged, counts = collect_sources(measure_reports(*chosen, stages, measure))
    statuses = writer.staged_frame(staged[STATUSES], spark_fields(STATUS_SCHEMA))
    what = Replace("image_id", kept_images(images, statuses), others=True)
    needed = [
        table
        for table in tables
        if table != PIXEL_DETECTIONS or table.name in staged or writer.lake.has_table(table.name)
    ]
    written = [writer.replace_staged(staged.get(t.name, Staged()), t, what) for t in needed]
    rejects = rejects_of(statuses) if {REJECT, NOTE} & set(counts) else None
    return MeasuredImages(counts.get(IMAGE, 0), counts.get(REJECT, 0), written, rejects)


def measure_reports(
    images: DataFrame, count: int, stages: Sequence[StageSpec], measure: Measure
) -> DataFrame:
    """Stage what is measured on images and a status of each; return the reports.

    Besides what `collect_reports` makes of them, the tallies are image (an image that was measured),
    reject (one that was not, or that has no WCS), note (a reject beside a measured image), source
    (a row of a measured image) and measured (a row of `image_quality`).
    """

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stagers = {spec.table: Stager(spec) for spec in stages}
        for batch in batches:
            for row in range(batch.num_rows):
                rows, statuses = guarded(batch.slice(row, 1).to_pylist()[0], measure)
                for table, found in rows.items():
                    yield report(MEASURED if table == IMAGE_QUALITY.name else SOURCE, found.num_rows)
                    yield from stagers[table].add(found)
                yield from (report(status[KIND], 1) for status in statuses)
                yield from stagers[STATUSES].add(pa.Table.from_pylist(statuses, schema=STATUS_SCHEMA))
        for stager in stagers.values():
            yield from stager.close()

    return _spread(images, count).mapInArrow(work, REPORT_FIELDS)


def collect_sources(reports: DataFrame) -> tuple[dict[str, Staged], dict[str, int]]:
    """Run the extraction; return what was staged, by table, and the tallies.

    Raises
    ------
    RowsDoNotReconcile
        When not every source and every status was staged.
    """
    staged, counts = collect_reports(reports)
    sources = sum(
        found.rows for table, found in staged.items() if table not in (STATUSES, IMAGE_QUALITY.name)
    )
    measured = staged.get(IMAGE_QUALITY.name, Staged()).rows
    said = sum(counts.get(kind, 0) for kind in (IMAGE, REJECT, NOTE))
    kept = (sources, measured) == (counts.get(SOURCE, 0), counts.get(MEASURED, 0))
    if not kept or STATUSES not in staged or staged[STATUSES].rows != said:
        raise RowsDoNotReconcile(f"staged rows {sources} and {said} differ from what was measured: {counts}")
    return staged, counts


def bands_of(images: DataFrame) -> list[str]:
    """Return the bands of some images, sorted."""
    return sorted(row.band for row in images.select("band").distinct().collect())


def reference_of(
    snapshot_of: Callable[[str], Snapshot], options: ReferenceOptions, images: DataFrame
) -> Reference | None:
    """Return the table of the lake that is the reference of some images, None where there is to be none.

    Raises
    ------
    BadArguments
        When the table has no positions, or one magnitude column is to serve several bands.
    MissingColumns
        When the table lacks a column.
    """
    if not options.table:
        return None
    snapshot, bands = snapshot_of(options.table), bands_of(images)
    name, names = options.table, snapshot.stored_names
    if not snapshot.is_positional:
        raise BadArguments(f"--calibrate-against {name}: it has no positions; ingest it as a catalog")
    mag = options.columns(options.mag, bands)
    mag_err = options.columns(options.mag_err, bands) if options.mag_err else {}
    key = declared(name, snapshot).key[0]
    has_motion = set(MOTION) <= set(names)
    motion = MOTION if has_motion else ()
    read = tuple(
        dict.fromkeys(("ra", "dec", key, *mag.values(), *mag_err.values(), *options.colours, *motion))
    )
    require_columns(name, names, read)
    reader = RegionReader(snapshot.storage, snapshot.files, read)
    return Reference(reader, key, mag, mag_err, options.colours, options.ab_offset, has_motion)


def forced_plan(name: str, snapshot: Snapshot, radius_arcsec: float, match_fwhm_arcsec: float) -> ForcedPlan:
    """Return the plan to measure at the positions of a table of the lake.

    Raises
    ------
    BadArguments
        When the table has no positions.
    """
    if not snapshot.is_positional:
        raise BadArguments(f"--positions {name}: it has no positions; give objects, detections or a catalog")
    table = declared(name, snapshot)
    key = table.column(table.key[0])
    reader = RegionReader(snapshot.storage, snapshot.files, ("ra", "dec", key.name))
    return ForcedPlan(reader, name, key, radius_arcsec, match_fwhm_arcsec)


def rejects_of(found: DataFrame) -> DataFrame:
    """Return the rejects among tagged rows."""
    return found.where(F.col(KIND).isin(REJECT, NOTE)).select(*REJECT_COLUMNS)


def settled_images(found: DataFrame) -> DataFrame:
    """Return the image_id of the images whose sources are now known, or known to be none.

    An image that could not be read for a passing reason is not among them: it keeps its rows.
    """
    return found.where(F.col(KIND).isin(IMAGE, REJECT) & F.col("image_id").isNotNull()).select("image_id")


def kept_images(images: DataFrame, found: DataFrame) -> DataFrame:
    """Return the image_id of the images whose sources stay as they are.

    Neither a settled image is among them, nor one that the lake no longer has.
    """
    return images.select("image_id").join(settled_images(found), "image_id", how="left_anti")


def settled_files(found: DataFrame) -> DataFrame:
    """Return the uri of the files whose images are now known; see `settled_images`."""
    passing = F.coalesce(F.col("error_type").isin(*PASSING), F.lit(False))
    return found.where(~passing).select(F.col("file_uri").alias("uri")).distinct()


def _spread(rows: DataFrame, count: int) -> DataFrame:
    """Return the rows in many small tasks, so that no core waits long for the last; fewer in a large run."""
    cores = rows.sparkSession.sparkContext.defaultParallelism
    tasks = max(1, min(count, max(_TASKS_PER_CORE * cores, -(-count // _IMAGES_PER_TASK))))
    return rows.repartition(tasks)
