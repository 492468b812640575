"""From pixels to calibrated sources: FITS reading and checking, background, extraction, calibration."""

from astrolake.photometry.extractor import SourceExtractor

__all__ = ["SourceExtractor"]
