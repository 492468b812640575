import pyarrow as pa
import pytest

from astrolake.schema import CATALOG, CROSSMATCH, OBJECTS, REGISTRY, Column, band_columns, colour_column
from astrolake.schema.arrow import delta_schema
from astrolake.schema.dictionary import data_dictionary, describe_stored
from docs.make_dictionary import generated_files, main


def test_every_table_and_column_is_described():
    page = data_dictionary({1: "crowded"})
    for table in REGISTRY.values():
        assert f"## `{table.name}`" in page
        assert all(f"| `{column.name}` | {column.type} |" in page for column in table.columns)


def test_a_column_has_unit_ucd_and_nullability():
    row = "| `ra` | float64 | deg | pos.eq.ra;meta.main | no | Right ascension, ICRS, in [0, 360) |"
    assert row in data_dictionary({})


def test_the_grain_and_key_are_told():
    assert "One row is a match. Key: `left_id`, `right_id`. Partitioned by `Norder`" in data_dictionary({})


def test_band_columns_follow_objects():
    page = data_dictionary({})
    objects, band, catalog = (
        page.index(text) for text in ("## `objects`", "mag_auto_<band>", "## `<catalog>`")
    )
    assert objects < band < catalog


def test_flags_are_sorted_by_bit():
    page = data_dictionary({256: "singular", 1: "crowded"})
    assert page.index("| 1 | crowded |") < page.index("| 256 | singular |")


def test_a_bar_in_a_meaning_does_not_end_the_cell():
    assert "| 1 | a \\| b |" in data_dictionary({1: "a | b"})


@pytest.mark.parametrize("name", ["images", "detections", "runs"])
def test_a_declared_table_is_described_by_its_declaration(name):
    table = REGISTRY[name]
    described = describe_stored(name, delta_schema(table))
    # Delta keeps neither NOT NULL nor units; both come from the declaration.
    assert described == table


def test_the_columns_of_a_band_are_recognised():
    objects = OBJECTS.with_columns((*band_columns("g"), *band_columns("w1"), colour_column("g", "w1")))
    described = describe_stored("objects", delta_schema(objects))
    assert described.column("mag_aper_err_w1").doc == "Error of mag_aper_w1"
    assert described.column("g_w1").doc == "Colour mag_aper_g - mag_aper_w1"


def test_unknown_columns_of_a_catalog_keep_their_type():
    catalog = CATALOG.with_columns((Column("parallax", "float32", ""),), "gaia")
    column = describe_stored("gaia", delta_schema(catalog)).column("parallax")
    assert (column.type, column.doc) == ("float32", "")


def test_a_crossmatch_keeps_the_type_of_its_keys():
    schema = delta_schema(CROSSMATCH)
    at = schema.get_field_index("left_id")
    stored = schema.set(at, pa.field("left_id", pa.string()))
    described = describe_stored("crossmatches/detections_x_gaia", stored)
    assert described.column("left_id").type == "string"
    assert described.column("left_id").doc == CROSSMATCH.column("left_id").doc
    assert described.name == "crossmatches/detections_x_gaia"


@pytest.mark.parametrize("name", generated_files())
def test_the_generated_files_are_up_to_date(name, capsys):
    main(["--check"])
    assert f"{name} is out of date" not in capsys.readouterr().err


def test_a_stale_file_fails_the_check_and_is_rewritten(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("docs.make_dictionary.ROOT", tmp_path)
    for folder in ("docs", "sql/tables"):
        (tmp_path / folder).mkdir(parents=True)
    assert main(["--check"]) == 1
    assert "sql/tables/objects.sql is out of date" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert (tmp_path / "docs/data-dictionary.md").read_text() == generated_files()["docs/data-dictionary.md"]
