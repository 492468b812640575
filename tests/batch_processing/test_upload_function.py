"""One image at a time: what each version leaves behind, what a second call does, who hears of it, what fails."""

import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import boto3
import pyarrow.parquet as pq
import pytest
from tiny_images import fits_bytes, header, star_image, tiny_fits

from astrolake.batch_processing import upload_function
from astrolake.batch_processing.alerts import LEASE_S, AlertPending
from astrolake.batch_processing.events import Upload
from astrolake.batch_processing.image_catalog import CatalogOptions
from astrolake.batch_processing.json_log import log_as_json
from astrolake.batch_processing.unusual import UnusualRule
from astrolake.batch_processing.upload_batch import UploadsFailed, process_event
from astrolake.batch_processing.upload_function import UploadProcessor, UploadSettings
from astrolake.errors import AstrolakeError, CommitConflict, TableNotFound
from astrolake.lake.glue_parquet import parquet_entry
from astrolake.schema import SOURCES

KEY = "night 1/a+b.fits"
UPLOAD = Upload("sky", KEY)


@pytest.fixture
def s3(aws):
    client = boto3.client("s3")
    for bucket in ("sky", "catalogs"):
        client.create_bucket(Bucket=bucket)
    return client


@pytest.fixture
def processor(s3) -> UploadProcessor:
    return UploadProcessor(UploadSettings("catalogs"))


def put(s3, content: bytes, key: str = KEY) -> None:
    s3.put_object(Bucket="sky", Key=key, Body=content)


def files(s3) -> dict[str, bytes]:
    found = s3.list_objects_v2(Bucket="catalogs", Prefix="sources/").get("Contents", [])
    keys = [entry["Key"] for entry in found]
    return {key: s3.get_object(Bucket="catalogs", Key=key)["Body"].read() for key in keys}


def partitions(s3) -> list[str]:
    return sorted(key.split("/", 1)[1].rsplit("/", 1)[0] for key in files(s3))


def test_the_same_image_gives_the_same_bytes_and_a_second_call_none(s3, processor):
    put(s3, tiny_fits(1))
    first = processor.process(UPLOAD)
    assert (first.changed, first.state.status, first.state.n_images) == (True, "done", 1)
    before = files(s3)
    assert processor.process(UPLOAD).changed is False
    put(s3, tiny_fits(1))
    assert processor.process(UPLOAD).changed is False
    for key in before:
        s3.delete_object(Bucket="catalogs", Key=key)
    assert processor.process(UPLOAD).changed is True
    assert files(s3) == before
    ((_, content),) = before.items()
    rows = pq.read_table(io.BytesIO(content))
    assert rows.num_rows == first.state.n_rows > 0
    assert set(rows.column("uri").to_pylist()) == {f"s3://sky/{KEY}"}
    assert set(rows.column("run_id").to_pylist()) == {f"upload-{first.state.etag}"}


def test_rows_of_a_former_version_go(s3, processor):
    put(s3, tiny_fits(1, "gr"))
    processor.process(UPLOAD)
    assert partitions(s3) == ["survey=tiny_survey/band=g", "survey=tiny_survey/band=r"]
    put(s3, tiny_fits(2, "i"))
    processor.process(UPLOAD)
    assert partitions(s3) == ["survey=tiny_survey/band=i"]
    put(s3, b"no image")
    assert processor.process(UPLOAD).state.status == "rejected"
    assert partitions(s3) == []
    put(s3, tiny_fits(2, "i"))
    processor.process(UPLOAD)
    assert partitions(s3) == ["survey=tiny_survey/band=i"]
    s3.delete_object(Bucket="sky", Key=KEY)
    gone = processor.process(UPLOAD)
    assert (gone.state.status, gone.changed, partitions(s3)) == ("gone", True, [])
    assert processor.process(UPLOAD).changed is False


def test_an_image_that_was_never_seen_is_recorded_as_gone(s3, processor):
    assert processor.process(UPLOAD).state.status == "gone"
    (entry,) = s3.list_objects_v2(Bucket="catalogs", Prefix="sources_state/")["Contents"]
    state = json.loads(s3.get_object(Bucket="catalogs", Key=entry["Key"])["Body"].read())
    assert (state["uri"], state["status"]) == (f"s3://sky/{KEY}", "gone")


def test_an_image_without_sources_has_no_file(s3, processor):
    put(s3, fits_bytes((star_image(3, n_stars=0), header(10.0, 5.0, "r"))))
    outcome = processor.process(UPLOAD)
    assert (outcome.state.status, outcome.state.n_images, outcome.state.n_rows) == ("done", 1, 0)
    assert files(s3) == {}


def test_odd_bands_are_one_directory(s3, processor):
    put(s3, fits_bytes((star_image(3), header(10.0, 5.0, "F606W/CLEAR=1"))))
    processor.process(UPLOAD)
    assert partitions(s3) == ["survey=tiny_survey/band=F606W%2FCLEAR%3D1"]


