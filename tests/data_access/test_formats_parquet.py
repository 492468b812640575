"""Parquet: nested columns, types outside the lake's, slices over row groups."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.errors import BadInput


@pytest.fixture
def store(tmp_path, read):
    """Function that writes a table and reads it back."""

    def write_and_read(columns, row_group_size=None, **options):
        pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=row_group_size)
        return read(tmp_path / "a.parquet", **options)

    return write_and_read


def test_structs_are_flattened_to_any_depth(store):
    rows = [{"ra": 1.5, "mag": {"g": 20.0, "r": None}}, None]
    catalog = store({"id": [1, 2], "candidate": rows})
    assert set(catalog.schema.names) == {"id", "candidate_ra", "candidate_mag_g", "candidate_mag_r"}
    assert catalog.column("candidate_ra") == [1.5, None]
    assert catalog.column("candidate_mag_g") == [20.0, None]


@pytest.mark.parametrize("name", ["candidate.mag", "candidate_mag"])
def test_part_of_a_struct_can_be_excluded(store, name):
    catalog = store({"candidate": [{"ra": 1.5, "mag": {"g": 20.0}}]}, exclude=(name,))
    assert catalog.schema.names == ["candidate_ra"]


@pytest.mark.parametrize(
    "column", [pa.array([[{"a": 1}]]), pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))]
)
def test_types_without_counterpart_are_refused_unless_excluded(store, column):
    with pytest.raises(BadInput, match=r"a\.parquet: column odd is .*exclude it"):
        store({"ra": [1.0], "odd": column})
    assert store({"ra": [1.0], "odd": column}, exclude=("odd",)).schema.names == ["ra"]


@pytest.mark.parametrize(
    ("column", "arrow", "values"),
    [
        (pa.array([7, None], pa.uint16()), pa.int32(), [7, None]),
        (pa.array([7], pa.int8()), pa.int32(), [7]),
        (pa.array([1.5], pa.float16()), pa.float32(), [1.5]),
        (pa.array([decimal.Decimal("1.25")]), pa.float64(), [1.25]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), pa.string(), ["a", "b", "a"]),
        (pa.array(["a"], pa.large_string()), pa.string(), ["a"]),
        (pa.array([datetime.time(1, 2, 3)], pa.time32("s")), pa.string(), ["01:02:03.000"]),
        (pa.array([b"ab"], pa.binary(2)), pa.binary(), [b"ab"]),
        (pa.array([[1, 2]], pa.list_(pa.uint8(), 2)), pa.list_(pa.field("element", pa.int32())), [[1, 2]]),
    ],
)
def test_types_widen_to_those_of_the_lake(store, column, arrow, values):
    catalog = store({"x": column})
    assert catalog.schema.field("x").type == arrow
    assert catalog.column("x") == values


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1_577_836_800_123_456_789], pa.timestamp("ns")),
        pa.array([1_577_836_800_123_456], pa.timestamp("us", tz="UTC")),
    ],
)
def test_timestamps_are_microseconds_utc(store, column):
    expected = datetime.datetime(2020, 1, 1, 0, 0, 0, 123456, tzinfo=datetime.UTC)
    assert store({"t": column}).column("t") == [expected]


def test_dates_are_timestamps(store):
    catalog = store({"t": pa.array([datetime.date(2020, 1, 2)])})
    assert catalog.column("t") == [datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)]


def test_nan_stays_nan_because_parquet_has_nulls(store):
    first, second = store({"x": pa.array([float("nan"), None])}).column("x")
    assert np.isnan(first)
    assert second is None


def test_unsigned_numbers_beyond_int64_are_malformed_rows(store):
    catalog = store({"id": pa.array([1, 2**64 - 1, None], pa.uint64())})
    assert catalog.column("id") == [1, None]
    assert [bad.row for bad in catalog.malformed] == [1]


def test_units_are_kept_and_other_metadata_is_not(store):
    field = pa.field("ra", pa.float64(), metadata={"unit": "deg", "PARQUET:field_id": "7"})
    catalog = store(pa.table({"ra": [1.0]}, schema=pa.schema([field])))
    assert catalog.schema.field("ra").metadata == {b"unit": b"deg"}


@pytest.mark.parametrize("step", [1, 7, 10, 25, 100])
def test_slices_over_row_groups_put_together_are_the_file(store, read, tmp_path, step):
    store({"ra": np.arange(100)}, row_group_size=10)
    parts = [
        read(tmp_path / "a.parquet", row_range=(low, low + step), batch_rows=4) for low in range(0, 100, step)
    ]
    assert [x for part in parts for x in part.column("ra")] == list(range(100))
    assert [x for part in parts for x in part.row_numbers] == list(range(100))


def test_a_slice_beyond_the_end_has_no_rows(store):
    assert store({"ra": [1.0]}, row_range=(5, 9)).table.num_rows == 0


def test_a_damaged_file_is_refused_by_name(read, write):
    with pytest.raises(BadInput, match=r"a\.parquet: cannot be read as parquet"):
        read(write("a.parquet", b"PAR1 and nothing more"))


def test_struct_fields_that_meet_another_column_are_refused(store):
    with pytest.raises(BadInput, match="'a_b' and 'a_b'"):
        store({"a": [{"b": 1}], "a_b": [2]})


def test_alert_packets_of_a_survey(survey_data, read):
    path = survey_data / "transients" / "ztf_alerts_parquet" / "fink_ztf_lowrb_51.parquet"
    catalog = read(path, exclude=("prv_candidates", "cutoutScience", "cutoutTemplate", "cutoutDifference"))
    expected = pq.read_table(path, columns=["candidate"]).column("candidate").combine_chunks()
    assert catalog.column("candidate_ra") == pa.compute.struct_field(expected, "ra").to_pylist()
    assert catalog.table.num_rows == 51
