"""The archive for Lambda: small enough, and alone with boto3 it gives the rows of the library."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
import pytest
from tiny_images import tiny_fits

from astrolake.batch_processing.image_catalog import image_catalog
from astrolake.lake.glue_parquet import parquet_entry
from astrolake.lake.sql_glue import run_glue_query
from astrolake.schema import SOURCES

pytestmark = [pytest.mark.slow, pytest.mark.platform]
pytest.importorskip("s3fs")

ROOT = Path(__file__).parents[2]
#: What Lambda's runtime has: boto3 and what that needs.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
CALL = """
import json, sys
sys.path[:0] = sys.argv[1:3]
import handler
answers = [handler.lambda_handler(event, None) for event in json.load(sys.stdin)]
print(json.dumps({"answers": answers, "modules": sorted(sys.modules)}))
"""
#: The function's Python, and the newest glibc that its system, Amazon Linux 2023, has.
PYTHON, GLIBC = "python3.12", (2, 34)
#: The processor for which kernels are compiled ahead of time may have other instructions than this one.
TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    if missing := [tool for tool in ("cc", "strip", "make", PYTHON) if not shutil.which(tool)]:
        pytest.skip(f"kernels cannot be compiled ahead of time without {', '.join(missing)}")
    out = tmp_path_factory.mktemp("zip")
    subprocess.run(["make", "--directory", ROOT, "--silent", ".venv-lambda/.ready"], check=True)
    subprocess.run([ROOT / ".venv-lambda/bin/python", ROOT / "lambda/pack_zip.py", "--out", out], check=True)
    (found,) = out.glob("astrolake-lambda-*.zip")
    return found


@pytest.fixture(scope="module")
def task(archive, tmp_path_factory) -> Path:
    """The folder that the archive unpacks to."""
    folder = tmp_path_factory.mktemp("var") / "task"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> Path:
    """A folder with boto3 and nothing else."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME:
        origin = Path(importlib.util.find_spec(name).origin)
        origin = origin.parent if origin.name == "__init__.py" else origin
        (folder / origin.name).symlink_to(origin)
    return folder


def python(task: Path, runtime: Path, code: str, given: str = "", **environment: str) -> str:
    """Run code in an interpreter that has the standard library, the archive and boto3."""
    command = [PYTHON, "-I", "-S", "-B", "-c", code, str(task), str(runtime)]
    kept = {name: os.environ[name] for name in os.environ if name.startswith("AWS_") or name == "PATH"}
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, env=kept | environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_small_enough_and_holds_the_code(archive):
    with zipfile.ZipFile(archive) as packed:
        sizes = {entry.filename: entry.file_size for entry in packed.infolist()}
    assert sum(sizes.values()) < 250e6
    assert {"handler.py", "astrolake/__init__.py", "numba/__init__.py"} <= sizes.keys()
    assert not [name for name in sizes if name.startswith(("llvmlite/", "pandas/", "pyspark/"))]
    version = re.search(r"astrolake-lambda-(.+)\.zip", archive.name)[1]
    assert version == importlib.import_module("astrolake").__version__


def test_its_libraries_load_on_the_functions_system(task):
    libraries = [path for path in task.rglob("*.so*") if path.is_file()]
    assert len(libraries) > 50
    needed = {
        path.name: max(
            (
                tuple(map(int, version.split(b".")))
                for version in re.findall(rb"GLIBC_(2\.\d+)", path.read_bytes())
            ),
            default=(0, 0),
        )
        for path in libraries
    }
    assert {name: version for name, version in needed.items() if version > GLIBC} == {}
    compiled = {match[1] for path in libraries if (match := re.search(r"\.cpython-(\d+)-", path.name))}
    assert compiled == {"312"}
    runtime = (ROOT / "cloudformation" / "serverless.yml").read_text()
    assert f"!Ref AWS::NoValue, {PYTHON}]" in runtime


def expected_rows(name: str, content: bytes, folder: Path) -> pa.Table:
    path = folder / name
    path.write_bytes(content)
    run_id = f"upload-{hashlib.md5(content).hexdigest()}"
    (rows,) = image_catalog(path, f"s3://sky/{name}", run_id).tables.values()
    return rows


