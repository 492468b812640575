import os
import time

import pytest
from commits import STARS
from lake_tables import put_rows

from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.storage import Storage
from astrolake.lake.vacuum import Orphan, delete_orphans, find_orphans, vacuum_superseded

ROWS = [{"source_id": i, "ra": 30.0 * i, "dec": 10.0} for i in range(12)]


@pytest.fixture
def storage(tmp_path) -> Storage:
    """A table of two versions: the first has files of its own in every base cell of the belt."""
    lake = Lake.create(str(tmp_path / "my lake"))
    put_rows(lake, STARS, ROWS, "run-1")
    put_rows(lake, STARS, ROWS[:2], "run-2")
    return lake.delta_storage("stars")


def _orphan(storage: Storage, run_id: str = "20250601T000000-test-abc123", age_s: float = 0.0) -> str:
    path = storage.path(f"Norder=0/Dir=0/Npix=11/part-{run_id}-0123456789ab.parquet")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(b"half a file")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def _files(storage: Storage, version: int) -> set[str]:
    return {file.path for file in read_snapshot(storage, version).files}


def test_superseded_files_are_no_orphans(storage):
    assert find_orphans(storage) == []


def test_a_file_that_no_version_knows_is_an_orphan(storage):
    _orphan(storage)
    (found,) = find_orphans(storage)
    assert found.run_id == "20250601T000000-test-abc123"
    assert found.size == len(b"half a file")
    assert abs(found.modified_s - time.time()) < 60


def test_the_files_of_the_catalog_and_the_log_are_no_orphans(storage):
    for name in ("_metadata", "_common_metadata", "_delta_log/x.parquet", ".part-1.parquet.crc", "notes.txt"):
        with open(storage.path(name), "wb"):
            pass
    assert find_orphans(storage) == []


def test_an_orphan_stays_one_after_the_superseded_are_gone(storage):
    _orphan(storage)
    vacuum_superseded(storage, 0)
    assert len(find_orphans(storage)) == 1


def test_a_vacuum_deletes_what_was_superseded_and_nothing_else(storage):
    path = _orphan(storage)
    superseded = _files(storage, 0)
    assert len(vacuum_superseded(storage, 0)) == len(superseded)
    assert not any(os.path.exists(storage.path(name)) for name in superseded)
    assert all(os.path.exists(storage.path(name)) for name in _files(storage, read_snapshot(storage).version))
    assert os.path.exists(path)


def test_a_dry_run_names_the_same_files_and_deletes_none(storage):
    would = vacuum_superseded(storage, 0, dry_run=True)
    assert all(os.path.exists(storage.path(name)) for name in _files(storage, 0))
    assert sorted(would) == sorted(vacuum_superseded(storage, 0))


def test_young_superseded_files_are_kept(storage):
    assert vacuum_superseded(storage, 1) == []
    assert vacuum_superseded(storage, 0.001) == []
    assert all(os.path.exists(storage.path(name)) for name in _files(storage, 0))


def test_vacuum_of_nothing_finds_nothing(tmp_path):
    storage = Storage.at(str(tmp_path / "none"))
    assert vacuum_superseded(storage, 0) == []
    assert find_orphans(storage) == []


def test_deleted_orphans_leave_no_empty_partition(storage):
    path = _orphan(storage)
    delete_orphans(storage, find_orphans(storage))
    assert not os.path.exists(os.path.dirname(path))
    assert read_snapshot(storage).rows == 2
    assert all(os.path.exists(storage.path(name)) for name in _files(storage, 1))


@pytest.mark.parametrize(
    ("name", "run_id"),
    [
        ("part-20250601T000000-build_objects-abc1-012345.parquet", "20250601T000000-build_objects-abc1"),
        ("a/b/part-r-1-0.parquet", "r-1"),
    ],
)
def test_an_orphan_names_its_run(name, run_id):
    assert Orphan(name, 0, 0.0).run_id == run_id
