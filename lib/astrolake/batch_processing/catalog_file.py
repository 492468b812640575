"""Many Parquet catalogs to one, in bounded memory, and a handle on the one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from astrolake.errors import BadInput
from astrolake.lake.atomic_file import replacing
from astrolake.lake.storage import Storage

if TYPE_CHECKING:
    import pandas as pd

#: Catalogs read ahead while one is written.
_READ_AHEAD = 8
#: Rows of a row group: a reader with a filter reads a few of these.
_GROUP_ROWS = 65_536


@dataclass(frozen=True)
class Catalog:
    """A catalog that lies in a Parquet file; nothing of it is in memory.

    Parameters
    ----------
    path : str
        URI of the file.
    rows : int
    columns : tuple of str
    missing : tuple of str
        Jobs that failed, whose sources are not in it.
    storage_options : dict
        Object-store options.
    """

    path: str
    rows: int
    columns: tuple[str, ...]
    missing: tuple[str, ...] = ()
    storage_options: dict[str, str] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.rows

    def to_pandas(self, columns: Sequence[str] | None = None, filter: Any = None) -> pd.DataFrame:
        """Read columns of the rows that a filter leaves.

        Parameters
        ----------
        columns : sequence of str
            All by default: mind the memory.
        filter : list of tuples, or pyarrow Expression
            As ``pyarrow.parquet.read_table(filters=)``, e.g. ``[("band", "=", "r")]``.
        """
        storage = Storage.at(self.path, self.storage_options)
        wanted = None if columns is None else list(columns)
        table = pq.read_table(storage.path(), columns=wanted, filters=filter, filesystem=storage.fs)
        frame: pd.DataFrame = table.to_pandas()
        return frame


@dataclass(frozen=True)
class Part:
    """A catalog that goes into the one.

    Parameters
    ----------
    uri : str
    values : dict
        Whole numbers to add to each of its rows, by column.
    """

    uri: str
    values: dict[str, int]


def join_catalogs(
    parts: Sequence[Part], path: str, schema: pa.Schema, storage_options: dict[str, str] | None = None
) -> tuple[int, tuple[str, ...]]:
    """Write catalogs one after another into one file and return its rows and columns.

    Memory is bounded by a row group and the catalogs read ahead. The file is there when all is written.

    Parameters
    ----------
    parts : sequence of Part
        One or more, all with the same values to add.
    path : str
        Canonical URI of the file, which is replaced.
    schema : pa.Schema
        Of the catalogs.

    Raises
    ------
    BadInput
        When a catalog is not there or is of another schema.
    """
    names = list(parts[0].values)
    whole = pa.schema([*(pa.field(name, pa.int32(), nullable=False) for name in names), *schema])
    rows = 0
    with (
        replacing(path, storage_options) as stream,
        pq.ParquetWriter(stream, whole, compression="zstd", write_page_index=True) as writer,
    ):
        for table in _in_groups(_read_ahead(parts, schema, storage_options), whole):
            writer.write_table(table, row_group_size=_GROUP_ROWS)
            rows += len(table)
    return rows, tuple(whole.names)


def _read_ahead(
    parts: Sequence[Part], schema: pa.Schema, options: dict[str, str] | None
) -> Iterator[pa.Table]:
    """Yield the catalogs in order, some of them read before they are asked for."""
    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        waiting: deque[Future[pa.Table]] = deque()
        for part in parts:
            waiting.append(pool.submit(_read, part, schema, options))
            if len(waiting) > _READ_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(part: Part, schema: pa.Schema, options: dict[str, str] | None) -> pa.Table:
    storage = Storage.at(part.uri, options)
    try:
        with storage.fs.open(storage.path(), "rb") as stream:
            table = pq.ParquetFile(stream).read()
    except FileNotFoundError as error:
        raise BadInput(f"{part.uri} is not there; run its job again", "FileNotFound") from error
    except pa.ArrowInvalid as error:
        raise BadInput(f"{part.uri} is no Parquet file ({error}); run its job again", "NotParquet") from error
    if table.schema.names != schema.names:
        raise BadInput(
            f"{part.uri} has other columns than a catalog of this version; run its job again", "OtherSchema"
        )
    for number, (name, value) in enumerate(part.values.items()):
        table = table.add_column(number, name, pa.array([value] * len(table), pa.int32()))
    return table


def _in_groups(tables: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows in whole row groups, and the rest."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table.cast(schema))
        if sum(map(len, held)) >= _GROUP_ROWS:
            rows = pa.concat_tables(held).combine_chunks()
            full = len(rows) - len(rows) % _GROUP_ROWS
            yield rows.slice(0, full)
            held = [rows.slice(full)]
    if held:
        yield pa.concat_tables(held)
