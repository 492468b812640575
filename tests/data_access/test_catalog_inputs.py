"""From paths, globs, directories, HATS and Delta tables to catalog files."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from astrolake.data_access.catalog_files import list_inputs
from astrolake.errors import BadArguments, BadInput

ROWS = pa.table({"ra": [1.0, 2.0], "dec": [0.0, 0.0]})


@pytest.fixture
def put(tmp_path):
    """Function that writes small files of the right format below the test's directory."""

    def put_files(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".parquet"):
                pq.write_table(ROWS, path)
            else:
                path.write_text("ra,dec\n1,2\n")
        return tmp_path

    return put_files


def labels(files):
    return [file.label for file in files]


def test_files_have_uri_format_size_and_label(put):
    [file] = list_inputs([str(put("a.csv") / "a.csv")])
    assert file.uri.startswith("file:///")
    assert (file.format, file.size, file.label) == ("csv", 11, "a.csv")


def test_directories_are_searched_to_the_bottom(put):
    root = put("b.csv", "x/a.parquet", "x/y/c.csv.gz", "README.md", "picture.jpg")
    (root / "x/y/c.csv.gz").write_text("ra,dec\n")
    assert labels(list_inputs([str(root)])) == ["b.csv", "x/a.parquet", "x/y/c.csv.gz"]


def test_hidden_and_private_files_are_passed_over(put):
    root = put("a.parquet", "_metadata.parquet", ".hidden.csv", "_tmp/b.csv", ".git/c.csv")
    assert labels(list_inputs([str(root)])) == ["a.parquet"]


def test_globs_and_repeated_names_give_each_file_once(put):
    root = put("a.csv", "b.csv", "c.parquet")
    files = list_inputs([str(root / "*.csv"), str(root / "a.csv"), f"file://{root}/?.csv"])
    assert labels(files) == ["a.csv", "b.csv"]


def test_names_with_blanks_and_percent_signs(put):
    root = put("one two/a%20b.csv")
    assert labels(list_inputs([str(root / "one two")])) == ["a%20b.csv"]


@pytest.mark.parametrize("pattern", ["", "case*/a.csv", "*"])
def test_labels_are_paths_below_the_directory_that_is_named(put, pattern):
    root = put("case6/a.csv")
    expected = "a.csv" if pattern == "*" else "case6/a.csv"
    assert labels(list_inputs([str(root / pattern)])) == [expected]


def test_labels_tell_files_of_one_name_apart(put):
    root = put("case6/a.csv", "case8/a.csv")
    named = [str(root / case / "a.csv") for case in ("case6", "case8")]
    assert labels(list_inputs(named)) == ["case6/a.csv", "case8/a.csv"]


@pytest.mark.parametrize("name", ["missing.csv", "*.csv"])
def test_a_pattern_without_match_is_refused_by_name(tmp_path, name):
    with pytest.raises(BadInput, match="check the path") as error:
        list_inputs([str(tmp_path / name)])
    assert name in error.value.message


def test_an_empty_directory_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match="none of the 0 files"):
        list_inputs([str(tmp_path)])


def test_no_pattern_is_refused():
    with pytest.raises(BadInput, match="no input"):
        list_inputs([])


def test_an_unknown_format_is_refused(put):
    with pytest.raises(BadArguments, match="orc"):
        list_inputs([str(put("a.csv"))], "orc")


def test_a_given_format_selects_files_of_a_directory(put):
    root = put("a.csv", "b.parquet")
    assert labels(list_inputs([str(root)], "parquet")) == ["b.parquet"]


@pytest.mark.parametrize(
    ("content", "fmt"),
    [
        (b"SIMPLE  =                    T", "fits"),
        (b"PAR1....", "parquet"),
        (b"# %ECSV 1.0\n", "ecsv"),
        (b'<?xml version="1.0"?>\n<VOTABLE>', "votable"),
        (b"ra dec\n1 2\n", "csv"),
    ],
)
def test_format_by_content(write, content, fmt):
    assert list_inputs([str(write("noextension", content))])[0].format == fmt


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"\x89HDF\r\n\x1a\n", "write the table as Parquet"),
        (b"PK\x03\x04....", "unpack it"),
        (b"#ASDF 1.0.0\n", "ECSV"),
        (b"\x93NUMPY\x01\x00", "FITS table"),
        (b"<html>", "FITS table"),
    ],
)
def test_other_formats_are_refused_with_a_remedy(write, content, remedy):
    with pytest.raises(BadInput, match=remedy) as error:
        list_inputs([str(write("thing.dat", content))])
    assert error.value.kind == "UnsupportedFormat"
    assert "thing.dat" in error.value.message


def test_hive_directories_become_columns(put):
    root = put("year=2020/field=a%2Fb/x.parquet", "year=2021/field=__HIVE_DEFAULT_PARTITION__/x.parquet")
    first, second = list_inputs([str(root)])
    assert first.partition == (("year", "2020"), ("field", "a/b"))
    assert second.partition == (("year", "2021"), ("field", None))


