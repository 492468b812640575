"""What an image is calibrated against and checked with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from astrolake.errors import BadArguments
from astrolake.photometry.completeness import Extractor, Injection, inject_and_recover
from astrolake.photometry.extraction import Extraction
from astrolake.photometry.fits_io import Frame
from astrolake.photometry.image_quality import point_source_depth
from astrolake.photometry.reference import Reference, ReferenceCheck, check_against, total_flux
from astrolake.photometry.zero_point import Float64


@dataclass(frozen=True)
class CalibrationPlan:
    """How images are calibrated and checked.

    Parameters
    ----------
    reference : Reference or None
        Stars to compare each image with; None takes headers as they are.
    correct_astrometry : bool
        Whether positions are shifted by the median offset from the reference.
    n_injected : int
        Stars to put into each image for its completeness; 0 leaves it unknown.

    Raises
    ------
    BadArguments
        When their number is negative.
    """

    reference: Reference | None = None
    correct_astrometry: bool = False
    n_injected: int = 0

    def __post_init__(self) -> None:
        if self.n_injected < 0:
            raise BadArguments(f"--inject-stars {self.n_injected}: give a number of stars, 0 for none")

    def check(
        self, image: Mapping[str, Any], found: Extraction, ra_deg: Float64, dec_deg: Float64
    ) -> ReferenceCheck | None:
        """Compare an image (a row of `images`), its sources at some positions, with the reference."""
        if self.reference is None:
            return None
        stars = self.reference.stars(image)
        total = total_flux(found.columns, found.info.psf.zero_point_error)
        check = check_against(stars, ra_deg, dec_deg, total.flux, total.flux_err, found.columns["flags"])
        error = math.hypot(check.zero_point.error, total.correction_err)
        return replace(check, zero_point=replace(check.zero_point, error=error))

    def completeness(
        self,
        image: Mapping[str, Any],
        frame: Frame,
        found: Extraction,
        zero_point: float | None,
        extract: Extractor,
    ) -> dict[str, Any]:
        """Return the columns of the completeness of an image; none when it is unknown."""
        stars = found.info.stars
        depth = float(
            point_source_depth(
                found.info.background_rms * stars.noise_excess, stars.noise_area_px, zero_point
            )
        )
        if not self.n_injected or zero_point is None or not math.isfinite(depth):
            return {}
        injection = Injection(zero_point, depth, self.n_injected, image["gain"], image["image_id"])
        curve = inject_and_recover(frame.data, frame.bad, found.info.stars, extract, injection)
        return {
            "completeness_mag": curve.mag.tolist(),
            "completeness": curve.fraction.tolist(),
            "completeness_50": curve.magnitude_at(0.5),
            "completeness_90": curve.magnitude_at(0.9),
        }


HEADER_ONLY = CalibrationPlan()
