import pytest
from sqlglot import exp, parse_one

from astrolake.schema import CROSSMATCH, DETECTIONS, IMAGES, OBJECTS, REGISTRY, RUNS, Column
from astrolake.schema.athena import athena_type, ddl_template, glue_columns, table_ddl


@pytest.mark.parametrize(
    ("type_", "athena"),
    [
        ("int64", "bigint"),
        ("int32", "int"),
        ("float64", "double"),
        ("float32", "float"),
        ("string", "string"),
        ("bool", "boolean"),
        ("timestamp", "timestamp"),
        ("binary", "binary"),
        ("list<float64>", "array<double>"),
        ("list<int64>", "array<bigint>"),
    ],
)
def test_every_type_has_one_in_athena(type_, athena):
    assert athena_type(Column("c", type_, "")) == athena


def test_the_ddl_has_location_and_table_type_only():
    assert table_ddl("sky.objects", "s3://sky/lake/objects/dataset") == (
        "CREATE EXTERNAL TABLE sky.objects\n"
        "LOCATION 's3://sky/lake/objects/dataset/'\n"
        "TBLPROPERTIES ('table_type' = 'DELTA');\n"
    )


def test_a_quote_in_the_location_is_escaped():
    statement = parse_one(table_ddl("t", "s3://it's/x/"), read="athena")
    assert statement.find(exp.LocationProperty).this.this == "s3://it's/x/"


def test_partition_columns_come_last_in_lower_case():
    names = [column["Name"] for column in glue_columns(OBJECTS)]
    assert names == [*OBJECTS.column_names, "norder", "dir", "npix"]


def test_an_unpartitioned_table_has_its_own_columns_only():
    assert [column["Name"] for column in glue_columns(RUNS)] == list(RUNS.column_names)


def test_a_comment_tells_meaning_and_unit():
    columns = {column["Name"]: column["Comment"] for column in glue_columns(DETECTIONS)}
    assert columns["x"].endswith("first pixel centre at 0 [pix]")


@pytest.mark.parametrize("table", REGISTRY.values(), ids=list(REGISTRY))
def test_comments_fit_into_the_glue_catalog(table):
    assert all(len(column["Comment"]) <= 255 for column in glue_columns(table))


def test_a_positional_table_lies_in_its_dataset_directory():
    assert "LOCATION '${lake}/detections/dataset/'" in ddl_template(DETECTIONS)
    assert "LOCATION '${lake}/images/'" in ddl_template(IMAGES)


def test_variable_parts_of_a_name_become_parameters():
    text = ddl_template(CROSSMATCH)
    assert "CREATE EXTERNAL TABLE ${database}.crossmatches_${left}_x_${right}\n" in text
    assert "LOCATION '${lake}/crossmatches/${left}_x_${right}/dataset/'" in text
    assert "-- Parameters: ${database}, ${lake}, ${left}, ${right}." in text
