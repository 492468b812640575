"""Offline AWS: one moto server for the test run, emptied before each test."""

import threading
from collections.abc import Iterator

import pytest

boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")

REGION = "us-east-1"


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """URL of a moto server that all boto3 clients of the test run can be sent to."""
    from moto.s3.responses import S3Response

    put, delete, lock = S3Response.put_object, S3Response.delete_object, threading.Lock()

    def atomic_put(response: S3Response):
        # moto looks for the object and then puts its own: two conditional puts at a time would both succeed.
        with lock:
            return put(response)

    def atomic_delete(response: S3Response):
        with lock:
            return delete(response)

    S3Response.put_object, S3Response.delete_object = atomic_put, atomic_delete
    store = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    yield f"http://{host}:{port}"
    store.stop()
    S3Response.put_object, S3Response.delete_object = put, delete


@pytest.fixture
def aws(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of the empty server; the ambient credentials and endpoint of this test lead to it."""
    import urllib.request

    request = urllib.request.Request(f"{moto_server}/moto-api/reset", method="POST")
    urllib.request.urlopen(request, timeout=30).close()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    settings = {
        "AWS_ENDPOINT_URL": moto_server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return moto_server
