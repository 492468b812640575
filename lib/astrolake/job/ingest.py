"""What jobs that bring data into the lake share: files to `images`, planned rows to a catalog, or both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from astrolake.data_access.catalog_files import InputFile
from astrolake.data_access.normalise import Reject
from astrolake.data_access.spark import CatalogPlan, replace_catalog, stage_catalog
from astrolake.job.context import JobContext, Outcome
from astrolake.lake.replace import Replace
from astrolake.photometry.image_tasks import IMAGE, KIND
from astrolake.photometry.spark import rejects_of, scan_frame, settled_files
from astrolake.schema import IMAGES


def register_images(
    context: JobContext, uris: Sequence[str], survey: str, storage_options: dict[str, str]
) -> Outcome:
    """Scan files on the executors and replace what the lake knew of them; units are files."""
    found = context.persist(scan_frame(context.spark, uris, survey, storage_options))
    images = found.where(F.col(KIND) == IMAGE)
    good = images.select("file_uri").distinct().count()
    bad = found.select("file_uri").distinct().count() - good
    written = context.writer.replace_rows(images, IMAGES, Replace("uri", settled_files(found)))
    return Outcome(len(uris), good, bad, [written], rejects_of(found))


def write_catalog(
    context: JobContext,
    plan: CatalogPlan,
    readable: Sequence[tuple[InputFile, int]],
    lost: Sequence[Reject] = (),
    *,
    append: bool = False,
) -> Outcome:
    """Read what is planned on the executors and write the table; units are rows and unreadable files."""
    found = stage_catalog(context.spark, context.writer, plan, readable, lost)
    written = replace_catalog(context.writer, plan, found, append=append)
    rejects = found.rejects if found.rejected else None
    return Outcome(found.seen, written.rows_new, found.rejected, [written], rejects)


def reject_frame(context: JobContext, rejects: Sequence[Reject]) -> DataFrame | None:
    """Return rejects that the driver knows of as rows, None when there are none."""
    if not rejects:
        return None
    rows = [(each.source, each.error_type, each.message, each.payload) for each in rejects]
    return context.spark.createDataFrame(
        rows, "source string, error_type string, message string, payload string"
    )


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what several parts of a run did together."""
    frames = [outcome.rejects for outcome in outcomes if outcome.rejects is not None]
    return Outcome(
        sum(outcome.rows_in for outcome in outcomes),
        sum(outcome.rows_out for outcome in outcomes),
        sum(outcome.rows_rejected for outcome in outcomes),
        [written for outcome in outcomes for written in outcome.written],
        reduce(DataFrame.unionByName, frames) if frames else None,
    )
