import json
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest
from commits import STARS, cell_file, commit, flat_file
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from astrolake.errors import CommitConflict, TableNotFound
from astrolake.lake import delta
from astrolake.lake.delta import apply_commit, read_snapshot
from astrolake.lake.storage import Storage
from astrolake.schema import IMAGES, RUNS, Column
from astrolake.schema.arrow import delta_schema

A, B, C = cell_file("a", 1, 0, rows=2), cell_file("b", 1, 1, rows=3), cell_file("c", 1, 2, rows=4)


@pytest.fixture
def storage(tmp_path) -> Storage:
    return Storage.at(str(tmp_path / "my table"))


@pytest.fixture
def stars(storage) -> Storage:
    """A table of the files A and B at version 0."""
    apply_commit(commit(storage, "run-0", [A, B]))
    return storage


@pytest.fixture
def rejects(storage) -> Storage:
    """An unpartitioned table of one file at version 0."""
    apply_commit(commit(storage, "run-0", [flat_file("a")]))
    return storage


def _paths(storage: Storage, version: int | None = None) -> list[str]:
    """Names of the files of a version, sorted."""
    files = read_snapshot(storage, version).files
    return sorted(file.path.rsplit("/", 1)[-1].removesuffix(".parquet") for file in files)


def test_there_is_no_snapshot_of_no_table(storage):
    assert read_snapshot(storage) is None


def test_the_first_commit_makes_version_zero(storage):
    assert apply_commit(commit(storage, "run-0", [A, B])) == 0
    snapshot = read_snapshot(storage)
    assert (snapshot.version, snapshot.rows, snapshot.is_positional) == (0, 5, True)
    assert [(file.path, file.rows, file.partition) for file in snapshot.files] == [
        (A.path, 2, (1, 0, 0)),
        (B.path, 3, (1, 0, 1)),
    ]


def test_partition_columns_come_last_and_are_not_stored(stars):
    snapshot = read_snapshot(stars)
    assert snapshot.schema.names[-3:] == ["Norder", "Dir", "Npix"]
    assert snapshot.stored_names == list(STARS.column_names)
    assert {snapshot.schema.field(name).type for name in ("Norder", "Dir", "Npix")} == {pa.int32()}


def test_statistics_of_the_row_key_come_back(storage):
    low, high = {"_healpix_29": 5}, {"_healpix_29": 2**61 - 1}
    stats = json.dumps({"numRecords": 1, "minValues": low, "maxValues": high, "nullCount": {}})
    apply_commit(commit(storage, "run-0", [replace(A, stats=stats)]))
    (file,) = read_snapshot(storage).files
    assert (file.low, file.high) == (5, 2**61 - 1)


def test_a_table_without_files_is_a_table(storage):
    assert apply_commit(commit(storage, "run-0", [])) == 0
    snapshot = read_snapshot(storage)
    assert (snapshot.rows, snapshot.files, snapshot.is_positional) == (0, (), True)


def test_an_append_adds_files(rejects):
    assert apply_commit(commit(rejects, "run-1", [flat_file("b")], base=0, appends=True)) == 1
    assert _paths(rejects) == ["a", "b"]


def test_a_replacement_removes_files(stars):
    assert apply_commit(commit(stars, "run-1", [cell_file("n", 1, 0)], [A], base=0)) == 1
    assert _paths(stars) == ["b", "n"]


def test_time_travel_reads_the_old_files(stars):
    apply_commit(commit(stars, "run-1", [C], [A], base=0))
    assert _paths(stars, 0) == ["a", "b"]
    assert _paths(stars, 1) == ["b", "c"]


def test_a_version_that_never_was_is_named(stars):
    with pytest.raises(TableNotFound, match="no version 7"):
        read_snapshot(stars, 7)


