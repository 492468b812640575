"""Fetches from services that fail: retried or rejected by name, and nothing partial is taken for a box."""

import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.fetch import fetch_catalog
from astrolake.errors import MissingColumns, ServiceError
from astrolake.lake.storage import Storage
from astrolake.sky.region import Box
from tests.data_access.servers.base import Reply
from tests.data_access.servers.generated import NATIVE, inside, sources, survey_table
from tests.data_access.servers.query_engine import Database
from tests.data_access.servers.tap_server import JobEnd, TapServer

#: Two boxes on both sides of ra 0, of 1,000 rows each at most.
REGION = Box(359.8, 0.2, -0.9, -0.6)


@pytest.fixture(scope="module")
def database() -> Database:
    return Database({NATIVE: sources()})


@pytest.fixture
def tap(database):
    with TapServer(database, waits=0) as server:
        yield server


def fetch(url: str, directory, **options):
    client = HttpClient("generated survey", float("inf"), 2, sleep=lambda seconds: None)
    table = survey_table(url, format="csv", **options)
    return fetch_catalog(table, REGION, Storage.at(str(directory)), client=client, workers=2)


def ids_of(found) -> list[int]:
    rows = pa.concat_tables(pq.read_table(uri.removeprefix("file://")) for uri in found.uris)
    return sorted(rows["source_id"].to_pylist())


@pytest.fixture(scope="module")
def wanted() -> list[int]:
    rows = sources()
    mask = REGION.contains(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    return sorted(rows["objid"].to_numpy()[mask].tolist())


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("fault", ["503:0", "429:0", "half", "half-reset", "reset", "html", "empty"])
def test_faults_that_pass_leave_the_table_whole(tap, tmp_path, wanted, mode, fault):
    tap.faults += [fault] * 2
    assert ids_of(fetch(tap.tap_url, tmp_path, mode=mode)) == wanted
    assert not tap.faults


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("503", "HTTP 503"),
        ("half", "the answer broke off"),
        ("html", "Down for maintenance"),
        ("400", "HTTP 400"),
    ],
)
def test_faults_that_stay_are_told_and_leave_no_box(tap, tmp_path, wanted, fault, said):
    tap.faults += [fault] * 200
    with pytest.raises(ServiceError) as caught:
        fetch(tap.tap_url, tmp_path, mode="sync")
    message = str(caught.value)
    assert "2 of 2 boxes of generated.sources could not be fetched" in message
    assert "generated survey: " in message
    assert said in message
    assert "FROM generated.sources WHERE CONTAINS(" in message
    assert "run it again to fetch the rest" in message
    (directory,) = tmp_path.iterdir()
    assert [path.name for path in directory.iterdir()] == ["plan.json"]
    tap.faults.clear()
    assert ids_of(fetch(tap.tap_url, tmp_path, mode="sync")) == wanted


def test_boxes_beside_one_that_fails_are_kept(tap, tmp_path, wanted):
    """The box east of ra 0 is refused; the other is there, and is not asked for again."""
    answer = tap._sync

    def refusing(request):
        return (
            Reply(400, b"not here", "text/plain")
            if "ra >= 0.0" in request.parameters["QUERY"]
            else answer(request)
        )

    tap.route("POST", "/tap/sync", refusing)
    with pytest.raises(ServiceError, match="1 of 2 boxes.*not here"):
        fetch(tap.tap_url, tmp_path, mode="sync")
    assert len(list(tmp_path.glob("*/*.parquet"))) == 1
    tap.route("POST", "/tap/sync", answer)
    found = fetch(tap.tap_url, tmp_path, mode="sync")
    assert found.n_queries == 1
    assert ids_of(found) == wanted


def test_a_service_that_fails_everywhere_is_left_alone(tap, tmp_path):
    tap.route("POST", "/tap/sync", lambda request: Reply(400, b"closed", "text/plain"))
    with pytest.raises(ServiceError, match="3 of 32 boxes"):
        fetch(tap.tap_url, tmp_path, mode="sync", row_limit=100)
    assert len(tap.requests) <= 8


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (JobEnd("ERROR", "fatal", "division by zero"), "the job is in ERROR: division by zero"),
        (JobEnd("ABORTED"), "the job is ABORTED"),
    ],
    ids=["error", "aborted"],
)
def test_jobs_that_fail_are_told(tap, tmp_path, wanted, end, said):
    tap.behaviour.ends = [end] * 50
    with pytest.raises(ServiceError, match=said):
        fetch(tap.tap_url, tmp_path, mode="async")
    assert not list(tmp_path.glob("*/*.parquet"))
    assert not tap.jobs
    tap.behaviour.ends = []
    assert ids_of(fetch(tap.tap_url, tmp_path, mode="async")) == wanted


