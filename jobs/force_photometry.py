"""Measure fluxes at given positions on all images there, detected or not."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.lake.reader import spark_fields
from astrolake.lake.staging import Staged
from astrolake.lake.writer import Replace
from astrolake.photometry import spark as stage
from astrolake.schema import IMAGE_QUALITY


@dataclass(frozen=True, kw_only=True)
class ForcePhotometryArgs(JobArgs):
    """Flags of force_photometry."""

    positions: str = flag("objects", help="table that gives the positions")
    band: tuple[str, ...] = flag((), help="bands to measure (all)")
    survey: str = flag("", help="survey to measure (all)")
    where: str = flag("", help='SQL condition on the table images, e.g. "mjd > 59000"')
    aperture_radius_arcsec: float = flag(1.5, help="radius of the aperture")
    match_fwhm_arcsec: float = flag(0.0, help="convolve sharper images to this FWHM (0: as they are)")

    def check(self) -> None:
        """Refuse what the kernel refuses, before Spark starts."""
        if not self.aperture_radius_arcsec > 0 or self.match_fwhm_arcsec < 0:
            raise BadArguments("--aperture-radius-arcsec must be positive, --match-fwhm-arcsec not negative")


def run(args: ForcePhotometryArgs, context: JobContext) -> Outcome:
    """Measure each image on an executor and replace its rows; units are images."""
    positions = context.snapshot(args.positions)
    plan = stage.forced_plan(args.positions, positions, args.aperture_radius_arcsec, args.match_fwhm_arcsec)
    writer, table = context.writer, plan.table
    stages = (writer.stage_spec(table), writer.stage_as(stage.STATUSES, stage.STATUS_SCHEMA))
    images = context.read("images")
    chosen, count = stage.select_images(images, args.band, args.survey, args.where)
    quality = context.read(IMAGE_QUALITY.name) if context.lake.has_table(IMAGE_QUALITY.name) else None
    known = stage.with_quality(chosen, quality)
    found = stage.forced_reports(known, count, plan, args.storage_options, stages)
    staged, counts = stage.collect_sources(found)
    statuses = writer.staged_frame(staged[stage.STATUSES], spark_fields(stage.STATUS_SCHEMA))
    what = Replace("image_id", stage.kept_images(images, statuses), others=True)
    written = [writer.replace_staged(staged.get(table.name, Staged()), table, what)]
    rejects = stage.rejects_of(statuses) if stage.REJECT in counts else None
    return Outcome(count, counts.get(stage.IMAGE, 0), counts.get(stage.REJECT, 0), written, rejects)


JOB = Job("force_photometry", ForcePhotometryArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
