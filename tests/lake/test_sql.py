import math
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest
from lake_tables import put_rows

from astrolake.errors import BadArguments, MissingColumns, MissingDependency, TableNotFound
from astrolake.lake.lake import Lake
from astrolake.lake.sql import create_view, open_connection, run_query
from astrolake.lake.sql_connection import extension_path, s3_secret
from astrolake.lake.storage import Storage
from astrolake.schema import CATALOG, CROSSMATCH, REJECTS, RUNS


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    lake = Lake.create(str(tmp_path_factory.mktemp("a lake, with spaces")))
    stars = replace(CATALOG, name="stars")
    rows = [
        {"source_id": i, "ra": ra, "dec": dec} for i, (ra, dec) in enumerate([(10, 0), (130, -5), (250, 60)])
    ]
    put_rows(lake, stars, rows[:2], "run-1")
    put_rows(lake, stars, rows, "run-2")
    put_rows(lake, replace(CROSSMATCH, name="crossmatches/a_x_b"), [{"left_id": 1, "ra": 1.0, "dec": 1.0}])
    jobs = [("ingest_images", 3, 2), ("extract_sources", 7, 0)]
    put_rows(lake, RUNS, [{"run_id": j, "job": j, "rows_in": i, "rows_out": o} for j, i, o in jobs])
    return lake


@pytest.fixture(scope="module")
def empty_lake(tmp_path_factory) -> Lake:
    return Lake.create(str(tmp_path_factory.mktemp("empty")))


def _value(lake: Lake, expression: str) -> object:
    rows = run_query(lake, f"SELECT {expression}").to_pylist()
    assert len(rows) == 1
    return next(iter(rows[0].values()))


# What Trino documents of operators and functions, and DuckDB does differently by itself.
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 / 2e0", 3.5),
        ("(7 / 2) / (5 / 2)", 1),
        ("1e0 / 0", math.inf),
        ("-1e0 / 0", -math.inf),
        ("NULL / 0", None),
        ("1 / CAST(NULL AS bigint)", None),
        ("-5 % 3", -2),
        ("TRY(1 / 0)", None),
        ("CAST(2.5e0 AS bigint)", 3),
        ("CAST(-2.5e0 AS integer)", -3),
        ("CAST(2.5 AS bigint)", 3),
        ("CAST('12' AS bigint)", 12),
        ("TRY_CAST('twelve' AS bigint)", None),
        ("ARRAY[4, 5, 6][3]", 6),
        ("ARRAY[4, 5, 6][7 / 3]", 5),
        ("TRY(ARRAY[4][2])", None),
        ("element_at(ARRAY[4, 5], 3)", None),
        ("element_at(ARRAY[4, 5], -1)", 5),
        ("MAP(ARRAY['a'], ARRAY[1])['a']", 1),
        ("split('a,b', ',')[2]", "b"),
        ("array_position(ARRAY[1, 2], 3)", 0),
        ("greatest(1, NULL)", None),
        ("round(-2.5e0)", -3.0),
        ("log(10, 1000)", 3.0),
        ("log(3, 81)", pytest.approx(4.0)),
        ("log10(0)", -math.inf),
        ("ln(NULL)", None),
        ("log2(8)", 3.0),
        ("asin(1e0)", math.pi / 2),
        ("sqrt(4)", 2.0),
        ("every(1 = 1)", True),
        ("e()", math.e),
        ("infinity()", math.inf),
        ("is_nan(nan())", True),
        ("is_finite(infinity())", False),
        ("bitwise_left_shift(1, 4)", 16),
        ("bitwise_and(6, 4)", 4),
        ("width_bucket(3.5, 0, 10, 5)", 2),
        ("width_bucket(-1, 0, 10, 5)", 0),
        ("width_bucket(10, 0, 10, 5)", 6),
        ("format('%.2f', 1.234)", "1.23"),
        ("date_diff('hour', TIMESTAMP '2024-01-01 00:59:00', TIMESTAMP '2024-01-01 01:01:00')", 0),
        ("date_diff('day', DATE '2024-01-01', DATE '2024-03-01')", 60),
        ("TIMESTAMP '2024-03-05 14:00:00 +02:00' = TIMESTAMP '2024-03-05 12:00:00 UTC'", True),
        ("to_unixtime(TIMESTAMP '1970-01-01 00:00:00.250')", 0.25),
        ("extract(dow FROM DATE '2024-03-03')", 7),
        ("approx_percentile(x, ARRAY[0.5, 1.0])[2] FROM (VALUES 1, 2, 3) t(x)", 3),
    ],
)
def test_an_expression_means_what_trino_documents(empty_lake, expression, expected):
    assert _value(empty_lake, expression) == expected


