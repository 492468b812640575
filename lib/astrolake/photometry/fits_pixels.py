"""From the bytes of an image HDU to its pixels: scaled, linear, float32."""

from __future__ import annotations

import io
import math
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photometry.fits_structure import BLOCK_BYTES, Hdu
from astrolake.photometry.headers import HeaderCards

Float32 = NDArray[np.float32]

#: Pixels that are read and converted at a time: they stay in the processor's cache.
_PIXELS_AT_ONCE = 1 << 18
_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def unusable_reason(hdu: Hdu) -> tuple[str, str] | None:
    """Return why an HDU is no 2-D image, as (kind, description); None when it is one.

    Axes of length 1 do not count. The kind is Cube for three and more axes, which hold pixels
    that somebody may miss, and NoImage for the rest.
    """
    if hdu.kind not in ("image", "tiles"):
        return "NoImage", f"a {hdu.kind}"
    if not hdu.axes or 0 in hdu.axes:
        constant = HeaderCards(hdu.header).number("NPIX1")
        return (
            "NoImage",
            "no data" if constant is None else "a constant image without pixels (NPIX1, PIXVALUE)",
        )
    length = [n for n in hdu.axes if n > 1]
    if len(length) < 2:
        return "NoImage", f"a vector of {max(hdu.axes)}"
    if len(length) > 2:
        return "Cube", "a cube of " + " x ".join(str(n) for n in hdu.axes)
    return None


def require_complete(hdu: Hdu, uri: str) -> None:
    """Raise a BadInput when the file ends before the data of an HDU do."""
    if not hdu.missing_bytes:
        return
    what = f"{uri}: HDU {hdu.index}"
    if hdu.missing_bytes == hdu.data_bytes:
        message = f"{what} is a header alone, the file ends before its data; give the whole file"
    else:
        message = (
            f"{what} is truncated, {hdu.missing_bytes} of its {hdu.data_bytes} bytes are missing; "
            "fetch the file again"
        )
    raise BadInput(message, "Truncated")


def image_shape(hdu: Hdu) -> tuple[int, int]:
    """Return (rows, columns) of a 2-D image, axes of length 1 left out."""
    columns, rows = (n for n in hdu.axes if n > 1)
    return rows, columns


def decode_pixels(stream: BinaryIO, hdu: Hdu, uri: str) -> Float32:
    """Return the pixels of a 2-D image HDU.

    BSCALE and BZERO are applied, BLANK is NaN, and the asinh scaling of Pan-STARRS files
    (BSOFTEN, BOFFSET) is undone: x = BOFFSET + 2 BSOFTEN sinh(v ln(10) / 2.5), Waters et al.
    2020, ApJS 251, 4.

    Parameters
    ----------
    stream : binary file
    hdu : Hdu
        Of the stream.
    uri : str
        Named in messages.

    Returns
    -------
    (rows, columns) float32
        C-contiguous, native byte order.

    Raises
    ------
    BadInput
        When the HDU is no 2-D image, pixels are missing, or they cannot be uncompressed.
    """
    what = f"{uri}: HDU {hdu.index}"
    if (reason := unusable_reason(hdu)) is not None:
        raise BadInput(f"{what} is {reason[1]}, not a 2-D image; name an image HDU", reason[0])
    require_complete(hdu, uri)
    cards = HeaderCards(hdu.header)
    if hdu.kind == "image":
        return _plain(stream, hdu, cards).reshape(image_shape(hdu))
    raw = _uncompressed(stream, hdu, what)
    return np.ascontiguousarray(_linear(_scaled(raw, cards), cards).reshape(image_shape(hdu)))


def _plain(stream: BinaryIO, hdu: Hdu, cards: HeaderCards) -> Float32:
    """Read an uncompressed image part by part: a large one is in memory once, not as stored and as read."""
    stream.seek(hdu.data_start)
    dtype = np.dtype(_DTYPES[hdu.header["BITPIX"]])
    values = np.empty(math.prod(hdu.axes), np.float32)
    for first in range(0, values.size, _PIXELS_AT_ONCE):
        count = min(_PIXELS_AT_ONCE, values.size - first)
        raw = np.frombuffer(stream.read(count * dtype.itemsize), dtype=dtype, count=count)
        values[first : first + count] = _linear(_scaled(raw, cards), cards)
    return values


def _uncompressed(stream: BinaryIO, hdu: Hdu, what: str) -> NDArray[np.generic]:
    """Return the pixels of a tile-compressed image, integers as they are stored."""
    stream.seek(hdu.header_start)
    size = hdu.data_start - hdu.header_start + hdu.data_bytes
    unit = stream.read(size)
    alone = _EMPTY_PRIMARY + unit + b"\0" * (-size % BLOCK_BYTES)
    try:
        with fits.open(io.BytesIO(alone), do_not_scale_image_data=True) as hdus:
            return np.asarray(hdus[1].data).ravel()
    except Exception as error:  # damaged tiles surface as any exception of astropy, numpy or the codec
        cause = f"{type(error).__name__}: {error}"
        raise BadInput(
            f"{what}: its tiles cannot be uncompressed ({cause}); fetch it again", "BadTiles"
        ) from error


def _scaled(raw: NDArray[np.generic], cards: HeaderCards) -> Float32:
    scale = cards.number("BSCALE")
    scale = 1.0 if scale is None else scale
    zero = cards.number("BZERO") or 0.0
    integers = raw.dtype.kind in "iu"
    with np.errstate(over="ignore", invalid="ignore"):
        if scale == 1.0 and (zero == 0.0 or raw.dtype.itemsize <= 2):
            # 16-bit integers and their offset are exact in float32.
            values = raw.astype(np.float32)
            values += np.float32(zero)
        else:
            values = (raw.astype(np.float64) * scale + zero).astype(np.float32)
    blank = cards.number("BLANK", "ZBLANK") if integers else None
    if blank is not None:
        values[raw == blank] = np.nan
    return values


def _linear(values: Float32, cards: HeaderCards) -> Float32:
    softening, offset = cards.number("BSOFTEN"), cards.number("BOFFSET")
    if softening is None or offset is None:
        return values
    linear = offset + 2.0 * softening * np.sinh(values.astype(np.float64) * (math.log(10.0) / 2.5))
    return np.asarray(linear, dtype=np.float32)


_EMPTY_PRIMARY = fits.PrimaryHDU().header.tostring().encode("ascii")
