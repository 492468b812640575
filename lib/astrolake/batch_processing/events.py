"""What the function for uploaded images is called with: from an event to the images that it speaks of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from astrolake.errors import BadInput

#: Events after which an image is looked at; what became of it is read from the bucket, not from the event.
_NEWS = ("ObjectCreated", "ObjectRemoved", "ObjectRestore:Completed", "LifecycleExpiration")
_EVENTBRIDGE_NEWS = ("Object Created", "Object Deleted", "Object Restore Completed")
_SHOWN = 200
#: Names that S3 can have: what has others is nowhere, and asking for it again would not help.
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:[^\s]{1,300}")
_KEY_BYTES = 1024
#: What `json.loads` raises for a text that is none, or is nested deeper than Python's stack.
_NO_JSON = (TypeError, ValueError, RecursionError)


#: Kind of what is no problem.
_OF_NO_INTEREST = "OfNoInterest"


@dataclass(frozen=True)
class Upload:
    """An image that an event speaks of.

    Parameters
    ----------
    bucket, key : str
        The key as it is in the bucket, no longer URL-encoded.
    etag, version_id, sequencer : str
        Of the object at the time of the event, empty where the event does not say.
    event : str
        Name of the event, such as ObjectCreated:Put.
    """

    bucket: str
    key: str
    etag: str = ""
    version_id: str = ""
    sequencer: str = ""
    event: str = ""

    @property
    def uri(self) -> str:
        """Where the image lies."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Message:
    """What succeeds or fails together: a message of a queue, or an event that came directly.

    Parameters
    ----------
    message_id : str
        Of SQS; empty where there is no queue.
    uploads : tuple of Upload
    problems : tuple of str
        What of the message cannot be understood.
    ignored : tuple of str
        What of it is understood, and of no interest: events that are no news of an image's content.
    """

    message_id: str = ""
    uploads: tuple[Upload, ...] = ()
    problems: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def parse_event(event: Any) -> tuple[Message, ...]:
    """Return the messages of an event.

    Parameters
    ----------
    event : mapping
        S3 notifications in messages of SQS (also by way of SNS or EventBridge), a notification itself, an
        EventBridge event, or ``{"bucket": ..., "key": ...}``. The test event that S3 sends when
        notifications are set up names no image and is no problem.

    Returns
    -------
    tuple of Message
        One for each message of a queue, in order; one where there is no queue. What cannot be understood is
        among the problems of its message and never takes its neighbours with it.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if isinstance(records, list) and any(_is_queued(record) for record in records):
        return tuple(_queued(record) for record in records)
    return (_message("", event),)


def _is_queued(record: Any) -> bool:
    return isinstance(record, Mapping) and record.get("eventSource") == "aws:sqs"


def _queued(record: Any) -> Message:
    if not _is_queued(record):
        return Message(problems=(f"no message of a queue: {_shown(record)}",))
    message_id = str(record.get("messageId", ""))
    try:
        body = json.loads(record.get("body") or "")
    except _NO_JSON as error:
        return Message(message_id, problems=(f"the body is no JSON ({error}): {_shown(record.get('body'))}",))
    return _message(message_id, body)


def _message(message_id: str, body: Any) -> Message:
    uploads: list[Upload] = []
    problems: list[str] = []
    ignored: list[str] = []
    for found in _uploads(body):
        if isinstance(found, Upload):
            uploads.append(found)
        else:
            (ignored if found.kind == _OF_NO_INTEREST else problems).append(found.message)
    return Message(message_id, tuple(uploads), tuple(problems), tuple(ignored))


def _uploads(body: Any) -> Iterator[Upload | BadInput]:
    """Yield the images that the body of a message names, or why a part of it names none."""
    if not isinstance(body, Mapping):
        yield BadInput(f"no event but {_shown(body)}")
    elif body.get("Event") == "s3:TestEvent":
        return
    elif body.get("Type") == "Notification" and "Message" in body:
        try:
            inner = json.loads(body["Message"])
        except _NO_JSON as error:
            yield BadInput(f"the message of SNS is no JSON ({error}): {_shown(body['Message'])}")
        else:
            yield from _uploads(inner)
    elif isinstance(body.get("Records"), list):
        for record in body["Records"]:
            yield from _checked(_of_notification, record)
    elif "detail-type" in body:
        yield from _checked(_of_eventbridge, body)
    else:
        yield from _checked(_of_request, body)


def _checked(parse: Callable[[Any], Upload], record: Any) -> Iterator[Upload | BadInput]:
    try:
        yield parse(record)
    except BadInput as error:
        yield error


def _of_notification(record: Any) -> Upload:
    event = str(_get(record, "eventName")).removeprefix("s3:")
    if not event.startswith(_NEWS):
        raise BadInput(f"{event} says nothing of an image's content", _OF_NO_INTEREST)
    entry = _get(record, "s3")
    found = _get(entry, "object")
    # S3 writes spaces as plus signs, plus signs as %2B, and UTF-8 in percent codes.
    try:
        key = unquote_plus(_text(found, "key"), errors="strict")
    except UnicodeDecodeError as error:
        raise BadInput(f"the key is no UTF-8 ({error}): {_shown(found)}") from error
    return _upload(_get(entry, "bucket"), found, key, event)


def _of_eventbridge(event: Any) -> Upload:
    kind = str(event["detail-type"])
    if event.get("source") != "aws.s3" or kind not in _EVENTBRIDGE_NEWS:
        raise BadInput(
            f"{kind!r} of {event.get('source')!r} says nothing of an image's content", _OF_NO_INTEREST
        )
    detail = _get(event, "detail")
    found = _get(detail, "object")
    # Unlike notifications, EventBridge has keys as they are.
    return _upload(_get(detail, "bucket"), found, _text(found, "key"), kind)


def _of_request(body: Any) -> Upload:
    return _possible(Upload(_text(body, "bucket"), _text(body, "key"), event="request"))


def _upload(bucket: Any, found: Mapping[str, Any], key: str, event: str) -> Upload:
    etag = found.get("eTag", found.get("etag", ""))
    version = found.get("versionId", found.get("version-id", ""))
    sequencer = str(found.get("sequencer", ""))
    name = _text(bucket, "name")
    return _possible(Upload(name, key, str(etag).strip('"'), str(version or ""), sequencer, event))


def _possible(upload: Upload) -> Upload:
    if not _BUCKET.fullmatch(upload.bucket):
        raise BadInput(f"{_shown(upload.bucket)} is no name of a bucket")
    try:
        n_bytes = len(upload.key.encode())
    except UnicodeEncodeError as error:
        raise BadInput(f"the key is no Unicode text ({error.reason}): {upload.key!a}") from error
    if n_bytes > _KEY_BYTES:
        raise BadInput(f"a key of {n_bytes} bytes, S3 has {_KEY_BYTES} at most: {_shown(upload.key)}")
    return upload


def _get(record: Any, name: str) -> Any:
    if not isinstance(record, Mapping) or name not in record:
        raise BadInput(f"no {name!r} in {_shown(record)}")
    return record[name]


def _text(record: Any, name: str) -> str:
    value = _get(record, name)
    if not isinstance(value, str) or not value:
        raise BadInput(f"{name!r} is {value!r}, no text, in {_shown(record)}")
    return value


def _shown(value: Any) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except RecursionError:
        text = f"{type(value).__name__}, nested too deep to be shown"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
