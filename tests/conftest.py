"""Shared fixtures: the real survey data, a Spark session, and jobs run as their command lines."""

import contextlib
import io
import json
import os
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
