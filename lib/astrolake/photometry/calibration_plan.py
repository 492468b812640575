"""What an image is calibrated against, and what is done about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from astrolake.photometry.extraction import Extraction
from astrolake.photometry.reference import Reference, ReferenceCheck, check_against, total_flux
from astrolake.photometry.zero_point import Float64


@dataclass(frozen=True)
class CalibrationPlan:
    """How images are calibrated.

    Parameters
    ----------
    reference : Reference or None
        Stars to compare each image with; None takes headers as they are.
    correct_astrometry : bool
        Whether positions are shifted by the median offset from the reference.
    """

    reference: Reference | None = None
    correct_astrometry: bool = False

    def check(
        self, image: Mapping[str, Any], found: Extraction, ra_deg: Float64, dec_deg: Float64
    ) -> ReferenceCheck | None:
        """Compare an image (a row of `images`), its sources at some positions, with the reference."""
        if self.reference is None:
            return None
        stars, total = self.reference.stars(image), total_flux(found.columns)
        check = check_against(stars, ra_deg, dec_deg, total.flux, total.flux_err, found.columns["flags"])
        error = math.hypot(check.zero_point.error, total.correction_err)
        return replace(check, zero_point=replace(check.zero_point, error=error))


HEADER_ONLY = CalibrationPlan()
