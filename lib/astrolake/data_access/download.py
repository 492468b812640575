"""Files from a web archive: resumed, tried again, checked, and under their name only when they are whole."""

from __future__ import annotations

import bz2
import email.message
import gzip
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from astrolake.errors import AstrolakeError, BadArguments, BadInput
from astrolake.parallel import Outcome, run_parallel
from astrolake.redact import redact

_TRIES, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5, 1.0, 30.0
_TIMEOUT_S = 60.0
_BLOCK = 1 << 20
_FIELD = re.compile(r"([0-9]{1,6})-([1-6])-([0-9]{1,4})")
#: HTTP statuses after which another try may succeed.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_FITS_START = b"SIMPLE  ="
_HEAD_BYTES = 80


@dataclass(frozen=True)
class RemoteFile:
    """A file of an archive and where it goes."""

    url: str
    path: Path


@dataclass(frozen=True)
class Downloaded:
    """A file that is there, whole; `skipped` when it was before."""

    path: Path
    n_bytes: int
    skipped: bool


class _TryAgain(Exception):
    """A transfer broke off, or the server is busy."""


def sdss_frames(
    directory: Path, fields: Sequence[str] = (), bands: str = "", base_url: str = ""
) -> list[RemoteFile]:
    """Return corrected frames of SDSS DR17: by default the sample that `sdss_sample.json` lists.

    Parameters
    ----------
    directory : Path
        Where the files go.
    fields : sequence of str
        As run-camcol-field, such as 4510-4-30, in place of the sample.
    bands : str
        Such as "gr", in place of all.
    base_url : str
        Directory of the frames, in place of SDSS's own.

    Raises
    ------
    BadArguments
        When a field or band cannot be understood.
    """
    listed = json.loads(resources.files(__package__).joinpath("sdss_sample.json").read_text("utf-8"))
    root = (base_url or str(listed["base_url"])).rstrip("/")
    if unknown := set(bands) - set(listed["bands"]):
        raise BadArguments(f"SDSS has no bands {sorted(unknown)}; it has {', '.join(listed['bands'])}")
    chosen = dict.fromkeys(fields, listed["bands"]) or {
        item["field"]: item["bands"] for item in listed["fields"]
    }
    return [
        _frame(root, directory, field, band)
        for field, own in chosen.items()
        for band in own
        if not bands or band in bands
    ]


def _frame(root: str, directory: Path, field: str, band: str) -> RemoteFile:
    match = _FIELD.fullmatch(field)
    if match is None:
        raise BadArguments(f"field {field!r}: write run-camcol-field, such as 4510-4-30")
    run, camcol, number = map(int, match.groups())
    name = f"frame-{band}-{run:06d}-{camcol}-{number:04d}.fits.bz2"
    return RemoteFile(f"{root}/{run}/{camcol}/{name}", directory / name)


def download_files(
    files: Iterable[RemoteFile], workers: int = 4, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Outcome[RemoteFile, Downloaded]]:
    """Download files and yield what became of each; a whole file that is there already is left alone.

    Parameters
    ----------
    files : iterable of RemoteFile
    workers : int
        Files at a time.
    sleep : callable
        Waits for so many seconds between tries.
    """
    yield from run_parallel(lambda file: download_file(file, sleep), files, workers)


def download_file(file: RemoteFile, sleep: Callable[[float], None] = time.sleep) -> Downloaded:
    """Download one FITS file, packed or not; what a broken transfer left in `<name>.part` is continued.

    Raises
    ------
    BadInput
        When the server has no such file, or sends something else, such as a page of HTML.
    AstrolakeError
        When the server cannot be reached, or breaks off again and again.
    """
    if file.path.is_file():
        return Downloaded(file.path, file.path.stat().st_size, skipped=True)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    part = file.path.with_name(file.path.name + ".part")
    for attempt in range(_TRIES):
        try:
            _fetch(file.url, part)
            _check_content(file.url, part)
        except _TryAgain as error:
            last = error
            if attempt < _TRIES - 1:
                sleep(min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S))
        else:
            n_bytes = part.stat().st_size
            part.replace(file.path)
            return Downloaded(file.path, n_bytes, skipped=False)
    raise AstrolakeError(redact(f"cannot download {file.url}: {last}; what came is kept, run it again"))


def _fetch(url: str, part: Path) -> None:
    """Write the rest of a file behind what is there of it."""
    there = part.stat().st_size if part.exists() else 0
    etag = _etag_file(part)
    request = urllib.request.Request(url, headers={"User-Agent": "astrolake"})  # noqa: S310 - scheme is checked
    if not url.startswith(("https://", "http://")):
        raise BadInput(f"{url} is no web address; give one that starts with https://", "BadUrl")
    if there and etag.exists():
        request.add_header("Range", f"bytes={there}-")
        # Should the file have changed since, the server sends all of it.
        request.add_header("If-Range", etag.read_text("utf-8"))
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
            _copy(response, part, there)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)
        if error.code in (*_PASSING, 416):
            raise _TryAgain(f"HTTP {error.code} {error.reason}") from error
        raise BadInput(
            redact(f"{url}: HTTP {error.code} {error.reason}; check the address"), "NotFound"
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _TryAgain(str(error)) from error


def _copy(response: Any, part: Path, there: int) -> None:
    resumed = response.status == 206
    expected = _length(response.headers)
    _etag_file(part).unlink(missing_ok=True)
    if validator := response.headers.get("ETag") or response.headers.get("Last-Modified"):
        _etag_file(part).write_text(validator, "utf-8")
    n_bytes = 0
    with part.open("ab" if resumed else "wb") as stream:
        while block := response.read(_BLOCK):
            stream.write(block)
            n_bytes += len(block)
        stream.flush()
        os.fsync(stream.fileno())
    if expected is not None and n_bytes < expected:
        start = there if resumed else 0
        raise _TryAgain(f"it broke off after {start + n_bytes} of {start + expected} bytes")


def _length(headers: email.message.Message) -> int | None:
    length = headers.get("Content-Length")
    return int(length) if length is not None and length.isdecimal() else None


def _check_content(url: str, part: Path) -> None:
    """Unpack the whole file, whose own checksums tell damage, and look for FITS inside.

    A damaged file is deleted, so that the next try begins anew.
    """
    _etag_file(part).unlink(missing_ok=True)
    try:
        head = _unpacked_head(part)
    except (OSError, EOFError, ValueError) as error:
        part.unlink()
        raise _TryAgain(f"it came damaged: {error}") from error
    if not head.startswith(_FITS_START):
        part.unlink()
        kind = "a page of HTML" if head.lstrip()[:1] == b"<" else "something else"
        raise BadInput(f"{url} is no FITS file but {kind}; check the address", "NotFits")


def _unpacked_head(part: Path) -> bytes:
    with part.open("rb") as raw:
        start = raw.read(3)
    opener: Any = bz2.open if start == b"BZh" else gzip.open if start[:2] == b"\x1f\x8b" else open
    with opener(part, "rb") as stream:
        head: bytes = stream.read(_HEAD_BYTES)
        while stream.read(_BLOCK):
            pass
    return head


def _etag_file(part: Path) -> Path:
    """Return the file that says which version of the remote file `part` is a part of."""
    return part.with_name(part.name + ".version")
