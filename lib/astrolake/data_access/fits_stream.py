"""Whether bytes on their way are a FITS file, packed or not, and arrived undamaged."""

from __future__ import annotations

import bz2
import zlib
from typing import Any

from astrolake.data_access.services.answers import page_title

_START, _BZIP2, _GZIP = b"SIMPLE  =", b"BZh", b"\x1f\x8b"
_HEAD_BYTES = 80
#: A FITS file consists of blocks of so many bytes (FITS standard 4.0, section 3.1).
BLOCK_BYTES = 2880
_UNPACKED_AT_A_TIME = 1 << 20
_PAGE_BYTES = 65536


class DamagedFile(Exception):
    """A file came, but not as it was sent."""


class NotFits(Exception):
    """What came is no FITS file; `title` is that of a page of HTML."""

    def __init__(self, title: str | None) -> None:
        super().__init__("a page of HTML" if title else "something else")
        self.title = title


class FitsCheck:
    """Looks at the blocks of a file in their order.

    Parameters
    ----------
    whole : bool
        Whether to unpack all of a packed file (bzip2, gzip), whose own checksums tell damage; else only its
        first card is looked at.
    """

    def __init__(self, whole: bool) -> None:
        self._whole = whole
        self._head = b""
        self._new_unpacker: Any = None
        self._unpacker: Any = None
        self._packed = self._begun = False

    @property
    def packed(self) -> bool:
        """Whether the file is a packed one."""
        return self._packed

    def update(self, block: bytes) -> None:
        """Look at the next block; the first has at least 80 bytes unless the file is shorter.

        Raises
        ------
        NotFits, DamagedFile
        """
        if not self._begun:
            self._begin(block)
        if self._packed and (self._whole or len(self._head) < _HEAD_BYTES):
            self._unpack(block)

    def finish(self) -> None:
        """Look at the file as a whole.

        Raises
        ------
        NotFits, DamagedFile
        """
        if not self._begun:
            raise DamagedFile("nothing was sent")
        if self._packed:
            if self._whole and not self._unpacker.eof:
                raise DamagedFile("the packed file ends in its middle")
            self._check_head()

    def _begin(self, block: bytes) -> None:
        self._begun = True
        if block.startswith(_BZIP2):
            self._new_unpacker = bz2.BZ2Decompressor
        elif block.startswith(_GZIP):
            self._new_unpacker = _Inflate
        else:
            self._head = block[:_PAGE_BYTES]
            self._check_head()
            return
        self._packed, self._unpacker = True, self._new_unpacker()

    def _check_head(self) -> None:
        if not self._head.startswith(_START):
            raise NotFits(page_title(self._head))

    def _unpack(self, data: bytes) -> None:
        try:
            while True:
                if self._unpacker.eof:
                    # Parallel packers write several streams; gzip files may be padded with zeros.
                    data = data.lstrip(b"\0")
                    if not data:
                        return
                    self._unpacker = self._new_unpacker()
                unpacked = self._unpacker.decompress(data, _UNPACKED_AT_A_TIME)
                if len(self._head) < _HEAD_BYTES:
                    self._head += unpacked[:_HEAD_BYTES]
                    if len(self._head) >= _HEAD_BYTES:
                        self._check_head()
                        if not self._whole:
                            return
                if not self._unpacker.eof and len(unpacked) < _UNPACKED_AT_A_TIME:
                    return
                data = self._unpacker.unused_data
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise DamagedFile(f"it cannot be unpacked: {error}") from error


class _Inflate:
    """A decompressor of gzip that behaves as that of bzip2 does."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