def test_hive_directories_below_the_first_wildcard_become_columns(put):
    root = put("survey=x/year=2020/a.csv")
    [file] = list_inputs([str(root / "survey=x" / "year=*" / "*.csv")])
    assert file.partition == (("year", "2020"),)


def test_hats_catalogs_give_partitions_only(put):
    root = put(
        "dataset/Norder=0/Dir=0/Npix=4.parquet",
        "dataset/Norder=1/Dir=0/Npix=8/part0.parquet",
        "dataset/data_thumbnail.parquet",
        "dataset/_metadata.parquet",
        "hats.properties",
        "partition_info.csv",
    )
    assert labels(list_inputs([str(root)])) == [
        "dataset/Norder=0/Dir=0/Npix=4.parquet",
        "dataset/Norder=1/Dir=0/Npix=8/part0.parquet",
    ]
    assert {file.partition for file in list_inputs([str(root)])} == {()}


def test_hats_collections_give_their_primary_table(put):
    leaf = "dataset/Norder=0/Dir=0/Npix=4.parquet"
    root = put(f"gaia/{leaf}", "gaia/hats.properties", f"gaia_margin/{leaf}", "gaia_margin/hats.properties")
    (root / "collection.properties").write_text("obs_collection=gaia\nhats_primary_table_url=gaia\n")
    assert [file.uri.removeprefix(f"file://{root}/") for file in list_inputs([str(root)])] == [f"gaia/{leaf}"]


def test_a_directory_that_is_no_hats_catalog_is_refused(put):
    with pytest.raises(BadInput, match="Norder"):
        list_inputs([str(put("a.parquet"))], "hats")


def test_a_directory_of_tables_is_refused_with_their_names(put):
    root = put("gaia/dataset/Norder=0/Dir=0/Npix=4.parquet", "gaia/hats.properties", "b.csv")
    write_deltalake(str(root / "sdss"), ROWS)
    with pytest.raises(BadInput, match=r"\['gaia', 'sdss'\]"):
        list_inputs([str(root)])


def test_delta_tables_give_the_files_of_the_newest_snapshot(tmp_path):
    root = str(tmp_path / "a table")
    write_deltalake(root, ROWS)
    write_deltalake(root, ROWS.slice(0, 1), mode="overwrite")
    [file] = list_inputs([root])
    assert pq.ParquetFile(file.uri.removeprefix("file://")).metadata.num_rows == 1
    assert file.size > 0


def test_delta_partition_columns_are_kept(tmp_path):
    root = str(tmp_path / "a table")
    write_deltalake(root, ROWS.append_column("field", pa.array(["a/b c", None])), partition_by=["field"])
    files = list_inputs([root])
    assert sorted(str(dict(file.partition)["field"]) for file in files) == ["None", "a/b c"]
    assert all(pq.ParquetFile(file.uri.removeprefix("file://")).metadata.num_rows == 1 for file in files)


def test_a_damaged_delta_log_is_refused_by_name(tmp_path):
    write_deltalake(str(tmp_path / "t"), ROWS)
    (tmp_path / "t" / "_delta_log" / "00000000000000000000.json").write_text('{"add": 7}')
    with pytest.raises(BadInput, match=r"/t: the Delta table cannot be opened"):
        list_inputs([str(tmp_path / "t")])


def test_an_empty_delta_table_is_refused(tmp_path):
    root = str(tmp_path / "t")
    write_deltalake(root, ROWS)
    DeltaTable(root).delete()
    with pytest.raises(BadInput, match="empty"):
        list_inputs([root])


@pytest.mark.parametrize(
    ("protocol", "configuration"),
    [
        (
            {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": ["deletionVectors"],
                "writerFeatures": ["deletionVectors"],
            },
            {},
        ),
        ({"minReaderVersion": 2, "minWriterVersion": 5}, {"delta.columnMapping.mode": "name"}),
    ],
)
def test_delta_tables_whose_files_do_not_show_the_rows_are_refused(tmp_path, protocol, configuration):
    root = tmp_path / "t"
    write_deltalake(str(root), ROWS)
    log = root / "_delta_log" / "00000000000000000000.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = protocol
        if "metaData" in action:
            action["metaData"]["configuration"] = configuration
            schema = json.loads(action["metaData"]["schemaString"])
            for number, field in enumerate(schema["fields"], 1):
                field["metadata"] = {
                    "delta.columnMapping.id": number,
                    "delta.columnMapping.physicalName": f"col-{number}",
                }
            action["metaData"]["schemaString"] = json.dumps(schema)
    log.write_text("\n".join(map(json.dumps, actions)))
    with pytest.raises(BadInput, match="REORG") as error:
        list_inputs([str(root)])
    assert error.value.kind == "UnsupportedFormat"
