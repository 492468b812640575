"""Queries to a TAP service: answers in every form, jobs, and what it says when it cannot."""

import gzip
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits as astropy_fits

from astrolake.data_access.formats.arrays import array_of
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.fetch import fetch_catalog, open_service
from astrolake.data_access.services.tap import TapService
from astrolake.data_access.surveys.model import Service
from astrolake.data_access.surveys.registry import load_survey, survey_names
from astrolake.errors import BadArguments, ServiceError
from astrolake.lake.storage import Storage
from astrolake.sky.region import Cone
from tests.data_access.servers.base import HTML, Fault, Reply
from tests.data_access.servers.generated import NATIVE, sources
from tests.data_access.servers.query_engine import Database
from tests.data_access.servers.tap_server import JobEnd, TapServer, fits_of, votable_of

SQL = f"SELECT objid, ra, dec, mag, kind FROM {NATIVE} WHERE ra >= 0.5 AND ra < 0.6"


@pytest.fixture(scope="module")
def database() -> Database:
    return Database({NATIVE: sources()})


@pytest.fixture
def server(database):
    with TapServer(database) as running:
        yield running


def service(server: TapServer, pauses: list[float] | None = None, **options) -> TapService:
    sleep = (lambda seconds: None) if pauses is None else pauses.append
    client = HttpClient("the archive", float("inf"), 1, sleep=sleep)
    return TapService(Service("tap", server.tap_url, options=options), client)


def wanted() -> pa.Table:
    rows = sources()
    ra = rows["ra"].to_numpy()
    return rows.filter(pa.array((ra >= 0.5) & (ra < 0.6))).sort_by("objid")


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(
    ("form", "serialisation"),
    [("votable", "tabledata"), ("votable", "binary2"), ("votable", "binary"), ("fits", ""), ("csv", "")],
)
def test_answers_of_every_form_hold_the_same_rows(server, mode, form, serialisation):
    server.behaviour.serialisation = serialisation
    answer = service(server, mode=mode, format=form).query(SQL, 100_000)
    rows = answer.rows.sort_by("objid")
    assert not answer.overflow
    assert rows["objid"].to_pylist() == wanted()["objid"].to_pylist()
    assert rows["kind"].to_pylist() == wanted()["kind"].to_pylist()
    for name in ("ra", "dec", "mag"):
        np.testing.assert_array_equal(rows[name].to_numpy(), wanted()[name].to_numpy())
    (asked,) = [request.parameters for request in server.requests if "QUERY" in request.parameters]
    assert asked["MAXREC"] == "100000"
    assert asked["LANG"] == "ADQL"
    assert asked["RESPONSEFORMAT"] == asked["FORMAT"] == form


@pytest.mark.parametrize("form", ["votable", "fits", "csv"])
def test_no_rows_keep_their_columns(server, form):
    answer = service(server, format=form).query(f"SELECT objid, ra FROM {NATIVE} WHERE ra > 400", 10)
    assert answer.rows.column_names == ["objid", "ra"]
    assert answer.rows.num_rows == 0
    assert not answer.overflow


@pytest.mark.parametrize("form", ["votable", "fits", "csv"])
@pytest.mark.parametrize("marked", [True, False])
def test_an_answer_that_was_cut_off_is_known(server, form, marked):
    server.behaviour.marked = marked
    answer = service(server, mode="sync", format=form).query(SQL, 50)
    assert answer.rows.num_rows == 50
    assert answer.overflow


@pytest.mark.parametrize(("asked", "sent"), [("fits", "votable"), ("csv", "votable"), ("votable", "fits")])
def test_a_service_that_sends_another_format_is_understood(server, asked, sent):
    body = votable_of(wanted(), False, "tabledata") if sent == "votable" else fits_of(wanted())
    server.route("POST", "/tap/sync", lambda request: Reply(200, body))
    answer = service(server, mode="sync", format=asked).query(SQL, 5000)
    assert answer.rows["objid"].to_pylist() == wanted()["objid"].to_pylist()


