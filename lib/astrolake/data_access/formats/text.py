"""Delimited text (CSV, TSV, blanks, ECSV): types from a scan of the whole file, rows streamed in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from astrolake.data_access.column_map import guess_positions
from astrolake.data_access.formats.arrays import Mask
from astrolake.data_access.formats.base import (
    Batch,
    InputFile,
    Malformed,
    ReadOptions,
    RowRange,
    metadata_of,
    open_stream,
)
from astrolake.data_access.formats.cells import Evidence, clean_cells, parse_cells
from astrolake.data_access.formats.ecsv import TextColumn
from astrolake.data_access.formats.text_blocks import TextRows, iterate_blocks, parse_block
from astrolake.data_access.formats.text_dialect import Dialect, read_dialect

_TEXT_LENGTH = 1000


def schema(file: InputFile, options: ReadOptions) -> pa.Schema:
    """Return the columns; types that no header declares are found by reading the whole file."""
    dialect = _dialect(file, options)
    positions = guess_positions(dialect.names, options.ra, options.dec)
    evidence = [Evidence(column.name in positions) for column in dialect.columns]
    if any(column.type is None for column in dialect.columns):
        with open_stream(file, options) as stream:
            for block in iterate_blocks(stream, dialect, options.encoding):
                for column, seen, cells in zip(
                    dialect.columns, evidence, parse_block(block, dialect).columns, strict=True
                ):
                    seen.add(clean_cells(cells, _null_tokens(column, options)))
    return pa.schema(
        [
            pa.field(
                column.name,
                column.type or seen.type(),
                metadata=metadata_of(column.unit, column.ucd, column.doc),
            )
            for column, seen in zip(dialect.columns, evidence, strict=True)
            if not options.excludes(column.name)
        ]
    )


def row_count(file: InputFile, options: ReadOptions) -> int | None:
    """Return None: only reading the whole file tells."""
    return None


def batches(
    file: InputFile, schema: pa.Schema, options: ReadOptions, batch_rows: int, rows: RowRange | None
) -> Iterator[Batch]:
    """Yield the rows; lines before a slice are read, not parsed."""
    dialect = _dialect(file, options)
    start, stop = rows or (0, np.iinfo(np.int64).max)
    first = 0
    with open_stream(file, options) as stream:
        for block in iterate_blocks(stream, dialect, options.encoding):
            count = block.count(b"\n")
            if first + count > start:
                batch = _typed(parse_block(block, dialect), first, dialect, schema, options)
                yield from _split(_within(batch, start, stop), batch_rows)
            first += count
            if first >= stop:
                return


def _dialect(file: InputFile, options: ReadOptions) -> Dialect:
    with open_stream(file, options) as stream:
        return read_dialect(stream, options)


def _null_tokens(column: TextColumn, options: ReadOptions) -> Sequence[str]:
    # ECSV writes nulls as empty fields: "N/A" and "-" are text there.
    return ("",) if column.type == pa.string() else options.null_tokens


def _typed(rows: TextRows, first: int, dialect: Dialect, schema: pa.Schema, options: ReadOptions) -> Batch:
    """Return the block in the types of the schema, rows with cells of another type set aside."""
    places = {column.name: i for i, column in enumerate(dialect.columns)}
    arrays = []
    problems: dict[int, str] = {}
    for field in schema:
        if field.name not in places:
            arrays.append(pa.nulls(len(rows.index), field.type))
            continue
        place = places[field.name]
        cells = clean_cells(rows.columns[place], _null_tokens(dialect.columns[place], options))
        values, bad = parse_cells(cells, field.type)
        arrays.append(values)
        for i in _indices(bad):
            problems.setdefault(i, f"column {field.name}: {cells[i].as_py()!r} is no {field.type}")
    records = pa.RecordBatch.from_arrays(arrays, schema=schema)
    kept = np.ones(len(rows.index), dtype=bool)
    kept[list(problems)] = False
    malformed = [Malformed(first + bad.row, bad.text, bad.message) for bad in rows.malformed]
    for i, message in problems.items():
        line = dialect.delimiter.join(column[i].as_py() for column in rows.columns)
        malformed.append(Malformed(first + int(rows.index[i]), line[:_TEXT_LENGTH], message))
    numbers = first + rows.index
    if problems:
        records, numbers = records.filter(pa.array(kept)), numbers[kept]
    return Batch(records, numbers, tuple(sorted(malformed)))


def _indices(bad: Mask | None) -> list[int]:
    return [] if bad is None else [int(i) for i in np.flatnonzero(bad)]


def _within(batch: Batch, start: int, stop: int) -> Batch:
    inside = (batch.row_numbers >= start) & (batch.row_numbers < stop)
    if inside.all() and all(start <= bad.row < stop for bad in batch.malformed):
        return batch
    malformed = tuple(bad for bad in batch.malformed if start <= bad.row < stop)
    return Batch(batch.records.filter(pa.array(inside)), batch.row_numbers[inside], malformed)


def _split(batch: Batch, batch_rows: int) -> Iterator[Batch]:
    """Yield the batch in pieces; all malformed rows go with the first."""
    malformed = batch.malformed
    for low in range(0, max(len(batch.row_numbers), 1), batch_rows):
        numbers = batch.row_numbers[low : low + batch_rows]
        if len(numbers) or malformed:
            yield Batch(batch.records.slice(low, batch_rows), numbers, malformed)
        malformed = ()
