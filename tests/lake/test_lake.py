import errno
import json
from dataclasses import replace

import pytest
from fsspec.implementations.local import LocalFileSystem
from lake_tables import put_rows

from astrolake.errors import BadArguments, NotALake, TableNotFound
from astrolake.lake.lake import Lake, check_name, sql_name
from astrolake.schema import CATALOG, CROSSMATCH, REJECTS

STARS = replace(CATALOG, name="stars")
STAR = {"source_id": 1, "ra": 10.0, "dec": 20.0}


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.create(str(tmp_path / "my lake"))


def test_create_makes_the_directory_and_its_marker(tmp_path):
    Lake.create(str(tmp_path / "a" / "my lake"))
    assert json.loads((tmp_path / "a" / "my lake" / "astrolake.json").read_text()) == {"format": 1}


def test_create_takes_an_empty_directory(tmp_path):
    assert Lake.create(str(tmp_path)).uri == f"file://{tmp_path}"


def test_create_opens_the_lake_that_is_there(lake):
    put_rows(lake, STARS, [STAR])
    assert Lake.create(lake.uri) == lake
    assert lake.tables() == ["stars"]


def test_open_finds_a_lake_by_path_and_by_uri(lake, tmp_path):
    assert Lake.open(str(tmp_path / "my lake")) == Lake.open(lake.uri) == lake


def test_create_refuses_a_directory_with_other_things(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(NotALake, match="choose an empty or new location"):
        Lake.create(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("below", ["", "/lake"])
def test_create_refuses_a_file(tmp_path, below):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(NotALake, match="file"):
        Lake.create(f"{tmp_path}/file{below}")


def test_open_of_nothing_says_how_to_make_a_lake(tmp_path):
    with pytest.raises(NotALake, match="create one with an ingest job"):
        Lake.open(str(tmp_path / "nowhere"))


def test_open_refuses_a_newer_format(lake, tmp_path):
    (tmp_path / "my lake" / "astrolake.json").write_text('{"format": 2}')
    with pytest.raises(NotALake, match="format 2; this version reads 1"):
        Lake.open(lake.uri)


@pytest.mark.parametrize("text", ["", '{"form', "\x00\x01", "\xff"])
def test_open_refuses_a_damaged_marker_and_says_what_belongs_there(lake, tmp_path, text):
    (tmp_path / "my lake" / "astrolake.json").write_text(text, encoding="latin-1")
    with pytest.raises(NotALake, match=r'damaged.*"format": 1'):
        Lake.open(lake.uri)


def test_open_refuses_a_marker_that_is_something_else(lake, tmp_path):
    (tmp_path / "my lake" / "astrolake.json").write_text("[1]")
    with pytest.raises(NotALake, match="format None"):
        Lake.open(lake.uri)


def test_create_mends_the_empty_marker_that_a_full_disk_left(tmp_path):
    (tmp_path / "astrolake.json").touch()
    Lake.create(str(tmp_path))
    assert Lake.open(str(tmp_path)).tables() == []


def test_an_empty_marker_beside_other_things_is_no_lake(tmp_path):
    (tmp_path / "astrolake.json").touch()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(NotALake, match="exists and is not a lake"):
        Lake.create(str(tmp_path))


def test_a_full_disk_is_not_taken_for_something_else(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, "pipe_file", full)
    with pytest.raises(OSError, match="No space left"):
        Lake.create(str(tmp_path / "lake"))


# Tests may run as root, whom no file mode stops.
def _denied(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_open_without_permission_names_the_marker(lake, monkeypatch):
    monkeypatch.setattr(LocalFileSystem, "open", _denied)
    with pytest.raises(NotALake, match=r"no permission to read .*astrolake\.json"):
        Lake.open(lake.uri)


@pytest.mark.parametrize("step", ["makedirs", "pipe_file"])
def test_create_without_permission_names_the_location(tmp_path, monkeypatch, step):
    monkeypatch.setattr(LocalFileSystem, step, _denied)
    with pytest.raises(NotALake, match=r"no permission to create a lake at .*new"):
        Lake.create(str(tmp_path / "new"))


@pytest.mark.parametrize(
    "name", ["a[1]", "50%20off", "run*", "what?", "{x}", "a\\b", "a|b", "a^b", "new\nline"]
)
def test_locations_that_some_engine_misreads_are_refused(tmp_path, name):
    with pytest.raises(BadArguments, match="choose another directory"):
        Lake.create(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["with space", "umläut", "a#b", "it's", 'a"b', "a&b", "a=b,c;d", "a:b", "~x", "$HOME"]
)
def test_other_locations_hold_tables(tmp_path, name):
    lake = Lake.create(str(tmp_path / name))
    put_rows(lake, STARS, [STAR])
    assert Lake.open(lake.uri).tables() == ["stars"]


@pytest.mark.parametrize("name", ["stars", "s2", "gaia_dr3", "crossmatches/a_x_b"])
def test_names_that_are_directories_and_identifiers_pass(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Stars",
        "1a",
        "_a",
        "a-b",
        "a b",
        "a.b",
        "../a",
        "a/b",
        "stars\n",
        "crossmatches/",
        "crossmatches/a/b",
        "é",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(BadArguments, match="lower case letters"):
        check_name(name)


def test_tables_lists_every_kind_sorted(lake):
    put_rows(lake, STARS, [STAR])
    put_rows(lake, REJECTS, [{"source": "x"}])
    put_rows(lake, replace(CROSSMATCH, name="crossmatches/a_x_b"), [{"left_id": 1, "ra": 1.0, "dec": 1.0}])
    assert lake.tables() == ["crossmatches/a_x_b", "rejects", "stars"]


def test_a_directory_without_a_log_is_no_table(lake, tmp_path):
    (tmp_path / "my lake" / "left_by_a_killed_run" / "dataset" / "Norder=0").mkdir(parents=True)
    assert lake.tables() == []
    assert not lake.has_table("left_by_a_killed_run")


def test_a_log_without_a_commit_is_no_table(lake, tmp_path):
    for folder in ("stars/dataset", "rejects"):
        (tmp_path / "my lake" / folder / "_delta_log").mkdir(parents=True)
    (tmp_path / "my lake" / "rejects" / "_delta_log" / "_commit_1.json.tmp").touch()
    assert lake.tables() == []
    assert not lake.has_table("stars")
    assert not lake.has_table("rejects")


def test_delta_storage_is_below_dataset_for_positional_tables_alone(lake):
    put_rows(lake, STARS, [STAR])
    put_rows(lake, REJECTS, [{"source": "x"}])
    assert lake.delta_storage("stars").root == f"{lake.uri}/stars/dataset"
    assert lake.delta_storage("rejects").root == f"{lake.uri}/rejects"


def test_a_missing_table_is_named_beside_those_there_are(lake):
    put_rows(lake, STARS, [STAR])
    with pytest.raises(TableNotFound, match=r"no table 'galaxies'; it has \['stars'\]"):
        lake.delta_storage("galaxies")


def test_a_bad_name_never_leaves_the_lake(lake):
    with pytest.raises(BadArguments):
        lake.delta_storage("../elsewhere", positional=True)


def test_sql_name_of_a_crossmatch_has_no_slash():
    assert sql_name("crossmatches/a_x_b") == "crossmatches_a_x_b"
