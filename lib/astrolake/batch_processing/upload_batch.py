"""An event of uploads from its messages to its answer: what failed is to come again, and only that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from astrolake.batch_processing.events import Message, Upload, parse_event
from astrolake.batch_processing.json_log import FIELDS
from astrolake.batch_processing.upload_function import Outcome
from astrolake.errors import AstrolakeError

_LOG = logging.getLogger(__name__)
#: An image is not begun with less time than this left.
_LEAST_S = 60.0


class UploadsFailed(AstrolakeError):
    """Images of an event without queue could not be processed; whoever sent it is to send it again."""


class Processor(Protocol):
    """What makes the rows of an image, such as `UploadProcessor`."""

    def process(self, upload: Upload) -> Outcome:
        """Return what became of an image."""


def process_event(
    event: Any, processor: Processor, remaining_s: Callable[[], float] = lambda: float("inf")
) -> dict[str, Any]:
    """Process the images of an event and return the answer.

    Parameters
    ----------
    event : mapping
        See `parse_event`.
    processor : Processor
    remaining_s : callable
        Time left, seconds; images that it does not suffice for fail.

    Returns
    -------
    dict
        For a queue ``batchItemFailures``, the messages that are to come again, and, where they cannot be
        understood, to end in the dead-letter queue; else ``images``, what became of each, and ``problems``,
        what could not be understood.

    Raises
    ------
    UploadsFailed
        When there is no queue that could bring again what failed.
    """
    messages = parse_event(event)
    done = [_process_message(message, processor, remaining_s) for message in messages]
    if any(message.message_id for message in messages):
        failed = [m.message_id for m, (_, errors) in zip(messages, done, strict=True) if errors or m.problems]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
    if errors := [error for _, found in done for error in found]:
        raise UploadsFailed("; ".join(errors))
    return {
        "images": [image for images, _ in done for image in images],
        "problems": [problem for message in messages for problem in message.problems],
    }


def _process_message(
    message: Message, processor: Processor, remaining_s: Callable[[], float]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what became of the images of a message, and what went wrong with others."""
    for problem in message.problems:
        _LOG.error("not understood: %s", problem, extra={FIELDS: {"message_id": message.message_id}})
    for passed_over in message.ignored:
        _LOG.info("passed over: %s", passed_over, extra={FIELDS: {"message_id": message.message_id}})
    images: list[dict[str, Any]] = []
    errors: list[str] = []
    for upload in message.uploads:
        fields = {"message_id": message.message_id, "image": upload.uri, "event": upload.event}
        fields |= {"event_etag": upload.etag, "sequencer": upload.sequencer}
        if remaining_s() < _LEAST_S:
            errors.append(f"{upload.uri}: no time left")
            _LOG.warning("no time left for an image", extra={FIELDS: fields})
            continue
        begun = time.monotonic()
        try:
            outcome = processor.process(upload)
        except Exception as error:  # noqa: BLE001 - no image may take others with it; the queue brings it again
            errors.append(f"{upload.uri}: {type(error).__name__}: {error}")
            _LOG.warning("image failed, to come again", exc_info=True, extra={FIELDS: fields})
            continue
        image = _told(outcome) | {"seconds": round(time.monotonic() - begun, 3)}
        images.append(image)
        _LOG.info("image processed", extra={FIELDS: fields | image})
    return images, errors


def _told(outcome: Outcome) -> dict[str, Any]:
    state = outcome.state
    return {
        "image": state.uri,
        "status": state.status,
        "changed": outcome.changed,
        "etag": state.etag,
        "bytes": state.size,
        "hdus": state.n_images,
        "rows": state.n_rows,
        "files": [output.key for output in state.outputs],
        "rejects": list(state.rejects),
        "alert": state.alert.status,
    }
