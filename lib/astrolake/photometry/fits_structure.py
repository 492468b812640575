"""The HDUs of a FITS file, walked header by header so that damage is found and named."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from astropy.io import fits

from astrolake.errors import BadInput
from astrolake.photometry.headers import card_value

BLOCK_BYTES = 2880
_CARD_BYTES = 80
_BITPIX = (8, 16, 32, 64, -32, -64)
_UNPRINTABLE = re.compile(r"[^ -~]")
_IMAGE_EXTENSIONS = ("IMAGE", "IUEIMAGE")


@dataclass(frozen=True)
class Hdu:
    """One header-data unit and where its bytes lie.

    Parameters
    ----------
    index : int
        0 is the primary HDU.
    kind : str
        image, tiles (a tile-compressed image), table, groups or other.
    header : Header
    cards : str
        The header as it stands in the file, 80 characters a card, unprintable bytes as '?'.
    axes : tuple of int
        NAXISn of the image (of the uncompressed one for tiles), NAXIS1 first.
    header_start, data_start, data_bytes : int
        Offsets in the (unpacked) file and size without padding.
    missing_bytes : int
        Bytes of data that the file is short of.
    """

    index: int
    kind: str
    header: fits.Header
    cards: str
    axes: tuple[int, ...]
    header_start: int
    data_start: int
    data_bytes: int
    missing_bytes: int

    @property
    def extname(self) -> str:
        """EXTNAME, empty when there is none (CFITSIO's own name for tiles counts as none)."""
        name = str(card_value(self.header, "EXTNAME") or "").strip()
        return "" if name == "COMPRESSED_IMAGE" else name


def walk_hdus(stream: BinaryIO, uri: str) -> Iterator[Hdu]:
    """Yield the HDUs of a FITS file in order; the last one may lack bytes.

    Parameters
    ----------
    stream : binary file
        Unpacked and seekable; it may be moved between two HDUs.
    uri : str
        Named in messages.

    Raises
    ------
    BadInput
        Where the file is not FITS, or a header is damaged; HDUs before that are yielded.
    """
    size = stream.seek(0, os.SEEK_END)
    start, index = 0, 0
    while start < size:
        stream.seek(start)
        block = stream.read(BLOCK_BYTES)
        if index == 0:
            _require_fits(block, uri)
        elif not block.strip(b"\0 "):
            return
        elif not block.startswith(b"XTENSION"):
            raise BadInput(
                f"{uri}: what follows HDU {index - 1} (byte {start}) is not a FITS header; "
                "the file is damaged: fetch it again",
                "BadHeader",
            )
        cards = _read_header(stream, block, f"{uri}: HDU {index}")
        hdu = _hdu(index, cards, start, size, uri)
        yield hdu
        start = hdu.data_start + math.ceil(hdu.data_bytes / BLOCK_BYTES) * BLOCK_BYTES
        index += 1
    if index == 0:
        raise BadInput(f"{uri}: the file is empty (0 bytes); fetch it again", "EmptyFile")


def _require_fits(block: bytes, uri: str) -> None:
    if not block.startswith(b"SIMPLE  ="):
        start = block[:40].decode("latin-1").strip().splitlines()[:1]
        what = "an HTML page saved under this name" if b"<html" in block[:400].lower() else "not a FITS file"
        shown = _UNPRINTABLE.sub("?", start[0]) if start else ""
        raise BadInput(
            f"{uri}: {what} (it starts with {shown!r}); fetch the file again or leave it out", "NotFits"
        )
    if b"\n" in block[_CARD_BYTES - 1 : _CARD_BYTES + 2]:
        raise BadInput(
            f"{uri}: a header as text, one card a line, without pixels; give the FITS file itself", "NotFits"
        )


def _read_header(stream: BinaryIO, block: bytes, what: str) -> str:
    """Return the cards of a header up to END, from its first block on."""
    cards: list[str] = []
    while block:
        for at in range(0, len(block), _CARD_BYTES):
            card = block[at : at + _CARD_BYTES].decode("latin-1")
            if card.rstrip() == "END":
                return "".join(cards)
            cards.append(_UNPRINTABLE.sub("?", card))
        block = stream.read(BLOCK_BYTES)
    raise BadInput(f"{what}: the header has no END; the file is truncated: fetch it again", "Truncated")


def _hdu(index: int, cards: str, start: int, size: int, uri: str) -> Hdu:
    header = fits.Header.fromstring(cards)
    what = f"{uri}: HDU {index}"
    n_cards = len(cards) // _CARD_BYTES + 1
    data_start = start + math.ceil(n_cards * _CARD_BYTES / BLOCK_BYTES) * BLOCK_BYTES
    bitpix = _integer(header, "BITPIX", what)
    if bitpix not in _BITPIX:
        raise BadInput(
            f"{what}: BITPIX = {bitpix} is not FITS; the header is damaged: fetch it again", "BadHeader"
        )
    shape = _axes(header, "NAXIS", what)
    kind = _kind(header, index, shape)
    data_bytes = _data_bytes(header, bitpix, shape, kind == "groups")
    return Hdu(
        index=index,
        kind=kind,
        header=header,
        cards=cards,
        axes=_axes(header, "ZNAXIS", what) if kind == "tiles" else shape,
        header_start=start,
        data_start=data_start,
        data_bytes=data_bytes,
        missing_bytes=min(data_bytes, max(0, data_start + data_bytes - size)),
    )


def _kind(header: fits.Header, index: int, shape: tuple[int, ...]) -> str:
    if index == 0:
        is_groups = card_value(header, "GROUPS") is True and shape[:1] == (0,)
        return "groups" if is_groups else "image"
    name = str(card_value(header, "XTENSION") or "").strip()
    if name in _IMAGE_EXTENSIONS:
        return "image"
    if name == "BINTABLE" and card_value(header, "ZIMAGE") is True:
        return "tiles"
    return "table" if name in ("BINTABLE", "TABLE", "A3DTABLE") else "other"


def _data_bytes(header: fits.Header, bitpix: int, shape: tuple[int, ...], groups: bool) -> int:
    """Return the size of the data (FITS standard 4.0, equations 1 and 2)."""
    if not shape:
        return 0
    parameters = card_value(header, "PCOUNT")
    count = card_value(header, "GCOUNT")
    n_parameters = parameters if isinstance(parameters, int) else 0
    n_groups = count if isinstance(count, int) else 1
    return abs(bitpix) // 8 * n_groups * (n_parameters + math.prod(shape[1:] if groups else shape))


def _axes(header: fits.Header, key: str, what: str) -> tuple[int, ...]:
    count = _integer(header, key, what)
    if not 0 <= count <= 999:
        raise BadInput(
            f"{what}: {key} = {count} is not FITS; the header is damaged: fetch it again", "BadHeader"
        )
    axes = tuple(_integer(header, f"{key}{n + 1}", what) for n in range(count))
    if any(length < 0 for length in axes):
        raise BadInput(
            f"{what}: an axis is negative {axes}; the header is damaged: fetch it again", "BadHeader"
        )
    return axes


def _integer(header: fits.Header, key: str, what: str) -> int:
    value = card_value(header, key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadInput(
            f"{what}: the header has no usable {key} card; it is damaged: fetch the file again", "BadHeader"
        )
    return value
