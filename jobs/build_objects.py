"""Merge detections over bands, epochs and overlapping images into objects."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.lake.staging import Staged, collect_reports
from astrolake.objects.associate import MAX_RADIUS_ARCSEC, MIN_RADIUS_ARCSEC
from astrolake.objects.merge import objects_table
from astrolake.objects.reddening import EbvSource
from astrolake.objects.spark import MERGED, bands_of, ebv_table, object_reports
from astrolake.sky.dust import DUST_MAPS, installed_dust_map


@dataclass(frozen=True, kw_only=True)
class BuildObjectsArgs(JobArgs):
    """Flags of build_objects."""

    match_radius_arcsec: float = flag(1.0, help="detections this close to an object's seed belong to it")
    dust_map: str = flag("", help="deredden by this map of the package dustmaps", choices=("", *DUST_MAPS))
    dust_map_dir: str = flag("", help="directory of its files (that which dustmaps is configured with)")
    ebv_table: str = flag("", help="deredden by the nearest row of this table of the lake instead")
    ebv_column: str = flag("ebv", help="its column of E(B-V), on the scale of SFD")

    def check(self) -> None:
        """Refuse radii that the association refuses, before Spark starts."""
        if not MIN_RADIUS_ARCSEC <= (radius := self.match_radius_arcsec) <= MAX_RADIUS_ARCSEC:
            allowed = f"[{MIN_RADIUS_ARCSEC}, {MAX_RADIUS_ARCSEC}]"
            raise BadArguments(f"--match-radius-arcsec {radius}: give a radius in {allowed}")
        if self.dust_map and self.ebv_table:
            raise BadArguments("--dust-map and --ebv-table both tell E(B-V); give one of them")


def run(args: BuildObjectsArgs, context: JobContext) -> Outcome:
    """Build all objects anew from the detections; units are detections."""
    detections = context.snapshot("detections")
    bands = bands_of(context.spark, detections)
    reddening: EbvSource | None = None
    if args.dust_map:
        reddening = installed_dust_map(args.dust_map, args.dust_map_dir)
    elif args.ebv_table:
        reddening = ebv_table(args.ebv_table, context.snapshot(args.ebv_table), args.ebv_column)
    table = objects_table(bands, dereddened=reddening is not None)
    stage = context.writer.stage_spec(table)
    staged, counts = collect_reports(
        object_reports(context.spark, detections, bands, args.match_radius_arcsec, stage, reddening)
    )
    written = context.writer.replace_staged(staged.get(table.name, Staged()), table)
    return Outcome(detections.rows, counts.get(MERGED, 0), 0, [written])


JOB = Job("build_objects", BuildObjectsArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
