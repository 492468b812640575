"""Makes the rendered resources through boto3, one after the other, as CloudFormation would."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from tests.cloudformation.api_calls import api_calls
from tests.cloudformation.calls import Call
from tests.cloudformation.fabricated import attributes_of
from tests.cloudformation.render import ROOT, TEMPLATES, Rendering

#: Type -> attribute -> where the answer of the first call has it.
_ANSWERS = {
    "AWS::SQS::Queue": {"Ref": "QueueUrl"},
    "AWS::SNS::Topic": {"Ref": "TopicArn"},
    "AWS::KMS::Key": {"Ref": "KeyMetadata.KeyId", "Arn": "KeyMetadata.Arn"},
    "AWS::IAM::Role": {"Ref": "Role.RoleName", "Arn": "Role.Arn"},
    "AWS::IAM::InstanceProfile": {"Ref": "InstanceProfile.InstanceProfileName", "Arn": "InstanceProfile.Arn"},
    "AWS::IAM::ManagedPolicy": {"Ref": "Policy.Arn"},
    "AWS::Lambda::Function": {"Ref": "FunctionName", "Arn": "FunctionArn"},
    "AWS::ECR::Repository": {"Ref": "repository.repositoryName", "RepositoryUri": "repository.repositoryUri"},
    "AWS::EC2::SecurityGroup": {"Ref": "GroupId", "GroupId": "GroupId"},
    "AWS::EC2::LaunchTemplate": {
        "Ref": "LaunchTemplate.LaunchTemplateId",
        "LatestVersionNumber": "LaunchTemplate.LatestVersionNumber",
    },
    "AWS::Batch::ComputeEnvironment": {"Ref": "computeEnvironmentArn"},
    "AWS::EMRServerless::Application": {"Ref": "applicationId", "ApplicationId": "applicationId"},
}


class Replay:
    """Makes a whole stack in the account that the ambient credentials lead to."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.resources: dict[str, dict[str, Any]] = {}
        self._clients: dict[str, Any] = {}

    def run(
        self, parameters: Mapping[str, str], folder: Path = TEMPLATES, template: str = ROOT
    ) -> dict[str, str]:
        """Make every resource of the stack, those that others need first, and return the outputs.

        Raises
        ------
        WrongProperty, RenderError
            When the templates are wrong.
        botocore.exceptions.ParamValidationError, ClientError
            When AWS would not take a call.
        """
        rendering = Rendering(folder, template, parameters, maker=self.make)
        self.resources = rendering.resources()
        return rendering.outputs()

    def make(self, path: str, resource: dict[str, Any]) -> dict[str, str]:
        """Make a resource and return its Ref and attributes."""
        attributes = attributes_of(path, resource)
        for number, call in enumerate(api_calls(path, resource)):
            answer = self._send(_filled(call, attributes))
            if number == 0:
                found = _ANSWERS.get(resource["Type"], {})
                attributes |= {name: str(_dig(answer, place)) for name, place in found.items()}
        return attributes

    def _send(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)
        if call.service not in self._clients:
            self._clients[call.service] = boto3.client(call.service)
        method = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", call.operation).lower()
        return getattr(self._clients[call.service], method)(**call.parameters)


def _filled(call: Call, attributes: Mapping[str, str]) -> Call:
    parameters = {
        key: attributes["Ref"] if value == "{Ref}" else value for key, value in call.parameters.items()
    }
    return Call(call.service, call.operation, parameters)


def _dig(answer: Any, place: str) -> Any:
    for part in place.split("."):
        answer = answer[part]
    return answer
