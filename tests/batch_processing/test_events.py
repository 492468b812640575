"""Events of every kind give the images that they name; what is malformed never takes its neighbours with it."""

import json

import pytest

from astrolake.batch_processing.events import Message, Upload, parse_event


def record(key: str, event: str = "ObjectCreated:Put", **more: str) -> dict:
    found = {"key": key, "size": 1, "eTag": "e1", "sequencer": "0055", **more}
    return {
        "eventSource": "aws:s3",
        "eventName": event,
        "s3": {"bucket": {"name": "sky"}, "object": found},
    }


def queued(body: object, message_id: str = "m1") -> dict:
    text = body if isinstance(body, str) else json.dumps(body)
    return {"messageId": message_id, "eventSource": "aws:sqs", "body": text}


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("night+1/a.fits", "night 1/a.fits"),
        ("a%2Bb.fits", "a+b.fits"),
        ("Gr%C3%B6%C3%9Fe/%CE%A9.fits", "Größe/Ω.fits"),
        ("100%2525.fits", "100%25.fits"),
        ("a%2Fb.fits", "a/b.fits"),
    ],
)
def test_keys_of_notifications_are_decoded(encoded, key):
    (message,) = parse_event({"Records": [record(encoded, versionId="v1")]})
    assert message.uploads == (Upload("sky", key, "e1", "v1", "0055", "ObjectCreated:Put"),)
    assert message.uploads[0].uri == f"s3://sky/{key}"
    assert not message.problems


def test_messages_of_a_queue_keep_their_identifiers_and_all_records():
    event = {
        "Records": [
            queued({"Records": [record("a.fits"), record("b.fits")]}, "m1"),
            queued({"Records": [record("c.fits", "ObjectRemoved:Delete")]}, "m2"),
        ]
    }
    first, second = parse_event(event)
    assert (first.message_id, [upload.key for upload in first.uploads]) == ("m1", ["a.fits", "b.fits"])
    assert (second.message_id, [upload.key for upload in second.uploads]) == ("m2", ["c.fits"])


def test_a_notification_by_way_of_sns():
    body = {"Type": "Notification", "Message": json.dumps({"Records": [record("a+b.fits")]})}
    (message,) = parse_event({"Records": [queued(body)]})
    assert [upload.key for upload in message.uploads] == ["a b.fits"]


def test_keys_of_eventbridge_are_as_they_are():
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {
            "bucket": {"name": "sky"},
            "object": {"key": "a+b %20.fits", "etag": "e1", "version-id": "v1", "sequencer": "7"},
        },
    }
    expected = Upload("sky", "a+b %20.fits", "e1", "v1", "7", "Object Created")
    assert parse_event(event) == (Message(uploads=(expected,)),)
    assert parse_event({"Records": [queued(event)]})[0].uploads == (expected,)


def test_a_request_names_an_image():
    assert parse_event({"bucket": "sky", "key": "a+b.fits"}) == (
        Message(uploads=(Upload("sky", "a+b.fits", event="request"),)),
    )


def test_the_test_event_of_s3_is_neither_an_image_nor_a_problem():
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "sky"}
    assert parse_event(test) == (Message(),)
    assert parse_event({"Records": [queued(test)]}) == (Message("m1"),)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({}, "no 'eventName'"),
        ("text", "no 'eventName'"),
        (record(""), "'key' is ''"),
        ({"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "sky"}}}, "no 'object'"),
        ({"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "a"}}}, "no 'bucket'"),
        (record("%FF.fits"), "no UTF-8"),
    ],
)
def test_a_bad_record_does_not_take_its_neighbours_with_it(bad, reason):
    (message,) = parse_event({"Records": [queued({"Records": [record("a.fits"), bad, record("b.fits")]})]})
    assert [upload.key for upload in message.uploads] == ["a.fits", "b.fits"]
    assert len(message.problems) == 1
    assert reason in message.problems[0]


def test_an_event_that_is_no_news_of_content_is_no_problem():
    (message,) = parse_event({"Records": [queued({"Records": [record("a.fits", "ObjectTagging:Put")]})]})
    assert (message.uploads, message.problems) == ((), ())
    assert message.ignored == ("ObjectTagging:Put says nothing of an image's content",)


@pytest.mark.parametrize(
    "body", ["no JSON", "", "[1, 2]", "17", json.dumps({"Type": "Notification", "Message": "x"})]
)
def test_a_bad_body_does_not_take_other_messages_with_it(body):
    bad, good = parse_event({"Records": [queued(body, "m1"), queued({"Records": [record("a.fits")]}, "m2")]})
    assert (bad.message_id, bad.uploads, len(bad.problems)) == ("m1", (), 1)
    assert [upload.key for upload in good.uploads] == ["a.fits"]


@pytest.mark.parametrize("event", [None, [], "x", {}, {"bucket": "sky"}, {"bucket": "sky", "key": 7}])
def test_no_event_at_all_is_a_problem(event):
    (message,) = parse_event(event)
    assert not message.uploads
    assert len(message.problems) == 1


def test_what_is_nested_too_deep_takes_no_neighbour_with_it():
    deep = "[" * 100_000 + "]" * 100_000
    good = queued({"Records": [record("a.fits")]}, "m3")
    event = {"Records": [queued(deep, "m1"), queued({"Type": "Notification", "Message": deep}, "m2"), good]}
    first, second, third = parse_event(event)
    assert "is no JSON" in first.problems[0]
    assert "message of SNS is no JSON" in second.problems[0]
    assert [upload.key for upload in third.uploads] == ["a.fits"]


def test_a_record_that_cannot_be_shown_is_a_problem_beside_its_neighbours():
    deep: dict = {}
    inner = deep
    for _ in range(5000):
        inner["x"] = inner = {}
    (message,) = parse_event({"Records": [deep, record("a.fits")]})
    assert [upload.key for upload in message.uploads] == ["a.fits"]
    assert "nested too deep" in message.problems[0]


@pytest.mark.parametrize(
    ("bucket", "key", "why"),
    [
        ("sky", "a\ud800.fits", "no Unicode"),
        ("sky", "é" * 510 + ".fits", "1025 bytes"),
        ("../sky", "a.fits", "no name of a bucket"),
        ("the sky", "a.fits", "no name of a bucket"),
    ],
)
def test_names_that_s3_cannot_have_are_problems_and_no_images(bucket, key, why):
    (message,) = parse_event({"bucket": bucket, "key": key})
    assert not message.uploads
    assert why in message.problems[0]
    message.problems[0].encode()
