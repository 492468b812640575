"""Queries to a TAP service: at once for small answers, as a UWS job for large ones.

IVOA Table Access Protocol 1.1 (https://www.ivoa.net/documents/TAP/), Universal Worker Service 1.1
(https://www.ivoa.net/documents/UWS/), and DALI 1.1 (https://www.ivoa.net/documents/DALI/) for what
errors and answers that were cut off look like.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import requests
from pyvo.dal.exceptions import DALServiceError
from pyvo.dal.tap import AsyncTAPJob, TAPQuery

from astrolake.data_access.services.answers import page_title, words
from astrolake.data_access.services.catalog_answers import (
    Answer,
    TryAgain,
    head_of,
    kept,
    query_status,
    read_rows,
    tried,
)
from astrolake.data_access.services.client import HttpClient
from astrolake.data_access.services.queries import SPATIAL, check_options
from astrolake.data_access.surveys.model import Service
from astrolake.errors import ServiceError
from astrolake.redact import redact

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _GROWTH = 1.0, 60.0, 1.5
_LONGEST_WAIT_S = 6 * 3600.0
#: Rows that every service sends at once; the Gaia archive's synchronous answers end there, without a mark
#: (https://www.cosmos.esa.int/web/gaia-users/archive/programmatic-access).
_SYNC_ROWS = 2000
_OPTIONS = {
    "mode": ("auto", "sync", "async"),
    "format": ("votable", "fits", "csv"),
    "sync_rows": (),
    "spatial": SPATIAL,
}
_WAITING = ("PENDING", "QUEUED", "EXECUTING", "HELD", "SUSPENDED", "UNKNOWN", "RUN")


class TapService:
    """A TAP service.

    Parameters
    ----------
    service : Service
        Its options: ``mode`` (auto, sync, async), ``sync_rows`` (rows that a synchronous answer may have;
        more are asked for by a job), ``format`` (votable, fits or csv; a service that sends VOTables all the
        same is understood, but they take 25 times as long to read as FITS), and ``spatial`` of `queries`.
    client : HttpClient
        Sends every request.

    Raises
    ------
    BadArguments
        When an option has no such value.
    """

    def __init__(self, service: Service, client: HttpClient) -> None:
        check_options(service, _OPTIONS)
        self.url = service.url.rstrip("/")
        self._client = client
        self._mode = str(service.options.get("mode", "auto"))
        self._format = str(service.options.get("format", "votable"))
        self._sync_rows = int(service.options.get("sync_rows", _SYNC_ROWS))

    def query(self, sql: str, max_rows: int, expected_rows: float | None = None) -> Answer:
        """Return the rows of an ADQL query; see `CatalogService.query`."""
        limit = max_rows if self._mode == "sync" else min(max_rows, self._sync_rows)
        small = max_rows <= self._sync_rows or (expected_rows or max_rows) <= self._sync_rows / 2
        if self._mode == "sync" or (self._mode == "auto" and small):
            answer = self._tried(sql, self._sync, limit)
            if limit == max_rows or not answer.overflow:
                return answer
        return self._tried(sql, self._async, max_rows)

    def _tried(self, sql: str, ask: Callable[[str, int], Answer], max_rows: int) -> Answer:
        return tried(lambda: ask(sql, max_rows), self._client, self.url, sql)

    def _query(self, sql: str, mode: str, max_rows: int) -> requests.Response:
        query = TAPQuery(
            self.url,
            sql,
            mode=mode,
            maxrec=max_rows,
            session=self._client.session,
            # TAP 1.1 knows the first, TAP 1.0 the second.
            RESPONSEFORMAT=self._format,
            FORMAT=self._format,
        )
        with self._speaking(sql):
            response: requests.Response = query.submit()
            return response

    def _sync(self, sql: str, max_rows: int) -> Answer:
        return self._answer(self._query(sql, "sync", max_rows), sql, max_rows)

    def _async(self, sql: str, max_rows: int) -> Answer:
        with self._job(sql, max_rows) as job:
            self._wait(job, sql)
            uri = job.result_uri
            if uri is None:
                raise TryAgain("the job is COMPLETED but has no result")
            with self._speaking(sql):
                response = self._client.session.get(uri, stream=True)
            return self._answer(response, sql, max_rows)

    @contextmanager
    def _job(self, sql: str, max_rows: int) -> Iterator[AsyncTAPJob]:
        """Create and start a job; it is deleted at the end of the block, whatever happens in it."""
        response = self._query(sql, "async", max_rows)
        if response.status_code >= 400 or not response.history:
            with kept(response) as path:
                head = head_of(path)
                self._status(path, head, response.status_code, sql)
            raise TryAgain(f"it made no job but said: {words(head)}")
        # Left open, it would keep one of the connections.
        response.close()
        with self._speaking(sql):
            job = AsyncTAPJob(response.url, session=self._client.session)
        try:
            with self._speaking(sql):
                job.run()
            yield job
        finally:
            self._delete(job)

    def _delete(self, job: AsyncTAPJob) -> None:
        try:
            job.delete()
        except (DALServiceError, ServiceError, requests.RequestException) as error:
            # The service deletes it in its own time.
            _LOG.warning("%s: a job could not be deleted: %s", self._client.name, redact(str(error)))

    @contextmanager
    def _speaking(self, sql: str) -> Iterator[None]:
        """Name the query where a request failed; ask again where an answer describes no job."""
        try:
            yield
        except (ServiceError, DALServiceError, requests.RequestException) as error:
            raise self._error(str(getattr(error, "problem", error)), sql) from error
        except (ExpatError, ValueError, AttributeError, TypeError) as error:
            raise TryAgain(f"what should describe a job does not ({error})") from error

    def _error(self, problem: str, sql: str, remedy: str = "try again later") -> ServiceError:
        return self._client.failure(problem, self.url, sql, remedy)

    def _wait(self, job: AsyncTAPJob, sql: str) -> None:
        """Wait for a job to be completed.

        Raises
        ------
        ServiceError
            When it failed for good, with the message of the service.
        TryAgain
            When it was aborted, or failed for a reason that the service calls transient.
        """
        pause, waited_s = _FIRST_PAUSE_S, 0.0
        while True:
            with self._speaking(sql):
                summary = job.job
            phase = str(summary.phase or "").upper()
            if phase == "COMPLETED":
                return
            if phase == "ERROR":
                self._raise_failed(summary, sql)
            if phase not in _WAITING:
                raise TryAgain(f"the job is {phase or 'of no phase'}{_told(summary)}")
            if waited_s > _LONGEST_WAIT_S:
                raise self._error(f"the job is {phase} for more than {waited_s // 3600:.0f} hours", sql)
            self._client.sleep(pause)
            waited_s += pause
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_S)

    def _raise_failed(self, summary: Any, sql: str) -> None:
        problem = f"the job is in ERROR{_told(summary)}"
        if getattr(summary.errorsummary, "type_", "") == "transient":
            raise TryAgain(problem)
        raise self._error(problem, sql, "correct the query, or ask for less")

    def _answer(self, response: requests.Response, sql: str, max_rows: int) -> Answer:
        status = response.status_code
        with kept(response) as path:
            head = head_of(path)
            if page_title(head) is not None:
                problem = f"it sent a web page in place of rows (HTTP {status}): {words(head)}"
                raise TryAgain(problem) if status < 400 else self._error(problem, sql)
            marked = self._status(path, head, status, sql)
            rows = read_rows(path, self._kind(head))
        return Answer(rows, marked or rows.num_rows >= max_rows)

    def _kind(self, head: bytes) -> str:
        """Return the format of an answer, whatever was asked for."""
        if b"VOTABLE" in head:
            return "votable"
        if head.startswith(b"SIMPLE  ="):
            return "fits"
        if self._format != "csv":
            raise TryAgain(f"it sent {words(head)[:80]!r} in place of {self._format}")
        return "csv"

    def _status(self, path: Path, head: bytes, status: int, sql: str) -> bool:
        """Return whether an answer is marked as cut off; raise when it is the message of an error."""
        is_votable = b"VOTABLE" in head
        told, message = query_status(path) if is_votable else ("", "")
        if told == "ERROR" or status >= 400:
            shown = message or ("" if is_votable else words(head)) or "no reason given"
            raise self._error(f"it refuses (HTTP {status}): {shown}", sql, "correct the query")
        return told == "OVERFLOW"


def _told(summary: Any) -> str:
    error = summary.errorsummary
    message = error.message.content if error is not None and error.message is not None else ""
    return f": {message}" if message else ""
