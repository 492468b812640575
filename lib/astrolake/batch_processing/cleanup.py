"""What a stack has left in an account, listed and deleted: resources, versions of objects, images, logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astrolake.batch_processing.aws import aws_errors, error_code, make_client
from astrolake.batch_processing.deploy import Event, Sleep, newest_event, wait_for_stack
from astrolake.batch_processing.stacks import Stack
from astrolake.errors import AstrolakeError, BadArguments
from astrolake.redact import redact

if TYPE_CHECKING:
    import boto3

_STACK, _BUCKET, _FUNCTION = "AWS::CloudFormation::Stack", "AWS::S3::Bucket", "AWS::Lambda::Function"
_REPOSITORY, _LOG_GROUP = "AWS::ECR::Repository", "AWS::Logs::LogGroup"
#: Below it lies all that `setup` puts into the bucket of artifacts.
ARTIFACTS_FOLDER = "astrolake/"
#: Calls to delete a bucket into which access logs may still be delivered.
_BUCKET_ATTEMPTS = 3
_ECR_PAGE = 100
_LATER = "delete it later by astrolake cleanup"


@dataclass(frozen=True)
class Resource:
    """A resource of the stack or of a nested one."""

    resource_type: str
    logical_id: str
    physical_id: str
    status: str


@dataclass(frozen=True)
class BucketContent:
    """What a bucket holds: versions with their bytes, and delete markers."""

    bucket: str
    n_versions: int
    n_markers: int
    n_bytes: int


@dataclass(frozen=True)
class Inventory:
    """All that is deleted.

    Parameters
    ----------
    stack : Stack
    resources : tuple of Resource
        Nested stacks are replaced by what they hold.
    buckets : tuple of BucketContent
        Those of the stack.
    artifacts : BucketContent, optional
        Bucket of the artifacts, None where there is none, or something else is in it or uses it, too.
    repositories : dict
        Number of images by ECR repository.
    log_groups : tuple of str
    """

    stack: Stack
    resources: tuple[Resource, ...]
    buckets: tuple[BucketContent, ...]
    artifacts: BucketContent | None
    repositories: dict[str, int]
    log_groups: tuple[str, ...]


def take_inventory(stack: Stack, session: boto3.session.Session | None = None) -> Inventory:
    """Return what a stack has in the account; nothing is changed.

    Raises
    ------
    AstrolakeError
        When AWS refuses to tell.
    """
    resources = tuple(stack_resources(stack.stack_id, session))
    s3, ecr = make_client("s3", session), make_client("ecr", session)
    with aws_errors(f"list what stack {stack.name} holds"):
        found = (_content(s3, name) for name in _names(resources, _BUCKET))
        buckets = tuple(content for content in found if content is not None)
        artifacts = stack.parameters.get("ArtifactsBucket", "")
        shared = not artifacts or _is_shared(artifacts, stack, session) or _has_others(s3, artifacts)
        repositories = {name: _image_count(ecr, name) for name in _names(resources, _REPOSITORY)}
        logs = tuple(_log_groups(make_client("logs", session), resources))
        return Inventory(
            stack, resources, buckets, None if shared else _content(s3, artifacts), repositories, logs
        )


def stack_resources(stack: str, session: boto3.session.Session | None = None) -> Iterator[Resource]:
    """Yield the resources of a stack and its nested stacks."""
    pages = make_client("cloudformation", session).get_paginator("list_stack_resources")
    with aws_errors(f"list the resources of stack {stack}"):
        for page in pages.paginate(StackName=stack):
            for item in page["StackResourceSummaries"]:
                physical = item.get("PhysicalResourceId", "")
                status = item["ResourceStatus"]
                if item["ResourceType"] == _STACK and physical and status != "DELETE_COMPLETE":
                    yield from stack_resources(physical, session)
                elif physical and status != "DELETE_COMPLETE":
                    yield Resource(item["ResourceType"], item["LogicalResourceId"], physical, status)


def delete_everything(
    inventory: Inventory,
    keep_data: bool = False,
    session: boto3.session.Session | None = None,
    report: Callable[[str], None] = lambda line: None,
    sleep: Sleep = time.sleep,
) -> list[str]:
    """Delete what an inventory lists, and return what remains, a line each.

    Parameters
    ----------
    inventory : Inventory
    keep_data : bool
        Leave the stack's buckets as they are.
    session : boto3 Session
    report : callable
        Told of every step by a line.
    sleep : callable
        Waits for so many seconds.
    """
    names = [content.bucket for content in inventory.buckets]
    for name in () if keep_data else names:
        report(f"emptied {name}: {empty_bucket(name, session)} versions")
    for name in inventory.repositories:
        report(f"emptied {name}: {_delete_images(make_client('ecr', session), name)} images")
    remains = _delete_stack(inventory.stack, session, report, sleep)
    others = [] if inventory.artifacts is None or remains else [inventory.artifacts.bucket]
    for name in [*([] if keep_data else names), *others]:
        if _delete_bucket(name, session, sleep):
            report(f"deleted bucket {name}")
        else:
            remains.append(
                f"bucket {name}: objects keep arriving, such as access logs; {_LATER} --bucket {name}"
            )
    if keep_data:
        remains += [f"bucket {name}: kept (--keep-data)" for name in names if _bucket_exists(name, session)]
    for group in inventory.log_groups:
        _delete_log_group(make_client("logs", session), group)
    return remains


def leftover_buckets(
    names: Sequence[str], session: boto3.session.Session | None = None
) -> list[BucketContent]:
    """Return what buckets hold that an earlier cleanup left.

    Raises
    ------
    BadArguments
        When one is not there.
    """
    client = make_client("s3", session)
    with aws_errors("list buckets"):
        found = {name: _content(client, name) for name in names}
    if missing := [name for name, content in found.items() if content is None]:
        raise BadArguments(f"--bucket: there is no bucket {', '.join(missing)} in this account and region")
    return [content for content in found.values() if content is not None]


def delete_buckets(
    names: Sequence[str], session: boto3.session.Session | None = None, sleep: Sleep = time.sleep
) -> list[str]:
    """Empty and delete buckets, and return those that remain because objects keep arriving."""
    return [name for name in names if not _delete_bucket(name, session, sleep)]


def empty_bucket(bucket: str, session: boto3.session.Session | None = None) -> int:
    """Delete all versions and delete markers of a bucket, 1000 a call, and return their number.

    Raises
    ------
    AstrolakeError
        When some cannot be deleted; the message names the first.
    """
    client = make_client("s3", session)
    n_deleted = 0
    with aws_errors(f"empty bucket {bucket}", "check your s3:DeleteObjectVersion"):
        # Always the first page anew: what it listed is gone after each turn.
        while True:
            page = client.list_object_versions(Bucket=bucket, MaxKeys=1000)
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            if not found:
                break
            doomed = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})
            if errors := answer.get("Errors"):
                first = errors[0]
                raise AstrolakeError(
                    f"cannot delete {len(errors)} objects of {bucket}, first {first.get('Key')}: "
                    f"{first.get('Code')} {first.get('Message')}; mend the permission and run cleanup again"
                )
            n_deleted += len(doomed)
        _abort_uploads(client, bucket)
    return n_deleted


def _abort_uploads(client: Any, bucket: str) -> None:
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", ()):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _names(resources: tuple[Resource, ...], resource_type: str) -> list[str]:
    return [item.physical_id for item in resources if item.resource_type == resource_type]


def _content(client: Any, bucket: str) -> BucketContent | None:
    """Return what a bucket holds, None when there is no such bucket."""
    from botocore.exceptions import ClientError

    n_versions = n_markers = n_bytes = 0
    try:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            versions = page.get("Versions", ())
            n_versions += len(versions)
            n_bytes += sum(item["Size"] for item in versions)
            n_markers += len(page.get("DeleteMarkers", ()))
    except ClientError as error:
        if error_code(error) == "NoSuchBucket":
            return None
        raise
    return BucketContent(bucket, n_versions, n_markers, n_bytes)


def _is_shared(artifacts: str, stack: Stack, session: boto3.session.Session | None) -> bool:
    """Tell whether another stack of the region takes its artifacts from this bucket."""
    pages = make_client("cloudformation", session).get_paginator("describe_stacks")
    others = (item for page in pages.paginate() for item in page["Stacks"])
    return any(
        item["StackName"] != stack.name
        # Nested stacks take them, too.
        and item.get("RootId", item["StackId"]) != stack.stack_id
        and not item.get("ParentId", "").startswith(stack.stack_id)
        and any(value.get("ParameterValue") == artifacts for value in item.get("Parameters", ()))
        for item in others
    )


def _has_others(client: Any, bucket: str) -> bool:
    """Tell whether a bucket holds anything that `setup` did not put there."""
    from botocore.exceptions import ClientError

    try:
        page = client.list_object_versions(Bucket=bucket, Delimiter="/")
    except ClientError as error:
        if error_code(error) == "NoSuchBucket":
            return False
        raise
    folders = {entry["Prefix"] for entry in page.get("CommonPrefixes", ())}
    return bool(page.get("Versions") or page.get("DeleteMarkers") or folders - {ARTIFACTS_FOLDER})


def _image_count(client: Any, repository: str) -> int:
    return sum(1 for _ in _images(client, repository))


def _images(client: Any, repository: str) -> Iterator[dict[str, str]]:
    try:
        for page in client.get_paginator("list_images").paginate(repositoryName=repository):
            yield from page["imageIds"]
    except client.exceptions.RepositoryNotFoundException:
        return


def _delete_images(client: Any, repository: str) -> int:
    n_deleted = 0
    with aws_errors(f"delete the images of {repository}"):
        while images := [
            image for image, _ in zip(_images(client, repository), range(_ECR_PAGE), strict=False)
        ]:
            client.batch_delete_image(repositoryName=repository, imageIds=images)
            n_deleted += len(images)
    return n_deleted


def _log_groups(client: Any, resources: tuple[Resource, ...]) -> Iterator[str]:
    """Yield the log groups of the stack, and those that Lambda made for its functions."""
    yield from _names(resources, _LOG_GROUP)
    for function in _names(resources, _FUNCTION):
        name = f"/aws/lambda/{function}"
        for page in client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name):
            found = [group["logGroupName"] for group in page["logGroups"]]
            if name in found and name not in _names(resources, _LOG_GROUP):
                yield name


def _delete_log_group(client: Any, group: str) -> None:
    with aws_errors(f"delete log group {group}"):
        try:
            client.delete_log_group(logGroupName=group)
        except client.exceptions.ResourceNotFoundException:
            return


def _delete_stack(
    stack: Stack, session: boto3.session.Session | None, report: Callable[[str], None], sleep: Sleep
) -> list[str]:
    """Delete a stack; what fails is tried once more, then left, and returned."""
    client = make_client("cloudformation", session)

    def tell(event: Event) -> None:
        failed = f": {redact(event.reason)}" if event.is_failure else ""
        report(f"{event.status.lower()} {event.logical_id}{failed}")

    failed: list[str] = []
    status = ""
    for settings in ({}, {"DeletionMode": "FORCE_DELETE_STACK"}):
        seen = newest_event(stack.stack_id, session)
        with aws_errors(f"delete stack {stack.name}"):
            client.delete_stack(StackName=stack.stack_id, **settings)
        left = wait_for_stack(stack.stack_id, session, tell, seen, sleep)
        if left is None:
            # Forcing forgets what cannot be deleted: nobody else would tell of it.
            return failed
        status = left.status
        found = stack_resources(stack.stack_id, session)
        # Buckets, which may be kept, are looked at by themselves.
        failed = [
            f"{item.resource_type} {item.physical_id}: could not be deleted with the stack"
            for item in found
            if item.status == "DELETE_FAILED" and item.resource_type != _BUCKET
        ]
    return [f"stack {stack.name}: {status}", *failed]


def _bucket_exists(bucket: str, session: boto3.session.Session | None) -> bool:
    from botocore.exceptions import ClientError

    with aws_errors(f"look for bucket {bucket}"):
        try:
            make_client("s3", session).head_bucket(Bucket=bucket)
        except ClientError as error:
            if error_code(error) in ("404", "NoSuchBucket"):
                return False
            raise
    return True


def _delete_bucket(bucket: str, session: boto3.session.Session | None, sleep: Sleep) -> bool:
    """Empty and delete a bucket; return whether it is gone."""
    from botocore.exceptions import ClientError

    client = make_client("s3", session)
    for attempt in range(_BUCKET_ATTEMPTS):
        if not _bucket_exists(bucket, session):
            return True
        empty_bucket(bucket, session)
        with aws_errors(f"delete bucket {bucket}"):
            try:
                client.delete_bucket(Bucket=bucket)
            except ClientError as error:
                if error_code(error) != "BucketNotEmpty":
                    raise
                sleep(2.0**attempt)
            else:
                return True
    return False
