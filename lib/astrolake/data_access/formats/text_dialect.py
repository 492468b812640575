"""How a delimited text file is written: delimiter, names, and where its rows start."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO

import numpy as np

from astrolake.data_access.column_map import has_positions
from astrolake.data_access.formats.base import ReadOptions
from astrolake.data_access.formats.ecsv import TextColumn, ecsv_header
from astrolake.errors import BadArguments, BadInput

_HEAD_BYTES = 1 << 20
_SAMPLE_LINES = 100
_DELIMITERS = (",", ";", "\t", "|", " ")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eEdD][-+]?\d+)?$|[-+]?(nan|inf)$", re.IGNORECASE)
_SPACES_OR_QUOTED = re.compile(rb'"[^"\n]*"|[ \t]+')
_COMMENT = "#"
#: Share of lines with the same number of fields from which on a delimiter is taken to be right.
_AGREEMENT = 0.8


@dataclass(frozen=True)
class Dialect:
    """How the lines of a file become fields.

    Parameters
    ----------
    delimiter : str
        One character.
    columns : tuple of TextColumn
    skip_lines : int
        Lines before the first row: comments, names, units.
    collapse : bool
        Runs of blanks and tabs separate fields.
    padded_quotes : bool
        Blanks stand between delimiters and quotes.
    """

    delimiter: str
    columns: tuple[TextColumn, ...]
    skip_lines: int
    collapse: bool = False
    padded_quotes: bool = False

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def tidy(self, block: bytes) -> bytes:
        r"""Return whole lines with one delimiter between fields, and none of the padding around quotes."""
        if self.collapse:
            return _collapsed_quoted(block) if b'"' in block else _collapsed(block)
        if self.padded_quotes:
            mark = re.escape(self.delimiter.encode())
            block = re.sub(rb"(^|" + mark + rb')[ \t]+"', rb'\1"', block, flags=re.MULTILINE)
            block = re.sub(rb'"[ \t]+(?=' + mark + rb"|$)", rb'"', block, flags=re.MULTILINE)
        return block

    def split(self, line: str) -> list[str]:
        """Return the fields of a line; raise csv.Error when its quotes do not match."""
        tidy = self.tidy(f"{line}\n".encode()).decode().rstrip("\n")
        return next(csv.reader([tidy], delimiter=self.delimiter, strict=True), [])


def _collapsed(block: bytes) -> bytes:
    """Equivalent to: `_collapsed_quoted`, where there are no quotes."""
    characters = np.frombuffer(block, np.uint8)
    blank = (characters == ord(" ")) | (characters == ord("\t"))
    follows = np.ones(len(blank), dtype=bool)
    follows[1:] = blank[:-1] | (characters[:-1] == ord("\n"))
    kept = ~(blank & follows)
    single: bytes = np.where(blank, np.uint8(ord(" ")), characters)[kept].tobytes()
    return single.replace(b" \n", b"\n")


def _collapsed_quoted(block: bytes) -> bytes:
    """Return lines with single blanks between fields, none at their ends, and quoted fields as they are."""
    single = _SPACES_OR_QUOTED.sub(lambda found: found[0] if found[0].startswith(b'"') else b" ", block)
    return single.replace(b" \n", b"\n").replace(b"\n ", b"\n").removeprefix(b" ")


def read_dialect(stream: IO[bytes], options: ReadOptions) -> Dialect:
    """Recognise the dialect from the first lines of a file.

    Column names are those of `options.columns`; else the first line that is no comment, if
    none of its fields is a number; else the first comment line with one name for each field.
    The units below the names of a VizieR file, and all of an ECSV header, are understood.

    Raises
    ------
    BadInput
        When the file is empty, not text, has no names, or a number of names that its rows
        do not have.
    """
    head = stream.read(_HEAD_BYTES)
    lines = _decoded(head, options).replace("\r\n", "\n").split("\n")
    if len(head) == _HEAD_BYTES:
        lines = lines[:-1]
    rows = [i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith(_COMMENT)]
    if lines and lines[0].startswith("# %ECSV"):
        names_line = rows[0] if rows else len(lines)
        delimiter, columns = ecsv_header(lines[:names_line])
        return Dialect(delimiter, columns, names_line + 1)
    if not rows and not (lines and len(head) < _HEAD_BYTES):
        raise BadInput("there is no row of text in the file (or none in its first MB)", "EmptyInput")
    sample = [lines[i] for i in rows[:_SAMPLE_LINES]]
    dialect = _guess(sample or [lines[-1].lstrip("# ")], options)
    return _with_columns(dialect, lines, rows, options)


def _decoded(head: bytes, options: ReadOptions) -> str:
    if b"\x00" in head:
        raise BadInput(
            "the file holds NUL bytes: it is binary or UTF-16; convert it to UTF-8 text", "NotText"
        )
    try:
        if "\n,#09".encode(options.encoding) != b"\n,#09":
            raise BadArguments(
                f"encoding {options.encoding!r} does not extend ASCII; convert the file to UTF-8"
            )
    except LookupError:
        raise BadArguments(f"there is no encoding {options.encoding!r}; try utf-8 or latin-1") from None
    return head.decode(options.encoding, errors="replace").removeprefix("\ufeff")


def _guess(sample: Sequence[str], options: ReadOptions) -> Dialect:
    if options.delimiter and len(options.delimiter) != 1:
        raise BadArguments(f"the delimiter must be one character, not {options.delimiter!r}")
    candidates = (options.delimiter,) if options.delimiter else _DELIMITERS
    scored = []
    for delimiter in candidates:
        padded = delimiter != " " and any(
            re.search(rf'{re.escape(delimiter)}[ \t]+"', line) for line in sample
        )
        dialect = Dialect(delimiter, (), 0, collapse=delimiter == " ", padded_quotes=padded)
        widths = Counter(len(fields) for line in sample if len(fields := _fields(dialect, line)) > 1)
        share = max(widths.values(), default=0) / len(sample)
        # A few ragged lines do not make another delimiter the better guess.
        scored.append((min(share, _AGREEMENT), dialect))
    return max(scored, key=lambda pair: pair[0])[1]


def _fields(dialect: Dialect, line: str) -> list[str]:
    try:
        return [field.strip() for field in dialect.split(line)]
    except csv.Error:
        return []


def _with_columns(dialect: Dialect, lines: list[str], rows: list[int], options: ReadOptions) -> Dialect:
    first = _fields(dialect, lines[rows[0]]) if rows else []
    if options.columns:
        named = replace(
            dialect, columns=tuple(map(TextColumn, options.columns)), skip_lines=rows[0] if rows else 0
        )
    elif first and not any(_NUMBER.match(field) for field in first):
        named = _below_header(replace(dialect, columns=_columns(first)), lines, rows)
    else:
        names = _commented_names(dialect, lines[: rows[0]] if rows else lines, len(first))
        named = replace(dialect, columns=_columns(names), skip_lines=rows[0] if rows else len(lines))
    _check_width(named, [lines[i] for i in rows if i >= named.skip_lines][:_SAMPLE_LINES])
    return named


def _columns(names: Sequence[str]) -> tuple[TextColumn, ...]:
    return tuple(TextColumn(name or f"col{n}") for n, name in enumerate(names, 1))


def _below_header(dialect: Dialect, lines: list[str], rows: list[int]) -> Dialect:
    """Return the dialect with its rows below the names, and below VizieR's units and dashes."""
    for place, line in enumerate(rows[1:3], 1):
        if re.fullmatch(rf"(-+{re.escape(dialect.delimiter)}?)+", lines[line].strip()):
            units = _fields(dialect, lines[rows[1]]) if place == 2 else [""] * len(dialect.columns)
            columns = tuple(replace(c, unit=unit) for c, unit in zip(dialect.columns, units, strict=True))
            return replace(dialect, columns=columns, skip_lines=line + 1)
    return replace(dialect, skip_lines=rows[0] + 1)


