"""Delimited text: types from the whole file, malformed rows, slices."""

import bz2
import gzip
import lzma

import pyarrow as pa
import pytest

from astrolake.data_access.formats import text_blocks
from astrolake.data_access.formats.base import ReadOptions
from astrolake.data_access.formats.text_blocks import parse_block
from astrolake.data_access.formats.text_dialect import Dialect, TextColumn
from astrolake.errors import BadInput

CSV = "objid,ra,dec,name\n1237651496297431177,10.5,-1,a\n1237651496297431178,11,2.25,b\n"


def test_identifiers_of_19_digits_keep_every_digit(read, write):
    catalog = read(write("a.csv", CSV))
    assert catalog.schema.field("objid").type == pa.int64()
    assert catalog.column("objid") == [1237651496297431177, 1237651496297431178]


def test_integers_beside_fractions_widen_to_float(read, write):
    assert read(write("a.csv", CSV)).column("ra") == [10.5, 11.0]


def test_a_late_row_widens_the_type_of_all_rows(read, write, monkeypatch):
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", 64)
    catalog = read(write("a.csv", "ra,dec,n\n" + "1,2,3\n" * 200 + "1,2,x7\n"))
    assert catalog.schema.field("n").type == pa.string()
    assert catalog.column("n")[-2:] == ["3", "x7"]
    assert catalog.malformed == []


def test_integers_beyond_int64_stay_text(read, write):
    catalog = read(write("a.csv", "id,ra,dec\n18446744073709551615,1,2\n7,1,2\n"))
    assert catalog.column("id") == ["18446744073709551615", "7"]


def test_hexadecimal_identifiers_stay_text(read, write):
    assert read(write("a.csv", "id,ra,dec\n0x1F,1,2\n")).column("id") == ["0x1F"]


def test_dates_stay_text(read, write):
    assert read(write("a.csv", "t,ra,dec\n2024-01-02T03:04:05,1,2\n")).column("t") == ["2024-01-02T03:04:05"]


def test_plus_signs_are_read_as_numbers(read, write):
    catalog = read(write("a.csv", "ra,dec,n\n1,+2.5,+7\n"))
    assert catalog.column("dec") == [2.5]
    assert catalog.column("n") == [7]


def test_booleans(read, write):
    assert read(write("a.csv", "ra,dec,b\n1,2,true\n1,2,False\n1,2,\n")).column("b") == [True, False, None]


@pytest.mark.parametrize("token", ["", "null", "NULL", "nan", "NaN", "N/A", "-", '""', " "])
def test_null_tokens(read, write, token):
    catalog = read(write("a.csv", f"ra,dec,n\n1,2,{token}\n1,2,5\n"))
    assert catalog.column("n") == [None, 5]


def test_a_column_without_values_has_the_null_type_and_settles_as_text(read, write):
    catalog = read(write("a.csv", "ra,dec,n\n1,2,\n"))
    assert catalog.schema.field("n").type == pa.null()
    assert catalog.table.schema.field("n").type == pa.string()


def test_a_row_of_tabs_is_a_row_without_values(read, write):
    catalog = read(write("a.tsv", "ra\tdec\tn\n1\t2\t3\n\t\t\n4\t5\t6\n"))
    assert catalog.column("ra") == [1, None, 4]


def test_doubled_quotes_and_delimiters_in_quotes(read, write):
    assert read(write("a.csv", 'ra,dec,name\n1,2,"a ""b"", c"\n')).column("name") == ['a "b", c']


def test_a_row_with_missing_fields_is_reported_beside_good_rows(read, write):
    catalog = read(write("a.csv", "ra,dec,n\n1,2,3\n4,5\n6,7,8\n"))
    assert catalog.column("ra") == [1, 6]
    assert catalog.row_numbers == [0, 2]
    assert catalog.malformed == [(1, "4,5", "the row has 2 fields, not 3")]


def test_text_in_a_position_column_is_malformed_not_a_reason_to_widen(read, write):
    catalog = read(write("a.csv", "ra,dec,n\n1,2,3\nabc,5,6\n7,8,9\n"))
    assert catalog.column("ra") == [1.0, 7.0]
    assert catalog.row_numbers == [0, 2]
    [bad] = catalog.malformed
    assert (bad.row, bad.text) == (1, "abc,5,6")
    assert "column ra: 'abc'" in bad.message


