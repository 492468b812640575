"""Columns of FITS tables: every type, nulls, scaling, vectors, metadata."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from astrolake.errors import BadInput


@pytest.fixture
def one(fits_table, read):
    """Function that writes one column and returns its schema field and values."""

    def write_one(cards=(), **column):
        catalog = read(fits_table({"name": "x", **column}, **dict(cards)))
        return catalog.schema.field("x"), catalog.column("x")

    return write_one


@pytest.mark.parametrize(
    ("form", "values", "arrow"),
    [
        ("B", [0, 255], pa.int32()),
        ("I", [-32768, 32767], pa.int32()),
        ("J", [-(2**31), 2**31 - 1], pa.int32()),
        ("K", [-(2**63), 1237651496297431177], pa.int64()),
        ("E", [1.5, -2.25], pa.float32()),
        ("D", [1e-300, 177.879650089015], pa.float64()),
        ("L", [True, False], pa.bool_()),
    ],
)
def test_numbers_keep_value_and_type(one, form, values, arrow):
    field, found = one(format=form, array=np.array(values))
    assert field.type == arrow
    assert found == values


@pytest.mark.parametrize(
    ("form", "bzero", "values", "arrow"),
    [
        ("I", 2**15, np.array([0, 65535], np.uint16), pa.int32()),
        ("J", 2**31, np.array([0, 2**32 - 1], np.uint32), pa.int64()),
        ("K", 2**63, np.array([0, 2**63 - 1], np.uint64), pa.int64()),
        ("B", -128, np.array([-128, 127], np.int8), pa.int32()),
    ],
)
def test_offset_integers_are_unsigned_or_signed_bytes(one, form, bzero, values, arrow):
    field, found = one(format=form, bzero=bzero, array=values)
    assert field.type == arrow
    assert found == values.tolist()


def test_unsigned_numbers_beyond_int64_are_malformed_rows(read, fits_table):
    values = np.array([1, 2**63, 3], np.uint64)
    catalog = read(fits_table({"name": "id", "format": "K", "bzero": 2**63, "array": values}))
    assert catalog.column("id") == [1, 3]
    assert catalog.row_numbers == [0, 2]
    [bad] = catalog.malformed
    assert (bad.row, bad.text) == (1, "9223372036854775808")
    assert "column id" in bad.message


def test_scaled_integers_become_float64(fits_table, read):
    stored = {"name": "x", "format": "I", "array": np.array([0, 3, -99], np.int16)}
    catalog = read(fits_table(stored, TSCAL1=0.5, TZERO1=10.0, TNULL1=-99))
    assert catalog.schema.field("x").type == pa.float64()
    assert catalog.column("x") == [10.0, 11.5, None]


def test_tnull_is_compared_with_the_stored_number(one):
    _, found = one(format="I", null=-99, array=np.array([1, -99], np.int16))
    assert found == [1, None]


def test_nan_is_null(one):
    assert one(format="D", array=np.array([1.0, np.nan]))[1] == [1.0, None]


def test_undefined_logical_is_null(fits_table, read):
    path = fits_table({"name": "x", "format": "L", "array": np.array([True, False])})
    data = bytearray(path.read_bytes())
    data[2 * 2880 + 1] = 0
    path.write_bytes(data)
    assert read(path).column("x") == [True, None]


def test_strings_lose_padding_and_what_follows_a_nul(fits_table, read):
    path = fits_table({"name": "x", "format": "6A", "array": ["ab", "  cd", "efghij"]})
    data = path.read_bytes().replace(b"efghij", b"ef\x00hij")
    path.write_bytes(data)
    assert read(path).column("x") == ["ab", "cd", "ef"]


def test_strings_that_are_no_utf8_are_latin_1(fits_table, read):
    path = fits_table({"name": "x", "format": "3A", "array": ["abc", "xyz"]})
    path.write_bytes(path.read_bytes().replace(b"xyz", b"\xe9yz"))
    assert read(path).column("x") == ["abc", "éyz"]


def test_vectors_become_lists(one):
    field, found = one(format="3E", array=np.array([[1, 2, 3], [4, np.nan, 6]], np.float32))
    assert field.type == pa.list_(pa.field("element", pa.float32()))
    assert found == [[1, 2, 3], [4, None, 6]]


def test_arrays_become_flat_lists_that_say_their_shape(one):
    field, found = one(format="6J", dim="(3,2)", array=np.arange(12, dtype=np.int32).reshape(2, 2, 3))
    assert found == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert field.metadata[b"doc"] == b"(array of 2 x 3, row by row)"


def test_arrays_of_strings_become_lists(one):
    _, found = one(format="6A", dim="(2,3)", array=np.array([["ab", "c", "de"], ["f", "", "gh"]]))
    assert found == [["ab", "c", "de"], ["f", "", "gh"]]


def test_bits_become_booleans(one):
    _, found = one(format="3X", array=np.array([[True, False, True], [False, True, False]]))
    assert found == [[True, False, True], [False, True, False]]


@pytest.mark.parametrize("form", ["PE()", "QE()"])
def test_variable_arrays_become_lists(one, form):
    cells = np.empty(3, dtype=object)
    cells[:] = [np.array([1.5, 2.5], np.float32), np.array([], np.float32), np.array([3.0], np.float32)]
    assert one(format=form, array=cells)[1] == [[1.5, 2.5], [], [3.0]]


def test_variable_strings_become_text(one):
    cells = np.empty(3, dtype=object)
    cells[:] = ["ab", "", "cde"]
    field, found = one(format="PA()", array=cells)
    assert field.type == pa.string()
    assert found == ["ab", "", "cde"]


def test_complex_columns_are_refused_by_name_unless_excluded(fits_table, read):
    path = fits_table(
        {"name": "vis", "format": "C", "array": np.array([1 + 2j])},
        {"name": "ra", "format": "D", "array": np.array([1.0])},
    )
    with pytest.raises(BadInput, match=r"a\.fits: column vis: complex.*exclude"):
        read(path)
    assert read(path, exclude=("vis",)).schema.names == ["ra"]


@pytest.mark.parametrize("form", ["0A", "0E", "0X", "0PE(0)"])
def test_columns_of_no_width_are_null(fits_table, read, form):
    stored = {"name": "ra", "format": "D", "array": np.arange(2.0)}
    catalog = read(fits_table(stored, TFIELDS=2, TTYPE2="x", TFORM2=form))
    assert catalog.column("x") == [None, None]
    assert catalog.column("ra") == [0.0, 1.0]


def test_units_ucds_and_comments_are_kept(one):
    field, _ = one(
        cards={"TUNIT1": "mag", "TUCD1": "phot.mag;em.opt.R", "TCOMM1": "PSF magnitude"},
        format="D",
        array=np.array([1.0]),
    )
    assert field.metadata == {b"unit": b"mag", b"ucd": b"phot.mag;em.opt.R", b"doc": b"PSF magnitude"}


def test_every_column_of_a_sweep_equals_astropy(survey_data, read):
    path = survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz"
    catalog = read(path, batch_rows=1000)
    expected = fits.getdata(path, 1)
    assert catalog.table.num_rows == 5232
    assert len(catalog.schema) == 65
    for name in expected.names:
        found = catalog.table.column(name).combine_chunks()
        values = found.flatten() if pa.types.is_list(found.type) else found
        truth = np.asarray(expected[name]).ravel()
        if truth.dtype.kind == "U":
            assert values.to_pylist() == [text.strip() for text in truth]
        else:
            np.testing.assert_array_equal(values.to_numpy(zero_copy_only=False), truth, err_msg=name)


def test_variable_arrays_of_a_mask_file_equal_astropy(survey_data, read):
    path = survey_data / "images_sdss" / "fpM-002583-g2-0136.fits"
    expected = fits.getdata(path, 1)["s"]
    assert read(path, batch_rows=50).column("s") == [cell.tolist() for cell in expected]
