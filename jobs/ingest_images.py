"""Register FITS images in the lake: astrometry, calibration, sky coverage, checksum."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.job.ingest import register_images
from astrolake.lake.listing import list_files


@dataclass(frozen=True, kw_only=True)
class IngestImagesArgs(JobArgs):
    """Flags of ingest_images."""

    images: tuple[str, ...] = flag(help="files, globs, directories, s3:// prefixes, or @manifest")
    survey: str = flag("", help="name of the survey; recognised from each header when not given")


def run(args: IngestImagesArgs, context: JobContext) -> Outcome:
    """Scan the files on the executors and replace what the lake knew of them; units are files."""
    uris = list_files(args.images, args.storage_options)
    return register_images(context, uris, args.survey, args.storage_options)


JOB = Job("ingest_images", IngestImagesArgs, run, __doc__ or "", creates_lake=True)

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