@pytest.mark.parametrize("table", [STARS, IMAGES, RUNS])
def test_every_engine_may_read_and_write(storage, table):
    schema = delta_schema(table)
    for run_id, base in (("run-0", None), ("run-1", 0)):
        apply_commit(replace(commit(storage, run_id, [], base=base), schema=schema))
    handle = DeltaTable(storage.delta_uri())
    protocol = handle.protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert handle.metadata().configuration["delta.dataSkippingNumIndexedCols"] == "32"


@pytest.mark.parametrize("table", [STARS, IMAGES, RUNS])
def test_writing_the_same_columns_again_is_no_change_of_schema(storage, table):
    schema = delta_schema(table)
    apply_commit(replace(commit(storage, "run-0", []), schema=schema))
    apply_commit(replace(commit(storage, "run-1", [], base=0), schema=schema))
    assert DeltaTable(storage.delta_uri()).history(1)[0]["operationParameters"]["mode"] == "Append"


def test_timestamps_are_microseconds_utc(storage):
    apply_commit(replace(commit(storage, "run-0", []), schema=delta_schema(RUNS)))
    assert read_snapshot(storage).schema.field("started_at").type == pa.timestamp("us", tz="UTC")


def test_the_log_names_run_and_job(stars):
    entry = DeltaTable(stars.delta_uri()).history(1)[0]
    assert (entry["astrolake.run_id"], entry["astrolake.job"]) == ("run-0", "test")


def test_a_commit_is_applied_once(stars):
    replacement = commit(stars, "run-1", [C], [A], base=0)
    assert apply_commit(replacement) == 1
    assert apply_commit(replacement) == 1
    assert _paths(stars) == ["b", "c"]


def test_the_commit_that_made_the_table_is_applied_once(stars):
    assert apply_commit(commit(stars, "run-0", [A, B])) == 0
    assert read_snapshot(stars).rows == 5


def test_another_commit_of_the_same_run_is_applied_too(stars):
    apply_commit(commit(stars, "run-1", [C], [A], base=0))
    apply_commit(commit(stars, "run-1", [cell_file("d", 1, 3)], [C], base=1))
    assert _paths(stars) == ["b", "d"]


def test_a_commit_is_applied_once_even_after_others(stars):
    first = commit(stars, "run-1", [C], [A], base=0)
    apply_commit(first)
    apply_commit(commit(stars, "run-2", [cell_file("d", 1, 3)], [C], base=1))
    assert apply_commit(first) == 2
    assert _paths(stars) == ["b", "d"]


# Concurrent writers, one after the other: the second planned on version 0.


def test_removed_files_that_are_gone_are_a_conflict(stars):
    apply_commit(commit(stars, "run-1", [C], [A], base=0))
    with pytest.raises(CommitConflict, match=r"moved from version 0 to 1 .*run the job again"):
        apply_commit(commit(stars, "run-2", [cell_file("d", 1, 0)], [A], base=0))
    assert _paths(stars) == ["b", "c"]


@pytest.mark.parametrize(
    ("order", "npix"),
    [(1, 2), (0, 0), (2, 8), (2, 11), (10, 2 << 18), (10, (3 << 18) - 1)],
    ids=["same", "parent", "first child", "last child", "first descendant", "last descendant"],
)
def test_rows_that_share_sky_with_newer_ones_are_a_conflict(stars, order, npix):
    apply_commit(commit(stars, "run-1", [C], base=0))
    # The wider cell replaces what it would cover of version 0, as a writer plans it.
    covered = [A, B] if order == 0 else []
    with pytest.raises(CommitConflict):
        apply_commit(commit(stars, "run-2", [cell_file("d", order, npix)], covered, base=0))
    assert _paths(stars) == ["a", "b", "c"]


@pytest.mark.parametrize(("order", "npix"), [(1, 3), (0, 1), (2, 7 + 5), (10, 3 << 18), (10, (12 << 20) - 1)])
def test_rows_beside_newer_ones_are_committed(stars, order, npix):
    apply_commit(commit(stars, "run-1", [C], base=0))
    assert apply_commit(commit(stars, "run-2", [cell_file("d", order, npix)], base=0)) == 2
    assert _paths(stars) == ["a", "b", "c", "d"]


