"""Queries to SkyServer of SDSS, in the T-SQL of its database.

The resource ``SearchTools/SqlSearch`` takes ``cmd`` and ``format``
(https://skyserver.sdss.org/dr12/en/help/docs/api.aspx, "SQL Search"); answers end without a mark at 500,000
rows, and 60 queries a minute are allowed (https://skyserver.sdss.org/dr18/en/help/docs/limits.aspx).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from astrolake.data_access.services.answers import page_title, words
from astrolake.data_access.services.catalog_answers import (
    Answer,
    TryAgain,
    head_of,
    kept,
    read_rows,
    tried,
)
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.queries import SPATIAL, check_options
from astrolake.data_access.surveys.model import Service
from astrolake.errors import BadInput, ServiceError

_OPTIONS = {"spatial": SPATIAL, "near_function": (), "near_key": ()}
#: First line of an answer in CSV.
_TABLE = b"#Table"
_NO_ROWS = b"No objects have been found"
#: What a client is told that asks too often: the count is of the last minute.
_TOO_MANY, _MINUTE_S = "queries allowed per minute", 60.0
_SELECTED = re.compile(r"^SELECT (?:TOP \d+ )?(.*?) FROM ", re.DOTALL)


class SkyServer:
    """The SQL search of SkyServer.

    Parameters
    ----------
    service : Service
        Its URL ends in ``SearchTools/SqlSearch``; options are those of `queries`.
    client : HttpClient
        Sends every request.
    """

    def __init__(self, service: Service, client: HttpClient) -> None:
        check_options(service, _OPTIONS)
        self.url = service.url
        self._client = client

    def query(self, sql: str, max_rows: int, expected_rows: float | None = None) -> Answer:
        """Return the rows of a T-SQL query that says ``TOP max_rows`` itself; see `CatalogService.query`."""
        return tried(lambda: self._ask(sql, max_rows), self._client, self.url, sql)

    def _ask(self, sql: str, max_rows: int) -> Answer:
        try:
            response = self._client.get(self.url, {"cmd": sql, "format": "csv"}, stream=True, what=sql)
        except BadInput as error:
            raise ServiceError(error.message) from error
        with kept(response) as path:
            head = head_of(path)
            if head.startswith(_NO_ROWS):
                return Answer(_empty(sql), overflow=False)
            self._check(path, head, sql)
            rows = read_rows(path, "csv")
        return Answer(rows, rows.num_rows >= max_rows)

    def _check(self, path: Path, head: bytes, sql: str) -> None:
        """Raise what an answer says that holds no rows."""
        if head.startswith(_TABLE):
            names = head.split(b"\n", 2)[1:2]
            if names and b"ERROR" in names[0]:
                raise self._refusal(words(names[0]), sql)
            return
        if head.startswith(b"{"):
            raise self._refusal(_message(path.read_bytes()), sql)
        if page_title(head) is not None and _TOO_MANY not in words(head):
            raise TryAgain(f"it sent a web page in place of rows: {words(head)}")
        raise self._refusal(words(head), sql)

    def _refusal(self, message: str, sql: str) -> Exception:
        if _TOO_MANY in message:
            return TryAgain(message, _MINUTE_S)
        return self._client.failure(f"it refuses: {message}", self.url, sql, "correct the query")


def _empty(sql: str) -> pa.Table:
    """Return no rows of the columns that a query selects."""
    found = _SELECTED.match(sql)
    names = [name.split()[-1].strip("[]") for name in found[1].split(", ")] if found else []
    return pa.table({name: pa.nulls(0) for name in names})


def _message(text: bytes) -> str:
    """Return the message of an error in JSON."""
    try:
        told = json.loads(text)
    except ValueError:
        return words(text)
    if isinstance(told, Mapping):
        return " ".join(str(told[key]) for key in ("Error Message", "ErrorMessage", "Message") if key in told)
    return words(text)
