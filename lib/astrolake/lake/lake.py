"""The lake: a root with a marker, and where its tables lie."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from astrolake.errors import BadArguments, NotALake, TableNotFound
from astrolake.lake.storage import Storage, refusals

_MARKER = "astrolake.json"
_FORMAT = 1
_NAME = re.compile(r"(crossmatches/)?[a-z][a-z0-9_]*")
#: Characters that delta-rs, DuckDB or Spark would not take for themselves in a location.
_UNUSABLE = re.compile(r"[\x00-\x1f%*?\[\\\]^{|}]")


@dataclass(frozen=True)
class Lake:
    """A lake at a storage root; open one with `Lake.open` or `Lake.create`."""

    storage: Storage

    @classmethod
    def open(cls, uri: str, options: dict[str, str] | None = None) -> Lake:
        """Return the lake at a location.

        Raises
        ------
        NotALake
            When there is none, or it cannot be read.
        BadArguments
            When the location is none that every engine can read.
        """
        lake = cls(_usable_storage(uri, options))
        marker = lake.storage.path(_MARKER)
        try:
            with lake.storage.fs.open(marker, "rb") as stream:
                found = json.load(stream)
        except FileNotFoundError:
            raise NotALake(
                f"{lake.uri} is not a lake (it has no {_MARKER}); create one with an ingest job"
            ) from None
        except refusals() as error:
            raise NotALake(f"no permission to read {lake.storage.uri(_MARKER)}: {error}") from error
        except ValueError as error:
            raise NotALake(
                f"{lake.storage.uri(_MARKER)} is damaged ({error}); it should read {_marker().decode()}"
            ) from error
        known = found.get("format") if isinstance(found, dict) else None
        if known != _FORMAT:
            raise NotALake(f"{lake.uri} has lake format {known}; this version reads {_FORMAT}")
        return lake

    @classmethod
    def create(cls, uri: str, options: dict[str, str] | None = None) -> Lake:
        """Return the lake at a location, made there when the location is new or empty.

        Raises
        ------
        NotALake
            When something else lies there, or it cannot be written.
        BadArguments
            When the location is none that every engine can read.
        """
        lake = cls(_usable_storage(uri, options))
        fs, root, marker = lake.storage.fs, lake.storage.path(), lake.storage.path(_MARKER)
        try:
            found = fs.ls(root, detail=False) if fs.isdir(root) else []
            # An empty marker is what a full disk or a kill leaves of a lake that was being made.
            if fs.exists(marker) and fs.size(marker):
                return cls.open(uri, options)
            if [name for name in found if name.rstrip("/") not in (root, marker)]:
                raise NotALake(f"{lake.uri} exists and is not a lake; choose an empty or new location")
            if lake.storage.is_local:
                fs.makedirs(root, exist_ok=True)
            fs.pipe_file(marker, _marker())
        except refusals() as error:
            raise NotALake(f"no permission to create a lake at {lake.uri}: {error}") from error
        except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
            raise NotALake(f"cannot create a lake at {lake.uri}: {error}") from error
        return lake

    @property
    def uri(self) -> str:
        """Canonical URI of the root."""
        return self.storage.root

    def table_storage(self, table: str) -> Storage:
        """Return the storage of a table's directory."""
        return Storage(self.storage.uri(check_name(table)), self.storage.options)

    def delta_storage(self, table: str, *, positional: bool | None = None) -> Storage:
        """Return the storage of a table's Delta root: ``<table>/dataset`` when positional.

        Raises
        ------
        TableNotFound
            When `positional` is not given and the table does not exist.
        """
        base = self.table_storage(table)
        if positional is None:
            if _has_log(base, "dataset"):
                positional = True
            elif _has_log(base):
                positional = False
            else:
                raise TableNotFound(f"{self.uri} has no table {table!r}; it has {self.tables()}")
        return Storage(base.uri("dataset"), base.options) if positional else base

    def has_table(self, table: str) -> bool:
        """Tell whether the table exists."""
        try:
            self.delta_storage(table)
        except TableNotFound:
            return False
        return True

    def tables(self) -> list[str]:
        """Return the names of all tables, sorted."""
        names = self._children()
        if "crossmatches" in names:
            names += [f"crossmatches/{child}" for child in self._children("crossmatches")]
        return sorted(n for n in names if _has_log(self.storage, n, "dataset") or _has_log(self.storage, n))

    def _children(self, *parts: str) -> list[str]:
        entries = self.storage.fs.ls(self.storage.path(*parts), detail=True)
        return [
            entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory"
        ]


def _has_log(storage: Storage, *parts: str) -> bool:
    fs, log = storage.fs, storage.path(*parts, "_delta_log")
    if not storage.is_local:
        return bool(fs.exists(log))
    # A first commit for which the disk had no room leaves an empty directory.
    return bool(fs.isdir(log)) and any(name.endswith(".json") for name in fs.ls(log, detail=False))


def _usable_storage(uri: str, options: dict[str, str] | None) -> Storage:
    storage = Storage.at(uri, options)
    if found := _UNUSABLE.search(storage.root):
        raise BadArguments(
            f"the lake's location {uri!r} holds {found.group()!r}, which not every engine reads as it "
            "stands; choose another directory"
        )
    return storage


def _marker() -> bytes:
    return json.dumps({"format": _FORMAT}).encode()


def check_name(table: str) -> str:
    """Return a table name that can be a directory and an SQL identifier, or raise BadArguments."""
    if not _NAME.fullmatch(table):
        raise BadArguments(
            f"table name {table!r} must be lower case letters, digits and _, starting with a letter"
        )
    return table


def sql_name(table: str) -> str:
    """Return the name of a table in SQL: the slash of cross-matches becomes an underscore."""
    return table.replace("/", "_")
