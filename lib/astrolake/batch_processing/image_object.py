"""The image in its bucket: which version is there, and its bytes on this machine, whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from astrolake.batch_processing.aws import error_code
from astrolake.errors import AstrolakeError

_LOG = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 20
#: Tries of a body that breaks off; botocore's own end with the headers. Pauses double from the first.
_TRIES, _FIRST_PAUSE_S = 4, 0.2
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_ABSENT = ("404", "NoSuchKey", "NotFound")


class BrokenTransfer(AstrolakeError):
    """The bytes that came are not those of the object; another try may bring them."""


@dataclass(frozen=True)
class ImageVersion:
    """What lies at a key.

    Parameters
    ----------
    etag : str
        Without quotes; empty when there is no object.
    size : int
        Bytes.
    version_id : str
        Empty in buckets without versions.
    """

    etag: str = ""
    size: int = 0
    version_id: str = ""


def current_version(client: Any, bucket: str, key: str) -> ImageVersion:
    """Return what lies at a key now, an empty one when nothing does."""
    try:
        return _version(client.head_object(Bucket=bucket, Key=key))
    except ClientError as error:
        if error_code(error) in _ABSENT:
            return ImageVersion()
        raise


def fetch(client: Any, bucket: str, key: str, target: Path, most_bytes: int) -> ImageVersion:
    """Write what lies at a key into a file and return what it is; an empty one when nothing is there.

    Number of bytes and, where the ETag is one, the MD5 are those of the object, or nothing is returned.
    A body that breaks off is asked for again; of what is larger than `most_bytes` nothing is read or written.

    Raises
    ------
    BrokenTransfer
        When the body broke off again and again.
    """
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
        try:
            return _fetch_once(client, bucket, key, target, most_bytes)
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return ImageVersion()
            raise
        except (BrokenTransfer, BotoCoreError, HTTPError, OSError) as error:
            _LOG.warning("s3://%s/%s: try %d of %d: %s", bucket, key, attempt + 1, _TRIES, error)
            last = error
    raise BrokenTransfer(f"s3://{bucket}/{key} cannot be read whole: {last}") from last


def _fetch_once(client: Any, bucket: str, key: str, target: Path, most_bytes: int) -> ImageVersion:
    found = client.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    version = _version(found)
    with closing(found["Body"]) as body:
        if version.size > most_bytes:
            return version
        digest, n_bytes = hashlib.md5(usedforsecurity=False), 0
        with target.open("wb") as stream:
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                stream.write(chunk)
                digest.update(chunk)
                n_bytes += len(chunk)
    if n_bytes != version.size:
        raise BrokenTransfer(f"{n_bytes} of {version.size} bytes came")
    if _is_md5(found, version.etag) and digest.hexdigest() != version.etag:
        raise BrokenTransfer(f"the bytes have MD5 {digest.hexdigest()}, the object {version.etag}")
    return version


def _is_md5(found: dict[str, Any], etag: str) -> bool:
    """Tell whether an ETag is the MD5 of the object: not with parts, nor with keys of KMS or the customer."""
    plain = found.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in found
    return plain and _MD5.match(etag) is not None


def _version(found: dict[str, Any]) -> ImageVersion:
    version = found.get("VersionId")
    return ImageVersion(
        found["ETag"].strip('"'), found["ContentLength"], version if version and version != "null" else ""
    )
