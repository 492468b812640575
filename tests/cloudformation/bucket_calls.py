"""The calls that make a bucket: one for nearly every property."""

from collections.abc import Iterator
from typing import Any

from tests.cloudformation.calls import Call
from tests.cloudformation.conversion import WrongProperty, api_parameters

#: Property -> operation, parameter, and what is called otherwise within it.
_PUTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "BucketEncryption": (
        "PutBucketEncryption",
        "ServerSideEncryptionConfiguration",
        {
            "ServerSideEncryptionConfiguration": "Rules",
            "ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault",
        },
    ),
    "PublicAccessBlockConfiguration": ("PutPublicAccessBlock", "PublicAccessBlockConfiguration", {}),
    "OwnershipControls": ("PutBucketOwnershipControls", "OwnershipControls", {}),
    "VersioningConfiguration": ("PutBucketVersioning", "VersioningConfiguration", {}),
    "LoggingConfiguration": (
        "PutBucketLogging",
        "BucketLoggingStatus",
        {"DestinationBucketName": "TargetBucket", "LogFilePrefix": "TargetPrefix"},
    ),
    "NotificationConfiguration": (
        "PutBucketNotificationConfiguration",
        "NotificationConfiguration",
        {"Queue": "QueueArn", "S3Key": "Key", "Rules": "FilterRules", "Event": "Events"},
    ),
    "LifecycleConfiguration": (
        "PutBucketLifecycleConfiguration",
        "LifecycleConfiguration",
        {"Id": "ID", "TransitionInDays": "Days"},
    ),
}


def bucket_calls(path: str, properties: dict[str, Any]) -> Iterator[Call]:
    """Yield the calls for a bucket and its configuration."""
    bucket = properties["BucketName"]
    yield Call("s3", "CreateBucket", {"Bucket": bucket})
    for name, value in properties.items():
        if name == "BucketName":
            continue
        if name not in _PUTS:
            raise WrongProperty(f"{path}: a bucket has no {name}; known are {sorted(_PUTS)}")
        operation, parameter, renames = _PUTS[name]
        taken = {"Bucket": bucket, parameter: _as_the_api_has_it(name, value)}
        yield Call("s3", operation, api_parameters("s3", operation, taken, f"{path}.{name}", renames))


def _as_the_api_has_it(name: str, value: dict[str, Any]) -> dict[str, Any]:
    if name == "LoggingConfiguration":
        return {"LoggingEnabled": value}
    if name == "NotificationConfiguration":
        queues = [entry | {"Event": [entry["Event"]]} for entry in value.get("QueueConfigurations", ())]
        return value | {"QueueConfigurations": queues}
    if name == "LifecycleConfiguration":
        return value | {"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}
    return value


def _lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule with its filter and expiration apart, as the API has them."""
    rest = dict(rule)
    filters = {key: rest.pop(key) for key in ("Prefix", "ObjectSizeGreaterThan") if key in rest}
    names = {"ExpirationInDays": "Days", "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker"}
    expiration = {name: rest.pop(key) for key, name in names.items() if key in rest}
    return rest | {"Filter": filters or {"Prefix": ""}} | ({"Expiration": expiration} if expiration else {})
