import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.lake.sink import ROW_GROUP_ROWS, SinkSpec, conform, write_file
from astrolake.lake.storage import Storage
from astrolake.schema import HEALPIX_COLUMN

POSITIONS = pa.schema([(HEALPIX_COLUMN, pa.int64()), ("mag", pa.float64())])


@pytest.fixture
def storage(tmp_path) -> Storage:
    return Storage.at(str(tmp_path / "my table"))


def _batch(columns: dict, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _write(storage, schema, *batches, partition=()):
    return list(write_file(iter(batches), SinkSpec(storage, schema, "run-1"), partition))


def _statistics(storage, column, values, arrow_type) -> tuple:
    """(min, max, nulls) of the Delta statistics of one written column, None for an absent bound."""
    schema = pa.schema([(column, arrow_type)])
    (file,) = _write(storage, schema, _batch({column: values}, schema))
    stats = json.loads(file.stats)
    return tuple(stats[kind].get(column) for kind in ("minValues", "maxValues", "nullCount"))


def _parquet(storage, file) -> pq.ParquetFile:
    return pq.ParquetFile(storage.path(file.path))


def test_a_partition_is_a_file_in_its_hive_directory(storage):
    batch = _batch({HEALPIX_COLUMN: [1, 2], "mag": [1.0, 2.0]}, POSITIONS)
    (file,) = _write(storage, POSITIONS, batch, partition=(5, 10_000, 12_345))
    assert file.path.rsplit("/", 1)[0] == "Norder=5/Dir=10000/Npix=12345"
    assert file.partition == (5, 10_000, 12_345)
    assert _parquet(storage, file).read().column("mag").to_pylist() == [1.0, 2.0]


def test_all_batches_go_to_one_file(storage):
    batches = [_batch({HEALPIX_COLUMN: [2 * i, 2 * i + 1], "mag": [0.0, 0.0]}, POSITIONS) for i in range(3)]
    (file,) = _write(storage, POSITIONS, *batches)
    assert _parquet(storage, file).read().column(0).to_pylist() == list(range(6))


def test_the_file_tells_its_size_and_rows(storage):
    (file,) = _write(storage, POSITIONS, _batch({HEALPIX_COLUMN: [1, 2], "mag": [1.0, None]}, POSITIONS))
    assert file.rows == json.loads(file.stats)["numRecords"] == 2
    assert file.size == storage.fs.size(storage.path(file.path))


def test_file_names_carry_the_run_and_never_repeat(storage):
    batch = _batch({HEALPIX_COLUMN: [1], "mag": [1.0]}, POSITIONS)
    names = {_write(storage, POSITIONS, batch)[0].path for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("part-run-1-") and name.endswith(".parquet") for name in names)


def test_no_rows_make_no_file(storage):
    assert _write(storage, POSITIONS) == []
    assert _write(storage, POSITIONS, _batch({HEALPIX_COLUMN: [], "mag": []}, POSITIONS)) == []


@pytest.mark.parametrize(
    ("rows", "groups"),
    [
        (1, [1]),
        (ROW_GROUP_ROWS, [ROW_GROUP_ROWS]),
        (ROW_GROUP_ROWS + 1, [ROW_GROUP_ROWS, 1]),
        (2 * ROW_GROUP_ROWS + 5, [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 5]),
    ],
)
@pytest.mark.parametrize("batch_rows", [10_000, 100_000])
def test_row_groups_have_their_size_whatever_the_batches(storage, rows, groups, batch_rows):
    index = np.arange(rows)
    batches = [
        _batch({HEALPIX_COLUMN: piece, "mag": piece * 1.0}, POSITIONS)
        for piece in np.split(index, range(batch_rows, rows, batch_rows))
    ]
    (file,) = _write(storage, POSITIONS, *batches)
    metadata = _parquet(storage, file).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == groups
    assert np.array_equal(_parquet(storage, file).read().column(0).to_numpy(), index)


def test_the_file_says_that_it_is_sorted_by_the_row_key(storage):
    (file,) = _write(storage, POSITIONS, _batch({HEALPIX_COLUMN: [1, 2], "mag": [1.0, 2.0]}, POSITIONS))
    sorting = _parquet(storage, file).metadata.row_group(0).sorting_columns
    assert sorting == (pq.SortingColumn(0),)


def test_an_unpositional_file_claims_no_order(storage):
    schema = pa.schema([("name", pa.string())])
    (file,) = _write(storage, schema, _batch({"name": ["b", "a"]}, schema))
    assert _parquet(storage, file).metadata.row_group(0).sorting_columns == ()


def test_units_travel_with_the_file(storage):
    schema = pa.schema([pa.field("ra", pa.float64(), metadata={"unit": "deg"})])
    (file,) = _write(storage, schema, _batch({"ra": [1.0]}, schema))
    assert _parquet(storage, file).schema_arrow.field("ra").metadata[b"unit"] == b"deg"


def test_timestamps_are_microseconds_utc(storage):
    schema = pa.schema([("at", pa.timestamp("us", tz="UTC"))])
    (file,) = _write(storage, schema, _batch({"at": [1_700_000_000_123_456]}, schema))
    column = _parquet(storage, file).metadata.schema.column(0)
    assert column.physical_type == "INT64"
    assert json.loads(column.logical_type.to_json()) == {
        "Type": "Timestamp",
        "isAdjustedToUTC": True,
        "timeUnit": "microseconds",
        "is_from_converted_type": False,
        "force_set_converted_type": False,
    }


@pytest.mark.parametrize(
    ("values", "arrow_type", "expected"),
    [
        ([3, -1, 2], pa.int64(), (-1, 3, 0)),
        ([2**62, -(2**62)], pa.int64(), (-(2**62), 2**62, 0)),
        ([1.5, -2.5], pa.float64(), (-2.5, 1.5, 0)),
        ([0.5, 2.0], pa.float32(), (0.5, 2.0, 0)),
        ([1.0, None, 2.0], pa.float64(), (1.0, 2.0, 1)),
        ([1.0, float("nan"), 2.0], pa.float64(), (1.0, 2.0, 1)),
        ([float("nan")] * 2, pa.float64(), (None, None, 2)),
        ([None, None], pa.int32(), (None, None, 2)),
        ([1.0, float("inf")], pa.float64(), (None, None, 0)),
        ([1.0, float("-inf")], pa.float64(), (None, None, 0)),
        (["b", "a", None], pa.string(), ("a", "b", 1)),
        (["é", "z"], pa.string(), ("z", "é", 0)),
        (["x" * 65, "a"], pa.string(), ("a", "x" * 64 + "\U0010ffff", 0)),
        (["y" * 65, "x" * 66], pa.string(), ("x" * 64, "y" * 64 + "\U0010ffff", 0)),
        (["x" * 64, "a"], pa.string(), ("a", "x" * 64, 0)),
        ([True, False], pa.bool_(), (None, None, 0)),
        ([b"a"], pa.binary(), (None, None, 0)),
        ([[1.0, 2.0], None], pa.list_(pa.float64()), (None, None, None)),
    ],
)
def test_statistics_of_one_column(storage, values, arrow_type, expected):
    assert _statistics(storage, "x", values, arrow_type) == expected


def test_bounds_span_all_row_groups_even_one_of_nulls(storage):
    values = [5.0] * ROW_GROUP_ROWS + [None] * ROW_GROUP_ROWS + [-5.0]
    assert _statistics(storage, "x", values, pa.float64()) == (-5.0, 5.0, ROW_GROUP_ROWS)


def test_infinity_in_one_row_group_hides_the_bounds_of_all(storage):
    values = [5.0] * ROW_GROUP_ROWS + [float("inf")]
    assert _statistics(storage, "x", values, pa.float64()) == (None, None, 0)


def test_the_first_32_columns_carry_statistics(storage):
    schema = pa.schema([(f"c{i}", pa.int64()) for i in range(40)])
    (file,) = _write(storage, schema, _batch({f"c{i}": [i] for i in range(40)}, schema))
    stats = json.loads(file.stats)
    first = {f"c{i}": i for i in range(32)}
    assert stats["minValues"] == stats["maxValues"] == first
    assert stats["nullCount"] == dict.fromkeys(first, 0)


def test_statistics_are_json_whatever_the_values(storage):
    schema = pa.schema([("name", pa.string()), ("x", pa.float64())])
    names = ['quote " back \\ slash', "line\nfeed", "\u2603"]
    (file,) = _write(storage, schema, _batch({"name": names, "x": [float("inf"), None, 1.0]}, schema))
    assert json.loads(file.stats, parse_constant=pytest.fail)["minValues"] == {"name": "line\nfeed"}


def test_conform_orders_and_casts_to_the_schema():
    rows = pa.table({"mag": pa.array([1, 2], pa.int32()), "id": pa.array([3, 4], pa.int16()), "more": [0, 0]})
    schema = pa.schema([("id", pa.int64()), ("mag", pa.float64())])
    assert conform(rows, schema).equals(pa.table({"id": [3, 4], "mag": [1.0, 2.0]}, schema=schema))


def test_conform_turns_nan_into_null_and_keeps_infinity():
    rows = pa.table({"x": [1.0, float("nan"), float("inf"), None]})
    found = conform(rows, rows.schema).column("x")
    assert found.null_count == 2
    assert found.to_pylist() == [1.0, None, float("inf"), None]


def test_conform_refuses_a_cast_that_would_change_a_value():
    with pytest.raises(pa.ArrowInvalid, match="not in range"):
        conform(pa.table({"id": [2**40]}), pa.schema([("id", pa.int32())]))


def test_conform_names_a_missing_column():
    with pytest.raises(KeyError, match="mag"):
        conform(pa.table({"id": [1]}), pa.schema([("mag", pa.float64())]))
