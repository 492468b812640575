"""What a moto server is asked for: each request as the IAM action and resources it needs."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

ACCOUNT, REGION = "123456789012", "us-east-1"
_SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_LONGEST_BODY = 1 << 20


@dataclass(frozen=True)
class Request:
    """An action on one resource, with the condition keys that policies may look at."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


@dataclass
class RequestLog:
    """Requests by the access key that signed them."""

    by_key: dict[str, set[Request]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, key: str, requests: list[Request]) -> None:
        with self.lock:
            self.by_key.setdefault(key, set()).update(requests)


@contextmanager
def recorded_requests() -> Iterator[RequestLog]:
    """Record what every moto server of this process is asked meanwhile.

    Raises in the end when a request could not be read: a call that is not understood must not pass as none.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    log, unread = RequestLog(), []
    answer = DomainDispatcherApplication.__call__

    def recording(self: Any, environ: dict[str, Any], start_response: Any) -> Any:
        if scope := _SCOPE.search(environ.get("HTTP_AUTHORIZATION", "")):
            try:
                log.add(scope[1], requests_of(environ, scope[3]))
            except (KeyError, ValueError) as error:
                unread.append(f"{scope[3]} {environ['REQUEST_METHOD']} {environ['PATH_INFO']}: {error!r}")
        return answer(self, environ, start_response)

    DomainDispatcherApplication.__call__ = recording
    try:
        yield log
    finally:
        DomainDispatcherApplication.__call__ = answer
    assert unread == []


def requests_of(environ: dict[str, Any], service: str) -> list[Request]:
    """Return the actions of one HTTP request."""
    reader = {"s3": _s3, "glue": _glue, "sns": _sns, "sqs": _sqs}[service]
    return reader(environ)


def _body(environ: dict[str, Any]) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > _LONGEST_BODY:
        raise ValueError(f"a body of {length} bytes")
    body = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _s3(environ: dict[str, Any]) -> list[Request]:
    method, query = environ["REQUEST_METHOD"], parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    path = unquote(environ.get("RAW_URI", environ["PATH_INFO"]).partition("?")[0])
    bucket, _, key = path.lstrip("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    if key:
        return [Request(_object_action(method, query), f"{arn}/{key}")]
    if method == "GET" and ("list-type" in query or not query):
        return [Request("s3:ListBucket", arn, (("s3:prefix", query.get("prefix", [""])[0]),))]
    if method == "HEAD":
        return [Request("s3:ListBucket", arn)]
    if method == "POST" and "delete" in query:
        keys = [e.text or "" for e in ElementTree.fromstring(_body(environ)).iter() if e.tag.endswith("Key")]
        return [Request("s3:DeleteObject", f"{arn}/{key}") for key in keys]
    raise ValueError(f"bucket request {method} {sorted(query)}")


def _object_action(method: str, query: dict[str, list[str]]) -> str:
    version = "Version" if "versionId" in query else ""
    if method == "DELETE" and "uploadId" in query:
        return "s3:AbortMultipartUpload"
    by_method = {"GET": f"s3:GetObject{version}", "HEAD": f"s3:GetObject{version}", "PUT": "s3:PutObject"}
    by_method |= {"DELETE": f"s3:DeleteObject{version}", "POST": "s3:PutObject"}
    if set(query) - {"versionId", "uploadId", "uploads", "partNumber", "x-id"}:
        raise ValueError(f"object request {method} {sorted(query)}")
    return by_method[method]


def _glue(environ: dict[str, Any]) -> list[Request]:
    action = environ["HTTP_X_AMZ_TARGET"].partition(".")[2]
    given = json.loads(_body(environ))
    root = f"arn:aws:glue:{REGION}:{ACCOUNT}"
    database = given.get("DatabaseName") or given.get("Name") or given.get("DatabaseInput", {}).get("Name")
    if database is None:
        raise ValueError(action)
    resources = [f"{root}:catalog", f"{root}:database/{database}"]
    if "DatabaseName" in given:
        table = given.get("TableName") or given.get("Name") or given["TableInput"]["Name"]
        resources.append(f"{root}:table/{database}/{table}")
    return [Request(f"glue:{action}", resource) for resource in resources]


def _sns(environ: dict[str, Any]) -> list[Request]:
    given = parse_qs(_body(environ).decode())
    return [Request(f"sns:{given['Action'][0]}", given["TopicArn"][0])]


def _sqs(environ: dict[str, Any]) -> list[Request]:
    action = environ["HTTP_X_AMZ_TARGET"].partition(".")[2]
    name = json.loads(_body(environ))["QueueUrl"].rsplit("/", 1)[-1]
    return [Request(f"sqs:{action}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")]
