"""From the upload of an image to the answer of a query: S3, its event in a queue, the function, Glue, SQL."""

import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import boto3
import numpy as np
import pytest

from astrolake.lake.glue_parquet import parquet_entry
from astrolake.lake.sql_glue import open_glue_connection, run_glue_query
from astrolake.schema import SOURCES

pytest.importorskip("s3fs")

IMAGES, CATALOGS, DATABASE = "survey-images", "source-catalogs", "astronomy_catalog"
HANDLER = Path(__file__).parents[2] / "lambda" / "handler.py"


@dataclass
class Context:
    """What Lambda gives a function beside the event."""

    aws_request_id: str = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


@dataclass
class Stack:
    """What the stack makes: two buckets, a queue that hears of uploads, a topic, a table."""

    queue_url: str
    topic_arn: str
    alerts_url: str

    def receive(self) -> list[dict]:
        """Return the messages in the queue, as the event source mapping gives them to the function."""
        sqs = boto3.client("sqs")
        found = sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return [{"messageId": m["MessageId"], "body": m["Body"], "eventSource": "aws:sqs"} for m in found]


@pytest.fixture
def stack(aws, monkeypatch) -> Stack:
    s3, sqs, sns, glue = (boto3.client(name) for name in ("s3", "sqs", "sns", "glue"))
    for bucket in (IMAGES, CATALOGS):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    urls = [sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("uploads", "alerts")]
    arns = [
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for url in urls
    ]
    suffixes = [
        {"Key": {"FilterRules": [{"Name": "suffix", "Value": end}]}} for end in (".fits", ".fits.bz2")
    ]
    configurations = [
        {"QueueArn": arns[0], "Events": ["s3:ObjectCreated:*"], "Filter": suffix} for suffix in suffixes
    ]
    s3.put_bucket_notification_configuration(
        Bucket=IMAGES, NotificationConfiguration={"QueueConfigurations": configurations}
    )
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns[1])
    glue.create_database(DatabaseInput={"Name": DATABASE})
    entry = parquet_entry(SOURCES, f"s3://{CATALOGS}/sources/")
    glue.create_table(DatabaseName=DATABASE, TableInput=entry)
    environment = {
        "CATALOG_BUCKET": CATALOGS,
        "CATALOG_PREFIX": "sources",
        "STATE_PREFIX": "sources_state",
        "GLUE_DATABASE": DATABASE,
        "GLUE_TABLE": "sources",
        "ALERT_TOPIC_ARN": topic,
        "LOG_LEVEL": "INFO",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Stack(urls[0], topic, urls[1])


@pytest.fixture
def handler():
    """The module that Lambda loads, cold."""
    spec = importlib.util.spec_from_file_location("handler", HANDLER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    logger = logging.getLogger("astrolake")
    before = logger.handlers, logger.level, logger.propagate
    yield module
    logger.handlers, logger.level, logger.propagate = before


def keys(prefix: str) -> list[str]:
    found = boto3.client("s3").list_objects_v2(Bucket=CATALOGS, Prefix=prefix)
    return [entry["Key"] for entry in found.get("Contents", [])]


@pytest.mark.data
def test_an_uploaded_image_is_asked_for_in_sql(stack, handler, survey_data, capsys):
    s3 = boto3.client("s3")
    stack.receive()  # What S3 sends to try the queue.
    for band in "ri":
        name = f"frame-{band}-004510-4-0030.fits.bz2"
        s3.upload_file(str(survey_data / "images_sdss" / name), IMAGES, f"night 1/{name}")
    messages = stack.receive()
    assert len(messages) == 2
    assert handler.lambda_handler({"Records": messages}, Context()) == {"batchItemFailures": []}

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = {line["image"]: line for line in lines if line["message"] == "image processed"}
    assert len(told) == 2
    r_band = told[f"s3://{IMAGES}/night 1/frame-r-004510-4-0030.fits.bz2"]
    assert (r_band["status"], r_band["request_id"]) == ("done", "request-1")
    assert r_band["rows"] > 500

    partitions = boto3.client("glue").get_partitions(DatabaseName=DATABASE, TableName="sources")["Partitions"]
    assert sorted(p["Values"] for p in partitions) == [["sdss", "i"], ["sdss", "r"]]
    assert sorted(key.rsplit("/", 1)[0] for key in keys("sources/")) == [
        "sources/survey=sdss/band=i",
        "sources/survey=sdss/band=r",
    ]

    counts = run_glue_query(DATABASE, "SELECT band, count(*) AS n FROM sources GROUP BY band ORDER BY band")
    assert counts.to_pylist() == [
        {"band": image["files"][0].split("band=")[1][0], "n": image["rows"]}
        for image in sorted(told.values(), key=lambda image: image["image"])
    ]
    with open_glue_connection(DATABASE) as connection:
        rows = connection.sql("SELECT * FROM sources").df()
    bright = rows[rows.flux > 500]
    assert len(bright) > 5
    total = run_glue_query(
        DATABASE,
        "SELECT COUNT(*) as total_sources, AVG(flux) as mean_flux, MAX(snr) as max_snr\n"
        "FROM sources WHERE flux > 500",
    ).to_pylist()
    assert total == [
        {
            "total_sources": len(bright),
            "mean_flux": pytest.approx(bright.flux.mean(), rel=1e-12),
            "max_snr": bright.snr.max(),
        }
    ]
    brightest = run_glue_query(
        DATABASE,
        "SELECT ra, dec, flux, snr FROM sources WHERE flux > 1000 ORDER BY flux DESC LIMIT 10",
    ).to_pandas()
    expected = rows[rows.flux > 1000].sort_values("flux", ascending=False).head(10)
    np.testing.assert_array_equal(brightest, expected[["ra", "dec", "flux", "snr"]])
    assert len(expected) == 10
    classes = run_glue_query(
        DATABASE,
        """SELECT CASE WHEN snr > 50 THEN 'Very High' WHEN snr > 20 THEN 'High'
                       WHEN snr > 5 THEN 'Medium' ELSE 'Low' END as snr_class,
                  COUNT(*) as count
           FROM sources
           GROUP BY CASE WHEN snr > 50 THEN 'Very High' WHEN snr > 20 THEN 'High'
                         WHEN snr > 5 THEN 'Medium' ELSE 'Low' END""",
    ).to_pylist()
    edges = {"Low": (-np.inf, 5), "Medium": (5, 20), "High": (20, 50), "Very High": (50, np.inf)}
    assert {row["snr_class"]: row["count"] for row in classes} == {
        name: int(((rows.snr > low) & (rows.snr <= high)).sum()) for name, (low, high) in edges.items()
    }
