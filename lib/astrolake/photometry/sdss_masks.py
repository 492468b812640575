"""SDSS fpM files: the mask planes of a frame as lists of spans."""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photometry.flags import Flag

#: What a source with a pixel of a plane is flagged with; SDSS measures on interpolated pixels, so do we.
_FLAG_OF_PLANE = {
    "S_MASK_INTERP": Flag.BAD_PIXELS,
    "S_MASK_SATUR": Flag.SATURATED,
    "S_MASK_CR": Flag.BAD_PIXELS,
}
#: The plane of pixels that are not to be used.
_UNUSABLE = "S_MASK_NOTCHECKED"
_NAME = re.compile(r"fpM-\d{6}-[ugriz]\d-\d{4}\.fits?(\.(gz|bz2))?$", re.IGNORECASE)


def is_span_mask(uri: str) -> bool:
    """Whether a file is an fpM file, by its name."""
    return _NAME.search(uri) is not None


def read_span_mask(stream: BinaryIO, uri: str) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Return the unusable pixels of an fpM file, and the flags of sources that hold a pixel.

    The planes are tables whose rows list spans (row, first column, last column) as 16-bit integers, most
    significant byte first (SDSS data model, fpM).

    Parameters
    ----------
    stream : binary file
    uri : str
        Named in messages.

    Returns
    -------
    bad : (MASKROWS, MASKCOLS) bool
    flags : (MASKROWS, MASKCOLS) int32
        Bits of `Flag`.

    Raises
    ------
    BadInput
        When it is no fpM file.
    """
    try:
        with fits.open(stream, memmap=False) as hdus:
            header, names = hdus[0].header, hdus[-1].data
            shape = int(header["MASKROWS"]), int(header["MASKCOLS"])
            planes = {
                str(row["attributeName"]).strip(): _spans(hdus[int(row["Value"]) + 1])
                for row in names
                if str(row["attributeName"]).strip() in (*_FLAG_OF_PLANE, _UNUSABLE)
            }
    except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise BadInput(f"{uri} holds no mask planes of SDSS ({error}); fetch it again", "BadMask") from error
    flags = np.zeros(shape, np.int32)
    for plane, flag in _FLAG_OF_PLANE.items():
        flags |= np.where(_painted(planes[plane], shape), np.int32(flag), np.int32(0))
    return _painted(planes[_UNUSABLE], shape), flags


def _spans(hdu: fits.BinTableHDU) -> NDArray[np.int64]:
    """Return the spans of a plane, (n, 3): row, first and last column."""
    parts = [np.asarray(row, np.uint8).tobytes() for row in hdu.data["s"]]
    return np.frombuffer(b"".join(parts), ">i2").astype(np.int64).reshape(-1, 3)


def _painted(spans: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return an image that is True along spans; what lies outside is left out."""
    row, first, last = spans[(spans[:, 0] >= 0) & (spans[:, 0] < shape[0])].T
    # Each span adds 1 where it begins and takes it away after its end.
    edges = np.zeros((shape[0], shape[1] + 1), np.int32)
    np.add.at(edges, (row, first.clip(0, shape[1])), 1)
    np.add.at(edges, (row, (last + 1).clip(0, shape[1])), -1)
    return np.cumsum(edges[:, :-1], axis=1) > 0
