"""A region fetched from a TAP service and from SkyServer: every source once, whatever interrupts it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.fetch import CatalogFetch, fetch_catalog
from astrolake.errors import BadArguments, BadInput, ServiceError
from astrolake.lake.storage import Storage
from astrolake.sky.region import Box, Cone, Moc, Polygon
from tests.data_access.servers.base import Fault
from tests.data_access.servers.generated import NATIVE, REGION, ROW_LIMIT, inside, sources, survey_table
from tests.data_access.servers.query_engine import Database
from tests.data_access.servers.skyserver import SkyServerServer
from tests.data_access.servers.tap_server import TapServer

RATE = 400.0


@pytest.fixture(scope="module")
def database() -> Database:
    return Database({NATIVE: sources()})


@pytest.fixture
def tap(database):
    with TapServer(database, waits=0) as server:
        yield server


def client(rate: float = RATE) -> HttpClient:
    return HttpClient("generated survey", rate, 4, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))


def table_of(uris) -> pa.Table:
    return pa.concat_tables(pq.read_table(uri.removeprefix("file://")) for uri in uris).sort_by("source_id")


@pytest.fixture(scope="module")
def uninterrupted(database, tmp_path_factory) -> CatalogFetch:
    """A fetch of the region that nothing interrupts."""
    with TapServer(database, waits=0) as server:
        storage = Storage.at(str(tmp_path_factory.mktemp("whole")))
        return fetch_catalog(survey_table(server.tap_url, format="csv"), REGION, storage, client=client())


@pytest.fixture(scope="module")
def whole(uninterrupted) -> pa.Table:
    return table_of(uninterrupted.uris)


def test_every_source_of_a_region_over_ra_0_comes_once(tap, tmp_path, whole):
    # Slower than the fetch would be without it.
    rate = 15.0
    seen, start = [], time.monotonic()
    found = fetch_catalog(
        survey_table(tap.tap_url),
        REGION,
        Storage.at(str(tmp_path)),
        client=client(rate),
        progress=seen.append,
    )
    rows = table_of(found.uris)
    assert rows.equals(whole)
    ids = rows["source_id"].to_pylist()
    assert len(ids) == len(set(ids)) == found.n_rows
    assert set(ids) == inside(sources())
    assert found.n_queries >= 20
    assert found.n_queries == len(tap.queries)
    assert found.n_duplicates == 0
    splits = list(tmp_path.glob("*/*.split"))
    assert splits, "no clump was dense enough to split a box"
    assert all(pq.read_metadata(path).num_rows < ROW_LIMIT for path in tmp_path.glob("*/*.parquet"))
    assert seen[-1].done == seen[-1].known == len(list(tmp_path.glob("*/*.parquet")))
    assert seen[-1].n_rows == found.n_rows
    times = np.sort([request.time for request in tap.requests])
    # However late a request comes on a busy machine, none comes before its turn.
    assert (times - start >= np.arange(len(times)) / rate - 1e-3).all()


def test_columns_come_as_the_lake_has_them(whole):
    assert whole.column_names == ["source_id", "ra", "dec", "mag_psf_r", "type"]
    native = sources().sort_by("objid")
    native = native.filter(pc.is_in(native["objid"], pa.array(sorted(inside(native)))))
    np.testing.assert_allclose(whole["mag_psf_r"], native["mag"].to_numpy() + 0.5, rtol=1e-12)
    assert whole["ra"].to_pylist() == native["ra"].to_pylist()
    kinds = [{0: "STAR", 1: "GALAXY"}.get(kind) for kind in native["kind"].to_pylist()]
    assert whole["type"].to_pylist() == kinds
    assert whole.schema.field("ra").metadata[b"unit"] == b"deg"


class Interrupted(Exception):
    pass


def interrupting(k: int) -> HttpClient:
    """Return a client that fails at its k-th request, as Ctrl-C would make it."""
    broken = client(1e6)
    adapter = broken.session.get_adapter("http://")
    send, sent = adapter.send, []

    def counted(*args, **kwargs):
        sent.append(1)
        if len(sent) >= k:
            raise Interrupted
        return send(*args, **kwargs)

    adapter.send = counted
    return broken


def test_interrupted_at_any_request_and_resumed_gives_the_same_table(tap, tmp_path, whole):
    table, storage = survey_table(tap.tap_url, format="csv"), Storage.at(str(tmp_path))
    asked = 0
    for k in (1, 2, 3, 5, 8, 13, 21):
        with pytest.raises(Interrupted):
            fetch_catalog(table, REGION, storage, client=interrupting(k), workers=2)
    finished = {path.name for path in tmp_path.glob("*/*.parquet")}
    assert finished
    before = len(tap.queries)
    found = fetch_catalog(table, REGION, storage, client=client())
    asked = tap.queries[before:]
    assert len(asked) == found.n_queries
    assert table_of(found.uris).equals(whole)
    # What was finished is not asked for again: no query is sent twice but those that were interrupted.
    assert len(set(asked)) == len(asked)
    again = fetch_catalog(table, REGION, storage, client=client())
    assert (again.uris, again.n_rows, again.n_queries) == (found.uris, found.n_rows, 0)


def test_every_single_request_may_be_the_last(tap, tmp_path, whole, uninterrupted):
    """One request a run: as many interruptions as there are boxes and splits."""
    table, storage = survey_table(tap.tap_url, format="csv"), Storage.at(str(tmp_path))
    runs = 0
    while True:
        runs += 1
        try:
            found = fetch_catalog(table, REGION, storage, client=interrupting(2), workers=1)
            break
        except Interrupted:
            continue
    assert runs >= 20
    assert len(tap.queries) == len(set(tap.queries)) == runs == uninterrupted.n_queries
    assert table_of(found.uris).equals(whole)


_CHILD = """
import sys
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.fetch import CatalogFetch, fetch_catalog
from astrolake.lake.storage import Storage
from tests.data_access.servers.generated import REGION, survey_table
fetch_catalog(survey_table(sys.argv[1], format="csv"), REGION, Storage.at(sys.argv[2]), client=HttpClient("generated", 40.0, 2))
"""


def test_killed_and_run_again_gives_the_same_table(tap, tmp_path, whole, uninterrupted, request):
    root = request.config.rootpath
    path = os.pathsep.join([str(root), str(root / "lib")])
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, tap.tap_url, str(tmp_path)], env={**os.environ, "PYTHONPATH": path}
    )
    while len(tap.queries) < 12 and child.poll() is None:
        time.sleep(0.005)
    assert child.poll() is None, "the fetch ended before it could be killed"
    child.send_signal(signal.SIGKILL)
    child.wait()
    finished = len(list(tmp_path.glob("*/tile_*.parquet")))
    assert finished
    before = len(tap.queries)
    found = fetch_catalog(
        survey_table(tap.tap_url, format="csv"), REGION, Storage.at(str(tmp_path)), client=client()
    )
    assert table_of(found.uris).equals(whole)
    assert len(tap.queries) - before == found.n_queries <= uninterrupted.n_queries - finished


@pytest.mark.parametrize(
    "region",
    [
        Cone(0.1, 0.2, 0.5),
        Cone(0.0, 0.25, 0.02),
        Polygon((359.5, 0.6, 0.3), (-0.5, -0.3, 0.8)),
        Moc(Cone(359.8, -0.3, 0.3).ranges()),
    ],
    ids=["cone", "small cone", "polygon", "moc"],
)
def test_regions_that_are_no_boxes_are_cut_exactly(tap, tmp_path, region):
    found = fetch_catalog(
        survey_table(tap.tap_url, format="csv"), region, Storage.at(str(tmp_path)), client=client()
    )
    native = sources()
    mask = region.contains(native["ra"].to_numpy(), native["dec"].to_numpy())
    wanted = native["objid"].to_numpy()[mask]
    assert len(wanted)
    assert table_of(found.uris)["source_id"].to_pylist() == sorted(wanted.tolist())


def test_filters_and_cuts_narrow_the_query_and_hold_exactly(tap, tmp_path):
    found = fetch_catalog(
        survey_table(tap.tap_url, format="csv"),
        REGION,
        Storage.at(str(tmp_path)),
        columns=["mag_psf_r"],
        filters={"type": "GALAXY", "r_mag": [18, 19]},
        cuts=["clean"],
        client=client(),
    )
    native = sources()
    mag, kind, flags = (native[name].to_numpy() for name in ("mag", "kind", "flags"))
    mask = (mag + 0.5 >= 18) & (mag + 0.5 <= 19) & (kind == 1) & ((flags & 4) == 0)
    wanted = set(native["objid"].to_numpy()[mask].tolist()) & inside(native)
    rows = table_of(found.uris)
    assert set(rows["source_id"].to_pylist()) == wanted
    assert rows.column_names == ["source_id", "ra", "dec", "mag_psf_r"]
    assert all("kind IN (1)" in query and "mag BETWEEN" in query for query in tap.queries)


def test_an_empty_region_keeps_its_columns(tap, tmp_path):
    for region in (Box(100.0, 101.0, 40.0, 41.0), Moc(np.empty((0, 2), np.int64))):
        found = fetch_catalog(
            survey_table(tap.tap_url, format="csv"), region, Storage.at(str(tmp_path)), client=client()
        )
        rows = table_of(found.uris)
        assert found.n_rows == rows.num_rows == 0
        assert rows.column_names == ["source_id", "ra", "dec", "mag_psf_r", "type"]
        assert rows.schema.field("source_id").type == pa.int64()


def test_rows_that_a_service_sends_twice_are_kept_once(tmp_path):
    few = sources().slice(0, 3000)
    with TapServer(Database({NATIVE: pa.concat_tables([few, few.slice(0, 40)])}), waits=0) as server:
        found = fetch_catalog(
            survey_table(server.tap_url), REGION, Storage.at(str(tmp_path)), client=client()
        )
    ids = table_of(found.uris)["source_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert set(ids) == inside(few)
    assert found.n_duplicates == len(inside(few.slice(0, 40)))


def test_skyserver_gives_the_same_sources(tmp_path):
    region = Box(359.5, 0.5, -0.5, 0.5)
    native = sources().rename_columns(["objID", *sources().column_names[1:]])
    with SkyServerServer(Database({"PhotoObj": native}), most_rows=500) as server:
        table = survey_table(server.search_url, "skyserver", row_limit=500)
        found = fetch_catalog(table, region, Storage.at(str(tmp_path)), client=client(1e6))
        assert found.n_queries == len(server.queries) >= 10
        assert all("dbo.fGetNearbyObjAllEq(" in query for query in server.queries)
    assert set(table_of(found.uris)["source_id"].to_pylist()) == inside(sources(), region)


def test_a_service_that_cuts_off_silently_is_found_out_by_counting(database, tmp_path):
    region = Box(359.5, 0.5, -0.5, 0.5)
    with TapServer(database, most_rows=1500, marked=False, waits=0) as server:
        table = survey_table(server.tap_url, mode="sync", format="csv")
        storage = Storage.at(str(tmp_path))
        lost = fetch_catalog(table, region, storage, client=client())
        assert lost.n_rows < len(inside(sources(), region))
        found = fetch_catalog(table, region, storage, client=client(), verify_counts=True)
    assert set(table_of(found.uris)["source_id"].to_pylist()) == inside(sources(), region)


def test_another_request_goes_to_another_directory(tap, tmp_path):
    table, storage = survey_table(tap.tap_url, format="csv"), Storage.at(str(tmp_path))
    region = Cone(0.5, 0.5, 0.1)
    for options in ({}, {"filters": {"type": "STAR"}}, {"cuts": ["clean"]}, {"columns": ["type"]}):
        fetch_catalog(table, region, storage, client=client(), **options)
    fetch_catalog(table, Cone(0.5, 0.5, 0.11), storage, client=client())
    assert len(list(tmp_path.iterdir())) == 5


def test_a_damaged_plan_is_named(tap, tmp_path):
    table, storage = survey_table(tap.tap_url, format="csv"), Storage.at(str(tmp_path))
    fetch_catalog(table, Cone(0.5, 0.5, 0.1), storage, client=client())
    (plan,) = tmp_path.glob("*/plan.json")
    saved = json.loads(plan.read_text())
    plan.write_text(json.dumps({**saved, "tiles": ["7-0"]}))
    with pytest.raises(BadInput, match=r"plan\.json is no plan of a fetch"):
        fetch_catalog(table, Cone(0.5, 0.5, 0.1), storage, client=client())
    plan.write_text(json.dumps({**saved, "request": {}}))
    with pytest.raises(BadInput, match="is of another fetch"):
        fetch_catalog(table, Cone(0.5, 0.5, 0.1), storage, client=client())


def test_a_damaged_file_of_a_box_is_fetched_again(tap, tmp_path):
    table, storage = survey_table(tap.tap_url, format="csv"), Storage.at(str(tmp_path))
    first = fetch_catalog(table, Cone(0.0, 0.25, 0.1), storage, client=client())
    path = first.uris[0].removeprefix("file://")
    with open(path, "r+b") as stream:
        stream.truncate(100)
    again = fetch_catalog(table, Cone(0.0, 0.25, 0.1), storage, client=client())
    assert again.n_queries == 1
    assert (again.uris, again.n_rows) == (first.uris, first.n_rows)


def test_more_sources_in_one_place_than_an_answer_may_have(tmp_path):
    n = 200
    rows = sources().slice(0, n)
    rows = rows.set_column(1, "ra", pa.array(np.full(n, 0.5))).set_column(2, "dec", pa.array(np.full(n, 0.5)))
    with TapServer(Database({NATIVE: rows}), waits=0) as server:
        table = survey_table(server.tap_url, row_limit=100)
        with pytest.raises(ServiceError, match="a box cannot be smaller; add a filter or cut"):
            fetch_catalog(table, Cone(0.5, 0.5, 0.01), Storage.at(str(tmp_path)), client=client())


def test_unknown_names_are_refused_before_anything_is_asked(tap, tmp_path):
    table, storage = survey_table(tap.tap_url, format="csv"), Storage.at(str(tmp_path))
    for options in ({"columns": ["nothing"]}, {"filters": {"nothing": 1}}, {"cuts": ["nothing"]}):
        with pytest.raises(BadArguments, match="nothing"):
            fetch_catalog(table, REGION, storage, client=client(), **options)
    assert not tap.requests


def test_few_rows_of_much_sky_take_few_queries(database, tmp_path, whole):
    with TapServer(database, waits=0) as server:
        table = replace(survey_table(server.tap_url, format="csv"), row_limit=500)
        found = fetch_catalog(
            table, REGION, Storage.at(str(tmp_path)), filters={"r_mag": [None, 14.6]}, client=client()
        )
        counts = ["COUNT(*)" in query for query in server.queries]
        assert counts == [True] * 8 + [False] * (found.n_queries - 8)
        assert found.n_queries < 32
    expected = whole.filter(pc.less_equal(whole["mag_psf_r"], 14.6))
    assert found.n_rows > 100
    assert table_of(found.uris).equals(expected)


def test_a_service_that_counts_nothing_gives_the_same_rows(database, tmp_path, whole):
    with TapServer(database, waits=0) as server:
        server.faults.append(Fault("404"))
        table = replace(survey_table(server.tap_url, format="csv"), row_limit=500)
        found = fetch_catalog(
            table, REGION, Storage.at(str(tmp_path)), filters={"r_mag": [None, 14.6]}, client=client()
        )
    assert table_of(found.uris).equals(whole.filter(pc.less_equal(whole["mag_psf_r"], 14.6)))
