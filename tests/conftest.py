"""Shared fixtures: the real survey data, a Spark session and a fresh lake."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from astrolake.lake.session import spark_session


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
def spark() -> Iterator[SparkSession]:
    """The embedded Spark session that all tests of a run share."""
    session = spark_session("tests")
    yield session
    session.stop()
