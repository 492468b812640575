from pathlib import Path

import boto3
import fsspec
import pytest
from lake_tables import put_rows
from moto import mock_aws

from astrolake.errors import AstrolakeError, BadArguments, TableNotFound
from astrolake.lake.glue import register_table
from astrolake.lake.lake import Lake
from astrolake.lake.storage import Storage
from astrolake.schema import CATALOG, OBJECTS, RUNS, Column, band_columns


@pytest.fixture
def session(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.session.Session(region_name="eu-west-1")


@pytest.fixture
def local_lake(tmp_path: Path) -> Lake:
    lake = Lake.create(str(tmp_path / "sky" / "lake"))
    g_band = OBJECTS.with_columns(band_columns("g"))
    put_rows(lake, g_band, [{"object_id": 1, "ra": 10.0, "dec": 0.5, "mag_auto_g": 18.0}])
    put_rows(lake, RUNS, [{"run_id": "run-1", "job": "ingest_images"}])
    return lake


@pytest.fixture
def bucket_lake(local_lake: Lake, tmp_path: Path, monkeypatch) -> Lake:
    """The same lake as if it lay at s3://sky/lake: Glue only takes down its URIs."""

    def path(storage: Storage, *parts: str) -> str:
        return "/".join((storage.root.removeprefix("file://").replace("s3:/", str(tmp_path)), *parts))

    monkeypatch.setattr(Storage, "fs", property(lambda _: fsspec.filesystem("file")))
    monkeypatch.setattr(Storage, "path", path)
    monkeypatch.setattr(Storage, "delta_uri", path)
    return Lake.open("s3://sky/lake")


def _table(session, name: str) -> dict:
    return session.client("glue").get_table(DatabaseName="sky", Name=name)["Table"]


def test_a_new_table_is_registered_in_a_new_database(session, bucket_lake):
    assert register_table(bucket_lake, "objects", "sky", session) == "created"
    database = session.client("glue").get_database(Name="sky")["Database"]
    assert database["Description"] == "Tables of the lake s3://sky/lake"
    assert _table(session, "objects")["TableType"] == "EXTERNAL_TABLE"


def test_the_entry_points_at_the_delta_root(session, bucket_lake):
    register_table(bucket_lake, "objects", "sky", session)
    register_table(bucket_lake, "runs", "sky", session)
    stored = _table(session, "objects")["StorageDescriptor"]
    assert stored["Location"] == "s3://sky/lake/objects/dataset/"
    assert stored["SerdeInfo"]["Parameters"]["path"] == "s3://sky/lake/objects/dataset/"
    assert _table(session, "runs")["StorageDescriptor"]["Location"] == "s3://sky/lake/runs/"


def test_the_entry_is_recognised_as_a_delta_table(session, bucket_lake):
    register_table(bucket_lake, "objects", "sky", session)
    parameters = _table(session, "objects")["Parameters"]
    assert parameters["table_type"] == "DELTA"
    assert parameters["spark.sql.sources.provider"] == "delta"
    assert parameters["EXTERNAL"] == "TRUE"


def test_columns_are_those_of_the_log_with_their_meaning(session, bucket_lake):
    register_table(bucket_lake, "objects", "sky", session)
    entry = _table(session, "objects")
    columns = {column["Name"]: column for column in entry["StorageDescriptor"]["Columns"]}
    assert columns["object_id"]["Type"] == "bigint"
    assert columns["mag_auto_g"] == {
        "Name": "mag_auto_g",
        "Type": "double",
        "Comment": "Mean Kron magnitude in g, AB [mag]",
    }
    assert list(columns)[-3:] == ["norder", "dir", "npix"]
    assert entry["PartitionKeys"] == []


def test_registering_again_makes_no_new_version(session, bucket_lake):
    register_table(bucket_lake, "objects", "sky", session)
    assert register_table(bucket_lake, "objects", "sky", session) == "unchanged"
    versions = session.client("glue").get_table_versions(DatabaseName="sky", TableName="objects")
    assert len(versions["TableVersions"]) == 1


def test_new_columns_update_the_entry(session, local_lake, bucket_lake):
    register_table(bucket_lake, "objects", "sky", session)
    put_rows(
        local_lake,
        OBJECTS.with_columns((*band_columns("g"), *band_columns("r"))),
        [{"object_id": 1, "ra": 10.0, "dec": 0.5}],
        "run-2",
    )
    assert register_table(bucket_lake, "objects", "sky", session) == "updated"
    columns = _table(session, "objects")["StorageDescriptor"]["Columns"]
    assert "mag_auto_r" in [column["Name"] for column in columns]


def test_columns_of_a_users_catalog_have_their_types(session, local_lake, bucket_lake):
    catalog = CATALOG.with_columns(
        (Column("mags", "list<float32>", ""), Column("seen", "timestamp", ""), Column("ok", "bool", "")),
        "mine",
    )
    put_rows(local_lake, catalog, [{"source_id": 7, "ra": 1.0, "dec": 2.0, "mags": [1.0]}])
    register_table(bucket_lake, "mine", "sky", session)
    columns = {c["Name"]: c["Type"] for c in _table(session, "mine")["StorageDescriptor"]["Columns"]}
    assert (columns["mags"], columns["seen"], columns["ok"]) == ("array<float>", "timestamp", "boolean")


def test_an_entry_for_another_location_is_not_overwritten(session, bucket_lake):
    glue = session.client("glue")
    glue.create_database(DatabaseInput={"Name": "sky"})
    other = {"Name": "objects", "StorageDescriptor": {"Location": "s3://other/objects"}}
    glue.create_table(DatabaseName="sky", TableInput=other)
    with pytest.raises(BadArguments, match="already registered for s3://other/objects"):
        register_table(bucket_lake, "objects", "sky", session)
    assert _table(session, "objects")["StorageDescriptor"]["Location"] == "s3://other/objects"


def test_a_lake_on_this_machine_is_refused(session, local_lake):
    with pytest.raises(BadArguments, match="Athena reads only lakes on S3"):
        register_table(local_lake, "objects", "sky", session)


def test_an_unusable_database_name_is_refused(session, bucket_lake):
    with pytest.raises(BadArguments, match="'My-Sky' must be lower case"):
        register_table(bucket_lake, "objects", "My-Sky", session)


def test_a_missing_table_is_named_with_those_there(session, bucket_lake):
    with pytest.raises(TableNotFound, match=r"'stars'; it has \['objects', 'runs'\]"):
        register_table(bucket_lake, "stars", "sky", session)


def test_a_refusal_of_aws_names_what_to_check(session, bucket_lake, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AstrolakeError, match=r"You must specify a region.*check region, credentials"):
        register_table(bucket_lake, "objects", "sky", boto3.session.Session())
