"""Shared fixtures: the real survey data, a Spark session, and jobs run as their command lines."""

import contextlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

#: Runs a job by name: run_job("ingest_catalog", "--lake", ...) -> (exit code, summary).
RunJob = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="session")
def survey_data() -> Path:
    """Directory of real survey files; tests that need it skip when it is not given."""
    root = os.environ.get("ASTROLAKE_TEST_DATA")
    if not root:
        pytest.skip("ASTROLAKE_TEST_DATA is not set: real survey files are not at hand")
    path = Path(root)
    assert path.is_dir(), f"ASTROLAKE_TEST_DATA={root} is not a directory"
    return path


@pytest.fixture(scope="session")
def spark(tmp_path_factory) -> Iterator[Any]:
    """The one Spark session of the test run: two cores, few shuffle partitions, as under spark-submit."""
    pyspark = pytest.importorskip("pyspark")
    from astrolake.lake.session import prepare_local_environment, spark_session

    prepare_local_environment()
    settings = {
        "spark.master": "local[2]",
        "spark.app.name": "astrolake tests",
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.local.dir": str(tmp_path_factory.mktemp("spark")),
        "spark.python.daemon.module": "astrolake.lake.worker_daemon",
        # Tables of tests are small: planning and compiling cost more than running.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.adaptive.enabled": "false",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    pyspark.SparkContext(conf=pyspark.SparkConf().setAll(settings.items()))
    session = spark_session("astrolake tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def run_job(spark) -> RunJob:
    """Run a job on the shared session; the summary is the last line on stdout, empty when there is none."""
    from astrolake.cli import load_job
    from astrolake.job import main

    def run(name: str, *flags: object) -> tuple[int, dict[str, Any]]:
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            code = main(load_job(name), [str(flag) for flag in flags])
        lines = stdout.getvalue().splitlines()
        return code, json.loads(lines[-1]) if lines else {}

    return run


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """URL of a moto server that all boto3 clients of the test run can be sent to."""
    pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server")
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
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return moto_server
