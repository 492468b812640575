"""Objects of S3 that are replaced and deleted only if nobody else changed them meanwhile."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from astrolake.batch_processing.aws import error_code
from astrolake.errors import CommitConflict

_ABSENT = ("404", "NoSuchKey", "NotFound")
#: What S3 answers when another writer was faster, or is at it.
_LOST = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict", *_ABSENT)
#: Metadata of an object: which call wrote it.
_WRITE = "astrolake-write"


@dataclass(frozen=True)
class Stored:
    """An object as it was found, or as it was written.

    Parameters
    ----------
    etag : str
        With its quotes; empty when there is no object.
    body : bytes
        Empty when it was not read.
    write : str
        The call that wrote it, empty for objects of others.
    """

    etag: str = ""
    body: bytes = field(default=b"", repr=False)
    write: str = ""


@dataclass(frozen=True)
class ConditionalStore:
    """One bucket.

    Parameters
    ----------
    client : S3 client
    bucket : str
    """

    client: Any
    bucket: str

    def read(self, key: str) -> Stored:
        """Return an object with its content, an empty one when there is none."""
        try:
            found = self.client.get_object(Bucket=self.bucket, Key=key)
            return Stored(found["ETag"], found["Body"].read(), found["Metadata"].get(_WRITE, ""))
        except ClientError as error:
            return _nothing(error)

    def look(self, key: str) -> Stored:
        """Return an object without its content, an empty one when there is none."""
        try:
            found = self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            return _nothing(error)
        return Stored(found["ETag"], write=found["Metadata"].get(_WRITE, ""))

    def write(self, key: str, body: bytes, before: Stored) -> Stored:
        """Put an object in the place of what was there before.

        Raises
        ------
        CommitConflict
            When something else is there now.
        """
        write = uuid.uuid4().hex
        condition = {"IfMatch": before.etag} if before.etag else {"IfNoneMatch": "*"}
        try:
            put = self.client.put_object(
                Bucket=self.bucket, Key=key, Body=body, Metadata={_WRITE: write}, **condition
            )
        except ClientError as error:
            if error_code(error) not in _LOST:
                raise
            found = self.look(key)
            # An answer that is lost on the way makes the client put again, and meet its own object.
            if found.write != write:
                raise self._conflict(key) from error
            return found
        return Stored(put["ETag"], write=write)

    def delete(self, key: str, before: Stored) -> None:
        """Delete an object if it is what was there before.

        Raises
        ------
        CommitConflict
            When something else is there now.
        """
        if not before.etag:
            return
        try:
            self.client.delete_object(Bucket=self.bucket, Key=key, IfMatch=before.etag)
        except ClientError as error:
            if error_code(error) not in _LOST:
                raise
            if self.look(key).etag:
                raise self._conflict(key) from error

    def _conflict(self, key: str) -> CommitConflict:
        return CommitConflict(f"s3://{self.bucket}/{key} was changed by another function; try again")


def _nothing(error: ClientError) -> Stored:
    if error_code(error) in _ABSENT:
        return Stored()
    raise error