def test_two_runs_that_replace_different_partitions_both_succeed(stars):
    apply_commit(commit(stars, "run-1", [cell_file("a2", 1, 0)], [A], base=0))
    apply_commit(commit(stars, "run-2", [cell_file("b2", 1, 1)], [B], base=0))
    assert _paths(stars) == ["a2", "b2"]


def test_emptying_a_partition_that_others_left_alone_succeeds(stars):
    apply_commit(commit(stars, "run-1", [C], base=0))
    apply_commit(commit(stars, "run-2", [], [A], base=0))
    assert _paths(stars) == ["b", "c"]


def test_a_whole_replacement_does_not_mix_with_rows_added_meanwhile(stars):
    apply_commit(commit(stars, "run-1", [C], base=0))
    with pytest.raises(CommitConflict):
        apply_commit(commit(stars, "run-2", [cell_file("d", 1, 3)], [A, B], base=0, whole=True))
    assert _paths(stars) == ["a", "b", "c"]


def test_two_first_writers_of_a_catalog_do_not_mix_their_rows(storage):
    apply_commit(commit(storage, "run-1", [A], whole=True))
    with pytest.raises(CommitConflict):
        apply_commit(commit(storage, "run-2", [B], whole=True))
    assert _paths(storage) == ["a"]


def test_two_first_writers_of_different_sky_both_succeed(storage):
    apply_commit(commit(storage, "run-1", [A]))
    assert apply_commit(commit(storage, "run-2", [B])) == 1
    assert _paths(storage) == ["a", "b"]


def test_appends_to_a_flat_table_never_conflict(rejects):
    apply_commit(commit(rejects, "run-1", [flat_file("b")], base=0, appends=True))
    apply_commit(commit(rejects, "run-2", [flat_file("c")], base=0, appends=True))
    assert _paths(rejects) == ["a", "b", "c"]


def test_files_that_were_deleted_before_the_commit_are_a_conflict(stars):
    pending = commit(stars, "run-1", [C], [A], base=0)
    stars.fs.rm_file(stars.path(C.path))
    with pytest.raises(CommitConflict, match=r"1 files that this run wrote .* were deleted meanwhile"):
        apply_commit(pending)
    assert _paths(stars) == ["a", "b"]


def test_a_flat_replacement_conflicts_with_rows_added_meanwhile(rejects):
    apply_commit(commit(rejects, "run-1", [flat_file("b")], base=0))
    with pytest.raises(CommitConflict):
        apply_commit(commit(rejects, "run-2", [flat_file("c")], [flat_file("a")], base=0))
    assert _paths(rejects) == ["a", "b"]


def test_a_vacuum_in_between_is_no_conflict(rejects):
    apply_commit(commit(rejects, "run-1", [flat_file("b")], [flat_file("a")], base=0))
    DeltaTable(rejects.delta_uri()).vacuum(0, dry_run=False, enforce_retention_duration=False)
    apply_commit(commit(rejects, "run-2", [flat_file("c")], [flat_file("b")], base=1, whole=True))
    assert _paths(rejects) == ["c"]


# The same within one commit: the other writer comes between our look at the table and our write.


@pytest.fixture
def interrupt(monkeypatch) -> Callable[..., None]:
    """Let commits of other runs come first, each after one more look at the table."""

    def arrange(*others):
        waiting = list(others)
        load = delta.load_table

        def load_then_be_overtaken(storage, version=None):
            handle = load(storage, version)
            if waiting:
                other = waiting.pop(0)
                monkeypatch.setattr(delta, "load_table", load)
                apply_commit(other)
                monkeypatch.setattr(delta, "load_table", load_then_be_overtaken)
            return handle

        monkeypatch.setattr(delta, "load_table", load_then_be_overtaken)

    return arrange


