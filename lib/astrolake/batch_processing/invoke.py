"""The function for uploaded images called for each image of a bucket, on Lambda or in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astrolake.batch_processing.aws import aws_errors, make_client
from astrolake.batch_processing.objects import StoredObject, is_image
from astrolake.errors import AstrolakeError
from astrolake.parallel import Outcome, run_parallel
from astrolake.redact import redact

if TYPE_CHECKING:
    import boto3

#: Answers the event of one image as the function does.
Handler = Callable[[dict[str, Any]], dict[str, Any]]

#: The longest that Lambda lets a function run, and a little more.
_READ_S = 930
#: Throttled calls are tried again, so long as a full burst of images needs.
_ATTEMPTS = 15


@dataclass(frozen=True)
class Invoked:
    """What the function answered for an image."""

    key: str
    answer: dict[str, Any]


def invoke_images(
    objects: Iterable[StoredObject], handler: Handler, workers: int = 8
) -> Iterator[Outcome[StoredObject, Invoked]]:
    """Call the function for each image, several at a time, and yield what became of each as it is done.

    The function replaces what it wrote for an image before: calling it again changes nothing.

    Parameters
    ----------
    objects : iterable of StoredObject
        What is no image by its name is passed over.
    handler : callable
        From `lambda_handler` or `local_handler`.
    workers : int
        Calls at a time.
    """
    images = (item for item in objects if is_image(item.key))
    yield from run_parallel(lambda image: _invoke(image, handler), images, workers)


def _invoke(image: StoredObject, handler: Handler) -> Invoked:
    return Invoked(image.key, handler({"bucket": image.bucket, "key": image.key}))


def lambda_handler(function: str, workers: int = 8, session: boto3.session.Session | None = None) -> Handler:
    """Return a handler that calls a Lambda function and waits for its answer; throttled calls wait longer.

    Parameters
    ----------
    function : str
        Name or ARN.
    workers : int
        Threads that will call the handler.
    session : boto3 Session
    """
    client = make_client(
        "lambda",
        session,
        read_timeout=_READ_S,
        max_pool_connections=workers,
        retries={"mode": "adaptive", "total_max_attempts": _ATTEMPTS},
    )

    def call(event: dict[str, Any]) -> dict[str, Any]:
        with aws_errors(f"invoke {function}", "check the function's name and your lambda:InvokeFunction"):
            response = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
            text = response["Payload"].read().decode()
        if "FunctionError" in response:
            raise AstrolakeError(f"{function} failed: {_reason(text)}; its log tells more")
        answer = json.loads(text)
        return answer if isinstance(answer, dict) else {"answer": answer}

    return call


def _reason(text: str) -> str:
    """Return what a failed function says, such as `Task timed out after 300.00 seconds`."""
    try:
        told = json.loads(text)
    except ValueError:
        return redact(text[:500])
    if not isinstance(told, dict):
        return redact(str(told)[:500])
    return redact(f"{told.get('errorType', 'error')}: {told.get('errorMessage', '')}")
