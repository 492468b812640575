"""What the roles of the stack may do: all that the code does under them, on these resources, and nothing else."""

import importlib.util
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from iam_policies import Statement, actions, allows, statements
from request_log import ACCOUNT, REGION, Request, recorded_requests

from astrolake.lake.glue import register_table
from astrolake.lake.glue_parquet import parquet_entry
from astrolake.lake.hats import claim_table, release_claim
from astrolake.lake.lake import Lake
from astrolake.lake.listing import list_files
from astrolake.lake.maintain import vacuum_table
from astrolake.lake.publish import publish_hats
from astrolake.lake.reader import RegionReader, table_snapshot
from astrolake.photometry.scan import scan_file
from astrolake.schema import CATALOG, SOURCES, Column

pytest.importorskip("s3fs")
TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "cloudformation"), str(TESTS / "lake")]
from lake_tables import put_rows  # noqa: E402
from render import rendered_resources  # noqa: E402

from astrolake.demo import Layout, write_sample_sky  # noqa: E402

BUCKETS = {
    kind: f"astrolake-dev-{kind}-{ACCOUNT}-{REGION}"
    for kind in ("survey-images", "source-catalogs", "derived-products", "athena-results")
}
IMAGES, CATALOGS = BUCKETS["survey-images"], BUCKETS["source-catalogs"]
DATABASE, HANDLER = "astronomy_catalog", TESTS.parent / "lambda" / "handler.py"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:astrolake-dev-alerts"


@pytest.fixture(scope="module")
def resources() -> dict[str, dict]:
    """All resources of the development stack with everything enabled, references resolved."""
    listed = json.loads((TESTS.parent / "cloudformation" / "parameters.json").read_text())
    given = {entry["ParameterKey"]: entry["ParameterValue"] for entry in listed}
    enabled = {f"Enable{part}": "true" for part in ("Etl", "Batch", "Ml", "Emr")}
    network = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2"}
    return rendered_resources(given | enabled | network)


def policy(resources: dict[str, dict], role: str) -> list[Statement]:
    """Statements of a role (its logical path), those of policies attached to it among them."""
    documents = [p["PolicyDocument"] for p in resources[role]["Properties"].get("Policies", [])]
    return statements(documents)


@pytest.fixture
def buckets(aws) -> None:
    for bucket in BUCKETS.values():
        boto3.client("s3").create_bucket(Bucket=bucket)
    boto3.client("glue").create_database(DatabaseInput={"Name": DATABASE})


