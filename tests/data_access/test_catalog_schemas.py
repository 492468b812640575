"""One schema for many files: widening, conflicts, metadata."""

import pyarrow as pa
import pytest

from astrolake.data_access.schemas import lake_schema, merge_schemas, wider_type
from astrolake.errors import BadInput

FLOATS = pa.list_(pa.field("element", pa.float64()))
INTS = pa.list_(pa.field("element", pa.int32()))


@pytest.mark.parametrize(
    ("a", "b", "wider"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.int64(), pa.string(), pa.string()),
        (pa.bool_(), pa.int32(), pa.string()),
        (pa.timestamp("us", "UTC"), pa.string(), pa.string()),
        (pa.null(), INTS, INTS),
        (INTS, FLOATS, FLOATS),
        (INTS, pa.int32(), None),
        (pa.binary(), pa.string(), None),
    ],
)
def test_wider_type_is_symmetric(a, b, wider):
    assert wider_type(a, b) == wider
    assert wider_type(b, a) == wider


def test_columns_keep_the_order_of_appearance():
    first = pa.schema([("ra", pa.float64()), ("dec", pa.float64())])
    second = pa.schema([("mag", pa.float32()), ("ra", pa.float64())])
    assert merge_schemas([("a", first), ("b", second)]).names == ["ra", "dec", "mag"]


def test_a_column_without_values_anywhere_becomes_text():
    schema = pa.schema([("n", pa.null())])
    assert merge_schemas([("a", schema), ("b", schema)]).field("n").type == pa.string()


def test_a_column_without_values_takes_the_type_of_another_file():
    merged = merge_schemas([("a", pa.schema([("n", pa.null())])), ("b", pa.schema([("n", pa.int64())]))])
    assert merged.field("n").type == pa.int64()


def test_names_that_differ_by_case_are_refused_with_file_and_column():
    with pytest.raises(BadInput, match=r"b: column 'RA' is spelled 'ra' in a"):
        merge_schemas([("a", pa.schema([("ra", pa.float64())])), ("b", pa.schema([("RA", pa.float64())]))])


def test_types_that_do_not_go_together_are_refused_with_file_and_column():
    with pytest.raises(BadInput, match=r"b: column m is list<element: int32>, but int32 in a"):
        merge_schemas([("a", pa.schema([("m", pa.int32())])), ("b", pa.schema([("m", INTS)]))])


def with_unit(unit):
    return pa.schema([pa.field("ra", pa.float64(), metadata={"unit": unit} if unit else None)])


def test_units_that_differ_are_refused_with_file_and_column():
    with pytest.raises(BadInput, match=r"b: column ra is in rad, but in deg in a"):
        merge_schemas([("a", with_unit("deg")), ("b", with_unit("rad"))])


@pytest.mark.parametrize(("first", "second"), [("deg", "degree"), ("", "deg"), ("Angle[deg]", "angle[deg]")])
def test_units_that_agree_are_merged(first, second):
    merged = merge_schemas([("a", with_unit(first)), ("b", with_unit(second))])
    assert merged.field("ra").metadata[b"unit"].decode() == (first or second)


def test_no_file_is_refused():
    with pytest.raises(BadInput, match="at least one"):
        merge_schemas([])


def test_a_column_without_name_is_refused():
    with pytest.raises(BadInput, match="a: a column has no name"):
        lake_schema([pa.field(" ", pa.int64())], "a")


def test_long_types_are_shortened_in_the_message():
    struct = pa.struct([(f"field{i}", pa.int64()) for i in range(50)])
    with pytest.raises(BadInput, match="column odd is struct") as error:
        lake_schema([pa.field("odd", struct)], "a")
    assert len(error.value.message) < 200
