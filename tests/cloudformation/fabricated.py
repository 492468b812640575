"""Identifiers that resources would have, made up from their names, for templates that are only rendered."""

from collections.abc import Mapping
from typing import Any

_ACCOUNT, _REGION = "123456789012", "us-east-1"
_PLACE = f"{_REGION}:{_ACCOUNT}"

#: By type: the property that names the resource, and its attributes; {name} stands for the name.
_ATTRIBUTES: dict[str, tuple[str, dict[str, str]]] = {
    "AWS::S3::Bucket": ("BucketName", {"Ref": "{name}", "Arn": "arn:aws:s3:::{name}"}),
    "AWS::SQS::Queue": (
        "QueueName",
        {
            "Ref": f"https://sqs.{_REGION}.amazonaws.com/{_ACCOUNT}/{{name}}",
            "Arn": f"arn:aws:sqs:{_PLACE}:{{name}}",
            "QueueName": "{name}",
        },
    ),
    "AWS::SNS::Topic": ("TopicName", {"Ref": f"arn:aws:sns:{_PLACE}:{{name}}"}),
    "AWS::KMS::Key": ("", {"Ref": "{name}", "Arn": f"arn:aws:kms:{_PLACE}:key/{{name}}"}),
    "AWS::IAM::Role": ("", {"Ref": "{name}", "Arn": f"arn:aws:iam::{_ACCOUNT}:role/{{name}}"}),
    "AWS::IAM::InstanceProfile": (
        "",
        {"Ref": "{name}", "Arn": f"arn:aws:iam::{_ACCOUNT}:instance-profile/{{name}}"},
    ),
    "AWS::IAM::ManagedPolicy": (
        "ManagedPolicyName",
        {"Ref": f"arn:aws:iam::{_ACCOUNT}:policy/{{name}}"},
    ),
    "AWS::Lambda::Function": (
        "FunctionName",
        {"Ref": "{name}", "Arn": f"arn:aws:lambda:{_PLACE}:function:{{name}}"},
    ),
    "AWS::Logs::LogGroup": (
        "LogGroupName",
        {"Ref": "{name}", "Arn": f"arn:aws:logs:{_PLACE}:log-group:{{name}}:*"},
    ),
    "AWS::CloudWatch::Alarm": (
        "AlarmName",
        {"Ref": "{name}", "Arn": f"arn:aws:cloudwatch:{_PLACE}:alarm:{{name}}"},
    ),
    "AWS::ECR::Repository": (
        "RepositoryName",
        {"Ref": "{name}", "RepositoryUri": f"{_ACCOUNT}.dkr.ecr.{_REGION}.amazonaws.com/{{name}}"},
    ),
    "AWS::EC2::SecurityGroup": ("", {"Ref": "sg-00000000000000000", "GroupId": "sg-00000000000000000"}),
    "AWS::EC2::LaunchTemplate": ("", {"Ref": "lt-00000000000000000", "LatestVersionNumber": "1"}),
    "AWS::Batch::ComputeEnvironment": (
        "",
        {"Ref": f"arn:aws:batch:{_PLACE}:compute-environment/{{name}}"},
    ),
    "AWS::EMRServerless::Application": ("", {"Ref": "00f0000000000000", "ApplicationId": "00f0000000000000"}),
    "AWS::SageMaker::NotebookInstance": (
        "NotebookInstanceName",
        {"Ref": "{name}", "NotebookInstanceName": "{name}"},
    ),
    "AWS::SageMaker::NotebookInstanceLifecycleConfig": (
        "NotebookInstanceLifecycleConfigName",
        {"Ref": "{name}", "NotebookInstanceLifecycleConfigName": "{name}"},
    ),
    "AWS::SageMaker::Model": ("ModelName", {"Ref": "{name}", "ModelName": "{name}"}),
    "AWS::Glue::Database": ("DatabaseInput.Name", {"Ref": "{name}"}),
    "AWS::Glue::Table": ("TableInput.Name", {"Ref": "{name}"}),
}


def attributes_of(path: str, resource: Mapping[str, Any]) -> dict[str, str]:
    """Return Ref and the attributes that the templates may ask of a resource."""
    key, attributes = _ATTRIBUTES.get(resource["Type"], ("Name", {"Ref": "{name}"}))
    name: Any = resource["Properties"]
    for part in filter(None, key.split(".")):
        name = name.get(part, {})
    plain = name if key and isinstance(name, str) else path.rsplit("/", 1)[-1]
    return {attribute: text.format(name=plain) for attribute, text in attributes.items()}
