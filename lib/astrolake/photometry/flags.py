"""Extraction flags: SExtractor's bits 0 to 7, then those of astrolake from bit 8 up."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import sep
from numpy.typing import NDArray


class Flag(IntEnum):
    """What may be wrong with a source; a source without a bit set is clean."""

    NEIGHBOURS = 1
    BLENDED = 2
    SATURATED = 4
    TRUNCATED = 8
    APERTURE_INCOMPLETE = 16
    SINGULAR = 256
    BAD_PIXELS = 512
    LIMITS_RAISED = 1024
    NOT_DEBLENDED = 2048
    NO_GAIN = 4096
    ISOPHOTAL_CENTROID = 8192
    NO_KRON_RADIUS = 16384
    SKY_FROM_MAP = 32768
    OUTSIDE = 65536
    NO_PETROSIAN_RADIUS = 1048576
    CUT_BY_SUBTILE = 2097152
    PSF_FALLBACK = 4194304
    PSF_NOT_FITTED = 8388608
    PSF_INCOMPLETE = 16777216
    FROM_RESIDUAL = 33554432


#: Meaning of every bit that `flags` may hold.
FLAGS: dict[int, str] = {
    Flag.NEIGHBOURS: "More than 10 % of the Kron aperture belongs to other sources or to bad pixels",
    Flag.BLENDED: "The source was split from another one",
    Flag.SATURATED: "A pixel of the source reaches the saturation level",
    Flag.TRUNCATED: "The isophote touches the image border",
    Flag.APERTURE_INCOMPLETE: "An aperture reaches beyond the image, or holds no usable pixel",
    Flag.SINGULAR: "The isophote is a line or a point: 1/12 pix^2 was added to its second moments",
    Flag.BAD_PIXELS: "Bad pixels lie within the Kron aperture; they count as sky",
    Flag.LIMITS_RAISED: "The image is so crowded that SEP's pixel or sub-object limits had to be raised",
    Flag.NOT_DEBLENDED: "The image is so crowded that it was extracted without deblending",
    Flag.NO_GAIN: "The gain is unknown: errors hold the sky noise only",
    Flag.ISOPHOTAL_CENTROID: "The windowed centroid ran away: x and y are the isophotal centroid",
    Flag.NO_KRON_RADIUS: "The Kron radius could not be measured: the smallest one was used",
    Flag.SKY_FROM_MAP: "The sky annulus holds too few free pixels: the sky is that of the background map",
    Flag.NO_PETROSIAN_RADIUS: "The Petrosian ratio does not fall to 0.2: there is no Petrosian flux",
    Flag.CUT_BY_SUBTILE: "The image was extracted in parts, and the source reaches beyond its part",
    Flag.OUTSIDE: "The position is NaN or off the image: nothing was measured",
    Flag.PSF_FALLBACK: "Too few stars: the PSF is a profile of a width from moments or from the header",
    Flag.PSF_NOT_FITTED: "The PSF fit did not converge, or the source ran away: its position was kept",
    Flag.PSF_INCOMPLETE: "Bad or saturated pixels, or the image border, take part of the PSF's light",
    Flag.FROM_RESIDUAL: "Found only after the light of brighter neighbours had been subtracted",
}

_FROM_OBJECT = {
    sep.OBJ_MERGED: Flag.BLENDED,
    sep.OBJ_TRUNC: Flag.TRUNCATED,
    sep.OBJ_SINGU: Flag.SINGULAR,
}
_FROM_APERTURE = {
    sep.APER_TRUNC: Flag.APERTURE_INCOMPLETE,
    sep.APER_ALLMASKED: Flag.APERTURE_INCOMPLETE,
}


def object_flags(sep_flags: NDArray[np.int16]) -> NDArray[np.int32]:
    """Translate the flags of `sep.extract`: SEP numbers its bits differently from SExtractor."""
    return _translate(sep_flags, _FROM_OBJECT)


def aperture_flags(sep_flags: NDArray[np.int16]) -> NDArray[np.int32]:
    """Translate the flags of SEP's aperture sums."""
    return _translate(sep_flags, _FROM_APERTURE)


def flags_within(
    segments: NDArray[np.int32], flag_image: NDArray[np.int32], n_sources: int
) -> NDArray[np.int32]:
    """Return the bits of a flag image that the pixels of each source hold, joined; (n_sources,)."""
    pixels = np.flatnonzero(flag_image)
    owner = segments.ravel()[pixels]
    owned = owner > 0
    out = np.zeros(n_sources + 1, dtype=np.int32)
    np.bitwise_or.at(out, owner[owned], flag_image.ravel()[pixels[owned]].astype(np.int32))
    return out[1:]


def where(condition: NDArray[np.bool_], flag: Flag) -> NDArray[np.int32]:
    """Return `flag` where the condition holds and 0 elsewhere."""
    return np.where(condition, np.int32(flag), np.int32(0))


def _translate(sep_flags: NDArray[np.int16], table: dict[int, Flag]) -> NDArray[np.int32]:
    out = np.zeros(np.shape(sep_flags), dtype=np.int32)
    for bit, flag in table.items():
        out |= where((sep_flags & bit) != 0, flag)
    return out
