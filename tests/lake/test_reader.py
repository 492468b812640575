import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commits import STARS
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_tables import put_rows
from partition_files import write_partitions

from astrolake.errors import MissingColumns, TableNotFound
from astrolake.lake.delta import Commit, apply_commit, read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.reader import (
    RegionReader,
    overlap,
    read_table,
    require_columns,
    table_snapshot,
)
from astrolake.lake.sink import SinkSpec
from astrolake.schema import HEALPIX_COLUMN
from astrolake.schema.arrow import arrow_schema, delta_schema
from astrolake.sky.healpix import healpix29
from astrolake.sky.ranges import merge_ranges

SKY = 12 << 58
N_ROWS = 90_000


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return Lake.create(str(tmp_path_factory.mktemp("my lake")))


@pytest.fixture(scope="module")
def index(lake) -> np.ndarray:
    """Row keys of the table `stars`: 90 000 rows in base cells 4 (three row groups) and 7; source_id is i."""
    rng = np.random.default_rng(1)
    cells = rng.integers(4 << 58, 5 << 58, 70_000), rng.integers(7 << 58, 8 << 58, 20_000)
    index = np.sort(np.concatenate(cells))
    columns = {
        HEALPIX_COLUMN: index,
        "source_id": np.arange(N_ROWS),
        "ra": index * 1e-17,
        "dec": index * 1e-18,
    }
    rows = pa.table(columns | {"run_id": ["r"] * N_ROWS, "_part": (index >> 58).astype(np.int32)})
    storage = lake.delta_storage("stars", positional=True)
    spec = SinkSpec(storage, arrow_schema(STARS), "run-1")
    parts = {4: (0, 0, 4), 7: (0, 0, 7)}
    adds = tuple(write_partitions(iter(rows.to_batches(10_000)), spec, parts))
    apply_commit(Commit(storage, delta_schema(STARS), adds, (), None, "run-1", "test"))
    return index


@pytest.fixture(scope="module")
def reader(lake, index) -> RegionReader:
    snapshot = table_snapshot(lake, "stars")
    return RegionReader(snapshot.storage, snapshot.files, ("source_id", "ra"))


def _ids(rows: pa.Table) -> list[int]:
    return rows.column("source_id").to_pylist()


def _inside(index: np.ndarray, ranges: np.ndarray) -> list[int]:
    low, high = np.asarray(ranges).T
    return np.flatnonzero(((index[:, None] >= low) & (index[:, None] < high)).any(axis=1)).tolist()


@pytest.mark.parametrize("seed", range(8))
def test_a_region_holds_the_rows_that_a_full_scan_finds(reader, index, seed):
    rng = np.random.default_rng(seed)
    width = int(rng.choice([1 << 40, 1 << 50, 1 << 56]))
    starts = rng.integers(3 << 58, 8 << 58, 12)
    ranges = merge_ranges(np.stack([starts, starts + rng.integers(1, width, 12)], axis=1))
    assert _ids(reader.read(ranges)) == _inside(index, ranges)


def test_the_whole_sky_is_every_row_once(reader):
    assert _ids(reader.read(np.array([[0, SKY]]))) == list(range(N_ROWS))


def test_ranges_are_half_open(reader, index):
    at = int(index[1234])
    assert _ids(reader.read(np.array([[at, at + 1]]))) == _inside(index, np.array([[at, at + 1]]))
    assert 1234 not in _ids(reader.read(np.array([[at - 10**9, at]])))


def test_only_asked_columns_come_with_the_row_key(reader):
    assert reader.read(np.array([[0, SKY]])).column_names == [HEALPIX_COLUMN, "source_id", "ra"]


def test_the_row_key_may_be_asked_for(lake, reader):
    keyed = RegionReader(reader.storage, reader.files, ("ra", HEALPIX_COLUMN))
    assert keyed.read(np.array([[0, SKY]])).column_names == [HEALPIX_COLUMN, "ra"]


def test_empty_sky_has_the_columns_and_types_of_the_table(reader):
    found = reader.read(np.array([[0, 1 << 58]]))
    assert found.num_rows == 0
    assert found.schema.field("source_id").type == pa.int64()
    assert found.schema.field("ra").type == pa.float64()


def test_no_range_is_no_row(reader):
    assert reader.read(np.empty((0, 2), np.int64)).num_rows == 0


def test_a_table_without_files_has_no_row(reader):
    found = RegionReader(reader.storage, (), ("source_id",)).read(np.array([[0, SKY]]))
    assert (found.num_rows, found.column_names) == (0, [HEALPIX_COLUMN, "source_id"])


