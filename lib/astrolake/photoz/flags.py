"""Bits of `photoz_flags`: what to know before an estimate is used."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadArguments
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.peaks import is_multimodal
from astrolake.photoz.photometry import Photometry

#: Fewer bands than this give no colours worth the name.
_FEW_BANDS = 3
#: Probability within two bins of an end of the grid that says the true redshift may lie beyond.
_EDGE_PROBABILITY = 0.05


class PhotozFlag(IntFlag):
    """One bit for each reason to be careful; 0 is an estimate without any. See `MEANINGS`."""

    OUT_OF_SUPPORT = 1
    METHODS_DISAGREE = 2
    FEW_BANDS = 4
    EDGE_OF_GRID = 8
    BAD_INPUT = 16
    NO_ESTIMATE = 32
    MULTIMODAL = 64
    POOR_FIT = 128
    NOT_CALIBRATED = 256


#: What each bit says, for the data dictionary.
MEANINGS = {
    PhotozFlag.OUT_OF_SUPPORT: "Unlike the training set: distance or width of the density beyond its limit",
    PhotozFlag.METHODS_DISAGREE: "Estimates of two methods exclude each other",
    PhotozFlag.FEW_BANDS: "Fewer than 3 bands observed, or than half of those the model was trained with",
    PhotozFlag.EDGE_OF_GRID: "The density piles up at an end of the redshift grid",
    PhotozFlag.BAD_INPUT: "A value that cannot be true was taken as not observed",
    PhotozFlag.NO_ESTIMATE: "No band to estimate from: all redshifts are null",
    PhotozFlag.MULTIMODAL: "A second peak holds a third of the probability of the first, or more",
    PhotozFlag.POOR_FIT: "No template fits: chi2 is that large by chance once in 10,000 times",
    PhotozFlag.NOT_CALIBRATED: "The model had too few rows held back to calibrate its densities",
}


def flags_of(
    photometry: Photometry, density: NDArray[np.float32], grid: RedshiftGrid, *, calibrated: bool
) -> NDArray[np.int32]:
    """Return the bits that follow from photometry and density, whatever the method, (n,).

    Parameters
    ----------
    photometry : Photometry
        Of n objects in the bands of the model.
    density : (n, grid.n) float32
        Their densities; rows of NaN where there is none.
    grid : RedshiftGrid
    calibrated : bool
        Whether the densities were recalibrated.
    """
    n_bands, most = photometry.observed.sum(axis=1), len(photometry.bands)
    # Nothing lies below redshift 0; any other end of the grid may cut a density.
    ends = density[:, -2:].sum(axis=1) + (density[:, :2].sum(axis=1) if grid.z_min > 0 else 0.0)
    conditions = {
        PhotozFlag.FEW_BANDS: (n_bands < min(_FEW_BANDS, most)) | (2 * n_bands < most),
        PhotozFlag.EDGE_OF_GRID: ends * grid.step > _EDGE_PROBABILITY,
        PhotozFlag.BAD_INPUT: photometry.bad.any(axis=1),
        PhotozFlag.NO_ESTIMATE: (n_bands == 0) | np.isnan(density[:, 0]),
        PhotozFlag.MULTIMODAL: is_multimodal(density, grid),
        PhotozFlag.NOT_CALIBRATED: np.full(len(photometry), not calibrated),
    }
    flags = np.zeros(len(photometry), dtype=np.int32)
    for bit, condition in conditions.items():
        flags[condition] |= bit
    return flags


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
