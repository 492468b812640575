"""From pixels to calibrated sources: FITS reading and checking, background, extraction, calibration."""

from astrolake.photometry.extractor import SourceExtractor
from astrolake.photometry.multiband import MultibandPhotometry, MultibanPhotometry

__all__ = ["MultibanPhotometry", "MultibandPhotometry", "SourceExtractor"]
