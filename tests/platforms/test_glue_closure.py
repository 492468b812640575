"""What jobs need on Glue is there or carried there; what is carried is installed as it came."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from itertools import permutations
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from platform_jobs import GLUE_ARGV, ROOT

from astrolake import __version__
from astrolake.batch_processing.emr import read_request
from astrolake.cli import job_names, load_job
from astrolake.job.args import parse_args

sys.path.insert(0, str(ROOT / "glue"))
from pack_wheels import Pin, canonical, manifest, missing_on_glue, read_pins
from slim_wheel import slim_wheel

GLUE = ROOT / "glue"
#: Bytes; glue/README.md says what makes them up.
LARGEST = 180_000_000


def needed() -> set[str]:
    """Names of all packages that astrolake without extras needs, itself left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    todo, found = [Requirement(line) for line in project["dependencies"]], set()
    while todo:
        name = canonical(todo.pop().name)
        if name not in found:
            found.add(name)
            wanted = (Requirement(line) for line in distribution(name).requires or [])
            todo += [item for item in wanted if item.marker is None or item.marker.evaluate({"extra": ""})]
    return found


def test_what_is_needed_is_there_or_pinned():
    there, pins = read_pins(GLUE / "preinstalled.txt"), read_pins(GLUE / "constraints.txt")
    assert needed() - there.keys() - pins.keys() == set()
    shared = there.keys() & pins.keys()
    assert {name: there[name] for name in shared} == {name: pins[name] for name in shared}
    assert {"numpy", "pandas", "pyarrow", "boto3"} <= shared


_IMPORT_JOBS = """
import importlib, sys
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions
allowed = set(sys.argv[1].split(","))
of_module = packages_distributions()

class OnGlue(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        owners = {owner.lower().replace("_", "-").replace(".", "-") for owner in of_module.get(name, ())}
        return PathFinder.find_spec(name, path, target) if not owners or owners & allowed else None

sys.meta_path[sys.meta_path.index(PathFinder)] = OnGlue
for name in sys.argv[2].split(","):
    importlib.import_module(f"astrolake.jobs.{name}")
for name in ("duckdb", "sqlglot"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} was not kept out")
"""


def test_jobs_import_with_what_is_there():
    allowed = needed() | read_pins(GLUE / "preinstalled.txt").keys() | {"astrolake", "pyspark", "py4j"}
    command = [sys.executable, "-c", _IMPORT_JOBS, ",".join(allowed), ",".join(job_names())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unpinned_package_is_refused():
    with pytest.raises(SystemExit, match=r"leftpad==1.0 is not in glue/constraints.txt"):
        missing_on_glue([Pin("leftpad", "1.0", "")])


def test_another_version_than_glues_is_refused():
    with pytest.raises(SystemExit, match=r"numpy 2.4.0, Glue has 2.3.4"):
        missing_on_glue([Pin("numpy", "2.4.0", "")])


def test_what_glue_has_is_not_carried():
    scipy = Pin("scipy", read_pins(GLUE / "constraints.txt")["scipy"], "")
    assert missing_on_glue([Pin("numpy", "2.3.4", ""), scipy]) == [scipy]


def test_the_archive_is_small_enough():
    archive = ROOT / "dist" / f"astrolake-{__version__}.gluewheels.zip"
    if not archive.exists():
        pytest.skip("dist/ has no zip of wheels: make glue-wheels")
    carried = {
        name.split("/")[1].split("-")[0].lower() for name, _, _ in manifest(archive) if name.endswith(".whl")
    }
    there = {name.replace("-", "_") for name in read_pins(GLUE / "preinstalled.txt")}
    assert {name.replace("-", "_") for name in needed()} - there <= carried
    assert archive.stat().st_size < LARGEST


@pytest.fixture
def wheel(tmp_path) -> Path:
    """A small wheel with a test suite and a large file."""
    files = {
        "thing/__init__.py": b"X = 1\n",
        "thing/large.so": bytes(range(256)) * 1000,
        "thing/tests/test_thing.py": b"assert True\n",
        "thing/latest.py": b"Y = 2\n",
        "thing-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
        "thing-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={digest(data)},{len(data)}\n" for name, data in files.items()]
    files["thing-1.0.dist-info/RECORD"] = "".join([*rows, "thing-1.0.dist-info/RECORD,,\n"]).encode()
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return path


def digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def test_a_slim_wheel_is_installed_by_pip(wheel, tmp_path):
    slim = tmp_path / "slim" / wheel.name
    slim.parent.mkdir()
    slim_wheel(wheel, slim)
    with zipfile.ZipFile(slim) as found:
        assert found.getinfo("thing/large.so").compress_type == zipfile.ZIP_LZMA
        rows = {
            row[0]: row[1]
            for row in csv.reader(io.StringIO(found.read("thing-1.0.dist-info/RECORD").decode()))
        }
        assert set(rows) == set(found.namelist())
        hashed = {name: value for name, value in rows.items() if value}
        assert hashed == {name: f"sha256={digest(found.read(name))}" for name in hashed}
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-index",
        "--no-deps",
        "--target",
        str(tmp_path / "to"),
    ]
    subprocess.run([*command, str(slim)], check=True, capture_output=True)
    assert (tmp_path / "to/thing/large.so").read_bytes() == bytes(range(256)) * 1000
    assert (tmp_path / "to/thing/latest.py").exists()
    assert not (tmp_path / "to/thing/tests").exists()


def test_the_same_wheel_gives_the_same_bytes(wheel, tmp_path):
    for name in ("a", "b"):
        slim_wheel(wheel, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


VALUES = {
    **{name: name for name in ("ApplicationId", "ExecutionRoleArn", "LogUri", "GlueDatabase", "Version")},
    **{name: f"s3://bucket/{name} 1" for name in ("Artifacts", "LakeUri", "SurveyImages")},
}


@pytest.mark.parametrize("name", job_names())
def test_a_job_takes_the_argv_that_glue_builds(name):
    job = load_job(name)
    own = read_request(ROOT / "emr" / "serverless", name, VALUES)["jobDriver"]["sparkSubmit"][
        "entryPointArguments"
    ]
    alone = parse_args(job.args, own, name, job.doc)
    assert alone.lake == "s3://bucket/LakeUri 1"
    # Glue orders parameters as it likes: ours before, after and between its own.
    pieces = [list(GLUE_ARGV[:14]), own, list(GLUE_ARGV[14:])]
    for order in permutations(pieces):
        assert parse_args(job.args, [word for piece in order for word in piece], name, job.doc) == alone


def test_what_jobs_of_glue_are_given_is_all_known_to_be_glues():
    flags = [word for word in GLUE_ARGV if re.fullmatch(r"--[\w-]+", word) and word != "--no-index"]
    assert len(flags) > 20
    job = load_job("maintain_tables")
    for flag in flags:
        parse_args(
            job.args,
            ["--lake", "x", flag, "--no-index" if "installer" in flag else "value"],
            job.name,
            job.doc,
        )


def test_the_command_says_what_to_install_for_sql(tmp_path):
    code = "import sys; sys.modules['duckdb'] = None; from astrolake.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "sql", "--lake", str(tmp_path), "SELECT 1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'astrolake[sql]'" in done.stderr
    assert "Traceback" not in done.stderr
