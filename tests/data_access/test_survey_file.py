"""Files of surveys: what they may say, and that mistakes in them are named."""

import copy
import itertools
import re
import tomllib
from pathlib import Path

import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.units import Unit

from astrolake.data_access.surveys.registry import load_survey, survey_names
from astrolake.data_access.surveys.survey_file import parse_survey
from astrolake.errors import BadArguments, BadInput
from astrolake.schema.model import SCALAR_TYPES

KEYS = [
    {"native": "ID", "name": "source_id", "type": "int64", "doc": "Source"},
    {"native": "ra", "doc": "Right ascension"},
    {"native": "dec", "doc": "Declination"},
]
MAGNITUDE = {
    "native": "{band}mag",
    "name": "mag_{band}",
    "bands": {"g": "g", "gaia_g": "G"},
    "ucd": "phot.mag;{ucd}",
    "unit": "mag",
    "doc": "Magnitude in {band}",
    "null": [-99],
    "convert": "vega",
}
MINIMAL = {
    "name": "mine",
    "title": "My survey",
    "reference": "https://example.org",
    "releases": ["r2", "r1"],
    "band_ucds": {"g": "em.opt.B", "G": "em.opt"},
    "conversions": {"vega": {"rule": "vega_to_ab", "ab_minus_vega": {"g": 0.1, "G": 0.2}}},
    "tables": {
        "main": {
            "native": "cat_{release}",
            "doc": "A source",
            "source": "https://example.org/columns",
            "magnitude": "mag",
            "service": {"protocol": "tap", "url": "https://example.org/{release}/tap"},
            "columns": [*KEYS, MAGNITUDE],
            "cuts": {"good": {"doc": "Good ones", "source": "paper", "where": [["gmag", "<", 20.0]]}},
        }
    },
}


@pytest.fixture
def values():
    return copy.deepcopy(MINIMAL)


def test_one_entry_stands_for_a_column_of_every_band(values):
    survey = parse_survey(values, "mine.toml")
    table = survey.table()
    assert [column.name for column in table.columns] == ["source_id", "ra", "dec", "mag_g", "mag_g_cap"]
    small, capital = table.columns[3:]
    assert (small.native, small.conversion.parameters) == ("gmag", {"ab_minus_vega": 0.1})
    assert (capital.native, capital.doc, capital.conversion.parameters) == (
        "gaia_gmag",
        "Magnitude in G",
        {"ab_minus_vega": 0.2},
    )


def test_the_release_is_filled_in(values):
    assert parse_survey(values, "mine.toml").table().native == "cat_r2"
    older = parse_survey(values, "mine.toml", "r1")
    assert older.table().native == "cat_r1"
    assert older.table().service.url == "https://example.org/r1/tap"
    with pytest.raises(BadArguments, match=r"no release 'r3'.*\['r2', 'r1'\]"):
        parse_survey(values, "mine.toml", "r3")


def test_columns_of_one_release_only(values):
    values["tables"]["main"]["columns"][3]["releases"] = ["r1"]
    values["tables"]["main"]["cuts"]["good"]["releases"] = ["r1"]
    assert len(parse_survey(values, "mine.toml").table().columns) == 3
    assert len(parse_survey(values, "mine.toml", "r1").table().columns) == 5


def test_a_table_like_another_with_its_own_conversions(values):
    values["tables"]["deep"] = {
        "like": "main",
        "native": "deep",
        "doc": "A source",
        "source": "paper",
        "conversions": {"vega": {"rule": "vega_to_ab", "ab_minus_vega": 3.0}},
        "columns": [{"native": "mydec", "name": "dec", "doc": "Declination"}],
    }
    deep = parse_survey(values, "mine.toml").table("deep")
    assert [column.native for column in deep.columns] == ["ID", "ra", "mydec", "gmag", "gaia_gmag"]
    assert deep.columns[3].conversion.parameters == {"ab_minus_vega": 3.0}


def _set(*path_and_value):
    *path, last, value = path_and_value

    def change(values):
        for key in path:
            values = values[key]
        values[last] = value

    return change


