"""Writers that truly run at the same time, on threads and in processes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from commits import STARS, cell_file, commit
from lake_tables import put_rows

from astrolake.errors import CommitConflict
from astrolake.lake.delta import apply_commit, read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.storage import Storage

WRITERS = 8


def _commit_cell(root: str, number: int) -> int:
    storage = Storage.at(root)
    file = cell_file(f"f{number}", 1, number, rows=number + 1)
    return apply_commit(commit(storage, f"run-{number}", [file]))


def _try_commit(root: str, number: int) -> bool:
    try:
        apply_commit(commit(Storage.at(root), f"run-{number}", [cell_file(f"f{number}", 1, 5)], base=0))
    except CommitConflict:
        return False
    return True


def _commit_several(root: str, numbers: list[int]) -> list[int]:
    return [_commit_cell(root, number) for number in numbers]


@pytest.mark.parametrize("exists", [True, False], ids=["into a table", "creating it"])
def test_writers_of_different_cells_all_succeed(tmp_path, exists):
    root = str(tmp_path / "table")
    if exists:
        apply_commit(commit(Storage.at(root), "run-first", [cell_file("first", 1, 40, rows=0)]))
    with ThreadPoolExecutor(WRITERS) as pool:
        versions = list(pool.map(lambda number: _commit_cell(root, number), range(WRITERS)))
    snapshot = read_snapshot(Storage.at(root))
    assert snapshot.rows == sum(range(1, WRITERS + 1))
    assert sorted(versions) == list(range(int(exists), WRITERS + int(exists)))


def test_writers_of_one_cell_leave_one_winner(tmp_path):
    root = str(tmp_path / "table")
    apply_commit(commit(Storage.at(root), "run-first", [cell_file("first", 1, 40)]))
    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(lambda number: _try_commit(root, number), range(WRITERS)))
    assert won.count(True) == 1
    assert len(read_snapshot(Storage.at(root)).files) == 2


def test_writers_in_two_processes_lose_no_row(tmp_path):
    root = str(tmp_path / "table")
    halves = [list(range(i, WRITERS, 2)) for i in range(2)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        versions = list(pool.map(_commit_several, [root, root], halves))
    assert sorted([*versions[0], *versions[1]]) == list(range(WRITERS))
    assert read_snapshot(Storage.at(root)).rows == sum(range(1, WRITERS + 1))


def test_a_reader_keeps_its_version_while_the_table_is_replaced(tmp_path):
    lake = Lake.create(str(tmp_path / "lake"))
    put_rows(lake, STARS, [{"source_id": 1, "ra": 10.0, "dec": 20.0}], "run-1")
    before = read_snapshot(lake.delta_storage("stars"))
    put_rows(lake, STARS, [{"source_id": 2, "ra": 10.0, "dec": 20.0}], "run-2")
    (path,) = [before.storage.path(file.path) for file in before.files]
    assert pq.read_table(path, partitioning=None).column("source_id").to_pylist() == [1]
