"""What services answer in place of data: pages, errors, broken connections."""

from __future__ import annotations

import html
import re
from typing import Any

import requests

_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head)\b",
    re.I | re.S,
)
_TITLE = re.compile(r"(?is)<title[^>]*>(.*?)</title>")
_TAG = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>|<[^>]*>")
_WORDS = 300


def page_title(head: bytes) -> str | None:
    """Return the title of a page of HTML, of which the first bytes will do; None of anything else."""
    if not _PAGE.match(head[:2048]):
        return None
    match = _TITLE.search(head[:65536].decode("utf-8", "replace"))
    return " ".join(html.unescape(match[1]).split())[:_WORDS] if match else "without a title"


def reason(error: BaseException) -> str:
    """Return why a transfer failed, without the wrappings of `requests` and `urllib3`."""
    inner: Any = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    inner = getattr(inner, "reason", None) or inner
    text = str(inner.args[-1] if isinstance(inner, Exception) and inner.args else inner)
    # "<urllib3.connection.HTTPConnection object at 0x1>: Failed" and "HTTPConnection(host=1): timed out"
    return re.sub(r"^(?:<[^>]*>|\w+\([^)]*\)): ", "", text) or type(error).__name__


def said(response: requests.Response) -> str:
    """Return the first words of an answer as the end of a sentence."""
    try:
        found = words(response.content)
    except requests.RequestException:
        return ""
    return f", said: {found}" if found else ""


def words(body: str | bytes) -> str:
    """Return the first words of a text, without markup."""
    text = body if isinstance(body, str) else body[:65536].decode("utf-8", "replace")
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())[:_WORDS]