@pytest.mark.parametrize(
    "expression",
    ["0e0 / 0", "sqrt(-1e0)", "log10(-1e0)", "ln(-1)", "log2(-1)", "log(3, -1)", "asin(1.1)", "acos(-2e0)"],
)
def test_a_number_outside_the_domain_gives_nan(empty_lake, expression):
    assert math.isnan(_value(empty_lake, expression))


def test_magnitudes_of_negative_fluxes_do_not_end_a_query(empty_lake):
    rows = run_query(empty_lake, "SELECT -2.5 * log10(f) AS m FROM (VALUES 10e0, 0e0, -1e0, NULL) t(f)")
    found = rows.column("m").to_pylist()
    assert found[:2] == [-2.5, math.inf]
    assert math.isnan(found[2])
    assert found[3] is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 / 0", "Division by zero"),
        ("1.0 / 0", "Division by zero"),
        ("7 % 0", "Division by zero"),
        ("ARRAY[1, 2][3]", "subscript 3 is out of bounds"),
        ("ARRAY[1, 2][0]", "subscript 0 is out of bounds"),
        ("great_circle_distance(0, 0, 0, 190)", "Longitude must be between"),
        ("great_circle_distance(91, 0, 0, 0)", "Latitude must be between"),
        ("sum(x) FROM (VALUES 9223372036854775807, 1) t(x)", "does not fit into a bigint"),
    ],
)
def test_an_expression_fails_as_in_trino(empty_lake, expression, message):
    with pytest.raises(BadArguments, match=message):
        run_query(empty_lake, f"SELECT {expression}")


def test_nulls_come_last_in_both_directions(empty_lake):
    values = "SELECT x FROM (VALUES 1, NULL, 2) t(x) ORDER BY x"
    assert run_query(empty_lake, values).column("x").to_pylist() == [1, 2, None]
    assert run_query(empty_lake, values + " DESC").column("x").to_pylist() == [2, 1, None]


def test_great_circle_distance_is_in_km_on_trinos_sphere(empty_lake):
    quarter = _value(empty_lake, "great_circle_distance(0, 0, 0, 90)")
    assert quarter == pytest.approx(6371.01 * math.pi / 2, rel=1e-15)


def test_great_circle_distance_keeps_small_angles(empty_lake):
    km = _value(empty_lake, "great_circle_distance(60, 10, 60, 10 + 1e-6)")
    assert math.degrees(km / 6371.01) == pytest.approx(0.5e-6, rel=1e-9)


def test_columns_without_a_name_are_numbered_as_in_athena(empty_lake):
    assert run_query(empty_lake, "SELECT 1, 2 AS b, CAST(3 AS bigint)").column_names == [
        "_col0",
        "b",
        "_col2",
    ]


def test_sums_of_integers_are_bigint(lake):
    rows = run_query(lake, "SELECT sum(rows_in) AS n, sum(rows_in) / count(*) AS mean FROM runs")
    assert rows.schema.types == [pa.int64(), pa.int64()]
    assert rows.to_pylist() == [{"n": 10, "mean": 5}]


def test_tables_are_read_from_a_path_with_spaces(lake):
    assert _value(lake, "count(*) FROM stars") == 3


def test_the_database_name_is_dropped(lake):
    assert _value(lake, 'count(*) FROM awsdatacatalog.sky."stars"') == 3


def test_a_crossmatch_is_called_with_an_underscore(lake):
    assert _value(lake, "left_id FROM crossmatches_a_x_b") == 1


def test_partition_columns_can_be_queried(lake):
    assert run_query(lake, "SELECT npix FROM stars ORDER BY npix").column("Npix").to_pylist() == [2, 4, 9]


def test_an_older_version_can_be_read(lake):
    query = "SELECT count(*) AS n FROM stars"
    assert run_query(lake, query, versions={"stars": 0}).to_pylist() == [{"n": 2}]
    assert run_query(lake, query, versions={"stars": 1}).to_pylist() == [{"n": 3}]


def test_versions_take_the_name_in_the_lake(lake):
    query = "SELECT count(*) AS n FROM crossmatches_a_x_b"
    assert run_query(lake, query, versions={"crossmatches/a_x_b": 0}).to_pylist() == [{"n": 1}]


def test_a_missing_version_is_an_error(lake):
    with pytest.raises(TableNotFound, match="no version 9"):
        run_query(lake, "SELECT 1 FROM stars", versions={"stars": 9})


def test_a_connection_keeps_the_version_it_was_opened_with(tmp_path):
    lake = Lake.create(str(tmp_path))
    put_rows(lake, RUNS, [{"run_id": "a"}], "run-1")
    with open_connection(lake) as connection:
        put_rows(lake, RUNS, [{"run_id": "a"}, {"run_id": "b"}], "run-2")
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_the_limit_keeps_the_first_rows(lake):
    rows = run_query(lake, "SELECT source_id FROM stars ORDER BY source_id DESC", limit=2)
    assert rows.column("source_id").to_pylist() == [2, 1]
    assert run_query(lake, "SELECT 1 FROM stars", limit=0).num_rows == 0