def sign_as(monkeypatch: pytest.MonkeyPatch, key: str) -> dict[str, str]:
    """Have all that follows sign with a key of its own; return the options of a lake."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    return {
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
    }


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    sky = write_sample_sky(
        tmp_path_factory.mktemp("sky"), layout=Layout(naxis1=320, naxis2=240, overlap_px=32)
    )
    return next(path for path in sorted(sky.images_dir.rglob("*.fits*")) if path not in sky.bad_images)


@pytest.fixture
def uploads(buckets, monkeypatch, image) -> set[Request]:
    """Requests of the function for uploads: a new image, the same again, one replaced, one deleted."""
    s3 = boto3.client("s3")
    boto3.client("glue").create_table(
        DatabaseName=DATABASE, TableInput=parquet_entry(SOURCES, f"s3://{CATALOGS}/sources/")
    )
    boto3.client("sns").create_topic(Name=TOPIC.rsplit(":", 1)[-1])
    settings = {"CATALOG_BUCKET": CATALOGS, "CATALOG_PREFIX": "sources", "STATE_PREFIX": "sources_state"}
    settings |= {
        "GLUE_DATABASE": DATABASE,
        "GLUE_TABLE": "sources",
        "ALERT_TOPIC_ARN": TOPIC,
        "LOG_LEVEL": "INFO",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    s3.upload_file(str(image), IMAGES, "a b/new.fits")
    sign_as(monkeypatch, "UPLOADS")
    spec = importlib.util.spec_from_file_location("handler", HANDLER)
    handler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(handler)
    events = {"bucket": IMAGES, "key": "a b/new.fits"}, {"bucket": IMAGES, "key": "never.fits"}
    with recorded_requests() as log:
        for event in [*events, events[0]]:
            handler.lambda_handler(dict(event), _Context())
        s3.delete_object(Bucket=IMAGES, Key="a b/new.fits")
        handler.lambda_handler(dict(events[0]), _Context())
    return log.by_key["UPLOADS"]


class _Context:
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


@pytest.fixture
def lake_work(buckets, monkeypatch, image) -> set[Request]:
    """Requests of what jobs do to a lake outside Spark: read images, write, publish, vacuum, register."""
    boto3.client("s3").upload_file(str(image), IMAGES, "night 1/new.fits")
    options = sign_as(monkeypatch, "JOBS")
    stars = replace(CATALOG, name="stars")
    rows = [{"source_id": i, "ra": 30.0 * i, "dec": 5.0 * i - 30.0} for i in range(12)]
    with recorded_requests() as log:
        assert list_files([f"s3://{IMAGES}/night 1/"], options)
        assert scan_file(f"s3://{IMAGES}/night 1/new.fits", storage_options=options).images
        lake = Lake.create(f"s3://{CATALOGS}/lake", options)
        storage = lake.table_storage("stars")
        claim_table(storage, "run-1")
        put_rows(lake, stars, rows)
        put_rows(lake, stars, rows[:6], "run-2")
        release_claim(storage, "run-1")
        publish_hats(lake, "stars", 0, datetime.now(UTC))
        vacuum_table(lake, "stars", 0, dry_run=False)
        snapshot = table_snapshot(lake, "stars")
        RegionReader(snapshot.storage, snapshot.files, ("ra", "dec"))
        assert register_table(lake, "stars", DATABASE) == "created"
        put_rows(lake, stars.with_columns((Column("mag", "float64", "Magnitude"),)), rows)
        assert register_table(lake, "stars", DATABASE) == "updated"
    assert lake.tables()
    return log.by_key["JOBS"]


def test_the_function_for_uploads_may_do_what_it_does_and_nothing_else(resources, uploads):
    role = policy(resources, "Serverless/UploadRole")
    assert [request for request in sorted(uploads, key=str) if not allows(role, request)] == []
    done = {request.action for request in uploads}
    assert {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "glue:CreatePartition"} <= done
    # Beside what was recorded: what Lambda itself asks for on the function's behalf, and what needs something unusual
    # on the image or a key of the account.
    by_lambda = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    by_lambda |= {"logs:CreateLogStream", "logs:PutLogEvents"}
    # Listing is never called: without the right to it, S3 calls a missing object forbidden.
    rare = {
        "s3:ListBucket",
        "sns:Publish",
        "kms:GenerateDataKey",
        "kms:Decrypt",
    }
    assert actions(role) - done - by_lambda - rare == set()


#: Large objects are written in parts, which small ones do not show.
PARTS = {"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}


@pytest.mark.parametrize("role", ["Etl/JobRole", "Emr/RunRole", "Batch/JobRole"])
def test_jobs_may_do_what_they_do_to_a_lake_and_nothing_else(resources, lake_work, role):
    found = policy(resources, role)
    registers = role != "Batch/JobRole"  # Publishing with the Glue catalog is for Glue and EMR.
    wanted = {r for r in lake_work if registers or not r.action.startswith("glue:")}
    assert [request for request in sorted(wanted, key=str) if not allows(found, request)] == []
    done = {request.action for request in wanted}
    others = {action for action in actions(found) if action.split(":")[0] in ("s3", "glue")} - done
    assert others == PARTS


FOREIGN = [
    Request("s3:GetObject", "arn:aws:s3:::somebody-elses/lake/a"),
    Request("s3:PutObject", f"arn:aws:s3:::{IMAGES}/a.fits"),
    Request("s3:DeleteObject", f"arn:aws:s3:::{IMAGES}/a.fits"),
    Request("s3:DeleteBucket", f"arn:aws:s3:::{CATALOGS}"),
    Request("s3:PutBucketPolicy", f"arn:aws:s3:::{CATALOGS}"),
    Request("s3:ListBucket", f"arn:aws:s3:::{CATALOGS}", (("s3:prefix", "secrets/"),)),
    Request("s3:PutObject", f"arn:aws:s3:::{CATALOGS}/elsewhere/a"),
    Request("glue:DeleteTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/{DATABASE}/sources"),
    Request("glue:GetTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/other/sources"),
    Request("sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:other"),
    Request("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:astrolake-dev-uploads"),
    Request("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin"),
    Request("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin"),
    Request("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:other"),
]


@pytest.mark.parametrize("role", ["Serverless/UploadRole", "Etl/JobRole", "Emr/RunRole", "Batch/JobRole"])
def test_nothing_foreign_is_allowed(resources, role):
    assert [request for request in FOREIGN if allows(policy(resources, role), request)] == []


def test_no_statement_allows_everything(resources):
    roles = {name: r for name, r in resources.items() if r["Type"] == "AWS::IAM::Role"}
    assert len(roles) > 6
    for name in roles:
        for one in policy(resources, name):
            listed = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
            assert not any("*" in action for action in listed), f"{name}: {json.dumps(one)}"
            if one["Resource"] == "*" or one["Resource"] == ["*"]:
                assert one.get("Condition") or set(listed) <= UNNAMEABLE, f"{name}: {json.dumps(one)}"


#: Actions for which AWS knows no resources (Service Authorization Reference).
UNNAMEABLE = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "ecr:GetAuthorizationToken",
    "batch:DescribeJobs",
    "batch:ListJobs",
    "logs:DescribeLogGroups",
}
