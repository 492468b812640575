"""Reads a catalog file of a test into one table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from astrolake.data_access.catalog_files import (
    InputFile,
    Malformed,
    ReadOptions,
    file_schema,
    list_inputs,
    merge_schemas,
    read_batches,
)


@dataclass(frozen=True)
class Catalog:
    """A whole file: its input, declared schema, rows and malformed rows."""

    file: InputFile
    schema: pa.Schema
    table: pa.Table
    row_numbers: list[int]
    malformed: list[Malformed]

    def column(self, name: str) -> list[Any]:
        return self.table.column(name).to_pylist()


def _read(path: Path | str, fmt: str = "auto", row_range=None, batch_rows: int = 65536, **options: Any) -> Catalog:
    read_options = ReadOptions(**options)
    [file] = list_inputs([str(path)], fmt)
    schema = file_schema(file, read_options)
    merged = merge_schemas([(file.uri, schema)])
    batches = list(read_batches(file, merged, read_options, batch_rows, row_range))
    table = pa.Table.from_batches([batch.records for batch in batches], schema=merged)
    row_numbers = [int(n) for batch in batches for n in batch.row_numbers]
    return Catalog(file, schema, table, row_numbers, [bad for batch in batches for bad in batch.malformed])


@pytest.fixture
def read() -> Callable[..., Catalog]:
    """Function that reads one file with `ReadOptions` given as keywords."""
    return _read


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Function that writes text or bytes to a new file and returns its path."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file
