"""Reads a catalog file of a test into one table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from astropy.io import fits

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
    """A whole file: its input, declared schema, rows, malformed rows and the sizes of its batches."""

    file: InputFile
    schema: pa.Schema
    table: pa.Table
    row_numbers: list[int]
    malformed: list[Malformed]
    batch_sizes: list[int]

    def column(self, name: str) -> list[Any]:
        return self.table.column(name).to_pylist()


def _read(
    path: Path | str, fmt: str = "auto", row_range=None, batch_rows: int = 65536, **options: Any
) -> Catalog:
    read_options = ReadOptions(**options)
    [file] = list_inputs([str(path)], fmt)
    schema = file_schema(file, read_options)
    merged = merge_schemas([(file.uri, schema)])
    batches = list(read_batches(file, merged, read_options, batch_rows, row_range))
    table = pa.Table.from_batches([batch.records for batch in batches], schema=merged)
    row_numbers = [int(n) for batch in batches for n in batch.row_numbers]
    malformed = [bad for batch in batches for bad in batch.malformed]
    sizes = [batch.records.num_rows for batch in batches]
    return Catalog(file, schema, table, row_numbers, malformed, sizes)


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


@pytest.fixture
def fits_table(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a FITS table of columns, with cards added to its header, and returns its path."""

    def write_table(*columns: dict[str, Any], kind: type = fits.BinTableHDU, **cards: Any) -> Path:
        path = tmp_path / "a.fits"
        hdu = kind.from_columns([fits.Column(**column) for column in columns])
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
        return _with_cards(path, **cards) if cards else path

    return write_table


def _with_cards(path: Path, **cards: Any) -> Path:
    # astropy would act on the cards; here the data stay as they are.
    with fits.open(path) as hdus:
        header, start = hdus[1].header, hdus[1].fileinfo()["datLoc"]
    data = path.read_bytes()
    header.update(cards)
    path.write_bytes(data[:2880] + header.tostring().encode() + data[start:])
    return path