def test_only_the_row_groups_that_touch_the_range_are_read(reader, index, monkeypatch):
    read: list[list[int]] = []
    plain = pq.ParquetFile.read_row_groups

    def spy(self, groups, **kwargs):
        read.append(list(groups))
        return plain(self, groups, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", spy)
    at = int(index[40_000])
    assert 40_000 in _ids(reader.read(np.array([[at, at + 1]])))
    assert read == [[1]]


def test_files_of_other_cells_are_not_opened(lake, tmp_path):
    other = Lake.create(str(tmp_path / "lake"))
    put_rows(other, STARS, [{"source_id": i, "ra": 90.0 * i, "dec": 0.0} for i in range(4)])
    snapshot = table_snapshot(other, "stars")
    mine = int(healpix29(np.array([90.0]), np.array([0.0]))[0])
    for file in snapshot.files:
        if file.npix != mine >> 58:
            snapshot.storage.fs.rm_file(snapshot.storage.path(file.path))
    reader = RegionReader(snapshot.storage, snapshot.files, ("source_id",))
    assert _ids(reader.read(np.array([[mine, mine + 1]]))) == [1]


span = st.tuples(st.integers(0, 60), st.integers(1, 12)).map(lambda drawn: (drawn[0], sum(drawn)))
spans = st.lists(span, max_size=12)


def _covered(ranges: np.ndarray) -> set[int]:
    return {i for low, high in ranges for i in range(low, high)}


@settings(deadline=None)
@given(spans)
def test_merged_ranges_cover_the_same_and_stay_apart(ranges):
    merged = merge_ranges(np.array(ranges, np.int64).reshape(-1, 2))
    assert _covered(merged) == _covered(ranges)
    assert (merged[1:, 0] > merged[:-1, 1]).all()


@settings(deadline=None)
@given(spans, spans)
def test_overlap_is_a_common_element(ranges, asked):
    merged = merge_ranges(np.array(ranges, np.int64).reshape(-1, 2))
    lows, highs = np.array(asked, np.int64).reshape(-1, 2).T
    expected = [bool(_covered(ranges) & set(range(low, high))) for low, high in asked]
    assert overlap(merged, lows, highs).tolist() == expected


def test_merging_keeps_the_full_range_of_the_row_key():
    assert merge_ranges([[SKY - 5, SKY], [0, 1]]).tolist() == [[0, 1], [SKY - 5, SKY]]


def test_missing_columns_are_named_beside_those_there_are():
    with pytest.raises(MissingColumns, match=r"stars lacks the columns \['pmra'\]; it has \['dec', 'ra'\]"):
        require_columns("stars", ["ra", "dec"], ["ra", "pmra"])


def test_a_missing_table_or_version_is_named(lake, index):
    with pytest.raises(TableNotFound, match="galaxies"):
        table_snapshot(lake, "galaxies")
    with pytest.raises(TableNotFound, match="no version 9"):
        table_snapshot(lake, "stars", 9)


@pytest.mark.spark
def test_spark_reads_a_table_as_it_was(spark, tmp_path):
    lake = Lake.create(str(tmp_path / "my lake"))
    put_rows(lake, STARS, [{"source_id": i, "ra": 90.0 * i, "dec": 0.0} for i in range(4)], "run-1")
    put_rows(lake, STARS, [{"source_id": 7, "ra": 1.0, "dec": 0.0}], "run-2")
    read = {v: {row.source_id for row in read_table(spark, lake, "stars", v).collect()} for v in (0, 1, None)}
    assert read == {0: {0, 1, 2, 3}, 1: {7}, None: {7}}


@pytest.mark.spark
def test_spark_has_the_partition_columns_last_and_as_integers(spark, tmp_path):
    lake = Lake.create(str(tmp_path / "lake"))
    put_rows(lake, STARS, [{"source_id": 1, "ra": 90.0, "dec": 0.0}])
    frame = read_table(spark, lake, "stars")
    assert frame.columns == [*STARS.column_names, "Norder", "Dir", "Npix"]
    (row,) = frame.collect()
    assert (row.Norder, row.Dir, row.Npix) == (0, 0, row[HEALPIX_COLUMN] >> 58)


@pytest.mark.spark
def test_spark_reads_a_table_without_files(spark, tmp_path):
    lake = Lake.create(str(tmp_path / "lake"))
    put_rows(lake, STARS, [])
    assert read_table(spark, lake, "stars").collect() == []
    assert read_snapshot(lake.delta_storage("stars")).rows == 0


@pytest.mark.spark
def test_spark_reads_what_lies_below_an_odd_path(spark, tmp_path):
    lake = Lake.create(str(tmp_path / "a b#c,d'e\"f&g;h=i+j"))
    put_rows(lake, STARS, [{"source_id": 1, "ra": 90.0, "dec": 0.0}])
    assert read_table(spark, lake, "stars").count() == 1