def test_positions_that_are_mostly_text_stay_text(read, write):
    catalog = read(write("a.csv", "ra,dec\n00 01 02.5,+10 00 00\n00 01 03.5,+11 00 00\n"))
    assert catalog.schema.field("ra").type == pa.string()


def test_an_unclosed_quote_takes_no_other_row_with_it(read, write):
    catalog = read(write("a.csv", 'ra,dec,name\n1,2,a\n3,4,"b\n5,6,c\n7,8,"d"\n'))
    assert catalog.column("name") == ["a", "c", "d"]
    assert catalog.row_numbers == [0, 2, 3]
    [bad] = catalog.malformed
    assert bad.row == 1
    assert "quotes" in bad.message


def test_a_line_that_is_no_utf8_is_reported_alone(read, write):
    catalog = read(write("a.csv", b"ra,dec,name\n1,2,a\n3,4,\xe9toile\n5,6,b\n"))
    assert catalog.column("ra") == [1, 5]
    assert "give the encoding" in catalog.malformed[0].message


def test_encoding_option(read, write):
    path = write("a.csv", "ra,dec,name\n3,4,étoile\n".encode("latin-1"))
    assert read(path, encoding="latin-1").column("name") == ["étoile"]


def test_columns_that_differ_by_case_are_refused(read, write):
    with pytest.raises(BadInput, match="'ra' and 'RA'"):
        read(write("a.csv", "ra,dec,RA\n1,2,3\n"))


@pytest.mark.parametrize(
    ("name", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_compressed_text(read, write, name, pack):
    assert read(write(f"a.csv.{name}", pack(CSV.encode()))).column("name") == ["a", "b"]


def test_truncated_gzip_is_refused_by_name(read, write):
    rows = "".join(f"{i},{i * 7919 % 90}\n" for i in range(20000))
    whole = gzip.compress(f"ra,dec\n{rows}".encode())
    with pytest.raises(BadInput, match=r"a\.csv\.gz.*damaged"):
        read(write("a.csv.gz", whole[: len(whole) // 2]))


def test_slices_put_together_are_the_file(read, write, monkeypatch):
    monkeypatch.setattr(text_blocks, "_BLOCK_BYTES", 64)
    path = write("a.csv", "ra,dec\n" + "".join(f"{i},{i % 90}\n" if i % 10 else "bad\n" for i in range(100)))
    whole = read(path)
    parts = [read(path, row_range=(low, low + 30)) for low in range(0, 120, 30)]
    assert [x for part in parts for x in part.row_numbers] == whole.row_numbers
    assert [x for part in parts for x in part.malformed] == whole.malformed
    assert len(whole.row_numbers) + len(whole.malformed) == 100
    assert pa.concat_tables([part.table for part in parts]).equals(whole.table)


def test_batches_hold_at_most_the_rows_asked_for(read, write):
    assert read(write("a.csv", "ra,dec\n" + "1,2\n" * 10), batch_rows=3).batch_sizes == [3, 3, 3, 1]


def test_exclude_leaves_a_column_out_in_any_case(read, write):
    assert read(write("a.csv", CSV), exclude=("NAME",)).schema.names == ["objid", "ra", "dec"]


def test_a_cell_out_of_the_declared_range_is_malformed(read, write):
    text = (
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: ra, datatype: float64}\n# - {name: n, datatype: int32}\n"
    )
    catalog = read(write("a.ecsv", f"{text}ra n\n1.5 7\n2.5 3000000000\n"))
    assert catalog.column("n") == [7]
    assert "column n: '3000000000'" in catalog.malformed[0].message


def test_the_line_by_line_parser_agrees_with_the_fast_one():
    dialect = Dialect(",", tuple(map(TextColumn, ("a", "b"))), 0)
    block = b'1,x\n"2,3",y\nz\n4,"p ""q"""\n'
    fast, slow = parse_block(block, dialect), text_blocks._parse_lines(block, dialect)
    assert fast.columns == slow.columns
    assert fast.index.tolist() == slow.index.tolist()
    assert fast.malformed == slow.malformed


def test_options_are_frozen():
    with pytest.raises(AttributeError):
        ReadOptions().hdu = 1  # type: ignore[misc]