def test_what_is_no_table_is_told(server):
    server.route("POST", "/tap/sync", lambda request: Reply(200, b"out of order"))
    with pytest.raises(ServiceError, match=r"it sent 'out of order' in place of votable \(3 tries\)"):
        service(server, mode="sync").query(SQL, 5000)
    assert len(server.requests) == 3


@pytest.mark.parametrize("encoding", [{}, {"Content-Encoding": "gzip"}], ids=["file", "transfer"])
def test_packed_answers_are_unpacked(server, encoding):
    rows = votable_of(wanted(), overflow=True, serialisation="binary2")
    reply = Reply(200, gzip.compress(rows), "application/x-votable+xml", encoding)
    server.route("POST", "/tap/sync", lambda request: reply)
    answer = service(server, mode="sync").query(SQL, 5000)
    assert answer.rows["objid"].to_pylist() == wanted()["objid"].to_pylist()
    assert answer.overflow


def test_a_job_that_never_ends_is_given_up(server):
    server.behaviour.waits = 10**6
    with pytest.raises(ServiceError, match="the job is EXECUTING for more than 6 hours"):
        service(server, mode="async").query(SQL, 5000)
    assert server.deleted == ["job1"]


def test_a_mark_counts_below_the_rows_that_were_asked_for(server):
    server.behaviour.most_rows = 70
    answer = service(server, mode="sync").query(SQL, 5000)
    assert (answer.rows.num_rows, answer.overflow) == (70, True)
    server.behaviour.marked = False
    assert not service(server, mode="sync").query(SQL, 5000).overflow


def test_small_answers_are_asked_for_at_once_and_large_ones_by_a_job(server):
    asked = service(server, sync_rows=100)
    asked.query(SQL, 80)
    assert server.paths() == ["/tap/sync"]
    asked.query(SQL, 5000, expected_rows=4000)
    assert "/tap/async" in server.paths()[1]
    server.requests.clear()
    # More came than was expected: the job follows.
    answer = asked.query(SQL, 5000, expected_rows=20)
    assert server.paths()[:2] == ["/tap/sync", "/tap/async"]
    assert answer.rows.num_rows == wanted().num_rows > 100


def test_a_job_is_waited_for_with_growing_pauses_and_deleted(server):
    server.behaviour.waits = 6
    pauses: list[float] = []
    answer = service(server, pauses, mode="async").query(SQL, 5000)
    assert answer.rows.num_rows == wanted().num_rows
    assert len(pauses) >= 5
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1] <= 60
    assert server.deleted == ["job1"]
    assert server.jobs == {}


def test_a_job_in_error_is_told_with_service_query_and_reason(server):
    server.behaviour.ends = [JobEnd("ERROR", "fatal", "column <b>foo</b> & bar do not exist")]
    with pytest.raises(ServiceError) as caught:
        service(server, mode="async").query(SQL, 5000)
    message = str(caught.value)
    assert message.startswith("the archive: the job is in ERROR: column <b>foo</b> & bar do not exist")
    assert SQL in message
    assert server.tap_url in message
    assert server.deleted == ["job1"]


def test_a_job_that_failed_in_passing_or_was_aborted_is_sent_again(server):
    server.behaviour.ends = [JobEnd("ERROR", "transient", "no free slot"), JobEnd("ABORTED")]
    answer = service(server, mode="async").query(SQL, 5000)
    assert answer.rows.num_rows == wanted().num_rows
    assert server.deleted == ["job1", "job2", "job3"]


