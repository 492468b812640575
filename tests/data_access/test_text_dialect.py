"""How text files are written: delimiters, names, units, comments, ECSV."""

import pytest
from astropy.table import Table

from astrolake.data_access.formats import text_dialect
from astrolake.errors import BadArguments, BadInput

CSV = "objid,ra,dec,name\n1237651496297431177,10.5,-1,a\n1237651496297431178,11,2.25,b\n"


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
    assert read(write("a.cat", "# some three words\n# id ra dec\n1 2 3\n")).schema.names == [
        "id",
        "ra",
        "dec",
    ]


def test_a_header_line_alone_gives_no_rows(read, write):
    catalog = read(write("a.csv", "ra,dec\n"))
    assert catalog.schema.names == ["ra", "dec"]
    assert catalog.table.num_rows == 0


def test_vizier_units_and_dashes_are_no_rows(read, write):
    catalog = read(
        write("a.tsv", "#VizieR\nRAJ2000\tDEJ2000\tVmag\ndeg\tdeg\tmag\n---\t---\t---\n 1.5\t-2\t12.5\n")
    )
    assert catalog.column("Vmag") == [12.5]
    assert catalog.schema.field("Vmag").metadata == {b"unit": b"mag"}


def test_encodings_that_do_not_extend_ascii_are_refused(read, write):
    with pytest.raises(BadArguments, match="utf-16"):
        read(write("a.csv", "ra,dec\n1,2\n"), encoding="utf-16")


def test_a_wrong_number_of_names_is_refused_with_both_counts(read, write):
    with pytest.raises(BadInput, match=r"2 column names.*3 fields"):
        read(write("a.csv", "1,2,3\n4,5,6\n"), columns=("ra", "dec"))


def test_empty_file_is_refused(read, write):
    with pytest.raises(BadInput, match=r"a\.csv"):
        read(write("a.csv", ""))


def test_binary_file_called_csv_is_refused(read, write):
    with pytest.raises(BadInput, match="NUL"):
        read(write("a.csv", b"ra,dec\n\x00\x01"), fmt="csv")


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


def test_both_ways_to_collapse_blanks_agree():
    block = b"  1.5 \t 2   3\n\n 4\t5  6  \n   \n7 8 9\n"
    assert text_dialect._collapsed(block) == text_dialect._collapsed_quoted(block)
    assert text_dialect._collapsed(block) == b"1.5 2 3\n\n4 5 6\n\n7 8 9\n"
