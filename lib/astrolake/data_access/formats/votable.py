"""VOTable files (all serialisations); a file is held in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from astropy.io.votable import parse
from astropy.io.votable.tree import TableElement

from astrolake.data_access.column_map import has_positions
from astrolake.data_access.formats.astropy_tables import records_of, sliced
from astrolake.data_access.formats.base import Batch, InputFile, ReadOptions, RowRange, open_stream
from astrolake.errors import BadArguments, BadInput


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
        tables = list(parse(stream, verify="ignore").iter_tables())
    table = _chosen(tables, options).to_table(use_names_over_ids=True)
    left_out = [name for name in table.colnames if options.excludes(name)]
    table.remove_columns(left_out)
    return records_of(table)


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
