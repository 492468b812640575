import pickle

import fsspec
import pytest

from astrolake.errors import BadArguments, MissingDependency
from astrolake.lake.storage import Storage, canonical_uri, filesystem, fsspec_options

LOCAL = Storage.at("/data/my lake")
S3 = Storage.at("s3a://sky/my lake/")


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("/data/my lake", "file:///data/my lake"),
        ("/data/lake/", "file:///data/lake"),
        ("/data/x/../lake", "file:///data/lake"),
        ("/data/run:/lake", "file:///data/run:/lake"),
        ("file:///data/my lake", "file:///data/my lake"),
        ("file:///data/a%20b", "file:///data/a%20b"),
        ("file:///data//lake/", "file:///data/lake"),
        ("file:/data/lake", "file:///data/lake"),
        ("s3://sky/lake", "s3://sky/lake"),
        ("s3://sky/my lake/", "s3://sky/my lake"),
        ("s3a://sky/lake/", "s3://sky/lake"),
        ("s3n://sky", "s3://sky"),
        ("s3:///sky/lake", "s3://sky/lake"),
    ],
)
def test_canonical_uri(given, canonical):
    assert canonical_uri(given) == canonical


def test_a_relative_path_starts_at_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert canonical_uri("my lake") == f"file://{tmp_path}/my lake"


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert canonical_uri("~/lake") == f"file://{tmp_path}/lake"


@pytest.mark.parametrize(
    "uri", ["hdfs://host/lake", "http://host/lake", "gs://bucket/lake", "s3://", "s3:///", "s3:/sky/lake"]
)
def test_other_schemes_are_refused_and_named(uri):
    with pytest.raises(BadArguments, match=uri.partition(":")[0]):
        canonical_uri(uri)


def test_an_empty_location_is_refused():
    with pytest.raises(BadArguments, match="empty"):
        Storage.at("")


def test_local_places_keep_their_spaces():
    assert LOCAL.is_local
    assert LOCAL.path("stars", "a b") == "/data/my lake/stars/a b"
    assert LOCAL.uri("stars") == "file:///data/my lake/stars"


def test_delta_rs_takes_a_plain_local_path():
    assert LOCAL.delta_uri("stars") == "/data/my lake/stars"
    assert S3.delta_uri("stars") == "s3://sky/my lake/stars"


def test_spark_takes_s3a_but_the_lake_says_s3():
    assert not S3.is_local
    assert S3.path("stars") == "sky/my lake/stars"
    assert S3.uri("stars") == "s3://sky/my lake/stars"
    assert S3.spark_uri("stars") == "s3a://sky/my lake/stars"
    assert LOCAL.spark_uri("stars") == "file:///data/my lake/stars"


def test_a_storage_travels_to_workers_without_its_file_system():
    here = Storage.at("/data/lake", {"AWS_REGION": "eu-west-1"})
    assert here.fs.exists("/")
    there = pickle.loads(pickle.dumps(here))
    assert there == here
    assert "fs" not in vars(there)
    assert there.fs.exists("/")


def test_options_are_copied():
    options = {"AWS_REGION": "eu-west-1"}
    storage = Storage.at("s3://sky", options)
    options["AWS_REGION"] = "elsewhere"
    assert storage.options == {"AWS_REGION": "eu-west-1"}


def test_s3fs_gets_the_options_that_it_knows():
    options = {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "t",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
        "AWS_REGION": "eu-west-1",
        "AWS_ALLOW_HTTP": "true",
    }
    assert fsspec_options(options) == {
        "key": "k",
        "secret": "s",
        "token": "t",
        "endpoint_url": "http://127.0.0.1:9000",
        "client_kwargs": {"region_name": "eu-west-1"},
    }


def test_ambient_credentials_need_no_options():
    assert fsspec_options({}) == {}


def test_s3_without_s3fs_says_what_to_install(monkeypatch):
    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(MissingDependency, match=r"astrolake\[aws\]"):
        filesystem("s3://sky/lake")
