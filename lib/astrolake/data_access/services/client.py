"""One service on the web: asked at its rate, asked again after failures, and named in every error."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from astrolake.data_access.services.answers import page_title, reason, said, words
from astrolake.data_access.services.pace import RateLimiter, pause_s, retry_after_s
from astrolake.errors import BadInput, ServiceError
from astrolake.redact import redact

#: HTTP statuses after which another try may succeed.
PASSING = (408, 425, 429, 500, 502, 503, 504)
#: Kinds of the errors of refusals; those of others are Refused.
_KINDS = {404: "NotFound", 410: "NotFound", 416: "BadRange"}
#: Services answer 500 to queries that will never work, too.
_TRIES_OF_500 = 3
_TRIES_OF_PAGES = 3
#: A host that is up answers within this; queries may take it much longer to work on.
_CONNECT_S = 30.0
_BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)
_QUERY = 500
_BLOCK = 1 << 16
#: Lists of files are much smaller; a packed one may unpack to a thousand times its size.
_MOST_BYTES = 256 << 20


class HttpClient:
    """What every request to one service goes through; to be shared by threads.

    Parameters
    ----------
    name : str
        Of the service, in errors.
    requests_per_s : float
        Rate that is never exceeded, tries again and redirects included.
    connections : int
        Requests at a time.
    tries : int
        Of each request, the first included.
    timeout_s : float
        Longest silence of the service.
    sleep, clock : callable
        As of `time`: waits for, and tells, seconds.

    Attributes
    ----------
    session : requests.Session
        For libraries that take one: the same limits and tries hold; statuses such as 400 are returned.
    sleep : callable
        Waits for so many seconds, as between looks at a job.
    """

    def __init__(
        self,
        name: str,
        requests_per_s: float = 5.0,
        connections: int = 4,
        *,
        tries: int = 6,
        timeout_s: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.tries, self.connections = name, tries, connections
        self.sleep = sleep
        limiter = RateLimiter(requests_per_s, sleep, clock)
        adapter = _PoliteAdapter(self, limiter, connections, timeout_s)
        self.session = requests.Session()
        self.session.headers["User-Agent"] = "astrolake"
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, adapter)

    def get(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        stream: bool = False,
        what: str = "",
        headers: Mapping[str, str] | None = None,
        page: bool = False,
    ) -> requests.Response:
        """Return the answer to a GET request.

        Parameters
        ----------
        url : str
        params : mapping, optional
            Of the query; a list is a parameter given several times.
        stream : bool
            Leave the body to the caller, who closes the response and handles a body that breaks off.
        what : str
            What is asked for, such as a query, for messages.
        headers : mapping, optional
        page : bool
            Whether a page of HTML is what is wanted. Else it is asked for again, and refused in the end:
            archives that are down answer so with status 200. Of a stream the caller looks at the body.

        Raises
        ------
        BadInput
            When the service refuses the request (statuses from 400 on that no other try will change).
        ServiceError
            When it cannot be reached, breaks off, is busy, or sends something else, at each try.
        """
        return self._send("GET", url, what, page or stream, params=params, stream=stream, headers=headers)

    def post(
        self,
        url: str,
        data: Any,
        what: str = "",
        *,
        stream: bool = False,
        page: bool = False,
        files: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        """Return the answer to a POST request of a form (a mapping) or of bytes; the rest is as in `get`.

        Fields of `files`, (name, content) each, are sent with those of the form as multipart/form-data.
        """
        return self._send("POST", url, what, page or stream, data=data, stream=stream, files=files)

    def pause(self, attempt: int) -> None:
        """Wait as after a failed try (0 is the first), for callers whose stream broke off."""
        self.sleep(pause_s(attempt))

    def failure(
        self, problem: str, url: str, what: str = "", remedy: str = "try again later"
    ) -> ServiceError:
        """Return the error that names the service, the URL and the query."""
        return ServiceError(self.message(problem, url, what, remedy))

    def message(self, problem: str, url: str, what: str = "", remedy: str = "try again later") -> str:
        """Return the text of an error, without secrets."""
        asked = f" (asked for: {what[:_QUERY]})" if what else ""
        return _printable(redact(f"{self.name}: {problem}: {url}{asked}; {remedy}"))

    def _send(self, method: str, url: str, what: str, any_page: bool, **arguments: Any) -> requests.Response:
        attempt = 0
        while True:
            response = self._answer(method, url, what, arguments)
            title = None if any_page else page_title(response.content)
            if title is None:
                return response
            attempt += 1
            if attempt >= min(_TRIES_OF_PAGES, self.tries):
                raise self.failure(f"sent a page of HTML, {title!r}, in place of data", response.url, what)
            self.pause(attempt - 1)

    def _answer(self, method: str, url: str, what: str, arguments: dict[str, Any]) -> requests.Response:
        try:
            response = self.session.request(method, url, **arguments)
        except _GivenUp as error:
            raise self.failure(error.problem, error.url, what) from error
        except _NO_ADDRESS as error:
            raise BadInput(
                self.message("is no web address", url, what, "give one that starts with https://"), "BadUrl"
            ) from error
        except requests.RequestException as error:
            raise self.failure(reason(error), url, what) from error
        if response.status_code >= 400:
            with response:
                problem = f"HTTP {response.status_code} {response.reason}{said(response)}"
            kind = _KINDS.get(response.status_code, "Refused")
            remedy = "check the address" if kind == "NotFound" else "check the query"
            raise BadInput(self.message(problem, response.url, what, remedy), kind)
        return response


class _GivenUp(ServiceError):
    """The last try of a request failed; as it is where a library sent the request."""

    def __init__(self, message: str, problem: str = "", url: str = "") -> None:
        super().__init__(message)
        self.problem, self.url = problem, url


class _PoliteAdapter(HTTPAdapter):
    """Sends requests at the rate of a service, so many at a time, and again when that may help."""

    def __init__(self, client: HttpClient, limiter: RateLimiter, connections: int, timeout_s: float) -> None:
        super().__init__(pool_maxsize=connections)
        self._name, self._tries, self._sleep = client.name, client.tries, client.sleep
        self._limiter, self._timeout_s = limiter, timeout_s
        self._slots = threading.BoundedSemaphore(connections)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request, and again; arguments are those of `requests`."""
        kwargs["timeout"] = kwargs.get("timeout") or (min(self._timeout_s, _CONNECT_S), self._timeout_s)
        attempt = 0
        while True:
            attempt += 1
            wait_s: float | None = None
            cause: Exception | None = None
            try:
                response = self._send_once(request, *args, **kwargs)
            except _BROKEN as error:
                problem, tries, cause = reason(error), self._tries, error
            else:
                if response.status_code not in PASSING:
                    return response
                wait_s = retry_after_s(response.headers)
                tries = min(self._tries, _TRIES_OF_500) if response.status_code == 500 else self._tries
                problem = f"HTTP {response.status_code} {response.reason}"
                with response:
                    problem += said(response)
            if attempt >= tries:
                problem += f" ({attempt} tries)"
                raise self._given_up(problem, request) from cause
            if wait_s is None:
                self._sleep(pause_s(attempt - 1))
            else:
                self._limiter.hold(wait_s)

    def _send_once(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        release = _once(self._slots)
        try:
            # Waiting for the turn comes last, else requests that waited for a slot would go out together.
            self._limiter.wait()
            response = super().send(request, *args, **kwargs)
            _when_done(response, release)
            if not (args[0] if args else kwargs.get("stream")):
                _read(response)  # here a body that breaks off is asked for again
        except BaseException:
            release()
            raise
        return response

    def _given_up(self, problem: str, request: requests.PreparedRequest) -> _GivenUp:
        url = str(request.url)
        body = request.body
        sent = f" (sent: {words(body)})" if isinstance(body, str | bytes) and body else ""
        text = redact(f"{self._name}: {problem}: {url}{sent}; try again later")
        return _GivenUp(_printable(text), problem, url)


def _printable(text: str) -> str:
    """Return a text without what a terminal would take for commands."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def _read(response: requests.Response) -> None:
    """Read a body, as `Response.content` does, but no more than fits in memory."""
    blocks, size = [], 0
    for block in response.iter_content(_BLOCK):
        size += len(block)
        if size > _MOST_BYTES:
            raise _TooLarge(f"the answer has more than {_MOST_BYTES:,} bytes")
        blocks.append(block)
    response._content = b"".join(blocks)  # where `content` keeps it


class _TooLarge(requests.RequestException):
    """No other try will help."""


def _once(slots: threading.BoundedSemaphore) -> Callable[[], None]:
    """Take a slot and return the function that gives it back, whose later calls do nothing."""
    slots.acquire()
    taken = [slots]

    def release() -> None:
        try:
            taken.pop().release()
        except IndexError:
            return

    return release


def _when_done(response: requests.Response, release: Callable[[], None]) -> None:
    """Give a slot back when the body is read to its end, closed, or dropped unread."""
    raw = response.raw
    for name in ("release_conn", "close"):
        setattr(raw, name, _followed_by(weakref.WeakMethod(getattr(raw, name)), release))
    weakref.finalize(raw, release).atexit = False


def _followed_by(
    method: weakref.WeakMethod[Callable[[], None]], then: Callable[[], None]
) -> Callable[[], None]:
    # A strong reference would keep bodies that nobody reads, and their slots, for the garbage collector.
    def both() -> None:
        if first := method():
            first()
        then()

    return both
