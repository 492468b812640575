"""Find and measure the sources of the lake's science images."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.job import ImageArgs, Job, JobContext, Outcome, flag, main
from astrolake.photometry import spark as stage
from astrolake.photometry.image_tasks import source_measure
from astrolake.photometry.options import DEPTHS, PSF_KINDS
from astrolake.photometry.source_flags import (
    RADII_ARCSEC,
    check_source_flags,
    reference_options,
    source_options,
)
from astrolake.schema import DETECTIONS, IMAGE_QUALITY, PIXEL_DETECTIONS

_TABLES = (DETECTIONS, PIXEL_DETECTIONS, IMAGE_QUALITY)


@dataclass(frozen=True, kw_only=True)
class ExtractSourcesArgs(ImageArgs):
    """Flags of extract_sources."""

    detect_sigma: float = flag(1.5, help="threshold in units of the noise of a pixel (of depth standard)")
    min_pixels: int = flag(5, help="connected pixels above the threshold that make a source")
    depth: str = flag("standard", help="deep: smooth more, as deep as pure (not for crowds)", choices=DEPTHS)
    psf: str = flag("moffat", help="PSF photometry; empirical varies over the field", choices=PSF_KINDS)
    aperture_radii_arcsec: tuple[float, ...] = flag(RADII_ARCSEC, help="radii of the circular apertures")
    calibrate_against: str = flag("", help="fit zero points to this table of the lake")
    reference_mag: str = flag("", help="its column of magnitudes; {band} in it is the band of an image")
    reference_mag_err: str = flag("", help="its column of their errors (none)")
    reference_colour: str = flag("", help="two of its columns, A-B, for a colour term (none)")
    reference_ab_offset: float = flag(0.0, help="added to its magnitudes, AB - Vega where they are Vega")
    inject_stars: int = flag(0, help="stars put into each image to measure its completeness (none)")
    correct_astrometry: bool = flag(False, help="shift positions by their median offset from that table")

    def check(self) -> None:
        """Refuse options that the kernel refuses, before Spark starts."""
        check_source_flags(self)


def run(args: ExtractSourcesArgs, context: JobContext) -> Outcome:
    """Extract each image on an executor and replace its detections; units are images."""
    stages = stage.image_stages(context.writer, _TABLES)
    images = context.read("images")
    chosen, count = stage.select_images(images, args.band, args.survey, args.where)
    reference = stage.reference_of(context.snapshot, reference_options(args), chosen)
    measure = source_measure(source_options(args, reference))
    known = stage.with_overlaps(images, chosen), count
    found = stage.replace_measured(context.writer, images, known, stages, _TABLES, measure)
    return Outcome(count, found.good, found.rejected, found.written, found.rejects)


JOB = Job("extract_sources", ExtractSourcesArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
