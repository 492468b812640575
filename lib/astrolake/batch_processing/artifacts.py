"""What a stack is made from: templates, job scripts and archives, in a bucket of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrolake import __version__
from astrolake.batch_processing.aws import aws_errors, error_code, make_client
from astrolake.batch_processing.upload import LocalFile, upload_files
from astrolake.errors import AstrolakeError, BadArguments

if TYPE_CHECKING:
    import boto3

ROOT_TEMPLATE = "cloudformation/astronomy-stack.yml"
_WHEELS = f"astrolake-{__version__}.gluewheels.zip"
_LAMBDA = f"astrolake-lambda-{__version__}.zip"
_EMR = f"pyspark_astrolake-{__version__}.tar.gz"
#: Archives of dist/: their key, how they are built, and whether the serverless tier needs them.
_ARCHIVES = (
    (_LAMBDA, f"lambda/{_LAMBDA}", "make lambda-zip", True),
    (_WHEELS, _WHEELS, "python glue/pack_wheels.py", False),
    (_EMR, f"emr/{_EMR}", "python emr/pack_environment.py", False),
)


@dataclass(frozen=True)
class Missing:
    """An archive that dist/ lacks, and how to build it."""

    name: str
    build: str
    needed: bool


@dataclass(frozen=True)
class Artifacts:
    """Files for the artifacts bucket.

    Parameters
    ----------
    files : tuple of LocalFile
        Keys are relative to the prefix.
    missing : tuple of Missing
    digest : str
        Of all files: other content has another digest, and thereby another prefix.
    """

    files: tuple[LocalFile, ...]
    missing: tuple[Missing, ...]
    digest: str

    @property
    def prefix(self) -> str:
        """Where the files go; a stack that is given it is up to date if it was given it before."""
        return f"astrolake/{__version__}/{self.digest}"


def collect_artifacts(checkout: Path, full: bool) -> Artifacts:
    """Return the files of a checkout that a stack is made from.

    Parameters
    ----------
    checkout : Path
        Directory with cloudformation/, jobs/ and dist/.
    full : bool
        Whether the archives of Glue and EMR are needed, too.

    Raises
    ------
    BadArguments
        When this is no checkout.
    """
    if not (checkout / ROOT_TEMPLATE).is_file():
        raise BadArguments(
            f"{checkout} has no {ROOT_TEMPLATE}: give the directory of a checkout (--checkout)"
        )
    scripts = [
        *sorted((checkout / "cloudformation").glob("*.yml")),
        *sorted((checkout / "jobs").glob("*.py")),
    ]
    files = [
        LocalFile(path, path.relative_to(checkout).as_posix())
        for path in scripts
        if path.name != "__init__.py"
    ]
    missing = []
    for name, key, build, serverless in _ARCHIVES:
        path = checkout / "dist" / name
        if path.is_file():
            files.append(LocalFile(path, key))
        else:
            missing.append(Missing(f"dist/{name}", build, serverless or full))
    return Artifacts(tuple(files), tuple(missing), _digest(files))


def _digest(files: Sequence[LocalFile]) -> str:
    total = hashlib.sha256()
    for file in files:
        with file.path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.key}\0{content}\n".encode())
    return total.hexdigest()[:12]


def upload_artifacts(artifacts: Artifacts, bucket: str, session: boto3.session.Session | None = None) -> int:
    """Upload the files below the prefix, and return how many were not there yet.

    Raises
    ------
    AstrolakeError
        When any of them fails; the message names the first.
    """
    files = [LocalFile(file.path, f"{artifacts.prefix}/{file.key}") for file in artifacts.files]
    outcomes = list(upload_files(files, bucket, session=session))
    for outcome in outcomes:
        if outcome.error is not None:
            raise AstrolakeError(str(outcome.error)) from outcome.error
    return sum(outcome.value is not None and not outcome.value.skipped for outcome in outcomes)


def ensure_artifacts_bucket(bucket: str, session: boto3.session.Session | None = None) -> bool:
    """Make the bucket where it is missing, and return whether it was; its protection is set in any case.

    Encrypted, versioned, closed to the public, and reached by TLS only.

    Raises
    ------
    AstrolakeError
        When the name belongs to another account, or AWS refuses.
    """
    client = make_client("s3", session)
    with aws_errors(f"make bucket {bucket}", "check your permissions on S3"):
        made = not _exists(client, bucket)
        if made:
            region = client.meta.region_name
            place = {} if region == "us-east-1" else {"LocationConstraint": region}
            client.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": place} if place else {}))
        _protect(client, bucket)
    return made


def _exists(client: Any, bucket: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error_code(error) in ("404", "NoSuchBucket"):
            return False
        if error_code(error) in ("403", "AccessDenied"):
            raise AstrolakeError(
                f"bucket {bucket} is not yours, or closed to you; name another (--artifacts-bucket)"
            ) from error
        raise
    return True


def _protect(client: Any, bucket: str) -> None:
    client.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(tls_only(bucket, client.meta.partition)))


def tls_only(bucket: str, partition: str = "aws") -> dict[str, Any]:
    """Return the bucket policy that refuses every call without TLS."""
    arn = f"arn:{partition}:s3:::{bucket}"
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}
