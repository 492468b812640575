"""How fast a service is asked: evenly, and later after a failure."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
#: A server may ask for hours; the error after the last try tells more than a silent process.
_LONGEST_WAIT_S = 600.0


class RateLimiter:
    """Lets callers of all threads through one by one, never closer than the rate allows.

    Parameters
    ----------
    per_s : float
        Greatest rate; infinity for none.
    sleep, clock : callable
        As of `time`: waits for, and tells, seconds.
    """

    def __init__(
        self,
        per_s: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s = 1.0 / per_s
        self._sleep, self._clock = sleep, clock
        self._not_before = clock()
        # Held while a thread sleeps: those behind it queue up; the other guards the number alone.
        self._turn, self._state = threading.Lock(), threading.Lock()

    def wait(self) -> None:
        """Return when the next request may be sent."""
        with self._turn:
            at = self._not_before
            while True:
                # A sleep may end early.
                while (pause := at - self._clock()) > 0:
                    self._sleep(pause)
                with self._state:
                    if self._not_before <= at:
                        self._not_before = max(self._clock(), at) + self._interval_s
                        return
                    at = self._not_before

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long, as a server asks that has had too much."""
        with self._state:
            self._not_before = max(self._not_before, self._clock() + seconds)


def pause_s(attempt: int) -> float:
    """Return how long to wait after a failed try (0 is the first): doubling, scattered over the upper half.

    Clients that failed together do not come back together.
    """
    longest = min(_FIRST_PAUSE_S * 2.0**attempt, _LONGEST_PAUSE_S)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return for how long a server wants to be left alone, at most ten minutes; None: it does not say.

    Takes seconds and HTTP dates (RFC 9110, section 10.2.3); a date is compared with the server's own clock.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), _LONGEST_WAIT_S)
    until = _date(text)
    if until is None:
        return None
    now = _date(headers.get("Date", "")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), _LONGEST_WAIT_S)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
