"""The same call on many items in a few threads, with as many items in memory as are under way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from astrolake.errors import AstrolakeError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """What became of an item: a value, or an error that a user can act on."""

    item: T
    value: R | None = None
    error: Exception | None = None


def run_parallel(
    function: Callable[[T], R], items: Iterable[T], workers: int = 8
) -> Generator[Outcome[T, R], None, None]:
    """Yield the outcome of each item as it is done, in any order.

    Items are taken from the iterable as threads become free, so that it may be endless.
    Closing the iterator early (Ctrl-C too) takes no further items and waits for those under way.

    Parameters
    ----------
    function : callable
        Its AstrolakeError and OSError become outcomes; other errors are raised here.
    items : iterable
    workers : int
        Threads.
    """
    source = iter(items)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        under_way: dict[Future[R], T] = {}
        try:
            while True:
                for item in islice(source, 2 * workers - len(under_way)):
                    under_way[pool.submit(function, item)] = item
                if not under_way:
                    return
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    yield _outcome(under_way.pop(future), future)
        finally:
            for future in under_way:
                future.cancel()


def _outcome(item: T, future: Future[R]) -> Outcome[T, R]:
    try:
        return Outcome(item, future.result())
    except (AstrolakeError, OSError) as error:
        return Outcome(item, error=error)
