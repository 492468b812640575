"""Register FITS images in the lake: astrometry, calibration, sky coverage, checksum."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from pyspark.sql import functions as F

from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.lake.listing import list_files
from astrolake.lake.replace import Replace
from astrolake.photometry.image_tasks import IMAGE, KIND
from astrolake.photometry.spark import rejects_of, scan_frame, settled_files
from astrolake.schema import IMAGES


@dataclass(frozen=True, kw_only=True)
class IngestImagesArgs(JobArgs):
    """Flags of ingest_images."""

    images: tuple[str, ...] = flag(help="files, globs, directories, s3:// prefixes, or @manifest")
    survey: str = flag("", help="name of the survey; recognised from each header when not given")


def run(args: IngestImagesArgs, context: JobContext) -> Outcome:
    """Scan the files on the executors and replace what the lake knew of them; units are files."""
    uris = list_files(args.images, args.storage_options)
    found = scan_frame(context.spark, uris, args.survey, args.storage_options)
    found = context.persist(found)
    images = found.where(F.col(KIND) == IMAGE)
    good = images.select("file_uri").distinct().count()
    bad = found.select("file_uri").distinct().count() - good
    written = context.writer.replace_rows(images, IMAGES, Replace("uri", settled_files(found)))
    return Outcome(len(uris), good, bad, [written], rejects_of(found))


JOB = Job("ingest_images", IngestImagesArgs, run, __doc__ or "", creates_lake=True)

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
