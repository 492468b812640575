"""The zip of wheels in a clean environment that has what Glue 5.1 has, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from platform_jobs import ROOT, check_two_jobs, submit_job

from astrolake import __version__
from astrolake.lake.session import bundled_java_home

pytestmark = [pytest.mark.slow, pytest.mark.platform]


@pytest.fixture(scope="module")
def archive() -> Path:
    """The zip, packed now from the sources; wheels of others come from the cache of earlier packing."""
    started = time.monotonic()
    done = run(sys.executable, str(ROOT / "glue" / "pack_wheels.py"))
    print(f"{done.stdout}packed in {time.monotonic() - started:.0f} s")
    return ROOT / "dist" / f"astrolake-{__version__}.gluewheels.zip"


@pytest.fixture(scope="module")
def glue_python(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python as on Glue: its modules and its Spark, then the zip installed as Glue does."""
    home = tmp_path_factory.mktemp("glue")
    run(sys.executable, "-m", "venv", str(home / "python"))
    python = home / "python" / "bin" / "python"
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "pip==24.0")
    # Glue's own Spark, which pip does not know of there.
    run(*pip, "--requirement", str(ROOT / "glue" / "preinstalled.txt"))
    run(*pip, "--no-deps", "pyspark==3.5.6", "py4j==0.10.9.7")
    with zipfile.ZipFile(archive) as found:
        found.extractall(home)
    started = time.monotonic()
    wheels = home / "wheels"
    run(*pip, "--no-index", "--find-links", str(wheels), "--requirement", str(wheels / "requirements.txt"))
    print(f"installed in {time.monotonic() - started:.0f} s")
    return python


def run(*command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
    assert done.returncode == 0, f"{command[:4]}: {done.stderr[-3000:]}"
    return done


def test_all_that_is_installed_fits_together(glue_python):
    assert "No broken requirements found" in run(str(glue_python), "-m", "pip", "check").stdout


def test_what_glue_had_is_as_it_was(glue_python):
    listed = run(str(glue_python), "-m", "pip", "list", "--format=freeze").stdout.lower().splitlines()
    for line in (ROOT / "glue" / "preinstalled.txt").read_text().lower().splitlines():
        assert line.startswith("#") or line in listed


def test_wheels_given_one_by_one_are_there_already(glue_python):
    wheels = sorted((glue_python.parents[2] / "wheels").glob("*.whl"))
    assert len(wheels) > 10
    said = run(str(glue_python), "-m", "pip", "install", "--no-index", *map(str, wheels)).stdout
    assert "Installing collected packages: " not in said.replace(
        "Installing collected packages: astrolake\n", ""
    )


def test_glues_other_installer_reads_them_too(glue_python, tmp_path):
    wheels = sorted((glue_python.parents[2] / "wheels").glob("*.whl"))
    uv = str(glue_python.with_name("uv"))
    run(
        uv,
        "pip",
        "install",
        "--no-index",
        "--no-deps",
        "--no-cache",
        "--target",
        str(tmp_path),
        *map(str, wheels),
    )
    assert (tmp_path / "llvmlite").is_dir()


def test_jobs_run_as_on_glue(glue_python, one_sky, tmp_path):
    spark = next((glue_python.parents[1] / "lib").glob("python3*/site-packages/pyspark"))
    environment = {"PYSPARK_PYTHON": str(glue_python), "JAVA_HOME": str(bundled_java_home())}
    check_two_jobs(lambda *job: submit_job(spark, environment, tmp_path, *job), one_sky, tmp_path / "lake")
