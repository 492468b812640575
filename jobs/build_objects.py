"""Merge detections over bands, epochs and overlapping images into objects."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from pyspark.sql import functions as F

from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.objects.associate import MAX_RADIUS_ARCSEC, MIN_RADIUS_ARCSEC
from astrolake.objects.merge import objects_table
from astrolake.objects.spark import bands_of, objects_frame


@dataclass(frozen=True, kw_only=True)
class BuildObjectsArgs(JobArgs):
    """Flags of build_objects."""

    match_radius_arcsec: float = flag(1.0, help="detections this close to an object's seed belong to it")

    def check(self) -> None:
        """Refuse radii that the association refuses, before Spark starts."""
        if not MIN_RADIUS_ARCSEC <= self.match_radius_arcsec <= MAX_RADIUS_ARCSEC:
            raise BadArguments(
                f"--match-radius-arcsec {self.match_radius_arcsec}: give a radius in "
                f"[{MIN_RADIUS_ARCSEC}, {MAX_RADIUS_ARCSEC}]"
            )


def run(args: BuildObjectsArgs, context: JobContext) -> Outcome:
    """Build all objects anew from the detections; units are detections."""
    detections = context.snapshot("detections")
    bands = bands_of(context.spark, detections)
    found = objects_frame(context.spark, detections, bands, args.match_radius_arcsec)
    found = context.persist(found)
    merged = found.agg(F.sum("n_det")).first()
    written = context.writer.replace_rows(found, objects_table(bands))
    return Outcome(detections.rows, int(merged[0] or 0) if merged else 0, 0, [written])


JOB = Job("build_objects", BuildObjectsArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