def test_a_large_image_is_rejected_unread(s3):
    settings = UploadSettings("catalogs", catalog=CatalogOptions(most_bytes=1000))
    put(s3, tiny_fits(1))
    state = UploadProcessor(settings).process(UPLOAD).state
    assert (state.status, state.rejects[0]["error_type"]) == ("rejected", "TooLarge")


def test_a_call_that_was_stopped_is_completed_by_the_next(s3, processor, monkeypatch):
    put(s3, tiny_fits(1, "gr"))
    processor.process(UPLOAD)
    put(s3, tiny_fits(2, "ri"))
    write, calls = processor._store.client.put_object, []

    def stop_at_the_third(**request):
        calls.append(request["Key"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(**request)

    with monkeypatch.context() as patch:
        patch.setattr(processor._store.client, "put_object", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            processor.process(UPLOAD)
    assert len(partitions(s3)) == 2
    put(s3, tiny_fits(3, "z"))
    processor.process(UPLOAD)
    assert partitions(s3) == ["survey=tiny_survey/band=z"]


def test_an_image_replaced_while_it_is_read_is_read_again(s3, processor, monkeypatch):
    put(s3, tiny_fits(1, "g"))
    versions = [tiny_fits(2, "r"), tiny_fits(3, "i")]
    measure = upload_function.image_catalog

    def replace_then_measure(*args):
        if versions:
            put(s3, versions.pop(0))
        return measure(*args)

    monkeypatch.setattr(upload_function, "image_catalog", replace_then_measure)
    processor.process(UPLOAD)
    assert not versions
    assert partitions(s3) == ["survey=tiny_survey/band=i"]


def test_a_slow_function_does_not_bring_back_a_former_version(s3, processor, monkeypatch):
    put(s3, tiny_fits(1, "r"))
    measure, other = upload_function.image_catalog, UploadProcessor(UploadSettings("catalogs"))

    def overtaken(*args):
        monkeypatch.setattr(upload_function, "image_catalog", measure)
        put(s3, tiny_fits(2, "r"))
        other.process(UPLOAD)
        return measure(*args)

    monkeypatch.setattr(upload_function, "image_catalog", overtaken)
    puts = []
    put_object = processor._store.client.put_object
    monkeypatch.setattr(
        processor._store.client, "put_object", lambda **request: puts.append(request) or put_object(**request)
    )
    outcome = processor.process(UPLOAD)
    assert outcome.changed is False
    assert [request["Key"].split("/")[0] for request in puts] == ["sources_state"]
    assert set(pq.read_table(io.BytesIO(*files(s3).values())).column("run_id").to_pylist()) == {
        f"upload-{outcome.state.etag}"
    }


def test_others_that_never_let_go_are_a_failure(s3, processor, monkeypatch):
    put(s3, tiny_fits(1))

    def conflict(*_):
        raise CommitConflict("changed by another")

    monkeypatch.setattr(processor._states.__class__, "write", conflict)
    with pytest.raises(CommitConflict):
        processor.process(UPLOAD)


def test_a_foreign_state_says_which_object_to_delete(s3, processor):
    put(s3, tiny_fits(1))
    key = processor._states.key(UPLOAD.uri)
    s3.put_object(Bucket="catalogs", Key=key, Body=b"[1]")
    with pytest.raises(AstrolakeError, match=f"{key} is no state"):
        processor.process(UPLOAD)


def test_partitions_are_registered_once(s3):
    glue = boto3.client("glue")
    glue.create_database(DatabaseInput={"Name": "sky"})
    processor = UploadProcessor(UploadSettings("catalogs", database="sky"))
    put(s3, tiny_fits(1, "gr"))
    with pytest.raises(TableNotFound, match=r"sky\.sources"):
        processor.process(UPLOAD)
    glue.create_table(DatabaseName="sky", TableInput=parquet_entry(SOURCES, "s3://catalogs/sources/"))
    processor.process(UPLOAD)
    put(s3, tiny_fits(2, "gr"), "other.fits")
    UploadProcessor(UploadSettings("catalogs", database="sky")).process(Upload("sky", "other.fits"))
    found = glue.get_partitions(DatabaseName="sky", TableName="sources")["Partitions"]
    assert sorted((p["Values"], p["StorageDescriptor"]["Location"]) for p in found) == [
        (["tiny_survey", band], f"s3://catalogs/sources/survey=tiny_survey/band={band}/") for band in "gr"
    ]


class Alerts:
    """A topic, and a queue that hears it."""

    def __init__(self, s3) -> None:
        self.sqs, sns = boto3.client("sqs"), boto3.client("sns")
        self.url = self.sqs.create_queue(QueueName="alerts")["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.topic = sns.create_topic(Name="alerts")["TopicArn"]
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])
        # Stars of the small images are of magnitude 16 to 18.
        self.settings = UploadSettings(
            "catalogs", alert_topic_arn=self.topic, unusual=UnusualRule(bright_mag_ab=20.0)
        )

    def heard(self) -> list[dict]:
        found = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(json.loads(message["Body"])["Message"]) for message in found]


def test_an_alert_is_sent_once_for_a_version(s3):
    alerts = Alerts(s3)
    put(s3, tiny_fits(1))
    functions = [UploadProcessor(alerts.settings) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(function.process, UPLOAD) for function in functions * 2]
    failed = [one.exception() for one in done if one.exception() is not None]
    assert all(isinstance(error, AlertPending | CommitConflict) for error in failed)
    assert functions[0].process(UPLOAD).changed is False
    (alert,) = alerts.heard()
    assert alert["image"] == UPLOAD.uri
    assert alert["count"] == len(alert["sources"]) > 0
    assert alert["sources"][0]["why"] == "bright"
    put(s3, tiny_fits(2))
    functions[0].process(UPLOAD)
    assert len(alerts.heard()) == 1


def test_rows_that_are_made_anew_send_no_second_alert(s3):
    alerts = Alerts(s3)
    put(s3, tiny_fits(1))
    processor = UploadProcessor(alerts.settings)
    processor.process(UPLOAD)
    for key in files(s3):
        s3.delete_object(Bucket="catalogs", Key=key)
    assert processor.process(UPLOAD).changed is True
    assert len(alerts.heard()) == 1


def test_an_alert_that_could_not_be_sent_is_sent_by_the_next_call(s3, monkeypatch):
    alerts = Alerts(s3)
    put(s3, tiny_fits(1))
    processor = UploadProcessor(alerts.settings)

    def refuse(**_):
        raise OSError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(processor._alerter.client, "publish", refuse)
        with pytest.raises(OSError, match="no network"):
            processor.process(UPLOAD)
    assert alerts.heard() == []
    assert processor.process(UPLOAD).changed is False
    assert len(alerts.heard()) == 1


def test_an_alert_whose_sender_was_stopped_is_sent_when_that_is_sure(s3, monkeypatch):
    alerts = Alerts(s3)
    put(s3, tiny_fits(1))
    now = [1000.0]
    processor = UploadProcessor(alerts.settings, clock=lambda: now[0])

    def stop(**_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(processor._alerter.client, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            processor.process(UPLOAD)
    with pytest.raises(AlertPending):
        processor.process(UPLOAD)
    now[0] += LEASE_S
    processor.process(UPLOAD)
    assert len(alerts.heard()) == 1


def test_only_the_message_that_failed_comes_again(s3, processor, monkeypatch):
    put(s3, tiny_fits(1), "a.fits")
    process = processor.process

    def fail_for_b(upload):
        if upload.key == "b.fits":
            raise OSError("no network")
        return process(upload)

    monkeypatch.setattr(processor, "process", fail_for_b)
    bodies = {"m1": {"bucket": "sky", "key": "a.fits"}, "m2": {"bucket": "sky", "key": "b.fits"}, "m3": "?"}
    bodies["m4"] = {"Records": [{"eventName": "ObjectTagging:Put"}]}
    records = [
        {"messageId": name, "eventSource": "aws:sqs", "body": json.dumps(body)}
        for name, body in bodies.items()
    ]
    # What cannot be understood goes to the dead-letter queue in the end; what is of no interest does not.
    answer = process_event({"Records": records}, processor)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m2"}, {"itemIdentifier": "m3"}]}
    with pytest.raises(UploadsFailed, match=r"b\.fits: OSError: no network"):
        process_event(bodies["m2"], processor)
    (image,) = process_event(bodies["m1"], processor)["images"]
    assert (image["image"], image["status"], image["changed"]) == ("s3://sky/a.fits", "done", False)


def test_an_image_is_not_begun_without_time(s3, processor):
    record = {"messageId": "m1", "eventSource": "aws:sqs", "body": '{"bucket": "sky", "key": "a.fits"}'}
    answer = process_event({"Records": [record]}, processor, lambda: 3.0)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert "Contents" not in s3.list_objects_v2(Bucket="catalogs")


def test_log_lines_are_json_without_secrets():
    stream, logger = io.StringIO(), logging.getLogger("astrolake")
    before = logger.handlers, logger.level, logger.propagate
    try:
        log_as_json("info", {"request_id": "r1"}, stream)
        logging.getLogger("astrolake.x").info(
            "read %s",
            "https://sky.s3.amazonaws.com/a?X-Amz-Signature=abcdef",
            extra={"fields": {"topic": "arn:aws:sns:eu-west-1:123456789012:alerts", "rows": 3}},
        )
    finally:
        logger.handlers, logger.level, logger.propagate = before
    line = json.loads(stream.getvalue())
    assert line["message"] == "read https://sky.s3.amazonaws.com/a?X-Amz-Signature=***"
    assert (line["request_id"], line["rows"], line["topic"]) == ("r1", 3, "arn:aws:sns:eu-west-1:***:alerts")
