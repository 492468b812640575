"""What every format shares: the input file, how to read it, a batch of rows, and byte streams."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.lake.storage import filesystem

#: First and one past the last row of a slice, counted from 0.
RowRange = tuple[int, int]

#: Text cells that mean "no value".
NULL_TOKENS = ("", "null", "NULL", "nan", "NaN", "N/A", "-")

_COMPRESSIONS: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)


@dataclass(frozen=True)
class InputFile:
    """One file of a catalog.

    Parameters
    ----------
    uri : str
        ``file:///...`` or ``s3://...``.
    format : str
        ``fits``, ``csv`` (any delimited text), ``ecsv``, ``votable`` or ``parquet``; empty where it could not
        be recognised: whoever reads the file learns why.
    size : int
        Bytes as stored, that is compressed where the file is.
    label : str
        Path below the directory that was named; stays the same when that directory moves, so
        generated ids do too.
    partition : tuple of (name, value)
        Columns kept in the path (``name=value`` directories); None is a null.
    """

    uri: str
    format: str
    size: int = 0
    label: str = ""
    partition: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """How to read the files; the defaults recognise what can be recognised.

    Parameters
    ----------
    ra, dec : str, optional
        Position columns where their names are not common ones: they select the table of
        a file that has several, and text in them is malformed, not a reason to widen.
    columns : tuple of str
        Names for delimited text without a header line.
    delimiter : str
        One character for delimited text; a blank means runs of blanks and tabs; empty: guess.
    encoding : str
        Of delimited text; any encoding that extends ASCII.
    null_tokens : tuple of str
        Cells of delimited text that mean "no value".
    hdu : int or str, optional
        FITS HDU (0 is the primary) or VOTable table, by index or name.
    exclude : tuple of str
        Columns to leave out, in any case; a nested one as ``parent.child`` or ``parent_child``.
    storage_options : mapping
        Object-store options in the spelling of delta-rs.
    excluded : set of str
        Names of `exclude`, in lower case, that a column was asked for and left out by.
    """

    ra: str | None = None
    dec: str | None = None
    columns: tuple[str, ...] = ()
    delimiter: str = ""
    encoding: str = "utf-8"
    null_tokens: tuple[str, ...] = NULL_TOKENS
    hdu: int | str | None = None
    exclude: tuple[str, ...] = ()
    storage_options: Mapping[str, str] = field(default_factory=dict)
    excluded: set[str] = field(default_factory=set, compare=False)

    def excludes(self, *names: str) -> bool:
        """Whether a column, known under any of these names, is to be left out."""
        met = {name.lower() for name in self.exclude} & {name.lower() for name in names}
        self.excluded.update(met)
        return bool(met)


class Malformed(NamedTuple):
    """A row that could not be read: its number in the file, what stands there, and what is wrong."""

    row: int
    text: str
    message: str


@dataclass(frozen=True)
class Batch:
    """Rows of one file.

    Parameters
    ----------
    records : pa.RecordBatch
        Readable rows, in file order.
    row_numbers : (N,) int64
        Their numbers in the file, from 0; header, comments and empty lines do not count.
    malformed : tuple of Malformed
        Rows of the same stretch of the file that could not be read.
    """

    records: pa.RecordBatch
    row_numbers: NDArray[np.int64]
    malformed: tuple[Malformed, ...] = ()


class Format(Protocol):
    """What a format module offers."""

    def schema(self, file: InputFile, options: ReadOptions) -> pa.Schema:
        """Return the file's columns with units, UCDs and descriptions as metadata."""
        ...

    def batches(
        self, file: InputFile, schema: pa.Schema, options: ReadOptions, batch_rows: int, rows: RowRange | None
    ) -> Iterator[Batch]:
        """Yield the rows, in columns and types of `schema`."""
        ...

    def row_count(self, file: InputFile, options: ReadOptions) -> int | None:
        """Return the number of rows, None when only a full scan would tell."""
        ...


def metadata_of(unit: str = "", ucd: str = "", doc: str = "") -> dict[bytes, bytes] | None:
    """Return Arrow field metadata, None when there is nothing to say."""
    pairs = ((b"unit", unit), (b"ucd", ucd), (b"doc", doc))
    return {key: value.strip().encode() for key, value in pairs if value.strip()} or None


def local_path(uri: str) -> str | None:
    """Return the path of a local file, None for an object store."""
    return uri.removeprefix("file://") if uri.startswith("file://") or "://" not in uri else None


def open_stored(file: InputFile, options: ReadOptions) -> IO[bytes]:
    """Open the bytes of a file as stored, seekable, wherever it lies."""
    fs = filesystem(file.uri, dict(options.storage_options))
    stream: IO[bytes] = fs.open(local_path(file.uri) or file.uri, "rb")
    return stream


@contextmanager
def open_stream(file: InputFile, options: ReadOptions, random_access: bool = False) -> Iterator[IO[bytes]]:
    """Open the bytes of a file, decompressed; both streams close at the end of the block.

    Parameters
    ----------
    random_access : bool
        Decompress into a temporary file first, for a reader that jumps back and forth.
        Without it compressed files are read in a stream and never held as a whole.
    """
    with open_stored(file, options) as stored:
        head = stored.read(6)
        stored.seek(0)
        opener = next((opener for magic, opener in _COMPRESSIONS if head.startswith(magic)), None)
        if opener is None:
            yield stored
            return
        with opener(stored, "rb") as stream:
            if not random_access:
                yield stream
                return
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(stream, copy, 1 << 20)
                yield copy


def read_exactly(stream: IO[bytes], size: int, what: str) -> bytes:
    """Return `size` bytes, or raise BadInput saying that the file ends inside `what`."""
    data = stream.read(size)
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    if len(data) < size:
        raise BadInput(
            f"the file ends inside {what}: {size} bytes are declared, {len(data)} are there; fetch it again",
            "TruncatedFile",
        )
    return data


def clip(rows: RowRange | None, total: int) -> RowRange:
    """Return the part of a slice that lies within a file of `total` rows."""
    if rows is None:
        return 0, total
    start = min(max(rows[0], 0), total)
    return start, min(max(rows[1], start), total)
