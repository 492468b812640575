"""Find and measure the sources of the lake's science images."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.errors import BadArguments, RowsDoNotReconcile
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.lake.writer import Replace
from astrolake.photometry import spark as stage
from astrolake.photometry.options import ExtractionOptions
from astrolake.schema import DETECTIONS, PIXEL_DETECTIONS


@dataclass(frozen=True, kw_only=True)
class ExtractSourcesArgs(JobArgs):
    """Flags of extract_sources."""

    band: tuple[str, ...] = flag((), help="bands to extract (all)")
    survey: str = flag("", help="survey to extract (all)")
    where: str = flag("", help='SQL condition on the table images, e.g. "mjd > 59000"')
    detect_sigma: float = flag(1.5, help="threshold in units of the noise of a pixel")
    min_pixels: int = flag(5, help="connected pixels above the threshold that make a source")
    aperture_radii_arcsec: tuple[float, ...] = flag((1.5, 3.0, 5.0), help="radii of the circular apertures")

    def check(self) -> None:
        """Refuse options that the kernel refuses, before Spark starts."""
        ExtractionOptions(self.detect_sigma, self.min_pixels, aperture_radii_px=self.aperture_radii_arcsec)
        if len(self.aperture_radii_arcsec) < 2:
            raise BadArguments("--aperture-radii-arcsec: give two radii or more, objects use the second")


def run(args: ExtractSourcesArgs, context: JobContext) -> Outcome:
    """Extract each image on an executor and replace its detections; units are images."""
    images = context.read("images")
    chosen = stage.select_images(images, args.band, args.survey, args.where)
    count = chosen.count()
    extraction = ExtractionOptions(args.detect_sigma, args.min_pixels)
    options = stage.SourceOptions(extraction, args.aperture_radii_arcsec, args.storage_options)
    found = stage.source_frame(stage.with_overlaps(images, chosen), count, options)
    found = context.persist(found)
    done, rejected, sources = stage.count_kinds(found)
    known = [context.read(t.name) for t in (DETECTIONS, PIXEL_DETECTIONS) if context.lake.has_table(t.name)]
    owned = context.persist(stage.with_gone(stage.settled_images(found), images, known))
    what = Replace("image_id", owned)
    on_sky = found.where(f"{stage.KIND} = '{stage.DETECTION}'")
    written = [context.writer.replace_rows(on_sky, DETECTIONS, what)]
    if written[0].rows_new != sources:
        raise RowsDoNotReconcile(f"{sources} sources were measured, {written[0].rows_new} written")
    pixel_only = found.where(f"{stage.KIND} = '{stage.PIXEL_DETECTION}'")
    if context.lake.has_table(PIXEL_DETECTIONS.name) or not pixel_only.isEmpty():
        written.append(context.writer.replace_rows(pixel_only, PIXEL_DETECTIONS, what))
    return Outcome(count, done, rejected, written, stage.rejects_of(found))


JOB = Job("extract_sources", ExtractSourcesArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
