"""A fetch on disk or S3: its plan, and a Parquet file for each box that is done.

Everything that decides the rows makes a fingerprint, which names the directory of the fetch: another region
or cut goes to another directory. In it lie

* ``plan.json``: what is fetched, the roots and the boxes to begin with, written once;
* ``tile_PATH.parquet``: the rows of a box, none as well, written whole or not at all;
* ``tile_PATH.split``: the box held too many rows; its quarters are asked for instead.

What remains to be done follows from these files alone, wherever the last run was killed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from astrolake.data_access.services.tiling import Tile, tile_at
from astrolake.errors import BadInput
from astrolake.lake.atomic_file import replacing, write_whole
from astrolake.lake.storage import Storage
from astrolake.parallel import run_parallel

_LOG = logging.getLogger(__name__)
#: To be raised when the same request would give other boxes or other files.
_VERSION = 2
_PLAN, _TILE, _ROWS, _SPLIT = "plan.json", "tile_", ".parquet", ".split"
_FINGERPRINT_LENGTH = 20
_FOOTERS_AT_A_TIME = 16


@dataclass(frozen=True)
class Done:
    """A box that is done: its file and the number of its rows."""

    tile: Tile
    uri: str
    n_rows: int


class Plan:
    """The directory of one fetch.

    Parameters
    ----------
    storage : Storage
        Where the directories of fetches lie.
    request : mapping
        All that decides the rows, as JSON can hold it.
    """

    def __init__(self, storage: Storage, request: Mapping[str, Any]) -> None:
        self._request = json.loads(json.dumps({"version": _VERSION, **request}, sort_keys=True, default=str))
        self.fingerprint = _digest(self._request)[:_FINGERPRINT_LENGTH]
        self.storage = Storage(storage.uri(self.fingerprint), storage.options)
        self._roots: tuple[Tile, ...] = ()
        self._first: tuple[Tile, ...] = ()

    def load(self) -> bool:
        """Read the plan of an earlier run; return whether there was one.

        Raises
        ------
        BadInput
            When the file is damaged.
        """
        try:
            text = self.storage.fs.cat_file(self.storage.path(_PLAN))
        except FileNotFoundError:
            return False
        try:
            saved = json.loads(text)
            self._roots = tuple(Tile(**root) for root in saved["roots"])
            self._first = tuple(tile_at(self._roots, path) for path in saved["tiles"])
            request = saved["request"]
            if saved["sha256"] != _digest([saved["roots"], saved["tiles"]]):
                raise ValueError("its boxes are not those that were written")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BadInput(
                f"{self.storage.uri(_PLAN)} is no plan of a fetch ({error}); remove its directory"
            ) from error
        if request != self._request:
            raise BadInput(
                f"{self.storage.uri(_PLAN)} is of another fetch; remove its directory to begin anew"
            )
        return True

    def begin(self, roots: Iterable[Tile], tiles: Iterable[Tile]) -> None:
        """Write the plan of a new fetch."""
        self._roots, self._first = tuple(roots), tuple(tiles)
        boxes = {
            "roots": [asdict(root) for root in self._roots],
            "tiles": [tile.path for tile in self._first],
        }
        saved = {"request": self._request, **boxes, "sha256": _digest(list(boxes.values()))}
        write_whole(self.storage.uri(_PLAN), json.dumps(saved).encode(), self.storage.options)

    def state(self) -> tuple[list[Done], list[Tile]]:
        """Return the boxes that are done and those that are not, in order of their paths."""
        names = self._names()
        split = {_path_of(name, _SPLIT) for name in names if name.endswith(_SPLIT)}
        there = {_path_of(name, _ROWS) for name in names if name.endswith(_ROWS)}
        waiting, last = list(reversed(self._first)), []
        while waiting:
            tile = waiting.pop()
            if tile.path in split:
                waiting.extend(reversed(tile.split()))
            else:
                last.append(tile)
        written = (tile for tile in last if tile.path in there)
        outcomes = run_parallel(self._finished, written, _FOOTERS_AT_A_TIME)
        done = [outcome.value for outcome in outcomes if outcome.value is not None]
        finished = {each.tile.path for each in done}
        return sorted(done, key=lambda each: each.tile.path), [t for t in last if t.path not in finished]

    def _names(self) -> list[str]:
        fs, directory = self.storage.fs, self.storage.path()
        listed = fs.ls(directory, detail=False) if fs.exists(directory) else []
        names = (str(path).rsplit("/", 1)[-1] for path in listed)
        return [name for name in names if name.startswith(_TILE)]

    def _finished(self, tile: Tile) -> Done | None:
        name = f"{_TILE}{tile.path}{_ROWS}"
        try:
            with self.storage.fs.open(self.storage.path(name), "rb") as stream:
                n_rows = pq.read_metadata(stream).num_rows
        except (pa.ArrowInvalid, OSError) as error:
            _LOG.warning("%s cannot be read (%s); its box is fetched again", self.storage.uri(name), error)
            return None
        return Done(tile, self.storage.uri(name), n_rows)

    def finish(self, tile: Tile, rows: pa.Table) -> Done:
        """Write the rows of a box."""
        uri = self.storage.uri(f"{_TILE}{tile.path}{_ROWS}")
        with replacing(uri, self.storage.options) as stream:
            pq.write_table(rows, stream, compression="zstd", write_page_checksum=True)
        return Done(tile, uri, rows.num_rows)

    def split(self, tile: Tile) -> tuple[Tile, ...]:
        """Note that a box holds too many rows, and return its quarters."""
        write_whole(self.storage.uri(f"{_TILE}{tile.path}{_SPLIT}"), b"", self.storage.options)
        return tile.split()

    def empty(self, rows: pa.Table) -> str:
        """Write a file without rows for a fetch without boxes, and return its URI."""
        uri = self.storage.uri(f"none{_ROWS}")
        with replacing(uri, self.storage.options) as stream:
            pq.write_table(rows, stream)
        return uri


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _path_of(name: str, ending: str) -> str:
    return name.removeprefix(_TILE).removesuffix(ending)
