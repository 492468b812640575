"""Queries to SkyServer: its CSV, its silences, and the shapes of its errors."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.fetch import fetch_catalog
from astrolake.data_access.services.skyserver import SkyServer
from astrolake.data_access.surveys.model import Service
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import BadArguments, ServiceError
from astrolake.lake.storage import Storage
from astrolake.sky.region import Box
from tests.data_access.servers.query_engine import Database
from tests.data_access.servers.skyserver import SkyServerServer

ROWS = pa.table(
    {
        "objID": pa.array([1237648721229774920, 1237648721229774901, 1237648721229774902]),
        "ra": [10.0, 10.5, 359.9],
        "dec": [-1.0, 0.0, 1.0],
        "type": pa.array([3, 6, None], pa.int64()),
    }
)
SQL = "SELECT TOP 10 objID, ra, dec, type FROM PhotoObj WHERE ra < 100"
_PAGE = (
    b"<html><head>\n<title>Skyserver Error</title>\n</head><body><h2>An error occured</h2>%s</body></html>"
)


@pytest.fixture
def server():
    with SkyServerServer(Database({"PhotoObj": ROWS})) as running:
        yield running


def service(server: SkyServerServer, pauses: list[float] | None = None, **options) -> SkyServer:
    sleep = (lambda seconds: None) if pauses is None else pauses.append
    client = HttpClient("SkyServer", float("inf"), 1, sleep=sleep)
    return SkyServer(Service("skyserver", server.search_url, options=options), client)


def test_rows_come_typed_and_null_is_null(server):
    answer = service(server).query(SQL, 10)
    assert answer.rows.sort_by("objID").to_pydict() == {
        "objID": [1237648721229774901, 1237648721229774920],
        "ra": [10.5, 10.0],
        "dec": [0.0, -1.0],
        "type": [6, 3],
    }
    assert not answer.overflow
    (request,) = server.requests
    assert request.query == {"cmd": SQL, "format": "csv"}
    missing = service(server).query(SQL.replace("< 100", "> 100"), 10)
    assert missing.rows["type"].to_pylist() == [None]


def test_as_many_rows_as_were_asked_for_may_be_too_few(server):
    assert service(server).query(SQL.replace("TOP 10", "TOP 2"), 2).overflow


@pytest.mark.parametrize("message", [None, b"No objects have been found"])
def test_no_rows_keep_their_columns(server, message):
    if message:
        server.messages.append(message)
    answer = service(server).query("SELECT TOP 10 objID, ra, [dec] FROM PhotoObj WHERE ra < 0", 10)
    assert answer.rows.column_names == ["objID", "ra", "dec"]
    assert answer.rows.num_rows == 0


def test_an_error_in_json_is_told_with_service_and_query(server):
    with pytest.raises(ServiceError) as caught:
        service(server).query("SELECT absent FROM PhotoObj", 10)
    message = str(caught.value)
    assert message.startswith("SkyServer: HTTP 400")
    assert "no such column: absent" in message
    assert "SELECT absent FROM PhotoObj" in message
    assert len(server.queries) == 1


@pytest.mark.parametrize(
    ("body", "said", "tries"),
    [
        (b'{"Error Code":500,"Error Message":"Incorrect syntax near FORM"}', "Incorrect syntax near FORM", 1),
        (b'#Table1\n"ERROR: Incorrect syntax near FORM"\n', "Incorrect syntax near FORM", 1),
        (b"column1,column2\n1,2\n", "column1,column2", 1),
        (_PAGE % b"<h3><font color=red>Timeout expired.</font></h3>", "Timeout expired", 3),
    ],
    ids=["json", "csv", "no table", "page"],
)
def test_errors_that_come_as_success_are_told(server, body, said, tries):
    server.messages += [body] * 5
    with pytest.raises(ServiceError) as caught:
        service(server).query(SQL, 10)
    assert said in str(caught.value)
    assert SQL in str(caught.value)
    assert len(server.queries) == tries


@pytest.mark.parametrize(
    "body",
    [
        b'#Table1\n"ERROR: Maximum 60 queries allowed per minute. Rejected query: SELECT 1"\n',
        _PAGE % b"ERROR: Maximum 60 queries allowed per minute. Rejected query: SELECT 1",
    ],
    ids=["csv", "page"],
)
def test_a_client_that_asked_too_often_waits_for_a_minute(server, body):
    server.messages.append(body)
    pauses: list[float] = []
    assert service(server, pauses).query(SQL, 10).rows.num_rows == 2
    assert max(pauses) >= 60


@pytest.mark.parametrize("fault", ["503:0", "429:0", "half", "reset", "html", "empty", "500"])
def test_what_passes_is_tried_again(server, fault):
    server.faults.append(fault)
    assert service(server).query(SQL, 10).rows.num_rows == 2
    assert not server.faults


def test_unknown_options_are_refused(server):
    with pytest.raises(BadArguments, match="option 'mode' is unknown"):
        service(server, mode="sync")


def test_real_sdss_stars_come_as_the_lake_has_them(survey_data, tmp_path):
    stars = pd.read_csv(survey_data / "catalogs/sdss_308.csv", comment="#")
    native = stars.rename(columns={"objid": "objID", **{band: f"modelMag_{band}" for band in "ugriz"}})
    native = native.assign(mode=1, clean=(np.arange(len(native)) % 3 > 0).astype(int))
    table = load_survey("sdss").tables["photoobj"]
    region = Box(177.5, 179.5, -1.0, 1.0)
    with SkyServerServer(
        Database({"PhotoObj": pa.Table.from_pandas(native, preserve_index=False)})
    ) as server:
        moved = replace(table.service, url=server.search_url)
        found = fetch_catalog(
            replace(table, service=moved, row_limit=60, rows_per_deg2=40.0),
            region,
            Storage.at(str(tmp_path)),
            columns=["run", "camcol", "type", "mag_model_r"],
            filters={"type": "STAR", "r_mag": [13, 15.5]},
            cuts=["clean"],
            client=HttpClient("SkyServer", float("inf"), 1, sleep=lambda seconds: None),
        )
        assert all("mode = 1" in query and "clean = 1" in query for query in server.queries)
    rows = pa.concat_tables(pq.read_table(uri.removeprefix("file://")) for uri in found.uris).sort_by(
        "source_id"
    )
    wanted = stars[(native.clean == 1) & stars.ra.between(177.5, 179.5) & stars.dec.between(-1, 1)]
    # Bright stars: asinh and Pogson magnitudes agree to 1e-5.
    wanted = wanted[(wanted.type == 6) & wanted.r.between(13, 15.5)].sort_values("objid")
    assert 20 < len(wanted) < len(stars)
    assert rows["source_id"].to_pylist() == wanted.objid.to_list()
    assert rows["run"].to_pylist() == wanted.run.to_list()
    assert set(rows["type"].to_pylist()) == {"STAR"}
    np.testing.assert_allclose(rows["mag_model_r"].to_numpy(), wanted.r.to_numpy(), atol=1e-5)