def test_an_answer_without_a_column_is_refused(tap, tmp_path):
    tap.route("POST", "/tap/sync", lambda request: Reply(200, b"objid,ra\n1,0.5\n", "text/csv"))
    with pytest.raises(ServiceError, match="dec") as caught:
        fetch(tap.tap_url, tmp_path, mode="sync")
    assert isinstance(caught.value.__cause__, MissingColumns)
    assert not list(tmp_path.glob("*/*.parquet"))


def test_a_service_that_ignores_the_box_is_refused(tap, tmp_path):
    body = b"objid,ra,dec,mag,kind\n1,180.0,0.5,20.0,1\n"
    tap.route("POST", "/tap/sync", lambda request: Reply(200, body, "text/csv"))
    with pytest.raises(ServiceError, match=r"1 rows lie outside of what was asked for.*ra 180\.0"):
        fetch(tap.tap_url, tmp_path, mode="sync")
    assert not list(tmp_path.glob("*/*.parquet"))


def test_a_service_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ServiceError, match=r"generated survey: .*refused.*127\.0\.0\.1:9"):
        fetch("http://127.0.0.1:9/tap", tmp_path, mode="sync")
    with pytest.raises(ServiceError, match=r"generated survey: .*nowhere\.invalid"):
        fetch("http://nowhere.invalid/tap", tmp_path, mode="sync")


def test_right_ascension_comes_within_0_and_360(tmp_path):
    rows = b"objid,ra,dec,mag,kind\n1,360.0,-0.7,20.0,1\n2,-0.05,-0.7,20.0,1\n"
    empty = b"objid,ra,dec,mag,kind\n"
    with TapServer(Database({NATIVE: sources().slice(0, 1)})) as server:
        server.route(
            "POST",
            "/tap/sync",
            lambda request: Reply(
                200, rows if "ra <= 360.0" in request.parameters["QUERY"] else empty, "text/csv"
            ),
        )
        found = fetch(server.tap_url, tmp_path, mode="sync")
    table = pq.read_table(found.uris[0].removeprefix("file://"))
    assert table["ra"].to_pylist() == pytest.approx([0.0, 359.95])
    assert table["ra"][0].as_py() == 0.0


def test_a_fetch_to_s3_is_resumed(tap):
    # Around a clump, so that boxes are split.
    region = Box(359.9, 0.1, 0.2, 0.3)
    pytest.importorskip("flask")
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    store = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    try:
        host, port = store.get_host_and_port()
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
        options = {**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        boto3.client(
            "s3",
            endpoint_url=options["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="k",
            aws_secret_access_key="s",
        ).create_bucket(Bucket="sky")
        storage = Storage.at("s3://sky/fetches", options)
        client = HttpClient("generated survey", float("inf"), 2, sleep=lambda seconds: None)
        table = survey_table(tap.tap_url, format="csv", row_limit=400, mode="sync")
        stop = threading.Event()

        def interrupt(progress):
            if progress.done == 3:
                stop.set()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch_catalog(table, region, storage, client=client, workers=1, progress=interrupt)
        before = set(tap.queries)
        found = fetch_catalog(table, region, storage, client=client)
        after = tap.queries[-found.n_queries :]
        assert len(before & set(after)) <= 1
        assert found.uris[0].startswith("s3://sky/fetches/")
        assert storage.fs.glob("sky/fetches/*/*.split")
        assert sorted(sum((_ids(storage, uri) for uri in found.uris), [])) == sorted(
            inside(sources(), region)
        )
    finally:
        store.stop()


def _ids(storage: Storage, uri: str) -> list[int]:
    with storage.fs.open(uri, "rb") as stream:
        return pq.read_table(stream)["source_id"].to_pylist()
