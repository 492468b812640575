"""The table extensions of a FITS file, found by reading headers only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from astropy.io.fits import Header

from astrolake.data_access.column_map import has_positions
from astrolake.data_access.formats.base import ReadOptions
from astrolake.errors import BadArguments, BadInput

_BLOCK = 2880
#: Real headers end within a few hundred blocks; other bytes never do.
_MAX_BLOCKS = 20_000
_REQUIRED = ("NAXIS1", "NAXIS2", "TFIELDS")


@dataclass(frozen=True)
class FitsTable:
    """A binary or ASCII table extension: its header and where its rows start."""

    index: int
    header: Header
    data_start: int

    @property
    def name(self) -> str:
        """EXTNAME, empty without one."""
        return str(self.header.get("EXTNAME", "")).strip()

    @property
    def is_ascii(self) -> bool:
        """Whether rows are text (XTENSION = 'TABLE')."""
        return bool(self.header["XTENSION"].strip() == "TABLE")

    @property
    def rows(self) -> int:
        """NAXIS2."""
        return int(self.header["NAXIS2"])

    @property
    def row_bytes(self) -> int:
        """NAXIS1."""
        return int(self.header["NAXIS1"])

    @property
    def heap_start(self) -> int:
        """Where the cells of variable arrays lie in the file."""
        return self.data_start + int(self.header.get("THEAP", self.row_bytes * self.rows))

    def has_positions(self, options: ReadOptions) -> bool:
        """Whether there are columns of right ascension and declination."""
        names = [str(self.header.get(f"TTYPE{n}", "")) for n in range(1, self.header["TFIELDS"] + 1)]
        return has_positions(names, options.ra, options.dec)


def choose_table(stream: IO[bytes], options: ReadOptions) -> FitsTable:
    """Return the table to read.

    With `options.hdu` that one; else the first that has rows and position columns, or
    lacking that the first with rows, then the first with position columns, then the first.

    Raises
    ------
    BadInput
        When the file is no FITS file or has no table.
    BadArguments
        When `options.hdu` names no table of the file.
    """
    tables = []
    for table in iterate_tables(stream):
        if options.hdu is not None and str(options.hdu) in (str(table.index), table.name):
            return table
        if options.hdu is None and table.rows and table.has_positions(options):
            return table
        tables.append(table)
    if options.hdu is not None:
        present = [f"{table.index} {table.name}".strip() for table in tables]
        raise BadArguments(f"there is no table HDU {options.hdu!r}; the tables are {present}")
    if not tables:
        raise BadInput("the FITS file has no table, only images; ingest it as an image", "NoTable")
    return min(tables, key=lambda table: (not table.rows, not table.has_positions(options)))


def iterate_tables(stream: IO[bytes]) -> Iterator[FitsTable]:
    """Yield the table extensions in file order, images (compressed ones too) passed over.

    Raises
    ------
    BadInput
        When the bytes are no FITS file, a header is damaged, or a table is compressed.
    """
    position = index = 0
    while (header := _read_header(stream, position)) is not None:
        cards, size = header
        is_table = str(cards.get("XTENSION", "")).strip() in ("BINTABLE", "TABLE")
        if is_table and not cards.get("ZIMAGE", False):
            _check_table(cards, index)
            yield FitsTable(index, cards, position + size)
        position += size + _data_bytes(cards)
        index += 1


def _check_table(header: Header, index: int) -> None:
    if header.get("ZTABLE", False):
        raise BadInput(f"HDU {index} is a compressed table; unpack it with funpack", "UnsupportedFormat")
    if lacking := [name for name in _REQUIRED if name not in header]:
        raise BadInput(f"the header of HDU {index} lacks {lacking}: the file is damaged", "BadHeader")


def _read_header(stream: IO[bytes], position: int) -> tuple[Header, int] | None:
    """Return the header at a position and its length in bytes, None after the last one."""
    stream.seek(position)
    block = stream.read(_BLOCK)
    if not position and not block.startswith(b"SIMPLE  ="):
        raise BadInput("the file does not start with SIMPLE =: it is empty or no FITS file", "NotFits")
    if position and not block.startswith(b"XTENSION"):
        # The standard allows records of any kind after the last extension.
        return None
    text = b""
    for _ in range(_MAX_BLOCKS):
        text += block
        if any(block[i : i + 8] == b"END     " for i in range(0, len(block), 80)):
            return Header.fromstring(text), len(text)
        if len(block) < _BLOCK:
            break
        block = stream.read(_BLOCK)
    raise BadInput("a FITS header has no END card: the file is damaged; fetch it again", "BadHeader")


def _data_bytes(header: Header) -> int:
    axes = [int(header[f"NAXIS{n}"]) for n in range(1, int(header.get("NAXIS", 0)) + 1)]
    elements = int(np.prod(axes, dtype=np.int64)) if axes else 0
    groups, parameters = int(header.get("GCOUNT", 1)), int(header.get("PCOUNT", 0))
    size = abs(int(header["BITPIX"])) // 8 * groups * (parameters + elements)
    return -(-size // _BLOCK) * _BLOCK
