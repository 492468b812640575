"""Delimited text: dialects, types from the whole file, malformed rows, slices."""

import bz2
import gzip
import lzma

import pyarrow as pa
import pytest
from astropy.table import Table

from astrolake.data_access.formats import text_blocks
from astrolake.data_access.formats.base import ReadOptions
from astrolake.data_access.formats.text_blocks import parse_block
from astrolake.data_access.formats.text_dialect import Dialect, TextColumn
from astrolake.errors import BadArguments, BadInput

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


def test_comments_and_empty_lines_are_no_rows(read, write):
    catalog = read(write("a.csv", "#Table1\nra,dec\n1,2\n\n# between\n   \n3,4\n"))
    assert catalog.column("ra") == [1, 3]
    assert catalog.row_numbers == [0, 1]


def test_windows_line_ends_and_byte_order_mark(read, write):
    catalog = read(write("a.csv", b"\xef\xbb\xbfra,dec\r\n1,2\r\n3,4\r\n"))
    assert catalog.schema.names == ["ra", "dec"]
    assert catalog.column("dec") == [2, 4]


def test_last_line_without_line_end(read, write):
    assert read(write("a.csv", "ra,dec\n1,2\n3,4")).column("ra") == [1, 3]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_recognised(read, write, delimiter):
    lines = [delimiter.join(row) for row in (("ra", "dec", "name"), ("1.5", "2", "a b"), ("3", "4", "c d"))]
    catalog = read(write("a.txt", "\n".join(lines)))
    assert catalog.column("name") == ["a b", "c d"]


def test_runs_of_blanks_separate_fields(read, write):
    catalog = read(write("a.dat", "  ra    dec   band\n  1.5\t-2   r'  \n 10   3   g'\n"))
    assert catalog.column("band") == ["r'", "g'"]
    assert catalog.column("ra") == [1.5, 10]


def test_blanks_inside_quotes_stay_with_blanks_as_delimiter(read, write):
    catalog = read(write("a.dat", 'ra dec name\n1   2   "a  b"\n3 4 c\n'))
    assert catalog.column("name") == ["a  b", "c"]


def test_blanks_between_delimiters_and_quotes(read, write):
    catalog = read(write("a.csv", 'ra , dec , name\n1 , 2 , "a, b"\n3 , 4 , "c"\n'))
    assert catalog.schema.names == ["ra", "dec", "name"]
    assert catalog.column("name") == ["a, b", "c"]


def test_doubled_quotes_and_delimiters_in_quotes(read, write):
    assert read(write("a.csv", 'ra,dec,name\n1,2,"a ""b"", c"\n')).column("name") == ['a "b", c']


def test_columns_name_a_file_without_header(read, write):
    catalog = read(write("a.txt", "1 2 r'\n3 4 g'\n"), columns=("ra", "dec", "band"), delimiter=" ")
    assert catalog.column("dec") == [2, 4]


def test_a_file_without_names_is_refused_with_the_remedy(read, write):
    with pytest.raises(BadInput, match="name its 3 columns") as error:
        read(write("a.txt", "1 2 r'\n3 4 g'\n"))
    assert error.value.kind == "NoColumnNames"


def test_names_in_a_comment_line(read, write):
    assert read(write("a.cat", "# made by x\n# id ra dec\n#\n1 2 3\n")).schema.names == ["id", "ra", "dec"]


def test_of_two_comment_lines_the_one_with_positions_names_the_columns(read, write):
    assert read(write("a.cat", "# some three words\n# id ra dec\n1 2 3\n")).schema.names == ["id", "ra", "dec"]


def test_a_header_line_alone_gives_no_rows(read, write):
    catalog = read(write("a.csv", "ra,dec\n"))
    assert catalog.schema.names == ["ra", "dec"]
    assert catalog.table.num_rows == 0


def test_vizier_units_and_dashes_are_no_rows(read, write):
    catalog = read(write("a.tsv", "#VizieR\nRAJ2000\tDEJ2000\tVmag\ndeg\tdeg\tmag\n---\t---\t---\n 1.5\t-2\t12.5\n"))
    assert catalog.column("Vmag") == [12.5]
    assert catalog.schema.field("Vmag").metadata == {b"unit": b"mag"}


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


def test_encodings_that_do_not_extend_ascii_are_refused(read, write):
    with pytest.raises(BadArguments, match="utf-16"):
        read(write("a.csv", "ra,dec\n1,2\n"), encoding="utf-16")


def test_a_wrong_number_of_names_is_refused_with_both_counts(read, write):
    with pytest.raises(BadInput, match=r"2 column names.*3 fields"):
        read(write("a.csv", "1,2,3\n4,5,6\n"), columns=("ra", "dec"))


def test_columns_that_differ_by_case_are_refused(read, write):
    with pytest.raises(BadInput, match="'ra' and 'RA'"):
        read(write("a.csv", "ra,dec,RA\n1,2,3\n"))


def test_empty_file_is_refused(read, write):
    with pytest.raises(BadInput, match=r"a\.csv"):
        read(write("a.csv", ""))


def test_binary_file_called_csv_is_refused(read, write):
    with pytest.raises(BadInput, match="NUL"):
        read(write("a.csv", b"ra,dec\n\x00\x01"), fmt="csv")


@pytest.mark.parametrize(("name", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
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
    assert sum((part.row_numbers for part in parts), []) == whole.row_numbers
    assert sum((part.malformed for part in parts), []) == whole.malformed
    assert len(whole.row_numbers) + len(whole.malformed) == 100
    assert pa.concat_tables([part.table for part in parts]).equals(whole.table)


def test_batches_hold_at_most_the_rows_asked_for(read, write):
    assert read(write("a.csv", "ra,dec\n" + "1,2\n" * 10), batch_rows=3).table.num_rows == 10


def test_exclude_leaves_a_column_out_in_any_case(read, write):
    assert read(write("a.csv", CSV), exclude=("NAME",)).schema.names == ["objid", "ra", "dec"]


def test_ecsv_takes_types_units_and_lists_from_its_header(read, tmp_path):
    table = Table({"id": [1, 2], "ra": [1.5, 2.5], "dec": [0.0, 1.0], "flux": [[1.0, 2.0], [3.0, 4.0]]})
    table["name"] = ["-", "b c"]
    table["ra"].unit = "deg"
    table["ra"].description = "Right ascension"
    table["ra"].meta["ucd"] = "pos.eq.ra;meta.main"
    table.write(tmp_path / "a.ecsv")
    catalog = read(tmp_path / "a.ecsv")
    assert catalog.file.format == "ecsv"
    assert catalog.schema.field("ra").metadata == {
        b"unit": b"deg",
        b"doc": b"Right ascension",
        b"ucd": b"pos.eq.ra;meta.main",
    }
    assert catalog.column("flux") == [[1.0, 2.0], [3.0, 4.0]]
    assert catalog.column("name") == ["-", "b c"]


def test_ecsv_masked_cells_are_null(read, tmp_path):
    table = Table({"ra": [1.5, 2.5], "dec": [0.0, 1.0], "n": [1, 2], "s": ["a", "b"]}, masked=True)
    table["n"].mask = [True, False]
    table["s"].mask = [False, True]
    table.write(tmp_path / "a.ecsv", delimiter=",")
    catalog = read(tmp_path / "a.ecsv")
    assert catalog.column("n") == [None, 2]
    assert catalog.column("s") == ["a", None]


def test_a_cell_out_of_the_declared_range_is_malformed(read, write):
    text = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: ra, datatype: float64}\n# - {name: n, datatype: int32}\n"
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
