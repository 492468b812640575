"""The lake on an S3-compatible store: everything but Spark, whose S3A jars are not part of the tests."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
from commits import STARS, cell_file, commit
from lake_tables import put_rows

from astrolake.errors import BadInput, CommitConflict, NotALake
from astrolake.lake.delta import apply_commit, read_snapshot
from astrolake.lake.hats import (
    claim_table,
    claims_of,
    release_claim,
    retract_hats_metadata,
    write_hats_metadata,
)
from astrolake.lake.lake import Lake
from astrolake.lake.listing import list_files
from astrolake.lake.maintain import vacuum_table
from astrolake.lake.publish import publish_hats
from astrolake.lake.reader import RegionReader, table_snapshot
from astrolake.lake.runs import RunRecord
from astrolake.lake.storage import Storage
from astrolake.lake.vacuum import find_orphans
from astrolake.photoz.filters import FilterCurve
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.model_store import choose, store
from astrolake.photoz.photometry import BandColumns
from astrolake.photoz.sed_files import Spectrum
from astrolake.photoz.template_fit import TemplateFit
from astrolake.photoz.templates import TemplateSet
from astrolake.schema import HEALPIX_COLUMN, REJECTS

boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")
S3Response = pytest.importorskip("moto.s3.responses").S3Response
pytest.importorskip("s3fs")

NOW = datetime(2025, 6, 1, tzinfo=UTC)
ROWS = [{"source_id": i, "ra": 30.0 * i, "dec": 5.0 * i - 30.0} for i in range(12)]


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, str]]:
    """Options of a store with one bucket, `sky`."""
    store = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    put, lock = S3Response.put_object, threading.Lock()

    def atomic_put(response: S3Response):
        # moto looks for the object and then puts its own: two conditional puts at a time would both succeed.
        with lock:
            return put(response)

    S3Response.put_object = atomic_put
    store.start()
    host, port = store.get_host_and_port()
    found = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    _client(found).create_bucket(Bucket="sky")
    yield found
    store.stop()
    S3Response.put_object = put


def _client(options: dict[str, str]):
    return boto3.client(
        "s3",
        endpoint_url=options["AWS_ENDPOINT_URL"],
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )


@pytest.fixture
def client(options):
    return _client(options)


@pytest.fixture
def lake(options, request) -> Lake:
    """A new lake below a prefix with a space."""
    return Lake.create(f"s3://sky/my lakes/{request.node.name}".replace("[", "-").replace("]", ""), options)


@pytest.fixture
def stars(lake) -> Lake:
    put_rows(lake, STARS, ROWS, "run-1")
    return lake


def _keys(lake: Lake, *parts: str) -> list[str]:
    return lake.storage.fs.find(lake.storage.path(*parts))


def test_a_lake_is_created_and_found_again(lake, options):
    assert Lake.open(lake.uri, options) == lake
    assert Lake.create(lake.uri.replace("s3://", "s3a://"), options) == lake
    assert lake.tables() == []


def test_a_prefix_with_other_objects_is_no_place_for_a_lake(options, client):
    client.put_object(Bucket="sky", Key="thesis/draft.tex", Body=b"precious")
    with pytest.raises(NotALake, match="exists and is not a lake"):
        Lake.create("s3://sky/thesis", options)


def test_the_folder_that_the_console_makes_is_empty(options, client):
    client.put_object(Bucket="sky", Key="made in console/", Body=b"")
    assert Lake.create("s3://sky/made in console", options).tables() == []


@pytest.mark.parametrize("uri", ["s3://misspelt", "s3://misspelt/lake"])
def test_a_missing_bucket_is_not_made_in_passing(options, client, uri):
    with pytest.raises(NotALake, match="misspelt"):
        Lake.create(uri, options)
    with pytest.raises(NotALake, match="misspelt"):
        Lake.open(uri, options)
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["sky"]


def test_a_table_is_written_and_replaced(stars):
    assert put_rows(stars, STARS, ROWS[:5], "run-2") == 1
    snapshot = read_snapshot(stars.delta_storage("stars"))
    assert (snapshot.version, snapshot.rows) == (1, 5)
    assert read_snapshot(stars.delta_storage("stars"), 0).rows == 12


def test_the_files_are_sorted_and_complete(stars):
    storage = stars.delta_storage("stars")
    rows = []
    for file in read_snapshot(storage).files:
        with storage.fs.open(storage.path(file.path), "rb") as stream:
            table = pq.ParquetFile(stream).read()
        assert storage.fs.size(storage.path(file.path)) == file.size
        index = table.column(HEALPIX_COLUMN).to_numpy()
        assert (np.diff(index) >= 0).all()
        rows += table.column("source_id").to_pylist()
    assert sorted(rows) == list(range(12))


def test_tables_that_others_write_are_seen_at_once(lake, options):
    assert lake.tables() == []
    put_rows(Lake.open(lake.uri, options), STARS, ROWS, "run-1")
    assert lake.has_table("stars")
    assert lake.tables() == ["stars"]


def test_objects_that_others_put_are_seen_at_once(lake, client):
    storage = lake.storage
    assert len(storage.fs.ls(storage.path())) == 1
    client.put_object(Bucket="sky", Key=f"{storage.path('new').removeprefix('sky/')}/a", Body=b"1")
    assert storage.fs.exists(storage.path("new"))
    assert len(storage.fs.ls(storage.path())) == 2


def test_writers_of_different_cells_all_succeed(lake, options):
    storage = lake.delta_storage("stars", positional=True)

    def write(number: int) -> int:
        here = Storage.at(storage.root, options)
        return apply_commit(commit(here, f"run-{number}", [cell_file(f"f{number}", 1, number)]))

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(write, range(8)))
    assert sorted(versions) == list(range(8))
    assert read_snapshot(storage).rows == 8


def test_writers_of_one_cell_leave_one_winner(lake, options):
    storage = lake.delta_storage("stars", positional=True)
    apply_commit(commit(storage, "run-first", [cell_file("first", 1, 40)]))

    def won(number: int) -> bool:
        try:
            here = Storage.at(storage.root, options)
            apply_commit(commit(here, f"run-{number}", [cell_file(f"f{number}", 1, 5)], base=0))
        except CommitConflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(won, range(4))).count(True) == 1
    assert read_snapshot(storage).rows == 2


def test_a_run_is_applied_once(stars):
    storage = stars.delta_storage("stars")
    (old, *_) = read_snapshot(storage).files
    pending = commit(storage, "run-2", [replace(old, path=f"{old.path}-2")], [old], base=0)
    assert apply_commit(pending) == 1
    assert apply_commit(pending) == 1


def test_a_region_is_read_without_spark(stars):
    snapshot = table_snapshot(stars, "stars")
    reader = RegionReader(snapshot.storage, snapshot.files, ("source_id",))
    everything = np.array([[0, 12 << 58]])
    assert sorted(reader.read(everything).column("source_id").to_pylist()) == list(range(12))
    (one,) = [file for file in snapshot.files if file.npix == 4]
    some = reader.read(np.array([[one.npix << 58, (one.npix + 1) << 58]]))
    assert some.num_rows == one.rows < 12


def test_hats_metadata_comes_and_goes(stars):
    root = stars.table_storage("stars")
    write_hats_metadata(root, "stars", table_snapshot(stars, "stars"), NOW)
    names = {key.removeprefix(f"{root.path()}/") for key in _keys(stars, "stars") if ".parquet" not in key}
    made = {"hats.properties", "properties", "partition_info.csv"}
    assert made | {"dataset/_metadata", "dataset/_common_metadata"} <= names
    retract_hats_metadata(root)
    assert not root.fs.exists(root.path("hats.properties"))
    assert not root.fs.exists(root.path("properties"))


def test_a_claim_is_seen_until_it_is_released(stars):
    root = stars.table_storage("stars")
    assert claims_of(root) == []
    claim_table(root, "run-2")
    assert claims_of(root) == ["run-2"]
    release_claim(root, "run-2")
    assert claims_of(root) == []


def test_publishing_clears_superseded_files_and_orphans(stars):
    put_rows(stars, STARS, ROWS[:5], "run-2")
    storage = stars.delta_storage("stars")
    storage.fs.pipe_file(storage.path("Norder=0/Dir=0/Npix=4/part-killed-0123456789ab.parquet"), b"half")
    publish_hats(stars, "stars", 0, NOW)
    current = {storage.path(file.path) for file in read_snapshot(storage).files}
    assert {key for key in _keys(stars, "stars") if key.endswith(".parquet")} == current


def test_vacuum_deletes_what_no_version_uses(stars):
    put_rows(stars, STARS, ROWS[:5], "run-2")
    storage = stars.delta_storage("stars")
    storage.fs.pipe_file(storage.path("Norder=0/Dir=0/Npix=4/part-killed-0123456789ab.parquet"), b"half")
    assert [orphan.run_id for orphan in find_orphans(storage)] == ["killed"]
    tidied = vacuum_table(stars, "stars", 0, dry_run=False)
    assert tidied.orphans == 1
    assert tidied.superseded == len(read_snapshot(storage, 0).files)
    assert find_orphans(storage) == []
    assert read_snapshot(storage).rows == 5


def test_a_run_is_recorded(lake):
    record = RunRecord("run-1", "test", "0", {}, NOW)
    record.record(lake)
    record.status = "done"
    record.record(lake)
    assert read_snapshot(lake.delta_storage("runs")).rows == 1


def test_a_flat_table_is_written(lake):
    put_rows(lake, REJECTS, [{"source": "s3://sky/bad.fits"}])
    assert lake.delta_storage("rejects").root == f"{lake.uri}/rejects"


def test_a_model_of_redshifts_is_stored_and_checked(lake, options):
    wave = np.array([1000.0, 5000.0, 20000.0])
    templates = TemplateSet("flat", (Spectrum("flat", wave, np.ones(3)),), np.eye(3)[:1])
    curve = FilterCurve("r", np.array([5400.0, 5500, 6900, 7000]), np.array([0.0, 1, 1, 0]))
    band = BandColumns("r", "mag_r", "mag_r_err")
    fit = TemplateFit.make(templates, [curve], [band], RedshiftGrid(0.0, 0.5, 0.1))
    stored = store(lake.storage, "flat-1", "flat", fit)
    row = {"model_id": "flat-1", "name": "flat", "sha256": stored.sha256, "created": NOW}
    found = choose(Lake.open(lake.uri, options).storage, [row], "flat").load()
    assert found.to_bytes() == fit.to_bytes()
    with pytest.raises(BadInput, match="is not the model that was trained"):
        choose(lake.storage, [row | {"sha256": "0" * 64}], "flat-1").load()
    with pytest.raises(BadInput, match="the file of model flat-2 is gone"):
        choose(lake.storage, [row | {"model_id": "flat-2"}], "flat").load()


def test_inputs_are_listed_by_prefix_and_glob(options, client):
    for key in ("night 1/a.fits", "night 1/r/b.fits", "night 1/.x/c.fits"):
        client.put_object(Bucket="sky", Key=key, Body=b"x")
    everything = ["s3://sky/night 1/a.fits", "s3://sky/night 1/r/b.fits"]
    assert list_files(["s3://sky/night 1/"], options) == everything
    assert list_files(["s3a://sky/night 1/*.fits"], options) == ["s3://sky/night 1/a.fits"]
    assert list_files(["s3://sky/night 1/lost.fits"], options) == ["s3://sky/night 1/lost.fits"]


def test_a_lake_without_credentials_is_refused_with_a_word(options, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    nobody = {name: value for name, value in options.items() if "KEY" not in name}
    with pytest.raises(NotALake, match="no permission to read s3://sky/.*credentials"):
        Lake.open("s3://sky/closed", nobody)
    with pytest.raises(NotALake, match="no permission to create a lake at s3://sky/closed.*credentials"):
        Lake.create("s3://sky/closed", nobody)
