"""Embedded Spark without an S3 file system of its own works on a lake in a bucket all the same."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from astrolake.lake.lake import Lake
from astrolake.lake.parquet_frame import parquet_frame
from astrolake.lake.reader import read_table
from astrolake.lake.storage import Storage

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")
pytestmark = pytest.mark.spark


@pytest.fixture
def options(aws):
    boto3.client("s3").create_bucket(Bucket="sky")
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}
    return {"AWS_ENDPOINT_URL": aws, "AWS_ALLOW_HTTP": "true", **keys}


def write_stars(path, first, end, mag):
    ids = np.arange(first, end)
    columns = {"source_id": ids, "ra": ids * 0.01, "dec": ids * 0.005 - 40, "mag": np.full(len(ids), mag)}
    pacsv.write_csv(pa.table(columns), path)
    return str(path)


def ingest_all(*runs):
    """Run the job in a process of its own, whose Spark workers take over its environment."""
    code = (
        "import json, sys; from astrolake.cli import main\n"
        "print([main(['run', 'ingest_catalog', *flags]) for flags in json.loads(sys.argv[1])])"
    )
    command = [sys.executable, "-c", code, json.dumps(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.stdout.splitlines()[-1:] == [str([0] * len(runs))], done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()[:-1]]


@pytest.mark.slow
def test_jobs_write_and_replace_a_table_in_a_bucket(options, spark, tmp_path):
    flags = (
        "--lake",
        "s3://sky/lake",
        "--table",
        "stars",
        "--max-rows",
        "500",
        "--local-memory",
        "1g",
        "--input",
    )
    first, second = ingest_all(
        [*flags, write_stars(tmp_path / "a.csv", 0, 2000, 20.0)],
        [*flags, write_stars(tmp_path / "b.csv", 1500, 2500, 21.0), "--append"],
    )
    assert (first["rows_out"], second["rows_out"]) == (2000, 1000)

    rows = read_table(spark, Lake.open("s3://sky/lake", options), "stars")
    found = rows.toPandas().sort_values("source_id")
    assert found["source_id"].tolist() == list(range(2500))
    assert (found["mag"] == np.where(found["source_id"] < 1500, 20.0, 21.0)).all()
    assert found["Norder"].max() > 0
    assert rows.where("Norder >= 0 and source_id = 7").select("Npix", "mag").count() == 1


def test_partition_columns_come_from_the_path_and_missing_columns_are_null(options, spark):
    storage = Storage.at("s3://sky/t", options)
    with storage.fs.open(storage.path("Norder=3/Npix=77/a.parquet"), "wb") as stream:
        pq.write_table(pa.table({"x": pa.array([1, 2], pa.int32())}), stream)
    schema = spark.createDataFrame([], "x long, y string, Norder int, Npix int").schema
    found = parquet_frame(spark, storage, ["Norder=3/Npix=77/a.parquet"], schema, partitioned=True)
    assert [tuple(row) for row in found.collect()] == [(1, None, 3, 77), (2, None, 3, 77)]
