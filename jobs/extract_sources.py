"""Find and measure the sources of the lake's science images."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import cast

from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.lake.reader import spark_fields
from astrolake.lake.staging import Staged
from astrolake.lake.writer import Replace
from astrolake.photometry import spark as stage
from astrolake.photometry.calibration_plan import CalibrationPlan
from astrolake.photometry.options import ExtractionOptions, PsfKind
from astrolake.photometry.reference import ReferenceOptions
from astrolake.schema import DETECTIONS, IMAGE_QUALITY, PIXEL_DETECTIONS

_TABLES = (DETECTIONS, PIXEL_DETECTIONS, IMAGE_QUALITY)


@dataclass(frozen=True, kw_only=True)
class ExtractSourcesArgs(JobArgs):
    """Flags of extract_sources."""

    band: tuple[str, ...] = flag((), help="bands to extract (all)")
    survey: str = flag("", help="survey to extract (all)")
    where: str = flag("", help='SQL condition on the table images, e.g. "mjd > 59000"')
    detect_sigma: float = flag(1.5, help="threshold in units of the noise of a pixel")
    min_pixels: int = flag(5, help="connected pixels above the threshold that make a source")
    psf: str = flag(
        "moffat", help="PSF photometry: moffat, gaussian, empirical (varies over the field), none"
    )
    aperture_radii_arcsec: tuple[float, ...] = flag((1.5, 3.0, 5.0), help="radii of the circular apertures")
    calibrate_against: str = flag("", help="fit zero points to this table of the lake")
    reference_mag: str = flag("", help="its column of magnitudes; {band} in it is the band of an image")
    reference_mag_err: str = flag("", help="its column of their errors (none)")
    reference_colour: str = flag("", help="two of its columns, A-B, for a colour term (none)")
    reference_ab_offset: float = flag(0.0, help="added to its magnitudes, AB - Vega where they are Vega")
    inject_stars: int = flag(0, help="stars put into each image to measure its completeness (none)")
    correct_astrometry: bool = flag(False, help="shift positions by their median offset from that table")

    def check(self) -> None:
        """Refuse options that the kernel refuses, before Spark starts."""
        self.extraction()
        if len(self.aperture_radii_arcsec) < 2:
            raise BadArguments("--aperture-radii-arcsec: give two radii or more, objects use the second")
        if list(self.aperture_radii_arcsec) != sorted(set(self.aperture_radii_arcsec)):
            raise BadArguments("--aperture-radii-arcsec: give the radii in rising order")
        if self.correct_astrometry and not self.reference.table:
            raise BadArguments("--correct-astrometry needs --calibrate-against TABLE")

    @property
    def reference(self) -> ReferenceOptions:
        """The flags of the reference as options."""
        columns = (self.reference_mag, self.reference_mag_err, self.reference_colour)
        return ReferenceOptions(self.calibrate_against, *columns, self.reference_ab_offset)

    def extraction(self) -> ExtractionOptions:
        """Return the options of the kernel; the radii become pixels with each image's scale."""
        radii, psf = self.aperture_radii_arcsec, cast(PsfKind, self.psf)
        return ExtractionOptions(self.detect_sigma, self.min_pixels, aperture_radii_px=radii, psf=psf)


def run(args: ExtractSourcesArgs, context: JobContext) -> Outcome:
    """Extract each image on an executor and replace its detections; units are images."""
    writer = context.writer
    # Before the images are read: sources of images that others ingest and extract meanwhile are not ours.
    stages = (*map(writer.stage_spec, _TABLES), writer.stage_as(stage.STATUSES, stage.STATUS_SCHEMA))
    images = context.read("images")
    chosen, count = stage.select_images(images, args.band, args.survey, args.where)
    reference = None
    if name := args.calibrate_against:
        reference = stage.reference_of(context.snapshot(name), args.reference, stage.bands_of(chosen))
    plan = CalibrationPlan(reference, args.correct_astrometry, args.inject_stars)
    options = stage.SourceOptions(
        args.extraction(), args.aperture_radii_arcsec, args.storage_options, stages, plan
    )
    found = stage.source_reports(stage.with_overlaps(images, chosen), count, options)
    staged, counts = stage.collect_sources(found)
    statuses = writer.staged_frame(staged[stage.STATUSES], spark_fields(stage.STATUS_SCHEMA))
    what = Replace("image_id", stage.kept_images(images, statuses), others=True)
    # A table of pixel positions only comes to be with the first image that needs it.
    tables = [
        t for t in _TABLES if t != PIXEL_DETECTIONS or t.name in staged or context.lake.has_table(t.name)
    ]
    written = [writer.replace_staged(staged.get(t.name, Staged()), t, what) for t in tables]
    rejects = stage.rejects_of(statuses) if {stage.REJECT, stage.NOTE} & set(counts) else None
    return Outcome(count, counts.get(stage.IMAGE, 0), counts.get(stage.REJECT, 0), written, rejects)


JOB = Job("extract_sources", ExtractSourcesArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
