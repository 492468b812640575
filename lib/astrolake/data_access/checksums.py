"""Checksums that archives publish: beside a file, or in a list of a directory."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any
from urllib.parse import unquote, urlsplit

from astrolake.data_access.services.client import HttpClient
from astrolake.errors import BadArguments, BadInput
from astrolake.redact import redact

_LOG = logging.getLogger(__name__)
#: Length in hexadecimal digits.
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_OF_LENGTH = {length: name for name, length in _DIGITS.items()}
#: As sha256sum and its kind write them; the star means that the file was read as bytes.
_LINE = re.compile(r"\s*([0-9a-fA-F]{32,128})\s+\*?(.+?)\s*")
_KEPT = 16


def parse_checksum(text: str) -> tuple[str, str]:
    """Return algorithm and lower-case digest of a checksum such as ``sha256:0f3a...``; two empty ones of "".

    Raises
    ------
    BadArguments
        When it is anything else.
    """
    if not text:
        return "", ""
    name, _, digest = text.lower().partition(":")
    if _DIGITS.get(name) != len(digest) or not re.fullmatch("[0-9a-f]+", digest):
        raise BadArguments(f"checksum {text!r}: write ALGORITHM:HEXADECIMAL, of {', '.join(_DIGITS)}")
    return name, digest


def new_hash(name: str) -> Any:
    """Return an empty hash of one of the algorithms."""
    return hashlib.new(name, usedforsecurity=False)


class SumsFiles:
    """Lists of checksums of one service, each asked for once; the last few are kept."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._lists: OrderedDict[str, Future[dict[str, str]]] = OrderedDict()
        self._lock = threading.Lock()

    def checksum(self, sums_url: str, file_url: str) -> str:
        """Return the checksum that a list has for a file, as ``algorithm:digest``; empty when it has none."""
        name = _file_name(file_url)
        found = self._list(sums_url).get(name, "")
        if not found:
            _LOG.warning("%s", redact(f"{self._client.name}: {sums_url} publishes no checksum of {name}"))
        return found

    def _list(self, url: str) -> dict[str, str]:
        with self._lock:
            mine = url not in self._lists
            future = self._lists.setdefault(url, Future())
            self._lists.move_to_end(url)
            if len(self._lists) > _KEPT:
                self._lists.popitem(last=False)
        if mine:
            try:
                future.set_result(self._read(url))
            except BaseException as error:  # noqa: BLE001 - those who wait for it get it too
                with self._lock:
                    self._lists.pop(url, None)
                future.set_exception(error)
        return future.result()

    def _read(self, url: str) -> dict[str, str]:
        try:
            text = self._client.get(url, what="checksums").text
        except BadInput as error:
            if error.kind != "NotFound":
                raise
            return {}
        lines = map(_LINE.fullmatch, text.splitlines())
        return {
            match[2].rpartition("/")[2]: f"{_OF_LENGTH[len(match[1])]}:{match[1].lower()}"
            for match in lines
            if match and len(match[1]) in _OF_LENGTH
        }


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]
