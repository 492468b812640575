"""fetch_survey into tables: a survey of one's own by TAP and in bulk, twice, in parts, and when its archive fails."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.lake.lake import Lake
from astrolake.lake.reader import read_table, table_snapshot
from astrolake.sky.healpix import cells_at_order
from tests.data_access.servers.base import Fault
from tests.data_access.servers.generated import NATIVE, inside, sources
from tests.data_access.servers.query_engine import Database
from tests.data_access.servers.tap_server import TapServer

pytestmark = pytest.mark.spark

SURVEY = """
name = "mysky"
title = "My sky"
reference = "https://example.org/mysky"
releases = ["r1"]

[tables.sources]
native = "generated.sources"
doc = "A source"
source = "https://example.org/mysky/columns"
magnitude = "mag_psf"
row_limit = 2_000
rows_per_deg2 = 4_500
layout_of = ["objid", "kind"]

[tables.sources.service]
protocol = "tap"
url = "{url}"
requests_per_s = 500
connections = 4
options = {{ format = "csv" }}

[tables.sources.bulk]
uri = "{bulk}"
layout = "healpix_k5"

[[tables.sources.columns]]
native = "objid"
name = "source_id"
type = "int64"
doc = "Identifier"

[[tables.sources.columns]]
native = "ra"
unit = "deg"
doc = "Right ascension"

[[tables.sources.columns]]
native = "dec"
unit = "deg"
doc = "Declination"

[[tables.sources.columns]]
native = "mag"
name = "mag_psf_r"
unit = "mag"
doc = "Magnitude in r, AB"

[[tables.sources.columns]]
native = "kind"
name = "type"
type = "string"
values = {{ 0 = "STAR", 1 = "GALAXY" }}
doc = "Kind"

[tables.sources.cuts.galaxy]
doc = "Galaxies"
source = "https://example.org/mysky/cuts"
where = [["kind", "=", 1]]
"""
WEST, EAST = "box:359,0,-1,1", "box:-0.2,1,-1,1"


@pytest.fixture(scope="module")
def database():
    return Database({NATIVE: sources()})


@pytest.fixture
def tap(database):
    with TapServer(database, waits=0) as server:
        yield server


@pytest.fixture
def survey(tap, tmp_path):
    path = tmp_path / "mysky.toml"
    path.write_text(SURVEY.format(url=tap.tap_url, bulk=tmp_path / "bulk"))
    return str(path)


@pytest.fixture
def fetch(run_job, survey, tmp_path):
    def run(*flags):
        return run_job("fetch_survey", "--lake", str(tmp_path / "lake"), "--survey", survey, *flags)

    return run


def rows_of(spark, tmp_path, table="mysky"):
    found = read_table(spark, Lake.open(str(tmp_path / "lake")), table).toPandas()
    return found.sort_values("source_id").reset_index(drop=True)


def test_two_parts_of_the_sky_make_one_table_with_every_source_once(fetch, tap, spark, tmp_path):
    code, summary = fetch("--region", WEST)
    assert (code, summary["status"]) == (0, "done")
    asked = len(tap.requests)
    code, again = fetch("--region", WEST)
    assert (code, again["rows_out"], len(tap.requests)) == (0, summary["rows_out"], asked)
    code, _ = fetch("--region", EAST)
    assert code == 0
    rows = rows_of(spark, tmp_path)
    assert set(rows["source_id"]) == inside(sources())
    assert len(rows) == rows["source_id"].nunique()
    native = sources().to_pandas().set_index("objid").loc[rows["source_id"]]
    np.testing.assert_array_equal(rows["mag_psf_r"], native["mag"])
    kinds = native["kind"].map({0: "STAR", 1: "GALAXY", 2: None})
    assert [kind or None for kind in rows["type"]] == kinds.where(kinds.notna(), None).tolist()
    schema = table_snapshot(Lake.open(str(tmp_path / "lake")), "mysky").schema
    assert schema.field("source_id").type == pa.int64()


def test_filters_and_cuts_reach_the_table(fetch, spark, tmp_path):
    flags = ("--region", "cone:0,0.25,0.3", "--cut", "galaxy", "--table", "bright_galaxies")
    code, summary = fetch(*flags, "--filters", '{"r_mag": [null, 17]}', "--columns", "mag_psf_r")
    assert code == 0
    rows = rows_of(spark, tmp_path, "bright_galaxies")
    assert len(rows) == summary["rows_out"] > 20
    assert "type" not in rows
    native = sources().to_pandas().set_index("objid").loc[rows["source_id"]]
    assert (native["kind"] == 1).all()
    assert (native["mag"] <= 17).all()


def test_a_release_in_bulk_gives_the_same_rows_as_the_service(fetch, tap, spark, tmp_path):
    native = sources()
    cells = cells_at_order(native["ra"].to_numpy(), native["dec"].to_numpy(), 5)
    for cell in np.unique(cells):
        place = tmp_path / f"bulk/healpix_k0={cell >> 10}/healpix_k5={cell}/part0.parquet"
        place.parent.mkdir(parents=True)
        pq.write_table(native.filter(pa.array(cells == cell)), place)
    region = ("--region", "polygon:359.5,-0.5,0.5,-0.5,0.3,0.6")
    assert fetch(*region, "--table", "by_service")[0] == 0
    asked = len(tap.requests)
    code, summary = fetch(*region, "--table", "in_bulk", "--catalog", "bulk")
    assert (code, len(tap.requests)) == (0, asked)
    by_service, in_bulk = rows_of(spark, tmp_path, "by_service"), rows_of(spark, tmp_path, "in_bulk")
    assert len(in_bulk) == summary["rows_out"] > 1000
    columns = ["source_id", "ra", "dec", "mag_psf_r", "type", "_healpix_29"]
    assert in_bulk[columns].equals(by_service[columns])


def test_a_service_that_fails_leaves_no_table_and_is_named(fetch, tap, tmp_path, caplog):
    tap.faults.extend([Fault("404")] * 50)
    with caplog.at_level("ERROR", "astrolake"):
        code, summary = fetch("--region", WEST)
    assert (code, summary["status"], summary["tables"]) == (1, "failed", {})
    assert Lake.open(str(tmp_path / "lake")).tables() == ["runs"]
    tap.faults.clear()
    code, summary = fetch("--region", WEST)
    assert (code, summary["status"]) == (0, "done")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--region", "cone:0,0"), "give cone:"),
        (("--region", WEST, "--filters", "{r_mag: 3}"), "is no JSON"),
        (("--region", WEST, "--filters", json.dumps({"colour": 3})), "has no such column"),
        (("--region", WEST, "--cut", "nice"), "nice"),
        (("--region", WEST, "--release", "r9"), "r9"),
        (("--region", WEST, "--images", "--catalog", "none"), "publishes no images"),
        (("--region", WEST, "--catalog", "none"), "nothing to fetch"),
        (("--region", WEST, "--workers", "0"), "worker"),
        (("--region", WEST, "--survey-table", "stars"), "stars"),
        (("--region", WEST, "--table", "Bad Name"), "lower"),
    ],
)
def test_flags_that_make_no_sense_are_refused_before_anything_is_asked(
    fetch, tap, flags, message, capfd, caplog
):
    code, _ = fetch(*flags)
    assert code == 2
    assert tap.requests == []
    assert message in caplog.text + capfd.readouterr().err
