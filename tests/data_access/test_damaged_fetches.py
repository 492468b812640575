"""Fetches whose files are damaged or do not fit: named, and never taken for fewer or other rows."""

import gzip
import json
import resource
import signal
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.data_access.download import Downloaded, RemoteFile, download_file
from astrolake.data_access.fetched import read_fetched
from astrolake.data_access.manifest import downloaded_before, read_manifest
from astrolake.data_access.services import catalog_answers
from astrolake.data_access.services import client as client_module
from astrolake.data_access.services import fetch as fetch_module
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.fetch import fetch_catalog
from astrolake.errors import AstrolakeError, BadArguments, BadInput, ServiceError
from astrolake.lake.storage import Storage
from astrolake.sky.region import Box
from tests.data_access.servers.base import LoopbackServer, Reply
from tests.data_access.servers.generated import NATIVE, sources, survey_table
from tests.data_access.servers.query_engine import Database
from tests.data_access.servers.tap_server import TapServer

REGION = Box(359.8, 0.2, -0.9, -0.6)


@pytest.fixture(scope="module")
def database():
    return Database({NATIVE: sources()})


@pytest.fixture
def tap(database):
    with TapServer(database, waits=0) as server:
        yield server


def client():
    return HttpClient("generated survey", float("inf"), 2, tries=2, sleep=lambda seconds: None)


def fetch(tap, directory, region=REGION, **options):
    table = survey_table(tap.tap_url, format="csv", **options)
    return fetch_catalog(table, region, Storage.at(str(directory)), client=client(), workers=2)


def ids(found):
    return sorted(read_fetched(found.uris, {}, "arrow")["source_id"].to_pylist())


@pytest.mark.parametrize("tiles", [[], ["0-", "1-", "0-"], ["0-0", "1-"]])
def test_boxes_of_a_plan_that_were_changed_are_not_believed(tap, tmp_path, tiles):
    fetch(tap, tmp_path)
    (plan,) = tmp_path.glob("*/plan.json")
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "tiles": tiles}))
    with pytest.raises(
        BadInput, match=r"plan\.json is no plan of a fetch .*not those .*remove its directory"
    ):
        fetch(tap, tmp_path)


def test_values_of_a_box_that_were_changed_are_not_believed(tap, tmp_path):
    """Without checksums, one wrong byte in a column of numbers is another number."""
    found = fetch(tap, tmp_path)
    (path, *_) = sorted(tmp_path.glob("*/tile_*.parquet"))
    content = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(0).column(1)
    middle = (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size // 2
    content[middle] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"{path.name}: what was fetched is damaged .*delete it"):
        read_fetched(found.uris, {}, "pandas")
    path.unlink()
    assert len(ids(fetch(tap, tmp_path))) == found.n_rows


def test_a_box_of_another_table_is_named(tap, tmp_path):
    found = fetch(tap, tmp_path)
    path = sorted(tmp_path.glob("*/tile_*.parquet"))[0]
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(BadInput, match=r"what was fetched is damaged .*different"):
        read_fetched(found.uris, {}, "arrow")


def test_fetches_of_one_region_at_the_same_time_do_not_disturb_each_other(tap, tmp_path):
    results = []
    threads = [threading.Thread(target=lambda: results.append(ids(fetch(tap, tmp_path)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert results[0] == results[1] == results[2]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_region_of_too_many_queries_is_refused(tap, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "_MOST_BOXES", 1_000)
    table = survey_table(tap.tap_url, row_limit=1)
    with pytest.raises(BadArguments, match=r"takes more than 1,000 queries of 1 rows"):
        fetch_catalog(table, Box(0, 360, -90, 90), Storage.at(str(tmp_path)), client=client())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["file", "transfer"])
def test_an_answer_that_unpacks_to_too_much_is_refused(tap, tmp_path, monkeypatch, headers):
    monkeypatch.setattr(catalog_answers, "_MOST_BYTES", 1 << 20)
    bomb = gzip.compress(b"objid,ra,dec\n" + bytes(1 << 21))
    tap.route("POST", "/tap/sync", lambda request: Reply(200, bomb, "text/csv", headers))
    with pytest.raises(
        ServiceError, match=r"more than 1,048,576 bytes, packed or not; ask for fewer columns"
    ):
        fetch(tap, tmp_path, mode="sync")
    assert [path.name for path in tmp_path.glob("*/*")] == ["plan.json"]


def test_a_list_that_unpacks_to_too_much_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(client_module, "_MOST_BYTES", 1 << 20)
    bomb = Reply(200, gzip.compress(bytes(1 << 21)), "text/plain", {"Content-Encoding": "gzip"})
    with LoopbackServer() as server:
        server.route("GET", "/list", lambda request: bomb)
        with pytest.raises(ServiceError, match=r"generated survey: the answer has more than 1,048,576 bytes"):
            client().get(server.url + "/list")
        assert len(server.requests) == 1


@pytest.fixture
def no_large_files():
    """No file may be larger than 16 kB: as on a full disk, for root, too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_not_blamed_on_the_service(tap, tmp_path, no_large_files):
    with pytest.raises(ServiceError, match=r"an answer cannot be kept \(File too large\); free some space"):
        fetch(tap, tmp_path, region=Box(359, 1, -1, 1))
    assert not list(tmp_path.rglob("tile_*"))


def test_a_full_disk_is_told_with_the_file_that_did_not_fit(tmp_path, no_large_files):
    with LoopbackServer() as server:
        body = b"SIMPLE  =                    T".ljust(2880) * 20
        file = RemoteFile(server.serve("/large.fits", body), (tmp_path / "large.fits").as_uri())
        with pytest.raises(AstrolakeError, match=r"/large\.fits cannot be kept .*free some space"):
            download_file(file, client())
        assert len(server.requests) == 1
    assert not (tmp_path / "large.fits").exists()


def test_lines_of_a_manifest_that_were_damaged_prove_nothing(tmp_path):
    good = {"uri": "file:///a", "n_bytes": 3, "checksum": "sha256:" + "0" * 64}
    bad = [{**good, "n_bytes": "3"}, {**good, "checksum": None}, {"uri": "file:///b", "checksum": ""}]
    assert downloaded_before(bad) == {}
    done = Downloaded("file:///a", 3, good["checksum"], skipped=True)
    assert downloaded_before([good]) == {"file:///a": done}
    (tmp_path / "m.jsonl").write_text('{"url": "x"}\n')
    with pytest.raises(BadInput, match=r"m\.jsonl is no manifest: a line names no file"):
        read_manifest((tmp_path / "m.jsonl").as_uri())