def compare(found: pa.Table, expected: pa.Table) -> None:
    assert found.num_rows == expected.num_rows > 20
    for field in expected.schema:
        ours, theirs = found.column(field.name), expected.column(field.name)
        if pa.types.is_floating(field.type):
            values = (column.to_numpy(zero_copy_only=False) for column in (ours, theirs))
            np.testing.assert_allclose(*values, rtol=TOLERANCE, atol=0, err_msg=field.name)
        else:
            assert ours.to_pylist() == theirs.to_pylist(), field.name


@pytest.mark.data
def test_alone_it_gives_the_rows_of_the_library(task, runtime, aws, survey_data, tmp_path):
    images = [
        survey_data / "images_sdss" / "frame-g-004510-4-0030.fits.bz2",
        survey_data / "images_legacy_brick" / "legacysurvey-0959p805-image-g.fits.fz",
        survey_data / "images_sdss" / "stamp-i-5.0073-0.0739.fits",
    ]
    s3, glue = boto3.client("s3"), boto3.client("glue")
    for bucket in ("sky", "catalogs"):
        s3.create_bucket(Bucket=bucket)
    glue.create_database(DatabaseInput={"Name": "sky"})
    glue.create_table(DatabaseName="sky", TableInput=parquet_entry(SOURCES, "s3://catalogs/sources/"))
    contents = {path.name: path.read_bytes() for path in images}
    for name, content in contents.items():
        s3.put_object(Bucket="sky", Key=name, Body=content)
    events = json.dumps([{"bucket": "sky", "key": name} for name in contents])
    told = json.loads(python(task, runtime, CALL, events, CATALOG_BUCKET="catalogs", GLUE_DATABASE="sky"))
    assert [answer["images"][0]["status"] for answer in told["answers"]] == ["done"] * 3
    assert {"pandas", "llvmlite", "scipy.linalg", "pyspark", "deltalake", "matplotlib"}.isdisjoint(
        told["modules"]
    )
    for name, content in contents.items():
        found = run_glue_query("sky", f"SELECT * FROM sources WHERE uri = 's3://sky/{name}'")
        expected = expected_rows(name, content, tmp_path)
        compare(found.sort_by("source_id"), expected.sort_by("source_id"))


def test_kernels_refuse_types_that_they_are_not_compiled_for(task, runtime):
    code = """
import sys
sys.path[:0] = sys.argv[1:3]
import numpy as np
from astrolake.photometry.mesh_kernels import median_filter
grid = np.arange(12.0).reshape(3, 4)
print(median_filter(grid, 3).shape)
for wrong in ((grid.astype("f4"), 3), (grid.T, 3), (grid[0], 3), (grid, 3.0), (grid,)):
    try:
        median_filter(*wrong)
    except TypeError as error:
        print("refused" if "median_filter is compiled for" in str(error) else error)
"""
    assert python(task, runtime, code).split("\n") == ["(3, 4)", *["refused"] * 5, ""]


def test_what_is_left_out_says_so(task, runtime):
    code = """
import sys
sys.path[:0] = sys.argv[1:3]
from scipy.spatial import cKDTree
try:
    cKDTree([[0, 0]])
except ImportError as error:
    print(error)
"""
    assert "scipy.spatial.cKDTree is left out of the function" in python(task, runtime, code)


def test_a_small_image_without_real_data(task, runtime, aws):
    s3 = boto3.client("s3")
    for bucket in ("sky", "catalogs"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="sky", Key="a b+c.fits", Body=tiny_fits(1, "gr"))
    events = json.dumps([{"bucket": "sky", "key": "a b+c.fits"}] * 2)
    told = json.loads(python(task, runtime, CALL, events, CATALOG_BUCKET="catalogs"))
    images = [answer["images"][0] for answer in told["answers"]]
    assert [(image["status"], image["hdus"], image["changed"]) for image in images] == [
        ("done", 2, True),
        ("done", 2, False),
    ]
