"""Bits of `photoz_flags`: what to know before an estimate is used."""

from __future__ import annotations

from enum import IntFlag

from astrolake.errors import BadArguments


class PhotozFlag(IntFlag):
    """One bit for each reason to be careful; 0 is an estimate without any."""

    OUT_OF_SUPPORT = 1  # unlike the training set: distance, or width of the density, beyond its limit
    METHODS_DISAGREE = 2  # estimates of two methods exclude each other
    FEW_BANDS = 4  # fewer than 3 bands observed, or than half of those the model was trained with
    EDGE_OF_GRID = 8  # the density piles up at an end of the redshift grid
    BAD_INPUT = (
        16  # a value that cannot be one (negative error, impossible magnitude) was taken as not observed
    )
    NO_ESTIMATE = 32  # no band to estimate from: all redshifts are null
    MULTIMODAL = 64  # a second peak holds a third of the probability of the first, or more
    POOR_FIT = 128  # no template fits (chi2 of the best one)
    NOT_CALIBRATED = 256  # the model had too few rows held back to learn the calibration of its densities


#: What each bit says, for the data dictionary.
MEANINGS = {
    PhotozFlag.OUT_OF_SUPPORT: "Unlike the training set: distance or width of the density beyond its limit",
    PhotozFlag.METHODS_DISAGREE: "Estimates of two methods exclude each other",
    PhotozFlag.FEW_BANDS: "Fewer than 3 bands observed, or than half of those the model was trained with",
    PhotozFlag.EDGE_OF_GRID: "The density piles up at an end of the redshift grid",
    PhotozFlag.BAD_INPUT: "A value that cannot be true was taken as not observed",
    PhotozFlag.NO_ESTIMATE: "No band to estimate from: all redshifts are null",
    PhotozFlag.MULTIMODAL: "A second peak holds a third of the probability of the first, or more",
    PhotozFlag.POOR_FIT: "No template fits",
    PhotozFlag.NOT_CALIBRATED: "The model had too few rows held back to calibrate its densities",
}


def describe(value: int) -> list[str]:
    """Return the names of the bits that are set, lowest first.

    Raises
    ------
    BadArguments
        For a value with bits that mean nothing.
    """
    known = sum(PhotozFlag)
    if value < 0 or value & ~known:
        raise BadArguments(f"photoz_flags {value} has bits beyond {known}")
    return [bit.name or "" for bit in PhotozFlag if value & bit]
