"""Downloads to a bucket: nothing partial ever has a name there."""

import hashlib

import pytest

from astrolake.data_access.download import RemoteFile, download_file, download_files
from astrolake.data_access.manifest import downloaded_before, manifest_row, read_manifest, write_manifest
from astrolake.data_access.services.client import HttpClient
from astrolake.errors import ServiceError
from tests.data_access.servers.base import LoopbackServer
from tests.data_access.servers.clock import FakeClock

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")
pytest.importorskip("s3fs")

PLAIN = b"SIMPLE  =                    T".ljust(2880) + b"".join(
    hashlib.sha256(bytes([i])).digest() for i in range(90)
)


@pytest.fixture(scope="module")
def options():
    """Options of a store with one bucket, `sky`."""
    store = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    found = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    _s3(found).create_bucket(Bucket="sky")
    yield found
    store.stop()


def _s3(options):
    return boto3.client(
        "s3",
        endpoint_url=options["AWS_ENDPOINT_URL"],
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )


def contents(options, prefix):
    """Objects below a prefix, and unfinished uploads of the bucket."""
    s3 = _s3(options)
    found = s3.list_objects_v2(Bucket="sky", Prefix=prefix).get("Contents", [])
    bodies = {item["Key"]: s3.get_object(Bucket="sky", Key=item["Key"])["Body"].read() for item in found}
    return bodies, s3.list_multipart_uploads(Bucket="sky").get("Uploads", [])


@pytest.fixture
def server():
    with LoopbackServer() as started:
        yield started


@pytest.fixture
def client():
    clock = FakeClock()
    return HttpClient("ARCHIVE", float("inf"), sleep=clock.sleep, clock=clock)


def test_a_file_goes_straight_to_the_bucket_in_spite_of_faults(server, client, options):
    file = RemoteFile(server.serve("/a.fits", PLAIN), "s3://sky/one/a.fits")
    server.faults = ["503", "half", "half-reset", "html"]
    done = download_file(file, client, options)
    assert (done.n_bytes, done.checksum) == (len(PLAIN), "")
    assert contents(options, "one/") == ({"one/a.fits": PLAIN}, [])
    n_requests = len(server.requests)
    assert download_file(file, client, options).skipped
    assert len(server.requests) == n_requests


def test_a_large_file_goes_in_parts_or_not_at_all(server, client, options):
    large = PLAIN[:2880] + bytes(range(256)) * ((40 << 20) // 256)
    file = RemoteFile(server.serve("/b.fits", large), "s3://sky/two/b.fits", checksum="md5:" + "0" * 32)
    client.tries = 1
    with pytest.raises(ServiceError, match="not the published 0{32}"):
        download_file(file, client, options)
    assert contents(options, "two/") == ({}, [])
    server.faults = ["half"]
    with pytest.raises(ServiceError, match="broke off"):
        download_file(file, client, options)
    assert contents(options, "two/") == ({}, [])
    good = f"sha256:{hashlib.sha256(large).hexdigest()}"
    download_file(RemoteFile(file.url, file.uri, checksum=good), client, options)
    assert contents(options, "two/") == ({"two/b.fits": large}, [])
    head = _s3(options).head_object(Bucket="sky", Key="two/b.fits")
    assert head["ETag"].strip('"').endswith("-3")


def test_an_old_file_stays_until_the_new_one_is_whole(server, client, options):
    _s3(options).put_object(Bucket="sky", Key="three/c.fits", Body=b"old")
    file = RemoteFile(server.serve("/c.fits", PLAIN), "s3://sky/three/c.fits", n_bytes=len(PLAIN))
    server.faults = ["bits", "half", "503"] + ["half"] * 10
    with pytest.raises(ServiceError):
        download_file(RemoteFile(file.url, file.uri, checksum="sha256:" + "1" * 64), client, options)
    assert contents(options, "three/")[0] == {"three/c.fits": b"old"}
    server.faults.clear()
    download_file(file, client, options)
    assert contents(options, "three/")[0] == {"three/c.fits": PLAIN}


def test_the_manifest_lies_beside_the_files(server, client, options):
    files = [
        RemoteFile(server.serve(f"/{i}.fits", PLAIN), f"s3://sky/four/{i}.fits", band="r") for i in range(5)
    ]
    outcomes = list(download_files(files, client, 3, options))
    write_manifest("s3://sky/four/manifest.jsonl", (manifest_row(o.item, o.value) for o in outcomes), options)
    rows = read_manifest("s3://sky/four/manifest.jsonl", options)
    assert [row["uri"] for row in rows] == [file.uri for file in files]
    again = download_files(files, client, 3, options, downloaded_before(rows))
    assert {(o.value.skipped, o.value.n_bytes) for o in again} == {(True, len(PLAIN))}
    assert len(server.requests) == 5
    assert read_manifest("s3://sky/none.jsonl", options) == []
