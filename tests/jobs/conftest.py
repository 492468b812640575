"""A small sample sky, and a lake that the whole chain of jobs has filled from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from job_chain import LAYOUT, chain

from astrolake.demo import SampleSky, write_sample_sky
from astrolake.lake.lake import Lake


@dataclass(frozen=True)
class Filled:
    """A filled lake, the sky it was filled from, and what each job said."""

    lake: Lake
    path: Path
    sky: SampleSky
    summaries: dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def sample_sky(tmp_path_factory: pytest.TempPathFactory) -> SampleSky:
    """The files of a small sample sky, below a directory with a space in its name."""
    return write_sample_sky(tmp_path_factory.mktemp("sample sky"), layout=LAYOUT)


@pytest.fixture(scope="session")
def filled(sample_sky: SampleSky, tmp_path_factory: pytest.TempPathFactory, spark: object) -> Filled:
    """A lake that the chain has filled once; tests must not change it."""
    path = tmp_path_factory.mktemp("filled lake") / "lake"
    summaries = chain(sample_sky, path)
    return Filled(Lake.open(str(path)), path, sample_sky, summaries)
