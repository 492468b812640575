"""From the bytes of a delimited text file to blocks of rows with text in every column."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from astrolake.data_access.formats.base import Malformed
from astrolake.data_access.formats.text_dialect import Dialect
from astrolake.errors import BadInput

_BLOCK_BYTES = 8 << 20
_MAX_LINE_BYTES = 64 << 20
_TEXT_BYTES = 1000

#: What a line starts with that may be empty or a comment.
_SUSPICIOUS = np.frombuffer(b"#\n \t", np.uint8)
_EMPTY_OR_COMMENT = re.compile(rb"^[ \t]*(?:#.*)?\n", re.MULTILINE)
#: In a file of tabs a line of nothing but tabs is a row without values.
_EMPTY_OR_COMMENT_IN_TABS = re.compile(rb"^ *(?:#.*)?\n", re.MULTILINE)


@dataclass(frozen=True)
class TextRows:
    """Rows of a block as text.

    Parameters
    ----------
    columns : tuple of pa.Array
        One string array for each column of the dialect; fields as they stand, quotes removed.
    index : (N,) int64
        Number of each row within the block.
    malformed : tuple of Malformed
        Lines of the block that have another number of fields or are no text.
    """

    columns: tuple[pa.Array, ...]
    index: NDArray[np.int64]
    malformed: tuple[Malformed, ...]


def iterate_blocks(stream: IO[bytes], dialect: Dialect, encoding: str = "utf-8") -> Iterator[bytes]:
    r"""Yield the rows in blocks of whole lines: UTF-8, ``\n`` at the end, no comments or empty lines.

    Raises
    ------
    BadInput
        When a line is longer than 64 MB, that is when the file is no table of text.
    """
    for _ in range(dialect.skip_lines):
        stream.readline()
    carry = b""
    while data := stream.read(_BLOCK_BYTES):
        end = data.rfind(b"\n") + 1
        if end:
            yield _cleaned(carry + data[:end], dialect, encoding)
            carry = data[end:]
        else:
            carry += data
        if len(carry) > _MAX_LINE_BYTES:
            raise BadInput("a line is longer than 64 MB: the file is not delimited text", "NotText")
    if carry:
        yield _cleaned(carry + b"\n", dialect, encoding)


def _cleaned(block: bytes, dialect: Dialect, encoding: str) -> bytes:
    if codecs.lookup(encoding).name != "utf-8":
        block = block.decode(encoding).encode()
    block = block.removeprefix(codecs.BOM_UTF8)
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    block = dialect.tidy(block)
    # The expression is slow, and most blocks have nothing to remove.
    characters = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    firsts = np.concatenate([characters[:1], characters[ends[:-1] + 1]])
    if not np.isin(firsts, _SUSPICIOUS).any():
        return block
    pattern = _EMPTY_OR_COMMENT_IN_TABS if dialect.delimiter == "\t" else _EMPTY_OR_COMMENT
    return pattern.sub(b"", block)


def parse_block(block: bytes, dialect: Dialect) -> TextRows:
    """Return the rows of a cleaned block.

    A quoted field may hold delimiters, not line ends: one broken line never takes the
    following ones with it.
    """
    lines = block.count(b"\n")
    invalid: list[Malformed] = []

    def note(row: pa_csv.InvalidRow) -> str:
        message = f"the row has {row.actual_columns} fields, not {row.expected_columns}"
        invalid.append(Malformed(row.number - 1, row.text[:_TEXT_BYTES], message))
        return "skip"

    names = [str(i) for i in range(len(dialect.columns))]
    try:
        table = pa_csv.read_csv(
            io.BytesIO(block),
            pa_csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            pa_csv.ParseOptions(
                delimiter=dialect.delimiter, invalid_row_handler=note, ignore_empty_lines=False
            ),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
            ),
        )
    except pa.ArrowInvalid:
        return _parse_lines(block, dialect)
    if table.num_rows + len(invalid) != lines:
        return _parse_lines(block, dialect)
    columns = tuple(_one_chunk(table.column(name)) for name in names)
    return TextRows(columns, _others(lines, [bad.row for bad in invalid]), tuple(invalid))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    )


def _others(total: int, without: list[int]) -> NDArray[np.int64]:
    kept = np.ones(total, dtype=bool)
    kept[without] = False
    return np.flatnonzero(kept).astype(np.int64)


def _parse_lines(block: bytes, dialect: Dialect) -> TextRows:
    """Parse line by line: for the rare block where quotes do not match or bytes are no UTF-8."""
    rows: list[list[str]] = []
    invalid: list[Malformed] = []
    for number, line in enumerate(block.split(b"\n")[:-1]):
        try:
            fields = next(csv.reader([line.decode()], delimiter=dialect.delimiter, strict=True), [])
        except UnicodeDecodeError as error:
            shown = line.decode(errors="backslashreplace")
            invalid.append(
                Malformed(number, shown[:_TEXT_BYTES], f"not UTF-8 ({error.reason}); give the encoding")
            )
            continue
        except csv.Error as error:
            invalid.append(Malformed(number, line.decode()[:_TEXT_BYTES], f"quotes do not match ({error})"))
            continue
        if len(fields) == len(dialect.columns):
            rows.append(fields)
            continue
        message = f"the row has {len(fields)} fields, not {len(dialect.columns)}"
        invalid.append(Malformed(number, line.decode()[:_TEXT_BYTES], message))
    columns = zip(*rows, strict=True) if rows else [()] * len(dialect.columns)
    arrays = tuple(pa.array(column, pa.string()) for column in columns)
    return TextRows(arrays, _others(block.count(b"\n"), [bad.row for bad in invalid]), tuple(invalid))
