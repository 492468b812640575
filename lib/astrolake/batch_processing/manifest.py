"""Slices of a manifest, a text file with one input a line, for the children of an array job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from typing import TextIO

from astrolake.errors import BadArguments, BadInput
from astrolake.lake.storage import Storage

#: Of an index: a range of more would not fit in memory.
_DIGITS = 6
_RANGES = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def count_lines(uri: str, storage_options: dict[str, str] | None = None) -> int:
    """Return how many inputs a manifest names; empty lines and comments (#) do not count.

    Raises
    ------
    BadInput
        When it cannot be read or names none.
    """
    with _lines(uri, storage_options) as lines:
        count = sum(1 for _ in lines)
    if not count:
        raise BadInput(f"manifest {uri} names no input; write one a line", "EmptyInput")
    return count


def read_slice(uri: str, index: int, size: int, storage_options: dict[str, str] | None = None) -> list[str]:
    """Return the inputs of the slice of a manifest: lines ``index * size`` to ``(index + 1) * size - 1``.

    Raises
    ------
    BadInput
        When it cannot be read, or has no such lines.
    """
    with _lines(uri, storage_options) as lines:
        found = list(islice(lines, index * size, (index + 1) * size))
    if not found:
        raise BadInput(
            f"manifest {uri} has no slice {index} of {size} lines; was it shortened?", "EmptyInput"
        )
    return found


@contextmanager
def _lines(uri: str, storage_options: dict[str, str] | None) -> Iterator[Iterator[str]]:
    storage = Storage.at(uri, storage_options)
    try:
        with storage.fs.open(storage.path(), "rt", encoding="utf-8") as stream:
            yield _inputs(stream)
    except FileNotFoundError as error:
        raise BadInput(f"manifest {uri} does not exist; upload it", "FileNotFound") from error
    except PermissionError as error:
        raise BadInput(f"manifest {uri}: no permission to read it ({error})", "NoPermission") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"manifest {uri} is no text file: {error}", "NotText") from error


def _inputs(stream: TextIO) -> Iterator[str]:
    lines = (line.strip() for line in stream)
    return (line for line in lines if line and not line.startswith("#"))


def pack_indices(indices: Iterable[int]) -> str:
    """Return indices as ranges: ``0-3,7``."""
    runs = []
    for _, run in groupby(enumerate(sorted(set(indices))), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        runs.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(runs)


def unpack_indices(text: str) -> list[int]:
    """Return the indices of ranges, in rising order.

    Raises
    ------
    BadArguments
        When the text is none.
    """
    if not _RANGES.fullmatch(text):
        raise BadArguments(f"indices {text!r}: write numbers and ranges, as 0-3,7")
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = part.partition("-")
        if max(len(low), len(high)) > _DIGITS:
            raise BadArguments(f"indices {part[:40]!r}: no manifest has so many slices")
        found.update(range(int(low), int(high or low) + 1))
    return sorted(found)
