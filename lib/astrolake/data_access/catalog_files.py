"""Catalog files as streams of Arrow record batches, whatever their format and size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa

from astrolake.data_access.formats import fits, parquet, text, votable
from astrolake.data_access.formats.base import Batch, Format, InputFile, Malformed, ReadOptions, RowRange
from astrolake.data_access.formats.damage import naming
from astrolake.data_access.formats.detect import FORMATS, format_by_content
from astrolake.data_access.inputs import list_inputs
from astrolake.data_access.schemas import lake_schema, merge_schemas
from astrolake.errors import BadArguments

__all__ = [
    "FORMATS",
    "Batch",
    "InputFile",
    "Malformed",
    "ReadOptions",
    "RowRange",
    "file_schema",
    "list_inputs",
    "merge_schemas",
    "read_batches",
    "read_options",
    "row_count",
]

_READERS = {
    "fits": cast(Format, fits),
    "csv": cast(Format, text),
    "ecsv": cast(Format, text),
    "votable": cast(Format, votable),
    "parquet": cast(Format, parquet),
}
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")


def read_options(ra: str, dec: str, hdu: str, **others: Any) -> ReadOptions:
    """Return options from flags: empty for what is to be found, an HDU by number or name."""
    number = int(hdu) if hdu.isdecimal() and hdu.isascii() else hdu or None
    return ReadOptions(ra or None, dec or None, hdu=number, **others)


def file_schema(file: InputFile, options: ReadOptions) -> pa.Schema:
    """Return the columns of a file in types of the lake, with ``unit``, ``ucd`` and ``doc`` metadata.

    Delimited text is read to its end, so that no later row contradicts the types; its
    columns without any value have the null type, for `merge_schemas` to settle.

    Raises
    ------
    BadInput
        When the file cannot be read, or a column has no counterpart in the lake; the
        message names file, column and remedy.
    """
    with naming(file):
        fields = list(_reader(file, options).schema(file, options))
    fields += [pa.field(name, _partition_type(value)) for name, value in _partition(file, options)]
    return lake_schema(fields, file.uri)


def row_count(file: InputFile, options: ReadOptions) -> int | None:
    """Return the number of rows by the file's header, None for text and VOTables, which have none."""
    with naming(file):
        return _reader(file, options).row_count(file, options)


def read_batches(
    file: InputFile,
    schema: pa.Schema,
    options: ReadOptions,
    batch_rows: int = 65536,
    row_range: RowRange | None = None,
) -> Iterator[Batch]:
    """Yield the rows of a file, or of a slice of it, in the columns and types of a schema.

    Memory holds one batch (text: 8 MB of lines; VOTable and FITS ASCII tables: the file).
    Rows that cannot be read are reported beside the good ones, so that readable and
    malformed rows together are all rows of the slice.

    Parameters
    ----------
    schema : pa.Schema
        What `file_schema` or `merge_schemas` returned; columns the file lacks are null.
    batch_rows : int
        Greatest number of rows in a batch.
    row_range : (int, int), optional
        First row and one past the last, from 0.

    Raises
    ------
    BadInput
        When the file ends early or cannot be read on; rows yielded before stand.
    """
    if batch_rows < 1:
        raise BadArguments(f"batch_rows must be at least 1, not {batch_rows}")
    with naming(file):
        for batch in _reader(file, options).batches(file, schema, options, batch_rows, row_range):
            yield _with_partition(batch, file, schema, options)


def _reader(file: InputFile, options: ReadOptions) -> Format:
    kind = file.format or format_by_content(file, options)
    if kind not in _READERS:
        raise BadArguments(f"{file.uri}: format {kind!r} is unknown; choose one of {sorted(_READERS)}")
    return _READERS[kind]


def _partition(file: InputFile, options: ReadOptions) -> list[tuple[str, str | None]]:
    return [(name, value) for name, value in file.partition if not options.excludes(name)]


def _partition_type(value: str | None) -> pa.DataType:
    if value is None:
        return pa.null()
    return pa.int64() if _INTEGER.fullmatch(value) else pa.string()


def _with_partition(batch: Batch, file: InputFile, schema: pa.Schema, options: ReadOptions) -> Batch:
    records = batch.records
    for name, value in _partition(file, options):
        index = schema.get_field_index(name)
        if index >= 0 and value is not None:
            column = pa.repeat(pa.scalar(value).cast(schema.field(index).type), records.num_rows)
            records = records.set_column(index, schema.field(index), column)
    return Batch(records, batch.row_numbers, batch.malformed)
