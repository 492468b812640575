"""The files of HATS catalogs and Delta tables: those that hold the rows, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from astrolake.data_access.formats.base import ReadOptions
from astrolake.errors import BadInput
from astrolake.lake.storage import canonical_uri
from astrolake.schema import PARTITION_COLUMNS

#: Files that mark the root of a HATS catalog or collection, in this and older versions of the format.
HATS_MARKS = ("hats.properties", "collection.properties", "properties", "catalog_info.json")
#: Features that hide or rename what stands in a Delta table's files.
_HIDING = {"deletionVectors", "columnMapping"}


@dataclass(frozen=True)
class Found:
    """A file that a pattern names.

    Parameters
    ----------
    path : str
        As fsspec gives it.
    base : str
        Directory that the pattern names; `label` is the path below it.
    format : str
        Empty when the file itself must tell.
    """

    path: str
    base: str
    size: int
    partition: tuple[tuple[str, str | None], ...] = ()
    format: str = ""

    @property
    def uri(self) -> str:
        """Canonical URI."""
        return canonical_uri(self.path if self.path.startswith("/") else f"s3://{_bare(self.path)}")

    @property
    def label(self) -> str:
        """Path below `base`."""
        return "/".join(below(self.path, self.base))


def below(name: str, path: str) -> list[str]:
    """Return the parts of a name below a directory."""
    return _bare(name).removeprefix(_bare(path)).strip("/").split("/")


def _bare(path: str) -> str:
    return path.removeprefix("s3://")


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether a part of the name says that it is no data (``.git``, ``_metadata``, ``_delta_log``)."""
    return any(part.startswith((".", "_")) for part in parts)


def hats_files(fs: Any, path: str) -> list[Found]:
    """Return the partitions of a HATS catalog, or of the primary table of a HATS collection.

    Raises
    ------
    BadInput
        When there are none.
    """
    if fs.exists(f"{path}/collection.properties"):
        lines = fs.cat_file(f"{path}/collection.properties").decode().splitlines()
        properties = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        path = f"{path}/{properties.get('hats_primary_table_url', '').strip()}".rstrip("/")
    found = []
    for name, info in fs.find(path, detail=True).items():
        parts = below(name, path)
        # Beside the partitions lie thumbnails, maps and metadata that repeat rows or hold none.
        if parts[0] == "dataset":
            parts = parts[1:]
        if parts[0].startswith("Norder=") and name.endswith(".parquet") and not is_hidden(parts):
            found.append(Found(name, path, int(info["size"]), format="parquet"))
    if not found:
        problem = f"{path}: there are no HATS partitions Norder=*/Dir=*/Npix=*; check the path"
        raise BadInput(problem, "EmptyInput")
    return found


def delta_files(path: str, options: ReadOptions) -> list[Found]:
    """Return the files of the newest snapshot of a Delta table, with their partition values.

    Raises
    ------
    BadInput
        When the log is damaged, the table empty, or its files alone do not show its rows
        (deletion vectors, column mapping).
    """
    root = path if path.startswith("/") else f"s3://{_bare(path)}"
    try:
        table = DeltaTable(root, storage_options=dict(options.storage_options) or None)
    except DeltaError as error:
        problem = f"{path}: the Delta table cannot be opened ({error}); repair its log or name its files"
        raise BadInput(problem, "UnreadableFile") from error
    _check_files_show_rows(path, table)
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    if not actions:
        raise BadInput(f"{path}: the Delta table is empty; there is nothing to ingest", "EmptyInput")
    names = [name for name in table.metadata().partition_columns if name not in PARTITION_COLUMNS]
    return [_delta_file(path, action, names) for action in actions]


def _check_files_show_rows(path: str, table: DeltaTable) -> None:
    hiding = _HIDING & set(table.protocol().reader_features or ())
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        hiding |= {"columnMapping"}
    if hiding:
        raise BadInput(
            f"{path}: the Delta table uses {sorted(hiding)}, which its files alone do not show; rewrite it "
            "without (deletion vectors: REORG TABLE ... APPLY (PURGE))",
            "UnsupportedFormat",
        )


def _delta_file(path: str, action: Mapping[str, Any], names: Sequence[str]) -> Found:
    values = [(name, action[f"partition.{name}"]) for name in names]
    partition = tuple((name, None if value is None else str(value)) for name, value in values)
    # The log percent-encodes paths; absolute ones belong to shallow clones.
    inner = unquote(action["path"])
    whole = inner.removeprefix("file://") if "://" in inner or inner.startswith("/") else f"{path}/{inner}"
    return Found(whole, path, int(action["size_bytes"]), partition, "parquet")
