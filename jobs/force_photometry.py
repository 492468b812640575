"""Measure fluxes at given positions on all images there, detected or not."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.errors import BadArguments
from astrolake.job import ImageArgs, Job, JobContext, Outcome, flag, main
from astrolake.photometry import spark as stage
from astrolake.photometry.image_tasks import forced_measure
from astrolake.schema import IMAGE_QUALITY


@dataclass(frozen=True, kw_only=True)
class ForcePhotometryArgs(ImageArgs):
    """Flags of force_photometry."""

    positions: str = flag("objects", help="table that gives the positions")
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
    stages = stage.image_stages(context.writer, (plan.table,))
    images = context.read("images")
    chosen, count = stage.select_images(images, args.band, args.survey, args.where)
    quality = context.read(IMAGE_QUALITY.name) if context.lake.has_table(IMAGE_QUALITY.name) else None
    known, measure = stage.with_quality(chosen, quality), forced_measure(plan, args.storage_options)
    found = stage.replace_measured(context.writer, images, (known, count), stages, (plan.table,), measure)
    return Outcome(count, found.good, found.rejected, found.written, found.rejects)


JOB = Job("force_photometry", ForcePhotometryArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
