"""Keeps secrets out of what is logged and recorded: signatures of URLs, keys, tokens, account numbers."""

from __future__ import annotations

import logging
import re

_HIDDEN = "***"
#: Parameters of presigned URLs (Signature Version 4 and 2) whose value lets its bearer in.
_SIGNED = (
    r"X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|x-amz-security-token"
    # What archives that know their users take in a URL.
    r"|(?:access_?|auth_?|api_?)key|(?:access_?|auth_?|api_?)?token|password|passwd|secret"
)
_RULES = (
    # In JSON the ampersand may be written \u0026, in a URL within a URL %26, in HTML &amp;.
    (re.compile(rf"(?i)((?:[?&;]|%3F|%26|\\u0026)(?:{_SIGNED})(?:=|%3D))[^&\s\"'<>\\]+"), rf"\1{_HIDDEN}"),
    # The header of a signed request, as botocore's debugging shows it.
    (re.compile(r"(?i)(\bSignature=)[0-9a-f]{64}\b"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)(\bx-amz-security-token[\"']?\s*:\s*b?[\"']?)[^\s\"',}]+"), rf"\1{_HIDDEN}"),
    # Access key identifiers (IAM, "Understanding unique ID prefixes").
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), _HIDDEN),
    (
        re.compile(
            r"(?i)\b((?:aws_)?(?:secret_?access_?key|session_?token|access_?key_?id)[\"']?\s*[=:]\s*[\"']?)[^\s\"',&}]+"
        ),
        rf"\1{_HIDDEN}",
    ),
    # The password of a URL's user.
    (re.compile(r"(?i)(\w+://[^/\s:@]+:)[^/\s@]+@"), rf"\1{_HIDDEN}@"),
    # Account numbers where they are sure to be one: elsewhere twelve digits may be a source's identifier.
    (
        re.compile(r"(?i)(\barn(?::|%3A)aws[\w-]*(?:(?::|%3A)[\w-]*?){2}(?::|%3A))\d{12}(?!\d)"),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"\b\d{12}(\.dkr\.ecr\.)"), rf"{_HIDDEN}\1"),
    (re.compile(r"(\.amazonaws\.com(?:\.cn)?/)\d{12}\b"), rf"\1{_HIDDEN}"),
    (re.compile(r"(-)\d{12}(-[a-z]{2}(?:-[a-z]+)+-\d\b)"), rf"\1{_HIDDEN}\2"),
    (re.compile(r"(?i)(\baccount[\s_-]*(?:id|number)?[\"']?[\s:=]*[\"']?)\d{12}\b"), rf"\1{_HIDDEN}"),
)


def redact(text: str) -> str:
    """Return a text without signatures of presigned URLs, access keys, tokens and AWS account numbers."""
    for pattern, kept in _RULES:
        text = pattern.sub(kept, text)
    return text


class RedactingFormatter(logging.Formatter):
    """A formatter whose lines, tracebacks among them, are redacted."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the redacted line of a record."""
        return redact(super().format(record))