def _commented_names(dialect: Dialect, comments: Sequence[str], width: int) -> list[str]:
    """Return the names in a comment line: the first that has as many as a row and, if one has, a position."""
    found = []
    for line in comments:
        text = line.strip().lstrip(_COMMENT).strip()
        for delimiter in (dialect.delimiter, *_DELIMITERS):
            names = _fields(Dialect(delimiter, (), 0, collapse=delimiter == " "), text)
            fits = len(names) == width if width else len(names) > 1
            # Lines of formats repeat, and so do words of prose.
            if fits and len({name.lower() for name in names}) == len(names):
                found.append(names)
    if not found:
        raise BadInput(
            f"the file has no line of column names; name its {width} columns (ReadOptions.columns)",
            "NoColumnNames",
        )
    return next((names for names in found if has_positions(names)), found[0])


def _check_width(dialect: Dialect, sample: Sequence[str]) -> None:
    widths = Counter(len(fields) for line in sample if (fields := _fields(dialect, line)))
    if widths and len(dialect.columns) not in widths:
        width = widths.most_common(1)[0][0]
        raise BadInput(
            f"there are {len(dialect.columns)} column names, but rows have {width} fields between "
            f"{dialect.delimiter!r}; give all names or another delimiter (ReadOptions.columns, delimiter)",
            "ColumnCount",
        )
