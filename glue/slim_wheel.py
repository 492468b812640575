"""Make a wheel smaller: no test suites, and large members compressed with LZMA, which pip reads."""

from __future__ import annotations

import csv
import io
import lzma
import struct
import zipfile
from pathlib import Path, PurePosixPath
from unittest.mock import patch

#: Change it with anything that changes the bytes made here.
RECIPE = "1"
_LARGE = 64 * 1024
#: Deep enough for compiled code of 180 MB, and twice as fast as zipfile's own setting.
_FILTER = {
    "id": lzma.FILTER_LZMA1,
    "preset": 1,
    "dict_size": 1 << 26,
    "mode": lzma.MODE_NORMAL,
    "mf": lzma.MF_HC4,
    "nice_len": 48,
    "depth": 16,
}
_EPOCH = (1980, 1, 1, 0, 0, 0)
#: Test suites that the packages themselves import.
_NEEDED = ("astropy/tests/",)


class _Compressor(zipfile.LZMACompressor):
    """zipfile's own, with another filter: the header of a member says which, so that readers need nothing."""

    def _init(self) -> bytes:
        properties = lzma._encode_filter_properties(_FILTER)  # type: ignore[attr-defined]
        self._comp = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[_FILTER])
        return struct.pack("<BBH", 9, 4, len(properties)) + properties


def slim_wheel(source: Path, target: Path) -> None:
    """Write a wheel anew: the same files but for test suites, and the same bytes each time.

    Parameters
    ----------
    source, target : Path
        Wheels; the target's name is the source's.
    """
    with zipfile.ZipFile(source) as wheel, patch("zipfile.LZMACompressor", _Compressor):
        names = sorted(name for name in wheel.namelist() if not name.endswith("/") and not _is_test(name))
        with zipfile.ZipFile(target, "w") as slim:
            for name in names:
                data = wheel.read(name)
                if name.endswith(".dist-info/RECORD"):
                    data = _record(data, set(names))
                slim.writestr(
                    _member(name, len(data), wheel.getinfo(name).external_attr), data, compresslevel=9
                )


def _is_test(name: str) -> bool:
    within = PurePosixPath(name).parts[:-1]
    return ("tests" in within or "test" in within) and not name.startswith(_NEEDED)


def _record(text: bytes, kept: set[str]) -> bytes:
    """Return RECORD without the rows of files that were left out; what is kept keeps its hash."""
    rows = [row for row in csv.reader(io.StringIO(text.decode())) if row and row[0] in kept]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def _member(name: str, size: int, attributes: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.compress_type = zipfile.ZIP_LZMA if size > _LARGE else zipfile.ZIP_DEFLATED
    member.external_attr = attributes
    member.create_system = 3
    return member
