"""From the flags of `extract_sources`, attributes of one object, to the options of the kernel."""

from __future__ import annotations

from typing import Any, cast

from astrolake.errors import BadArguments
from astrolake.photometry.calibration_plan import CalibrationPlan
from astrolake.photometry.image_tasks import SourceOptions
from astrolake.photometry.options import Depth, ExtractionOptions, PsfKind
from astrolake.photometry.reference import Reference, ReferenceOptions

#: Radii of the circular apertures where none are given; objects use the second.
RADII_ARCSEC = (1.5, 3.0, 5.0)


def check_source_flags(flags: Any) -> None:
    """Raise BadArguments for what the kernel refuses."""
    radii = flags.aperture_radii_arcsec
    if len(radii) < 2:
        raise BadArguments("--aperture-radii-arcsec: give two radii or more, objects use the second")
    if list(radii) != sorted(set(radii)):
        raise BadArguments("--aperture-radii-arcsec: give the radii in rising order")
    reference_options(flags)
    source_options(flags, None)


def reference_options(flags: Any) -> ReferenceOptions:
    """Return what the flags say of a reference."""
    return ReferenceOptions(
        flags.calibrate_against,
        flags.reference_mag,
        flags.reference_mag_err,
        flags.reference_colour,
        flags.reference_ab_offset,
        flags.correct_astrometry,
    )


def source_options(flags: Any, reference: Reference | None) -> SourceOptions:
    """Return the options of the kernel; radii are in arcsec, and become pixels with each image's scale."""
    kernel = ExtractionOptions(
        flags.detect_sigma,
        flags.min_pixels,
        depth=cast(Depth, flags.depth),
        aperture_radii_px=flags.aperture_radii_arcsec,
        psf=cast(PsfKind, flags.psf),
    )
    plan = CalibrationPlan(reference, flags.correct_astrometry, flags.inject_stars)
    return SourceOptions(kernel, flags.storage_options, plan)
