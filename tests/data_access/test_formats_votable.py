"""VOTables: nulls, metadata, choice of the table."""

import numpy as np
import pytest
from astropy.io.votable import from_table, writeto
from astropy.io.votable.tree import VOTableFile
from astropy.table import MaskedColumn, Table

from astrolake.errors import BadArguments, BadInput

HEAD = '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>'
ERROR = HEAD + '<INFO name="QUERY_STATUS" value="ERROR">no such table</INFO></RESOURCE></VOTABLE>'


@pytest.fixture(params=["tabledata", "binary", "binary2"])
def votable(request, tmp_path):
    table = Table()
    table["ra"] = MaskedColumn([1.5, 2.5], mask=[False, True], unit="deg", description="Right ascension")
    table["ra"].meta["ucd"] = "pos.eq.ra;meta.main"
    table["n"] = MaskedColumn([7, 8], mask=[True, False])
    table["name"] = ["ab", "ç"]
    table["mag"] = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    cells = np.empty(2, dtype=object)
    cells[:] = [np.ma.array([1, 2], mask=[False, False]), np.ma.array([3], mask=[False])]
    table["epochs"] = cells
    file = from_table(table)
    file.get_first_table().get_field_by_id("n").values.null = -1
    path = tmp_path / "a.vot"
    writeto(file, str(path), tabledata_format=request.param)
    return path


def test_masked_cells_are_null(votable, read):
    catalog = read(votable)
    assert catalog.column("ra") == [1.5, None]
    assert catalog.column("n") == [None, 8]


def test_text_vectors_and_variable_arrays(votable, read):
    catalog = read(votable)
    assert catalog.column("name") == ["ab", "ç"]
    assert catalog.column("mag") == [[1, 2], [3, 4]]
    assert catalog.column("epochs") == [[1, 2], [3]]


def test_units_ucds_and_descriptions_are_kept(votable, read):
    metadata = read(votable).schema.field("ra").metadata
    assert metadata == {b"unit": b"deg", b"ucd": b"pos.eq.ra;meta.main", b"doc": b"Right ascension"}


def test_slices(votable, read):
    catalog = read(votable, row_range=(1, 5))
    assert catalog.column("n") == [8]
    assert catalog.row_numbers == [1]


def test_xml_without_known_extension_is_recognised_by_content(votable, read):
    votable.rename(votable.with_suffix(".xml"))
    assert read(votable.with_suffix(".xml")).file.format == "votable"


@pytest.fixture
def two_tables(tmp_path):
    file = VOTableFile()
    for name, columns in (("notes", {"text": ["a"]}), ("stars", {"ra": [1.0, 2.0], "dec": [0.0, 1.0]})):
        resource = from_table(Table(columns), table_id=name).resources[0]
        resource.tables[0].name = name
        file.resources.append(resource)
    file.to_xml(str(tmp_path / "two.vot"))
    return tmp_path / "two.vot"


def test_the_table_with_positions_is_read(two_tables, read):
    assert read(two_tables).column("ra") == [1, 2]


@pytest.mark.parametrize("choice", [0, "0", "notes"])
def test_a_table_can_be_named(two_tables, read, choice):
    assert read(two_tables, hdu=choice).column("text") == ["a"]


def test_an_unknown_table_is_refused_with_those_there_are(two_tables, read):
    with pytest.raises(BadArguments, match=r"0 notes.*1 stars"):
        read(two_tables, hdu="galaxies")


def test_a_service_error_is_no_table(read, write):
    with pytest.raises(BadInput, match="no TABLE") as error:
        read(write("a.vot", ERROR))
    assert error.value.kind == "NoTable"


def test_broken_xml_is_refused_by_name(read, write):
    with pytest.raises(BadInput, match=r"a\.vot: cannot be read as votable"):
        read(write("a.vot", HEAD + "<TABLE>"))


def test_exclude(votable, read):
    assert "epochs" not in read(votable, exclude=("epochs",)).schema.names


ROWS_ELSEWHERE = """<TABLE><FIELD name="ra" datatype="double"/><DATA>
<{kind}><{prefix}STREAM note="1 > 0" {pad} href = '{place}'/></{kind}></DATA></TABLE></RESOURCE></VOTABLE>"""


@pytest.mark.parametrize("kind", ["BINARY", "BINARY2", "FITS", "PARQUET"])
@pytest.mark.parametrize("pad", ["", "x='" + "y" * (1 << 20) + "'"], ids=["near", "across blocks"])
def test_rows_in_another_file_are_not_fetched(tmp_path, read, write, kind, pad):
    """Who wrote the file could have a reader open what only the reader may see."""
    place = (tmp_path / "secret.fits").as_uri()
    text = ROWS_ELSEWHERE.format(kind=kind, prefix="", pad=pad, place=place)
    with pytest.raises(BadInput, match=r"a\.vot: the rows of the VOTable lie in another file") as error:
        read(write("a.vot", HEAD + text))
    assert error.value.kind == "UnsafeFile"


def test_rows_in_another_file_cannot_hide(read, write):
    text = HEAD + ROWS_ELSEWHERE.format(kind="FITS", prefix="v:", pad="", place="file:///etc/hostname")
    with pytest.raises(BadInput, match="lie in another file"):
        read(write("prefix.vot", text))
    entity = "<!DOCTYPE x [<!ENTITY s \"&#60;STREAM href='file:///etc/hostname'/>\">]>"
    with pytest.raises(BadInput, match="declares entities"):
        read(write("entity.vot", entity + text))
    with pytest.raises(BadInput, match="UTF-16"):
        read(write("wide.vot", text.encode("utf-16")))


@pytest.mark.parametrize("text", ['<TABLE nrows="99999999999">{}', "<TABLE><FIELD datatype='int'/>{}"])
def test_tables_that_cannot_be_made_are_damaged(read, write, text):
    rows = "<FIELD name='ra' datatype='double'/><DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA>"
    with pytest.raises(BadInput, match=r"a\.vot: cannot be read as votable"):
        read(write("a.vot", HEAD + text.format(rows) + "</TABLE></RESOURCE></VOTABLE>"))