def test_a_negative_limit_is_refused(lake):
    with pytest.raises(BadArguments, match="must not be negative"):
        run_query(lake, "SELECT 1", limit=-1)


def test_a_condition_on_the_index_reads_only_the_files_that_hold_it(lake):
    low = 4 << 58
    plan = run_query(
        lake, f"EXPLAIN ANALYZE SELECT ra FROM stars WHERE _healpix_29 BETWEEN {low} AND {low + (1 << 58)}"
    )
    text = "".join(plan.column("query_plan").to_pylist())
    assert "Scanning Files: 1/3" in text


def test_show_tables_lists_names_in_sql(lake):
    names = run_query(lake, "SHOW TABLES").column("table").to_pylist()
    assert names == ["crossmatches_a_x_b", "runs", "stars"]


@pytest.mark.parametrize(
    "statement", ["DESCRIBE stars", "SHOW COLUMNS IN sky.stars;", "-- columns\ndesc stars"]
)
def test_describe_tells_type_and_meaning(lake, statement):
    columns = {row["column"]: row for row in run_query(lake, statement).to_pylist()}
    assert columns["ra"] == {
        "column": "ra",
        "type": "double",
        "comment": "Right ascension, ICRS, in [0, 360) [deg]",
    }
    assert columns["npix"]["type"] == "int"


def test_explain_returns_the_plan(lake):
    plan = run_query(lake, "EXPLAIN SELECT count(*) FROM runs").column("query_plan").to_pylist()
    assert any("AGGREGATE" in line for line in plan)


def test_an_unknown_table_is_named_with_those_there(lake):
    with pytest.raises(TableNotFound, match=r"'galaxies'; it has \['crossmatches_a_x_b', 'runs', 'stars'\]"):
        run_query(lake, "SELECT * FROM galaxies")


@pytest.mark.parametrize("query", ["SELECT snr FROM runs", "SELECT r.snr FROM runs r"])
def test_an_unknown_column_is_named_with_those_there(lake, query):
    with pytest.raises(MissingColumns, match=r"runs lacks the columns \['snr'\]; it has \[.*'rows_in'"):
        run_query(lake, query)


@pytest.mark.parametrize(
    "call", ["ST_Point(1, 2)", "no_such_function(1)", "approx_percentile(rows_in, 2, 0.5)"]
)
def test_a_function_that_is_not_there_is_named(lake, call):
    with pytest.raises(BadArguments, match=call.partition("(")[0].lower()):
        run_query(lake, f"SELECT {call} FROM runs")


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE runs",
        "INSERT INTO runs SELECT * FROM runs",
        "CREATE TABLE t AS SELECT 1",
        "UNLOAD (SELECT 1) TO 's3://elsewhere/'",
        "WITH gone AS (DELETE FROM runs RETURNING *) SELECT * FROM gone",
        "EXPLAIN DROP TABLE runs",
        "COPY runs TO 'file'",
        "SET x = 1",
        "",
        "-- nothing",
    ],
)
def test_a_statement_that_does_not_read_is_refused(lake, statement):
    with pytest.raises(BadArguments, match="can be run"):
        run_query(lake, statement)
    assert _value(lake, "count(*) FROM runs") == 2


def test_two_statements_are_refused(lake):
    with pytest.raises(BadArguments, match="one statement, not 2"):
        run_query(lake, "SELECT 1; SELECT 2")


def test_broken_sql_is_located(lake):
    with pytest.raises(BadArguments, match=r"cannot be parsed: .* Line 1, Col: 11"):
        run_query(lake, "SELECT (1 +")


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("SELECT 'a' ILIKE 'A'", "ILIKE"),
        ("SELECT DISTINCT ON (job) job FROM runs", "DISTINCT ON"),
        ("SELECT * FROM runs FOR VERSION AS OF 0", "time travel"),
        ("SELECT * FROM read_csv('x.csv')", "is no table"),
        ("SELECT job AS j, count(*) FROM runs GROUP BY j", "j is an alias .* in GROUP BY"),
        ("SELECT rows_in AS n FROM runs WHERE n > 1", "n is an alias .* in WHERE"),
        ("SELECT job, count(*) AS n FROM runs GROUP BY job HAVING n > 1", "n is an alias .* in HAVING"),
        ("WITH r AS (SELECT job AS a FROM runs) SELECT a AS b, 1 FROM r GROUP BY b", "b is an alias"),
    ],
)
def test_what_athena_refuses_is_refused(lake, query, what):
    with pytest.raises(BadArguments, match=what):
        run_query(lake, query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT job AS job, count(*) AS n FROM runs GROUP BY job ORDER BY n",
        "SELECT upper(job) AS job, count(*) AS n FROM runs GROUP BY job, upper(job)",
        "SELECT j, count(*) AS n FROM (SELECT job AS j FROM runs) WHERE j <> '' GROUP BY j",
        "SELECT job AS x, (SELECT max(x) FROM (VALUES 1) t(x) WHERE x > 0) AS y FROM runs GROUP BY 1",
    ],
)
def test_an_alias_that_is_also_a_column_is_taken(lake, query):
    assert run_query(lake, query).num_rows == 2


