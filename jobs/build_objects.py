"""Merge detections over bands, epochs and overlapping images into objects."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.lake.staging import Staged, collect_reports
from astrolake.objects.associate import MAX_RADIUS_ARCSEC, MIN_RADIUS_ARCSEC
from astrolake.objects.merge import objects_table
from astrolake.objects.spark import MERGED, bands_of, object_reports


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
    table = objects_table(bands)
    stage = context.writer.stage_spec(table)
    staged, counts = collect_reports(
        object_reports(context.spark, detections, bands, args.match_radius_arcsec, stage)
    )
    written = context.writer.replace_staged(staged.get(table.name, Staged()), table)
    return Outcome(detections.rows, counts.get(MERGED, 0), 0, [written])


JOB = Job("build_objects", BuildObjectsArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
