"""Columns of FITS binary tables: from TFORMn and its companions to Arrow arrays.

The rules are those of the FITS Standard 4.0 (2018), section 7.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io.fits import Header
from numpy.typing import NDArray

from astrolake.data_access.formats.arrays import Mask, array_of, lists_of, text_of
from astrolake.errors import BadInput

#: Reads `size` bytes at an offset of the heap.
Heap = Callable[[int, int], bytes]

_TFORM = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])\s*(.*?)\s*$")
_NUMBERS = {
    "B": "u1",
    "I": ">i2",
    "J": ">i4",
    "K": ">i8",
    "E": ">f4",
    "D": ">f8",
    "C": ">c8",
    "M": ">c16",
    "L": "u1",
}
#: Integer kind and TZERO -> the kind meant (table 19 of the standard).
_OFFSETS = {("B", -128): "i1", ("I", 2**15): "u2", ("J", 2**31): "u4", ("K", 2**63): "u8"}


@dataclass(frozen=True)
class FitsColumn:
    """One field of a binary table.

    Parameters
    ----------
    code : str
        Data type letter of a cell's elements, after P or Q where the cell is variable.
    dtype : np.dtype
        What stands in the row: the elements, or count and offset of a variable cell.
    offset : int
        Bytes from the start of the row.
    text_width : int
        Characters of each string of an A column.
    """

    name: str
    code: str
    dtype: np.dtype[Any]
    offset: int
    is_variable: bool = False
    bits: int = 0
    text_width: int = 0
    unit: str = ""
    ucd: str = ""
    doc: str = ""
    null: int | None = None
    scale: float = 1.0
    zero: float = 0.0


def parse_columns(header: Header) -> list[FitsColumn]:
    """Return the fields of a binary table in order.

    Raises
    ------
    BadInput
        When a TFORM is missing or unknown, or the widths do not add up to NAXIS1.
    """
    columns = []
    offset = 0
    for n in range(1, int(header["TFIELDS"]) + 1):
        column = _parse_column(header, n, offset)
        offset += column.dtype.itemsize
        columns.append(column)
    if offset != int(header["NAXIS1"]):
        raise BadInput(
            f"the columns take {offset} bytes in a row, NAXIS1 says {header['NAXIS1']}: the file is damaged",
            "BadHeader",
        )
    return columns


def _parse_column(header: Header, n: int, offset: int) -> FitsColumn:
    form = str(header.get(f"TFORM{n}", ""))
    parsed = _TFORM.match(form)
    if parsed is None:
        raise BadInput(f"column {n} has TFORM{n} = {form!r}, which FITS does not define", "BadHeader")
    repeat = int(parsed[1]) if parsed[1] else 1
    code, tail = parsed[2], parsed[3]
    dims = _dims(str(header.get(f"TDIM{n}", "")), repeat)
    width = _text_width(repeat, tail, dims)
    is_variable = code in "PQ"
    null = header.get(f"TNULL{n}")
    return FitsColumn(
        name=str(header.get(f"TTYPE{n}", f"col{n}")).strip() or f"col{n}",
        code=tail[:1] if is_variable else code,
        dtype=_row_dtype(code, repeat, width),
        offset=offset,
        is_variable=is_variable,
        bits=repeat if code == "X" else 0,
        text_width=width if code == "A" else 0,
        unit=str(header.get(f"TUNIT{n}", "")),
        ucd=str(header.get(f"TUCD{n}", "")),
        doc=_doc(str(header.get(f"TCOMM{n}", "")), dims, code),
        null=int(null) if isinstance(null, int) else None,
        scale=float(header.get(f"TSCAL{n}", 1.0)),
        zero=float(header.get(f"TZERO{n}", 0.0)),
    )


def _row_dtype(code: str, repeat: int, width: int) -> np.dtype[Any]:
    if code in "PQ":
        return np.dtype((">i4" if code == "P" else ">i8", (2 * repeat,)))
    if code == "X":
        return np.dtype(("u1", (-(-repeat // 8),)))
    if code == "A":
        strings = repeat // width if width else 0
        return np.dtype(f"S{width}") if strings == 1 else np.dtype((f"S{max(width, 1)}", (strings,)))
    return np.dtype(_NUMBERS[code]) if repeat == 1 else np.dtype((_NUMBERS[code], (repeat,)))


def _dims(text: str, repeat: int) -> tuple[int, ...]:
    # Files carry TDIM values that contradict TFORM; those say nothing.
    dims = tuple(int(part) for part in re.findall(r"\d+", text))
    return dims if dims and int(np.prod(dims)) == repeat else ()


def _text_width(repeat: int, tail: str, dims: tuple[int, ...]) -> int:
    # TDIM gives the string length first; rAw (8.2.3 of older standards) gives it behind the A.
    width = dims[0] if dims else int(tail) if tail.isdigit() else repeat
    return width if width and repeat % width == 0 else repeat


def _doc(comment: str, dims: tuple[int, ...], code: str) -> str:
    if len(dims) < 2 or code == "A":
        return comment
    shape = " x ".join(str(d) for d in reversed(dims))
    return f"{comment} (array of {shape}, row by row)".strip()


def to_arrow(column: FitsColumn, raw: NDArray[Any], heap: Heap) -> pa.Array:
    """Return the cells of a column as Arrow values.

    TNULL, NaN and undefined logicals become null; TSCAL and TZERO are applied (unsigned
    integers stay integers); vectors, arrays and variable cells become lists; blanks
    around strings are removed.

    Parameters
    ----------
    raw : (N,) or (N, R) ndarray
        Cells as they stand in the file, big-endian.
    heap : callable
        Reads the heap, for variable cells.

    Raises
    ------
    BadInput
        For complex columns; the message names the column.
    """
    if column.dtype.itemsize == 0:
        return pa.nulls(len(raw), pa.string())
    try:
        if column.is_variable:
            return _variable(column, raw, heap)
        return _fixed(column, raw)
    except BadInput as error:
        raise BadInput(f"column {column.name}: {error.message}", error.kind) from error


def _fixed(column: FitsColumn, raw: NDArray[Any]) -> pa.Array:
    if column.code == "X":
        bits = np.unpackbits(np.ascontiguousarray(raw), axis=1)[:, : column.bits].astype(bool)
        return array_of(bits[:, 0] if column.bits == 1 else bits)
    if column.code == "A":
        return array_of(raw)
    values, mask = _numbers(column, raw)
    return array_of(values, mask)


def _numbers(column: FitsColumn, raw: NDArray[Any]) -> tuple[NDArray[Any], Mask | None]:
    if column.code == "L":
        return raw == ord("T"), raw == 0
    if raw.dtype.kind not in "iu":
        return _scaled(column, raw), None
    mask = raw == column.null if column.null is not None else None
    meant = _OFFSETS.get((column.code, int(column.zero))) if column.scale == 1.0 else None
    if meant is None:
        return _scaled(column, raw), mask
    # Adding the offset flips the sign bit.
    native = raw.astype(raw.dtype.newbyteorder("="))
    bits = native.view(f"u{native.dtype.itemsize}")
    return (bits ^ bits.dtype.type(1 << (8 * native.dtype.itemsize - 1))).view(meant), mask


def _scaled(column: FitsColumn, raw: NDArray[Any]) -> NDArray[Any]:
    if column.scale == 1.0 and column.zero == 0.0:
        return raw
    scaled: NDArray[Any] = raw * column.scale + column.zero
    return scaled


def _variable(column: FitsColumn, raw: NDArray[Any], heap: Heap) -> pa.Array:
    if column.code not in _NUMBERS and column.code != "A":
        raise BadInput(
            f"variable arrays of type {column.code!r} are not supported; exclude it", "UnsupportedType"
        )
    counts, offsets = raw[:, 0].astype(np.int64), raw[:, 1].astype(np.int64)
    kind = np.dtype(_NUMBERS.get(column.code, "S1"))
    cells = _gather(heap, counts, offsets, kind)
    if column.code == "A":
        return _variable_text(cells, counts)
    values, mask = _numbers(column, cells)
    return lists_of(array_of(values, mask), counts)


def _gather(
    heap: Heap, counts: NDArray[np.int64], offsets: NDArray[np.int64], kind: np.dtype[Any]
) -> NDArray[Any]:
    """Return the elements of all cells, one cell after the other, with one read of the heap."""
    used = counts > 0
    if not used.any():
        return np.zeros(0, kind)
    first = int(offsets[used].min())
    end = int((offsets + counts * kind.itemsize)[used].max())
    data = np.frombuffer(heap(first, end - first), np.uint8)
    sizes = counts * kind.itemsize
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    cells: NDArray[Any] = data[np.repeat(offsets - first, sizes) + within].view(kind)
    return cells


def _variable_text(cells: NDArray[Any], counts: NDArray[np.int64]) -> pa.Array:
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(cells.tobytes())]
    return text_of(pa.Array.from_buffers(pa.binary(), len(counts), buffers))
