"""Shared fixtures: the real survey data, a Spark session and a fresh lake."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def survey_data() -> Path:
    """Directory of real survey files; tests that need it skip when it is not given."""
    root = os.environ.get("ASTROLAKE_TEST_DATA")
    if not root:
        pytest.skip("ASTROLAKE_TEST_DATA is not set: real survey files are not at hand")
    path = Path(root)
    assert path.is_dir(), f"ASTROLAKE_TEST_DATA={root} is not a directory"
    return path
