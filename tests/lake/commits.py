"""Commits of files without rows: names and partitions are what concurrency is decided on."""

from dataclasses import replace

from astrolake.lake.delta import Commit, DataFile
from astrolake.lake.storage import Storage
from astrolake.schema import CATALOG, REJECTS
from astrolake.schema.arrow import delta_schema

STARS = replace(CATALOG, name="stars")


def cell_file(name: str, order: int, npix: int, rows: int = 1) -> DataFile:
    """A file of a HEALPix partition."""
    path = f"Norder={order}/Dir=0/Npix={npix}/{name}.parquet"
    return DataFile(path, 1, rows, (order, 0, npix), f'{{"numRecords": {rows}}}')


def flat_file(name: str, rows: int = 1) -> DataFile:
    """A file of an unpartitioned table."""
    return DataFile(f"{name}.parquet", 1, rows, (), f'{{"numRecords": {rows}}}')


def commit(
    storage: Storage,
    run_id: str,
    adds: list[DataFile],
    removes: tuple[DataFile, ...] | list[DataFile] = (),
    base: int | None = None,
    *,
    whole: bool = False,
    appends: bool = False,
) -> Commit:
    """A commit to a table of stars, or to the rejects when its files have no partition; the files are put."""
    files = [*adds, *removes]
    table = STARS if not files or files[0].partition else REJECTS
    for file in adds:
        path = storage.path(file.path)
        if storage.is_local:
            storage.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        storage.fs.pipe_file(path, b"x")
    schema = delta_schema(table)
    return Commit(storage, schema, tuple(adds), tuple(removes), base, run_id, "test", whole, appends)