MAIN = ("tables", "main")
COLUMN = (*MAIN, "columns", 3)
SERVICE = (*MAIN, "service")
MISTAKES = [
    (_set("colour", 1), r"top of the file: key 'colour' is unknown"),
    (_set("title", 3), r"top of the file: title must be text, not 3"),
    (_set("band_releases", {"g": "r1"}), r"band_releases: band g needs a list"),
    (_set("band_releases", {"g": ["r7"]}), r"band_releases 'r7' is unknown"),
    (_set("releases", []), r"releases must list one release"),
    (_set("releases", [2]), r"releases must be a list of texts"),
    (_set("tables", {}), r"release r2 has no table"),
    (_set(*MAIN, "nativ", "x"), r"\[tables.main\]: key 'nativ' is unknown \(did you mean 'native'\?\)"),
    (_set(*MAIN, "row_limit", 0), r"\[tables.main\]: row_limit must be above zero"),
    (_set(*MAIN, "row_limit", 1.5), r"row_limit must be a whole number"),
    (_set(*MAIN, "columns", KEYS[1:]), r"no column is called source_id"),
    (_set(*MAIN, "columns", [*KEYS, KEYS[1]]), r"two columns are called 'ra' in the lake"),
    (_set(*MAIN, "like", "other"), r"like 'other' is unknown"),
    (_set(*SERVICE, "protocol", "soap"), r"\[tables.main.service\]: protocol 'soap' is unknown.*tap"),
    (_set(*SERVICE, "url", "ftp://x"), r"\[tables.main.service\]: url must start with https://"),
    (_set(*SERVICE, "requests_per_s", True), r"requests_per_s must be a number"),
    (_set(*COLUMN, "typ", "int32"), r"\[tables.main.columns, \{band\}mag\]: key 'typ' is unknown"),
    (_set(*COLUMN, "type", "decimal"), r"type 'decimal' is unknown"),
    (_set(*COLUMN, "convert", "vegga"), r"conversion 'vegga' is unknown"),
    (_set(*COLUMN, "with", ["x"]), r"rule vega_to_ab needs 0 other columns in with, not 1"),
    (_set(*COLUMN, "bands", ["g", "r"]), r"bands must be letters or a table"),
    (_set(*COLUMN, "bands", "gr"), r"\[band_ucds\] has no word for band 'r'"),
    (_set("conversions", "vega", "ab_minus_vega", {"g": 1}), r"no ab_minus_vega for band 'G'"),
    (_set("conversions", "vega", "ab_minus_vega", "1"), r"ab_minus_vega of the conversion must be a number"),
    (_set(*COLUMN, "values", {"1": "STAR"}), r"values become float64, which \['STAR'\] are not"),
    (_set("conversions", "vega", "rule", "vega"), r"rule 'vega' is unknown"),
    (_set("conversions", "vega", "offset", 1), r"rule vega_to_ab has no parameters \['offset'\]"),
    (_set("conversions", {"vega": {"rule": "asinh_to_pogson"}}), r"asinh_to_pogson needs \['softening'\]"),
    (_set("conversions", {"vega": {"rule": "vega_to_ab"}}), r"m_AB - m_Vega of filter None"),
    (_set(*MAIN, "cuts", "good", "where", [["gmagg", "<", 1]]), r"column 'gmagg' is unknown"),
    (_set(*MAIN, "cuts", "good", "where", [["gmag", "~", 1]]), r"operator '~' is unknown"),
    (
        _set(*MAIN, "cuts", "good", "where", []),
        r"\[tables.main.cuts.good\]: list \[column, operator, value\]",
    ),
    (_set(*MAIN, "cuts", "good", "where", [["gmag", "between", 3]]), r"between takes \[smallest, greatest\]"),
    (_set(*MAIN, "cuts", "good", "where", [["gmag", "bits_set", 0.5]]), r"bits_set takes a mask"),
    (_set("imaging", {"protocol": "tap", "url": "https://x"}), r"\[imaging\]: protocol 'tap' is unknown"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES)
def test_mistakes_are_named_with_file_and_section(values, change, message):
    change(values)
    with pytest.raises(BadInput, match=f"(?s)mine.toml, .*{message}"):
        parse_survey(values, "mine.toml")


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("name = 'mine'\nname = 'again'\n")
    with pytest.raises(BadInput, match=r"mine\.toml: not TOML"):
        load_survey(str(path))
    with pytest.raises(BadArguments, match="there is no file"):
        load_survey(str(tmp_path / "other.toml"))
    with pytest.raises(BadArguments, match=r"'sdsss' is unknown.*'gaia'.*'sdss'"):
        load_survey("sdsss")


TABLES = [
    (name, release, table)
    for name in survey_names()
    for release in load_survey(name).releases
    for table in load_survey(name, release).tables
]


def test_the_surveys_that_come_with_the_package():
    assert survey_names() == ["gaia", "legacy", "panstarrs", "sdss", "twomass", "wise"]
    assert load_survey("gaia").imaging is None


@pytest.mark.parametrize(("name", "release", "table"), TABLES)
def test_every_packaged_table_is_complete(name, release, table):
    survey = load_survey(name, release)
    found = survey.table(table)
    assert survey.name == name
    assert [column.name for column in found.columns[:3]] == ["source_id", "ra", "dec"]
    assert {column.type for column in found.columns} <= set(SCALAR_TYPES)
    assert all(column.doc and "{" not in column.doc + column.native + column.ucd for column in found.columns)
    assert [column.unit for column in found.columns[1:3]] == ["deg", "deg"]
    assert all(check_ucd(c.ucd, check_controlled_vocabulary=True) for c in found.columns if c.ucd)
    for unit in {column.unit.removesuffix("-2") for column in found.columns} - {"", "nanomaggy"}:
        Unit(unit)
    names = {column.name for column in found.columns}
    assert any(column.startswith(f"{found.magnitude}_") for column in names)
    # A converted column says in what unit its values are, identifiers apart.
    assert all(c.unit for c in found.columns if c.conversion and c.conversion.kind != "packed_integer")
    errors = [column for column in names if "_err" in column and column.startswith("mag_")]
    assert {column.replace("_err", "") for column in errors} <= names
    assert all(cut.source and cut.doc for cut in found.cuts.values())


def test_selection_of_columns_and_what_they_need():
    table = load_survey("sdss").table()
    chosen = table.select(["mag_psf_err_r", "type"])
    assert [column.name for column in chosen] == ["source_id", "ra", "dec", "type", "mag_psf_err_r"]
    native = table.native_names(chosen, ["clean"])
    assert native == ("objID", "ra", "dec", "type", "psfMagErr_r", "psfMag_r", "mode", "clean")
    default = {column.name for column in table.select(None)}
    assert "mag_psf_r" in default
    assert "mag_petro_r" not in default
    with pytest.raises(BadArguments, match=r"no columns \['mag_r'\].*mag_psf_r"):
        table.select(["mag_r"])
    with pytest.raises(BadArguments, match=r"no cuts \['tidy'\].*'clean'"):
        table.native_names(chosen, ["tidy"])


def test_releases_of_a_survey_differ_where_they_should():
    newer, older = (load_survey("gaia", release).table() for release in ("dr3", "dr2"))
    filters = [
        [column.conversion.parameters["system"] for column in table.columns if column.name == "mag_bp"]
        for table in (newer, older)
    ]
    assert list(itertools.chain(*filters)) == ["gaia_dr3", "gaia_dr2"]
    assert (newer.native, older.native) == ("gaiadr3.gaia_source", "gaiadr2.gaia_source")
    assert (newer.bulk is None, older.bulk is None) == (False, True)


def test_the_example_of_the_documentation_can_be_loaded():
    page = (Path(__file__).parents[2] / "docs" / "surveys.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    positions = "".join(
        f'[[tables.point_source.columns]]\nnative = "{name}"\ndoc = "Position"\n' for name in ("ra", "dec")
    )
    # The page leaves out what says nothing new: position, and the flag that the cut is on.
    flag = '[[tables.point_source.columns]]\nnative = "cc_flg"\ntype = "string"\ndoc = "Artifacts"\n'
    survey = parse_survey(tomllib.loads(f"{example}\n{positions}{flag}"), "surveys.md")
    packaged = {column.name: column for column in load_survey("twomass").table().columns}
    shown = [column for column in survey.table().columns if column.name.startswith("mag_")]
    assert shown == [packaged[name] for name in ("mag_j", "mag_h", "mag_ks")]


def test_a_band_of_one_release_only(values):
    values["bands"] = ["g", "G"]
    values["band_releases"] = {"G": ["r1"]}
    newer, older = (parse_survey(values, "mine.toml", release) for release in ("r2", "r1"))
    assert [len(survey.table().columns) for survey in (newer, older)] == [4, 5]
    assert (newer.bands, older.bands) == (("g",), ("g", "G"))
    assert not [c.name for c in load_survey("legacy", "dr9").table().columns if c.name.endswith("_i")]


@pytest.mark.parametrize(
    "name", ["../x", "..", "a/b", "", "a b", "/tmp", "a\nb", "a..b", ".a", "é", "-x", "a/"]
)
def test_names_that_would_leave_their_directory_are_refused(values, name):
    for change in ({"name": name}, {"releases": ["r2", name]}):
        with pytest.raises(BadInput, match=r"mine\.toml, top of the file: name and releases"):
            parse_survey(values | change, "mine.toml")


def test_secrets_of_addresses_do_not_belong_in_the_file(values):
    values["tables"]["main"]["service"]["url"] = "https://me:hunter2@example.org/tap"
    with pytest.raises(BadInput, match=r"section \[tables\.main\.service\].*\.netrc") as error:
        parse_survey(values, "mine.toml")
    assert "hunter2" not in str(error.value)


def test_more_connections_than_any_archive_likes_are_refused(values):
    values["tables"]["main"]["service"]["connections"] = 10**9
    with pytest.raises(BadInput, match=r"connections must be 64 at most, not 1000000000"):
        parse_survey(values, "mine.toml")
