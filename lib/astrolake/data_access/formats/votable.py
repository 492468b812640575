"""VOTable files (all serialisations); a file is held in memory as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
from astropy.io.votable import parse
from astropy.io.votable.tree import TableElement

from astrolake.data_access.column_map import has_positions
from astrolake.data_access.formats.astropy_tables import records_of, sliced
from astrolake.data_access.formats.base import Batch, InputFile, ReadOptions, RowRange, open_stream
from astrolake.errors import BadArguments, BadInput

_BLOCK = 1 << 20
#: A tag may have > within its quoted values.
_REST_OF_TAG = rb"""((?:"[^"]*"|'[^']*'|[^>"'])*)>"""
_STREAM = re.compile(rb"<(?:[^\s<>/:]+:)?STREAM(?=[\s/>])" + _REST_OF_TAG)
_CLOSED = re.compile(rb"<" + _REST_OF_TAG)
_HREF = re.compile(rb"\bhref\s*=")
_ENTITY = re.compile(rb"<!ENTITY")
_UTF16 = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")


def schema(file: InputFile, options: ReadOptions) -> pa.Schema:
    """Return the columns of the chosen table."""
    return records(file, options).schema


def row_count(file: InputFile, options: ReadOptions) -> int | None:
    """Return None: only reading the whole file tells."""
    return None


def batches(
    file: InputFile, schema: pa.Schema, options: ReadOptions, batch_rows: int, rows: RowRange | None
) -> Iterator[Batch]:
    """Yield the rows of the chosen table."""
    yield from sliced(records(file, options), schema, batch_rows, rows)


def records(file: InputFile, options: ReadOptions) -> pa.RecordBatch:
    """Return all rows of the chosen table, in one reading of the file."""
    with open_stream(file, options, random_access=True) as stream:
        refuse_references(stream)
        tables = list(parse(stream, verify="ignore").iter_tables())
    table = _chosen(tables, options).to_table(use_names_over_ids=True)
    left_out = [name for name in table.colnames if options.excludes(name)]
    table.remove_columns(left_out)
    return records_of(table)


def refuse_references(stream: IO[bytes]) -> None:
    """Refuse a file whose rows lie elsewhere: a service could make a reader open local files, or other hosts.

    The stream is read to its end, and set to its begin again.

    Raises
    ------
    BadInput
    """
    begun = b""
    while block := stream.read(_BLOCK):
        text = begun + block
        if text.startswith(_UTF16) or _ENTITY.search(text):
            raise BadInput("the VOTable is in UTF-16 or declares entities; write it without", "UnsafeFile")
        if any(_HREF.search(tag[1]) for tag in _STREAM.finditer(text)):
            raise BadInput(
                "the rows of the VOTable lie in another file (STREAM with href); ask for one file",
                "UnsafeFile",
            )
        last = text[max(text.rfind(b"<"), 0) :]
        begun = b"" if _CLOSED.match(last) else last
    stream.seek(0)


def _chosen(tables: list[Any], options: ReadOptions) -> TableElement:
    if not tables:
        raise BadInput("the VOTable holds no TABLE; a service may have written an error message", "NoTable")
    if options.hdu is not None:
        for index, table in enumerate(tables):
            if str(options.hdu) in (str(index), table.name, table.ID):
                return table
        present = [f"{index} {table.name or table.ID or ''}".strip() for index, table in enumerate(tables)]
        raise BadArguments(f"there is no table {options.hdu!r}; the tables are {present}")

    def rank(table: Any) -> tuple[bool, bool]:
        names = [field.name for field in table.fields]
        return len(table.array) == 0, not has_positions(names, options.ra, options.dec)

    return min(tables, key=rank)