def test_a_parameter_without_value_is_named(lake):
    with pytest.raises(BadArguments, match=":band has no value"):
        run_query(lake, "SELECT * FROM stars WHERE source_id = :band")


def test_duckdbs_own_sql_can_be_used(lake):
    assert run_query(lake, "SELECT median(source_id) AS m FROM stars", dialect="duckdb").to_pylist() == [
        {"m": 1.0}
    ]


def test_an_unknown_dialect_is_refused(lake):
    with pytest.raises(BadArguments, match="'mysql'; known are athena, duckdb"):
        run_query(lake, "SELECT 1", dialect="mysql")


@pytest.mark.parametrize("source", ["read_text('{}')", "'{}'", "glob('{}*')"])
def test_files_outside_the_lake_cannot_be_read(lake, tmp_path, source):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with open_connection(lake) as connection, pytest.raises(duckdb.PermissionException):
        connection.execute(f"FROM {source.format(secret)}")


def test_variables_of_the_program_are_no_tables(lake):
    galaxies = pa.table({"a": [1]})
    with open_connection(lake) as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("FROM galaxies")
    assert galaxies.num_rows == 1


def test_a_connection_can_be_opened_with_some_tables(lake):
    with open_connection(lake, ["crossmatches/a_x_b", "runs"]) as connection:
        views = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    assert sorted(views) == [("crossmatches_a_x_b",), ("runs",)]


def test_an_athena_view_is_translated(lake):
    with open_connection(lake) as connection:
        name = create_view(
            connection, "-- half\nCREATE OR REPLACE VIEW halves AS SELECT rows_in / 2 AS h FROM runs;"
        )
        found = connection.execute(f"SELECT h FROM {name} ORDER BY h").fetchall()
    assert (name, found) == ("halves", [(1,), (3,)])


def test_a_view_must_be_a_view(lake):
    with open_connection(lake, []) as connection, pytest.raises(BadArguments, match="no CREATE VIEW"):
        create_view(connection, "DROP VIEW halves")


def test_a_view_on_a_missing_column_is_an_error(lake):
    with open_connection(lake) as connection, pytest.raises(MissingColumns, match="snr"):
        create_view(connection, "CREATE VIEW v AS SELECT snr FROM runs")


def test_a_missing_extension_says_what_to_install():
    with pytest.raises(MissingDependency, match=r"pip install 'duckdb-extension-delta==0\.0\.1'"):
        extension_path("delta", "0.0.1")
    with pytest.raises(MissingDependency, match="pip install 'duckdb-extension-nosuch=="):
        extension_path("nosuch")


def test_the_secret_of_an_s3_lake_is_for_its_root_only():
    options = {
        "AWS_ACCESS_KEY_ID": "it's",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://localhost:9000",
    }
    assert s3_secret(Storage.at("s3://sky/lake", options)) == (
        "CREATE SECRET lake (TYPE s3, KEY_ID 'it''s', SECRET 'b', REGION 'eu-west-1', SCOPE 's3://sky/lake', "
        "ENDPOINT 'localhost:9000', URL_STYLE 'path', USE_SSL 'false')"
    )


def test_the_secret_falls_back_on_the_ambient_credentials(monkeypatch):
    pytest.importorskip("botocore")
    for name, value in {
        "ACCESS_KEY_ID": "k",
        "SECRET_ACCESS_KEY": "s",
        "DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    secret = s3_secret(Storage.at("s3://sky/lake"))
    assert secret == (
        "CREATE SECRET lake (TYPE s3, REGION 'eu-west-1', KEY_ID 'k', SECRET 's', SCOPE 's3://sky/lake')"
    )


def test_a_lake_on_s3_is_read(monkeypatch):
    pytest.importorskip("flask", reason="moto's server is not installed")
    pytest.importorskip("duckdb_extension_httpfs")
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="sky")
        options = keys | {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
        lake = Lake.create("s3://sky/a lake", options)
        put_rows(lake, REJECTS, [{"run_id": "a", "source": "x.fits", "job": "j"}])
        assert run_query(lake, "SELECT source FROM rejects").to_pylist() == [{"source": "x.fits"}]
    finally:
        server.stop()
