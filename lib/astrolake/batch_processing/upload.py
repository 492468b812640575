"""Local files to a bucket: several parts at a time, verified by SHA-256, nothing sent twice."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrolake.batch_processing.aws import aws_errors, error_code, make_client
from astrolake.batch_processing.objects import IMAGE_SUFFIXES, is_image
from astrolake.errors import AstrolakeError, BadArguments, BadInput
from astrolake.parallel import Outcome, run_parallel
from astrolake.redact import redact

if TYPE_CHECKING:
    import boto3

_MIB = 2**20
PART_BYTES = 16 * _MIB
#: S3 takes keys of so many bytes of UTF-8.
_KEY_BYTES = 1024


@dataclass(frozen=True)
class LocalFile:
    """A file and the key it will have."""

    path: Path
    key: str


@dataclass(frozen=True)
class Uploaded:
    """An object that S3 holds with the right checksum; `skipped` when it did so before."""

    key: str
    n_bytes: int
    skipped: bool


def find_files(
    paths: Sequence[Path | str], prefix: str = "", every_file: bool = False
) -> Iterator[LocalFile]:
    """Yield files with their keys: the path below the directory that was given, or the file's name.

    Parameters
    ----------
    paths : sequence of paths
        Files, and directories whose images are looked for at any depth.
    prefix : str
        Put in front of every key, with a slash in between.
    every_file : bool
        Take all files of directories, not just images.

    Raises
    ------
    BadArguments
        When a path does not exist, a directory holds no image, or two files would have the same key.
    """
    start = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    owners: dict[str, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise BadArguments(f"{path}: there is no such file or directory")
    for path in map(Path, paths):
        for local in _below(path, start, every_file):
            other = owners.get(local.key)
            if other is None:
                owners[local.key] = local.path
                yield local
            elif other.resolve() != local.path.resolve():
                raise BadArguments(
                    f"{other} and {local.path} would both be {local.key}; upload them with different --prefix"
                )


def _below(path: Path, start: str, every_file: bool) -> Iterator[LocalFile]:
    if not path.is_dir():
        yield LocalFile(path, start + path.name)
        return
    found, closed = False, list[Path]()
    for folder, folders, names in os.walk(path, onerror=lambda error: closed.append(Path(error.filename))):
        folders.sort()
        for name in sorted(names):
            if every_file or is_image(name):
                found = True
                local = Path(folder, name)
                yield LocalFile(local, start + local.relative_to(path).as_posix())
    # Directories that cannot be listed fail as files do: what they hold is not passed over in silence.
    for local in closed:
        found = True
        yield LocalFile(local, start + local.relative_to(path).as_posix())
    if not found and every_file:
        raise BadArguments(f"{path} holds no file")
    if not found:
        raise BadArguments(
            f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)}); --every-file takes all files"
        )


def upload_files(
    files: Iterable[LocalFile],
    bucket: str,
    workers: int = 4,
    session: boto3.session.Session | None = None,
    part_bytes: int = PART_BYTES,
) -> Iterator[Outcome[LocalFile, Uploaded]]:
    """Upload files and yield what became of each; those that the bucket has already are left alone.

    S3 computes the SHA-256 of what arrives; it is compared with that of the file as it was read
    before. A file that changes in between is an error of that file.

    Parameters
    ----------
    files : iterable of LocalFile
    bucket : str
    workers : int
        Files at a time; each sends up to four parts at a time.
    session : boto3 Session
    part_bytes : int
        Files of at least this size are sent in parts of it (5 MiB at least, larger above 10,000 parts).

    Raises
    ------
    AstrolakeError
        When the bucket does not exist or cannot be reached.
    """
    client = make_client("s3", session, max_pool_connections=4 * workers)
    with aws_errors(f"reach bucket {bucket}", "check its name, region and your permissions"):
        client.head_bucket(Bucket=bucket)
    yield from run_parallel(lambda local: _upload(client, bucket, local, part_bytes), files, workers)


def _upload(client: Any, bucket: str, local: LocalFile, part_bytes: int) -> Uploaded:
    from boto3.exceptions import S3UploadFailedError
    from boto3.s3.transfer import TransferConfig
    from s3transfer.utils import ChunksizeAdjuster

    _check(local)
    n_bytes = local.path.stat().st_size
    part_bytes = ChunksizeAdjuster().adjust_chunksize(part_bytes, n_bytes)
    checksum = file_checksum(local.path, part_bytes)
    if _stored_checksum(client, bucket, local.key) == checksum:
        return Uploaded(local.key, n_bytes, skipped=True)
    settings = TransferConfig(
        multipart_threshold=part_bytes, multipart_chunksize=part_bytes, max_concurrency=4
    )
    try:
        with aws_errors(f"upload {local.path} to s3://{bucket}/{local.key}"):
            client.upload_file(
                str(local.path),
                bucket,
                local.key,
                ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                Config=settings,
            )
    except S3UploadFailedError as error:
        raise AstrolakeError(
            redact(f"cannot upload {local.path} to s3://{bucket}/{local.key}: {error}")
        ) from error
    stored = _stored_checksum(client, bucket, local.key)
    if stored != checksum:
        raise AstrolakeError(
            f"s3://{bucket}/{local.key} has SHA-256 {stored or 'unknown'}, {local.path} had {checksum} when "
            "it was read: the file changed, or another upload took its place; upload it again"
        )
    return Uploaded(local.key, n_bytes, skipped=False)


def _check(local: LocalFile) -> None:
    """Raise BadInput for what cannot be an object: opening a pipe, for one, would wait for ever."""
    if not local.path.is_file():
        why = (
            "a directory that cannot be listed" if local.path.is_dir() else "a broken link or no regular file"
        )
        raise BadInput(f"{local.path} is {why}; mend it or leave it out", "NoFile")
    try:
        n_bytes = len(local.key.encode())
    except UnicodeEncodeError as error:
        raise BadInput(f"the name {str(local.path)!a} is no UTF-8; rename the file", "BadName") from error
    if n_bytes > _KEY_BYTES:
        raise BadInput(f"the key of {local.path} is longer than S3's 1024 bytes; shorten the path", "BadName")


def file_checksum(path: Path, part_bytes: int = PART_BYTES) -> str:
    """Return the SHA-256 of a file as S3 tells it, in base64: of the file, or of the SHA-256 of its parts.

    Parameters
    ----------
    path : Path
    part_bytes : int
        Size of the parts; a smaller file is sent whole.
    """
    digests = []
    with path.open("rb") as stream:
        digest, n_bytes = _part_digest(stream, part_bytes)
        if n_bytes < part_bytes:
            return b64encode(digest).decode()
        while n_bytes:
            digests.append(digest)
            digest, n_bytes = _part_digest(stream, part_bytes)
    return b64encode(hashlib.sha256(b"".join(digests)).digest()).decode()


def _part_digest(stream: Any, part_bytes: int) -> tuple[bytes, int]:
    digest, n_bytes = hashlib.sha256(), 0
    while n_bytes < part_bytes and (block := stream.read(min(_MIB, part_bytes - n_bytes))):
        digest.update(block)
        n_bytes += len(block)
    return digest.digest(), n_bytes


def _stored_checksum(client: Any, bucket: str, key: str) -> str:
    """Return the SHA-256 of an object, empty when there is no such object or it was uploaded without."""
    from botocore.exceptions import ClientError

    with aws_errors(f"look at s3://{bucket}/{key}"):
        try:
            head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error_code(error) in ("404", "NoSuchKey", "NotFound"):
                return ""
            raise
    # S3 puts the number of parts behind a hyphen.
    return str(head.get("ChecksumSHA256", "")).partition("-")[0]
