"""FITS tables: choice of the HDU, slices, compression and damage."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table

from astrolake.data_access.catalog_files import ReadOptions, file_schema, list_inputs, row_count
from astrolake.data_access.formats import fits as fits_format
from astrolake.errors import BadArguments, BadInput


def positions(rows, name="cat"):
    table = fits.table_to_hdu(Table({"ra": np.arange(rows) * 1.0, "dec": np.zeros(rows)}))
    table.name = name
    return table


def other(rows, name="other"):
    table = fits.table_to_hdu(Table({"flux": np.arange(rows) * 1.0}))
    table.name = name
    return table


@pytest.mark.parametrize(
    ("tables", "chosen"),
    [
        ((other(2), positions(0), positions(3)), 3),
        ((other(0), other(4), positions(0)), 2),
        ((other(0), positions(0)), 2),
        ((other(0),), 1),
    ],
)
def test_the_first_table_with_rows_and_positions_is_read(tmp_path, tables, chosen):
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "a.fits")
    [file] = list_inputs([str(tmp_path / "a.fits")])
    assert row_count(file, ReadOptions()) == len(tables[chosen - 1].data)
    assert file_schema(file, ReadOptions()).names == tables[chosen - 1].columns.names


@pytest.mark.parametrize("hdu", [2, "2", "OTHER"])
def test_the_hdu_option_decides(tmp_path, read, hdu):
    fits.HDUList([fits.PrimaryHDU(), positions(3), other(5)]).writeto(tmp_path / "a.fits")
    assert read(tmp_path / "a.fits", hdu=hdu).table.num_rows == 5


def test_an_unknown_hdu_is_refused_with_those_there_are(tmp_path, read):
    fits.HDUList([fits.PrimaryHDU(), positions(3)]).writeto(tmp_path / "a.fits")
    with pytest.raises(BadArguments, match="'1 CAT'"):
        read(tmp_path / "a.fits", hdu=7)


def test_compressed_images_are_no_tables(tmp_path, read):
    image = fits.CompImageHDU(np.zeros((8, 8), np.int16))
    fits.HDUList([fits.PrimaryHDU(), image, positions(3)]).writeto(tmp_path / "a.fits")
    assert read(tmp_path / "a.fits").column("ra") == [0, 1, 2]


def test_a_file_of_images_is_refused(tmp_path, read):
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "a.fits")
    with pytest.raises(BadInput, match="no table") as error:
        read(tmp_path / "a.fits")
    assert error.value.kind == "NoTable"


def test_a_table_without_rows_has_a_schema(tmp_path, read):
    fits.HDUList([fits.PrimaryHDU(), positions(0)]).writeto(tmp_path / "a.fits")
    catalog = read(tmp_path / "a.fits")
    assert catalog.schema.field("ra").type == pa.float64()
    assert catalog.table.num_rows == 0


@pytest.mark.parametrize("compressed", [False, True])
def test_slices_and_batches_put_together_are_the_file(tmp_path, fits_table, read, compressed):
    cells = np.empty(10, dtype=object)
    cells[:] = [np.arange(i, dtype=np.int16) for i in range(10)]
    path = fits_table(
        {"name": "ra", "format": "D", "array": np.arange(10.0)},
        {"name": "v", "format": "PI()", "array": cells},
    )
    if compressed:
        (tmp_path / "a.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "a.fits.gz"
    parts = [read(path, row_range=(low, low + 4), batch_rows=3) for low in (0, 4, 8)]
    assert [x for part in parts for x in part.column("ra")] == list(range(10))
    assert [x for part in parts for x in part.column("v")] == [list(range(i)) for i in range(10)]
    assert [x for part in parts for x in part.row_numbers] == list(range(10))


def test_wide_rows_are_read_few_at_a_time(fits_table, monkeypatch, read):
    monkeypatch.setattr(fits_format, "_CHUNK_BYTES", 100)
    path = fits_table({"name": "x", "format": "9D", "array": np.ones((5, 9))})
    assert read(path).batch_sizes == [1, 1, 1, 1, 1]


def test_a_truncated_table_is_refused_saying_where_it_ends(fits_table, read):
    path = fits_table({"name": "ra", "format": "D", "array": np.arange(5000.0)})
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(BadInput, match=r"a\.fits: the file ends inside rows 0 to 4999 of HDU 1") as error:
        read(path)
    assert error.value.kind == "TruncatedFile"


def test_columns_that_contradict_the_row_width_are_refused(fits_table, read):
    path = fits_table({"name": "ra", "format": "D", "array": np.arange(3.0)})
    path.write_bytes(path.read_bytes().replace(b"TFORM1  = 'D       '", b"TFORM1  = 'E       '"))
    with pytest.raises(BadInput, match="NAXIS1 says 8"):
        read(path)


def test_a_file_that_is_no_fits_is_refused(write, read):
    with pytest.raises(BadInput, match="SIMPLE") as error:
        read(write("a.fits", "hello"))
    assert error.value.kind == "NotFits"


def test_ascii_tables(fits_table, read):
    path = fits_table(
        {"name": "ra", "format": "F10.4", "array": np.array([1.5, 2.25]), "unit": "deg"},
        {"name": "name", "format": "A5", "array": np.array(["ab", "c"])},
        kind=fits.TableHDU,
    )
    catalog = read(path)
    assert catalog.column("ra") == [1.5, 2.25]
    assert catalog.column("name") == ["ab", "c"]
    assert catalog.schema.field("ra").metadata == {b"unit": b"deg"}
