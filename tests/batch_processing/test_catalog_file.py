"""Catalogs of many fields become one file, in bounded memory, whole or not at all."""

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.batch_processing.catalog_file import Catalog, Part, join_catalogs
from astrolake.errors import BadInput
from astrolake.lake.atomic_file import remove, replacing, write_whole

SCHEMA = pa.schema([pa.field("ra", pa.float64(), nullable=False), ("band", pa.string())])


@pytest.fixture
def bucket(aws):
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    return client


def write_part(uri, number, rows):
    table = pa.table({"ra": [number + row / rows for row in range(rows)], "band": ["r"] * rows}, SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_whole(uri, sink.getvalue().to_pybytes())
    return Part(uri, {"run": 94, "field": number})


def test_rows_follow_in_the_order_of_the_parts(bucket):
    parts = [write_part(f"s3://bucket/parts/{n}.parquet", n, 10) for n in range(40)]
    path = "s3://bucket/all of it.parquet"
    rows, columns = join_catalogs(parts, path, SCHEMA)
    assert (rows, columns) == (400, ("run", "field", "ra", "band"))
    catalog = Catalog(path, rows, columns)
    frame = catalog.to_pandas(columns=["field", "ra"])
    assert frame["ra"].is_monotonic_increasing
    assert (frame["field"] == frame["ra"].astype(int)).all()
    assert len(catalog.to_pandas(filter=[("field", "=", 7)])) == 10
    first = bucket.get_object(Bucket="bucket", Key="all of it.parquet")["Body"].read()
    join_catalogs(parts, path, SCHEMA)
    assert bucket.get_object(Bucket="bucket", Key="all of it.parquet")["Body"].read() == first


@pytest.mark.parametrize("place", ["s3", "disk"])
def test_a_part_that_cannot_be_read_leaves_the_old_file(bucket, tmp_path, place):
    root = "s3://bucket" if place == "s3" else f"file://{tmp_path}"
    parts = [write_part(f"{root}/{n}.parquet", n, 10) for n in range(3)]
    path = f"{root}/all.parquet"
    join_catalogs(parts, path, SCHEMA)
    with pytest.raises(BadInput, match=r"/none.parquet is not there; run its job again"):
        join_catalogs([*parts, Part(f"{root}/none.parquet", {"run": 1, "field": 1})], path, SCHEMA)
    write_whole(f"{root}/2.parquet", b"no Parquet")
    with pytest.raises(BadInput, match=r"2.parquet is no Parquet file"):
        join_catalogs(parts, path, SCHEMA)
    other = pa.BufferOutputStream()
    pq.write_table(pa.table({"ra": [1.0]}), other)
    write_whole(f"{root}/2.parquet", other.getvalue().to_pybytes())
    with pytest.raises(BadInput, match=r"2.parquet has other columns"):
        join_catalogs(parts, path, SCHEMA)
    assert len(Catalog(path, 30, ()).to_pandas()) == 30
    assert bucket.list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []
    assert [found.name for found in tmp_path.glob(".*")] == []


def test_memory_does_not_grow_with_the_catalogs(tmp_path):
    part = write_part(f"file://{tmp_path}/one.parquet", 1, 20_000)

    def peak(count):
        # A pool of its own: that of the process remembers the peaks of other tests.
        pool, shared = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
        pa.set_memory_pool(pool)
        try:
            rows, _ = join_catalogs([part] * count, f"file://{tmp_path}/{count}.parquet", SCHEMA)
        finally:
            pa.set_memory_pool(shared)
        assert rows == 20_000 * count
        return pool.max_memory()

    few = peak(20)
    assert peak(200) < 1.5 * few
    groups = pq.read_metadata(tmp_path / "200.parquet")
    assert groups.num_row_groups == -(-4_000_000 // 65_536)


def test_large_files_are_uploaded_in_parts(bucket):
    data = bytes(range(256)) * 80_000
    with replacing("s3://bucket/large") as stream:
        for start in range(0, len(data), 1 << 20):
            stream.write(data[start : start + (1 << 20)])
        assert "Contents" not in bucket.list_objects_v2(Bucket="bucket")
    assert bucket.get_object(Bucket="bucket", Key="large")["Body"].read() == data
    assert bucket.head_object(Bucket="bucket", Key="large")["ETag"].strip('"').endswith("-2")
    remove("s3://bucket/large")
    remove("s3://bucket/large")
    assert "Contents" not in bucket.list_objects_v2(Bucket="bucket")


def test_two_threads_that_write_one_file_do_not_disturb_each_other(tmp_path):
    uri = (tmp_path / "a").as_uri()
    with replacing(uri) as first, replacing(uri) as second:
        first.write(b"first")
        second.write(b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