def test_a_race_for_one_cell_has_one_winner(stars, interrupt):
    interrupt(commit(stars, "run-1", [C], base=0))
    with pytest.raises(CommitConflict, match="moved from version 0 to 1"):
        apply_commit(commit(stars, "run-2", [cell_file("d", 2, 8)], base=0))
    assert _paths(stars) == ["a", "b", "c"]


def test_a_race_for_the_same_files_has_one_winner(stars, interrupt):
    interrupt(commit(stars, "run-1", [cell_file("x", 1, 0)], [A], base=0))
    with pytest.raises(CommitConflict):
        apply_commit(commit(stars, "run-2", [cell_file("y", 1, 0)], [A], base=0))
    assert _paths(stars) == ["b", "x"]


def test_a_race_over_different_sky_has_two_winners(stars, interrupt):
    others = [commit(stars, f"other-{i}", [cell_file(f"x{i}", 1, 4 + i)], base=0) for i in range(3)]
    interrupt(*others)
    assert apply_commit(commit(stars, "run-9", [C], base=0)) == 4
    assert _paths(stars) == ["a", "b", "c", "x0", "x1", "x2"]


def test_a_race_to_create_the_table_is_settled_like_any_other(storage, interrupt):
    interrupt(commit(storage, "run-1", [A]))
    assert apply_commit(commit(storage, "run-2", [B])) == 1
    assert _paths(storage) == ["a", "b"]


def test_a_race_to_create_the_same_partition_has_one_winner(storage, interrupt):
    interrupt(commit(storage, "run-1", [A]))
    with pytest.raises(CommitConflict):
        apply_commit(commit(storage, "run-2", [cell_file("d", 1, 0)]))
    assert _paths(storage) == ["a"]


def test_a_new_schema_does_not_sweep_away_rows_added_meanwhile(stars, interrupt):
    interrupt(commit(stars, "run-1", [C], base=0))
    wide = replace(commit(stars, "run-2", [cell_file("d", 1, 0)], [A, B], base=0, whole=True), schema=WIDE)
    with pytest.raises(CommitConflict):
        apply_commit(wide)
    assert _paths(stars) == ["a", "b", "c"]


def test_a_table_that_is_always_busy_is_given_up_with_the_cause(stars, monkeypatch):
    def busy(*_):
        raise CommitFailedError("someone else was faster")

    monkeypatch.setattr(delta, "_write", busy)
    monkeypatch.setattr(delta.time, "sleep", lambda _: None)
    with pytest.raises(CommitConflict, match=r"was busy: someone else was faster; run the job again"):
        apply_commit(commit(stars, "run-1", [C], base=0))


WIDE = delta_schema(STARS.with_columns((Column("mag", "float64", "magnitude"),)))


def test_a_whole_replacement_may_change_the_columns(stars):
    wide = replace(commit(stars, "run-1", [C], [A, B], base=0, whole=True), schema=WIDE)
    assert apply_commit(wide) == 1
    assert "mag" in read_snapshot(stars).schema.names
    assert _paths(stars) == ["c"]
    assert apply_commit(wide) == 1


def test_a_change_of_columns_keeps_the_past_and_the_configuration(stars):
    before = DeltaTable(stars.delta_uri()).metadata().configuration
    apply_commit(replace(commit(stars, "run-1", [C], [A, B], base=0, whole=True), schema=WIDE))
    assert "mag" not in read_snapshot(stars, 0).schema.names
    assert _paths(stars, 0) == ["a", "b"]
    assert DeltaTable(stars.delta_uri()).metadata().configuration == before


def test_part_of_a_table_cannot_change_its_columns(stars):
    with pytest.raises(CommitConflict, match="run the job over the whole table"):
        apply_commit(replace(commit(stars, "run-1", [C], [A], base=0), schema=WIDE))
    assert _paths(stars) == ["a", "b"]


def test_a_table_without_files_may_change_its_columns(storage):
    apply_commit(commit(storage, "run-0", []))
    apply_commit(replace(commit(storage, "run-1", [A], base=0, whole=True), schema=WIDE))
    assert "mag" in read_snapshot(storage).schema.names