def test_a_job_that_is_aborted_each_time_is_given_up(server):
    server.behaviour.ends = [JobEnd("ABORTED", message="time limit of 1800 s")] * 5
    with pytest.raises(ServiceError, match=r"the job is ABORTED: time limit of 1800 s \(3 tries\)"):
        service(server, mode="async").query(SQL, 5000)
    assert server.deleted == ["job1", "job2", "job3"]


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("as_200", [True, False])
def test_an_error_document_is_told_and_not_asked_for_again(server, mode, as_200):
    server.behaviour.refusals_as_200 = as_200
    sql = f"SELECT absent FROM {NATIVE}"
    with pytest.raises(ServiceError, match="no such column: absent.*SELECT absent.*correct the query"):
        service(server, mode=mode).query(sql, 10)
    assert server.queries == [sql]


@pytest.mark.parametrize("fault", ["503:0", "429:0", "half", "reset", "html", "empty", "500"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_what_passes_is_tried_again_at_every_request(server, mode, fault):
    asked = service(server, mode=mode)
    asked.query(SQL, 5000)
    for path in sorted(set(server.paths())):
        server.faults.append(Fault(fault, path.replace("job1", r"job\d+") + "$"))
        answer = asked.query(SQL, 5000)
        assert answer.rows.sort_by("objid")["objid"].to_pylist() == wanted()["objid"].to_pylist(), path
        assert not server.faults, path


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("503", "HTTP 503"),
        ("html", "Down for maintenance"),
        ("half", "the answer broke off"),
        ("empty", "empty"),
    ],
)
def test_what_does_not_pass_is_told_with_service_and_query(server, fault, said):
    server.faults += [fault] * 20
    with pytest.raises(ServiceError) as caught:
        service(server, mode="sync").query(SQL, 5000)
    message = str(caught.value)
    assert message.startswith("the archive: ")
    assert said in message
    assert SQL in message
    assert server.tap_url in message


def test_a_page_with_an_error_status_is_told(server):
    server.route("POST", "/tap/sync", lambda request: Reply(403, HTML, "text/html"))
    with pytest.raises(ServiceError, match=r"HTTP 403.*Down for maintenance"):
        service(server, mode="sync").query(SQL, 5000)


def test_options_that_do_not_exist_are_refused(server):
    with pytest.raises(BadArguments, match="option 'sink_rows' is unknown"):
        service(server, sink_rows=5)
    with pytest.raises(BadArguments, match="option mode is 'later'; choose of auto, sync, async"):
        service(server, mode="later")


def test_services_of_all_surveys_can_be_opened():
    tables = [table for name in survey_names() for table in load_survey(name).tables.values()]
    opened = [open_service(table, HttpClient("any")) for table in tables if table.service]
    assert len(opened) >= 6


def test_real_gaia_rows_come_as_the_lake_has_them(survey_data, tmp_path):
    with astropy_fits.open(survey_data / "images_decam/case6/chunk-03687.fits") as hdus:
        rows = hdus[1].data
        native = {name.lower(): array_of(np.asarray(rows[name])) for name in rows.columns.names}
    table = load_survey("gaia", "dr2").tables["gaia_source"]
    columns = ["parallax", "pmra", "pmdec", "mag_g_cap", "ref_epoch"]
    region = Cone(110.2, 24.0, 0.1)
    with TapServer(Database({"gaiadr2.gaia_source": pa.table(native)}), waits=0) as server:
        moved = Service("tap", server.tap_url, options=table.service.options)
        found = fetch_catalog(
            replace(table, service=moved),
            region,
            Storage.at(str(tmp_path)),
            columns=columns,
            client=HttpClient("Gaia", float("inf"), 2, sleep=lambda seconds: None),
        )
    got = pq.read_table(found.uris[0].removeprefix("file://"))
    mask = region.contains(np.asarray(native["ra"]), np.asarray(native["dec"]))
    order = np.argsort(np.asarray(native["source_id"])[mask])
    assert 20 < got.num_rows == mask.sum() < 897
    for name in ("source_id", "ra", "dec", "ref_epoch", "parallax", "pmra", "pmdec"):
        np.testing.assert_array_equal(got[name].to_numpy(), np.asarray(native[name])[mask][order], name)
    assert found.n_rows == got.num_rows
