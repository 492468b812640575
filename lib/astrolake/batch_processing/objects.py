"""Objects of a bucket, listed page by page, and which of them are images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astrolake.batch_processing.aws import aws_errors, make_client

if TYPE_CHECKING:
    import boto3

#: Ends of the keys that the function for uploaded images is told of.
IMAGE_SUFFIXES = (".fits", ".fits.gz", ".fits.fz", ".fits.bz2", ".fit")


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing shows it."""

    bucket: str
    key: str
    n_bytes: int
    etag: str


def is_image(name: str) -> bool:
    """Return whether a key or file name is that of an image; case matters, as it does to S3's events."""
    return name.endswith(IMAGE_SUFFIXES)


def list_objects(
    bucket: str, prefix: str = "", session: boto3.session.Session | None = None
) -> Iterator[StoredObject]:
    """Yield the objects of a bucket below a prefix, one page of 1000 in memory.

    Raises
    ------
    AstrolakeError
        When there is no such bucket or it may not be listed.
    """
    client = make_client("s3", session)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    with aws_errors(f"list s3://{bucket}/{prefix}", "check the bucket's name and your permissions"):
        for page in pages:
            for item in page.get("Contents", ()):
                yield StoredObject(bucket, item["Key"], item["Size"], item["ETag"].strip('"'))
