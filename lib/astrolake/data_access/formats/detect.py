"""Which format a file has, by its extension and its first bytes."""

from __future__ import annotations

import re

from astrolake.data_access.formats.base import InputFile, ReadOptions, open_stream
from astrolake.data_access.formats.damage import naming
from astrolake.errors import BadInput

#: Values of --format.
FORMATS = ("auto", "fits", "csv", "ecsv", "votable", "parquet", "hats")

_EXTENSIONS = {
    "fits": (".fits", ".fit", ".fts", ".fz"),
    "csv": (".csv", ".tsv", ".txt", ".dat", ".cat", ".tbl", ".asc"),
    "ecsv": (".ecsv",),
    "votable": (".vot", ".votable", ".xml"),
    "parquet": (".parquet", ".parq", ".pq"),
}
_HEAD_BYTES = 4096
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_COMPRESSED = (".gz", ".bz2", ".xz")
_MAGIC = ((b"SIMPLE  =", "fits"), (b"PAR1", "parquet"), (b"# %ECSV", "ecsv"))
_UNSUPPORTED = (
    (b"\x89HDF", "HDF5; write the table as Parquet, for instance pandas.read_hdf(...).to_parquet(...)"),
    (b"PK\x03\x04", "a zip archive; unpack it"),
    (b"#ASDF", "ASDF; write the table as Parquet or ECSV"),
    (b"ORC", "ORC; write the table as Parquet"),
)


def extensions_of(fmt: str) -> tuple[str, ...]:
    """Return the extensions of a format, of all formats for auto."""
    return tuple(e for name, group in _EXTENSIONS.items() if fmt in ("auto", name) for e in group)


def stem(name: str) -> str:
    """Return the name in lower case, without the extension of a compression."""
    lowered = name.lower()
    return lowered.rsplit(".", 1)[0] if lowered.endswith(_COMPRESSED) else lowered


def format_by_name(uri: str) -> str | None:
    """Return the format of an extension that leaves no doubt: .xml, .txt and the like do."""
    stored = stem(uri)
    for name in ("fits", "ecsv", "parquet"):
        if stored.endswith(_EXTENSIONS[name]):
            return name
    return "votable" if stored.endswith((".vot", ".votable")) else None


def format_by_content(file: InputFile, options: ReadOptions) -> str:
    """Return the format that the first bytes show; text that is nothing else is csv.

    Raises
    ------
    BadInput
        When the bytes are of another format; the message names the file and the remedy.
    """
    with naming(file), open_stream(file, options) as stream:
        head = stream.read(_HEAD_BYTES)
        for magic, name in _MAGIC:
            if head.startswith(magic):
                return name
        for magic, what in _UNSUPPORTED:
            if head.startswith(magic):
                raise BadInput(f"cannot read {what}", "UnsupportedFormat")
        if b"<VOTABLE" in head:
            return "votable"
        if _BINARY.search(head) or head.lstrip().startswith((b"<", b"{", b"%PDF")):
            problem = "not a catalog; give a FITS table, delimited text, VOTable or Parquet file"
            raise BadInput(problem, "UnsupportedFormat")
    return "csv"
