"""What AWS's API is called with for a resource of a template: the calls that CloudFormation would make."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.cloudformation.bucket_calls import bucket_calls
from tests.cloudformation.calls import Call
from tests.cloudformation.conversion import WrongProperty, api_parameters

Properties = dict[str, Any]


@dataclass(frozen=True)
class _Plain:
    """A resource that one operation makes from properties of the same names."""

    service: str
    operation: str
    renames: Mapping[str, str] | None = None
    #: A property that the API needs and the template leaves to CloudFormation.
    name: str = ""
    #: Properties that are CloudFormation's own.
    own: tuple[str, ...] = ()
    #: Properties that are documents.
    documents: tuple[str, ...] = ()
    #: Properties that a later call takes: property -> operation, with the parameter that names the resource.
    later: tuple[tuple[str, str, str], ...] = ()

    def calls(self, path: str, properties: Properties) -> Iterator[Call]:
        skipped = {*self.own, *(name for name, _, _ in self.later)}
        taken = {key: value for key, value in properties.items() if key not in skipped}
        if self.name:
            taken = {self.name: logical_name(path)} | taken
        for document in self.documents:
            if document in taken:
                taken[document] = _document(taken[document], f"{path}.{document}")
        yield self._call(self.operation, taken, path)
        for prop, operation, key in self.later:
            if prop in properties:
                identity = {key: taken[key]}
                yield self._call(operation, identity | {prop: properties[prop]}, path)

    def _call(self, operation: str, properties: Properties, path: str) -> Call:
        return Call(
            self.service, operation, api_parameters(self.service, operation, properties, path, self.renames)
        )


def logical_name(path: str) -> str:
    """Return a name for what the template does not name."""
    return path.replace("/", "-").lower()


def _document(value: Any, where: str) -> str:
    if isinstance(value, str):
        json.loads(value)
        return value
    if not isinstance(value, dict):
        raise WrongProperty(f"{where}: {value!r} is no document")
    if "Statement" in value:
        _check_policy(value, where)
    return json.dumps(value)


_STATEMENT = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip


def _check_policy(document: Mapping[str, Any], where: str) -> None:
    for statement in document["Statement"]:
        if unknown := set(statement) - _STATEMENT:
            raise WrongProperty(f"{where}: a statement has no {sorted(unknown)}")
        if statement.get("Effect") not in ("Allow", "Deny") or not statement.keys() & {"Action", "NotAction"}:
            raise WrongProperty(f"{where}: a statement needs an effect and actions: {statement}")


def _attributes(
    service: str, operation: str, name: str, known: tuple[str, ...], path: str, properties: Properties
) -> Call:
    """Return the call for a resource whose properties are a map of texts."""
    rest = {key: value for key, value in properties.items() if key != name}
    if unknown := set(rest) - set(known):
        raise WrongProperty(f"{path}: no properties {sorted(unknown)}; known are {known}")
    texts = {key: _attribute_text(value) for key, value in rest.items()}
    short = name.removeprefix("Queue").removeprefix("Topic") if service == "sns" else name
    return Call(
        service,
        operation,
        api_parameters(service, operation, {short: properties[name], "Attributes": texts}, path),
    )


def _attribute_text(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


_QUEUE = (
    "DelaySeconds", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds",
    "VisibilityTimeout", "RedrivePolicy", "RedriveAllowPolicy", "SqsManagedSseEnabled", "KmsMasterKeyId",
)  # fmt: skip


def _queue(path: str, properties: Properties) -> Iterator[Call]:
    redrive = properties.get("RedrivePolicy", {})
    if unknown := set(redrive) - {"deadLetterTargetArn", "maxReceiveCount"}:
        raise WrongProperty(f"{path}.RedrivePolicy has no {sorted(unknown)}")
    yield _attributes("sqs", "CreateQueue", "QueueName", _QUEUE, path, properties)


def _topic(path: str, properties: Properties) -> Iterator[Call]:
    yield _attributes("sns", "CreateTopic", "TopicName", ("DisplayName", "KmsMasterKeyId"), path, properties)


def _queue_policy(path: str, properties: Properties) -> Iterator[Call]:
    _only(path, properties, "Queues", "PolicyDocument")
    policy = {"Policy": _document(properties["PolicyDocument"], path)}
    for url in properties["Queues"]:
        yield Call("sqs", "SetQueueAttributes", {"QueueUrl": url, "Attributes": policy})


def _topic_policy(path: str, properties: Properties) -> Iterator[Call]:
    _only(path, properties, "Topics", "PolicyDocument")
    policy = _document(properties["PolicyDocument"], path)
    for arn in properties["Topics"]:
        yield Call(
            "sns",
            "SetTopicAttributes",
            {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": policy},
        )


def _bucket_policy(path: str, properties: Properties) -> Iterator[Call]:
    _only(path, properties, "Bucket", "PolicyDocument")
    policy = _document(properties["PolicyDocument"], path)
    yield Call("s3", "PutBucketPolicy", {"Bucket": properties["Bucket"], "Policy": policy})


def _role(path: str, properties: Properties) -> Iterator[Call]:
    name = logical_name(path)
    rest = {k: v for k, v in properties.items() if k not in ("Policies", "ManagedPolicyArns")}
    rest["AssumeRolePolicyDocument"] = _document(rest["AssumeRolePolicyDocument"], path)
    yield Call("iam", "CreateRole", api_parameters("iam", "CreateRole", {"RoleName": name, **rest}, path))
    for policy in properties.get("Policies", ()):
        _only(path, policy, "PolicyName", "PolicyDocument")
        yield _role_policy(path, {"RoleName": name, **policy})
    for arn in properties.get("ManagedPolicyArns", ()):
        yield Call("iam", "AttachRolePolicy", {"RoleName": name, "PolicyArn": arn})


def _role_policy(path: str, properties: Properties) -> Call:
    document = _document(properties["PolicyDocument"], path)
    taken = {**properties, "PolicyDocument": document}
    return Call("iam", "PutRolePolicy", api_parameters("iam", "PutRolePolicy", taken, path))


def _instance_profile(path: str, properties: Properties) -> Iterator[Call]:
    _only(path, properties, "Roles")
    name = {"InstanceProfileName": logical_name(path)}
    yield Call("iam", "CreateInstanceProfile", name)
    for role in properties["Roles"]:
        yield Call("iam", "AddRoleToInstanceProfile", {**name, "RoleName": role})


def _rule(path: str, properties: Properties) -> Iterator[Call]:
    rest = {key: value for key, value in properties.items() if key != "Targets"}
    rest["EventPattern"] = json.dumps(rest["EventPattern"])
    yield Call("events", "PutRule", api_parameters("events", "PutRule", rest, path))
    targets = {"Rule": rest["Name"], "Targets": properties["Targets"]}
    yield Call("events", "PutTargets", api_parameters("events", "PutTargets", targets, path))


def _security_group(path: str, properties: Properties) -> Iterator[Call]:
    rest = {key: value for key, value in properties.items() if key != "SecurityGroupEgress"}
    group = {"GroupName": logical_name(path), **rest}
    renames = {"GroupDescription": "Description"}
    yield Call(
        "ec2", "CreateSecurityGroup", api_parameters("ec2", "CreateSecurityGroup", group, path, renames)
    )
    for rule in properties.get("SecurityGroupEgress", ()):
        place = {key: rule[key] for key in ("CidrIp", "Description") if key in rule}
        permission = {key: value for key, value in rule.items() if key not in place} | {"IpRanges": [place]}
        taken = {"GroupId": "{Ref}", "IpPermissions": [permission]}
        yield Call(
            "ec2",
            "AuthorizeSecurityGroupEgress",
            api_parameters("ec2", "AuthorizeSecurityGroupEgress", taken, path),
        )


def _compute_environment(path: str, properties: Properties) -> Iterator[Call]:
    own = ("UpdatePolicy", "ReplaceComputeEnvironment")
    rest = {key: value for key, value in properties.items() if key not in own}
    resources = dict(rest["ComputeResources"])
    update = {"UpdateToLatestImageVersion": resources.pop("UpdateToLatestImageVersion", False)}
    # Batch takes its service-linked role where none is given; moto wants to be told.
    own_role = "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
    given = {"ComputeEnvironmentName": logical_name(path), "ServiceRole": own_role}
    taken = {**given, **rest, "ComputeResources": resources}
    yield Call(
        "batch", "CreateComputeEnvironment", api_parameters("batch", "CreateComputeEnvironment", taken, path)
    )
    later = {
        "ComputeEnvironment": logical_name(path),
        "UpdatePolicy": properties.get("UpdatePolicy", {}),
        "ComputeResources": update,
    }
    # Checked, not sent: moto would take it for a change of the environment.
    api_parameters("batch", "UpdateComputeEnvironment", later, path)


def _budget(path: str, properties: Properties) -> Iterator[Call]:
    taken = {"AccountId": "123456789012", **properties}
    yield Call("budgets", "CreateBudget", api_parameters("budgets", "CreateBudget", taken, path))


def _key(path: str, properties: Properties) -> Iterator[Call]:
    own = ("EnableKeyRotation", "PendingWindowInDays")
    rest = {key: value for key, value in properties.items() if key not in own}
    rest["KeyPolicy"] = _document(rest["KeyPolicy"], path)
    yield Call("kms", "CreateKey", api_parameters("kms", "CreateKey", rest, path, {"KeyPolicy": "Policy"}))
    if properties.get("EnableKeyRotation"):
        yield Call("kms", "EnableKeyRotation", {"KeyId": "{Ref}"})


def _only(path: str, properties: Properties, *names: str) -> None:
    if set(properties) != set(names):
        raise WrongProperty(f"{path}: properties {sorted(properties)} where {sorted(names)} are due")


_PLAIN = {
    "AWS::SNS::Subscription": _Plain("sns", "Subscribe"),
    "AWS::CloudWatch::Alarm": _Plain("cloudwatch", "PutMetricAlarm"),
    "AWS::CloudWatch::Dashboard": _Plain("cloudwatch", "PutDashboard", documents=("DashboardBody",)),
    "AWS::Glue::Database": _Plain("glue", "CreateDatabase"),
    "AWS::Glue::Table": _Plain("glue", "CreateTable"),
    "AWS::Glue::Crawler": _Plain("glue", "CreateCrawler"),
    "AWS::Glue::Job": _Plain("glue", "CreateJob"),
    "AWS::Glue::Workflow": _Plain("glue", "CreateWorkflow"),
    "AWS::Glue::Trigger": _Plain("glue", "CreateTrigger"),
    "AWS::Glue::SecurityConfiguration": _Plain(
        "glue", "CreateSecurityConfiguration", renames={"S3Encryptions": "S3Encryption"}
    ),
    "AWS::IAM::ManagedPolicy": _Plain(
        "iam", "CreatePolicy", renames={"ManagedPolicyName": "PolicyName"}, documents=("PolicyDocument",)
    ),
    "AWS::Lambda::Function": _Plain(
        "lambda",
        "CreateFunction",
        later=(("ReservedConcurrentExecutions", "PutFunctionConcurrency", "FunctionName"),),
    ),
    "AWS::Lambda::EventSourceMapping": _Plain("lambda", "CreateEventSourceMapping"),
    "AWS::Logs::LogGroup": _Plain(
        "logs", "CreateLogGroup", later=(("RetentionInDays", "PutRetentionPolicy", "LogGroupName"),)
    ),
    "AWS::Athena::WorkGroup": _Plain(
        "athena",
        "CreateWorkGroup",
        renames={"WorkGroupConfiguration": "Configuration"},
        own=("RecursiveDeleteOption",),
    ),
    "AWS::Athena::NamedQuery": _Plain("athena", "CreateNamedQuery"),
    "AWS::Batch::JobQueue": _Plain("batch", "CreateJobQueue"),
    "AWS::Batch::JobDefinition": _Plain("batch", "RegisterJobDefinition"),
    "AWS::EC2::LaunchTemplate": _Plain("ec2", "CreateLaunchTemplate"),
    "AWS::EMRServerless::Application": _Plain("emr-serverless", "CreateApplication"),
    "AWS::SageMaker::NotebookInstance": _Plain("sagemaker", "CreateNotebookInstance"),
    "AWS::SageMaker::NotebookInstanceLifecycleConfig": _Plain(
        "sagemaker", "CreateNotebookInstanceLifecycleConfig"
    ),
    "AWS::SageMaker::Model": _Plain("sagemaker", "CreateModel"),
    "AWS::SageMaker::EndpointConfig": _Plain("sagemaker", "CreateEndpointConfig"),
}


def _repository(path: str, properties: Properties) -> Iterator[Call]:
    rest = {
        key: value for key, value in properties.items() if key not in ("LifecyclePolicy", "EmptyOnDelete")
    }
    yield Call("ecr", "CreateRepository", api_parameters("ecr", "CreateRepository", rest, path))
    policy = {"RepositoryName": rest["RepositoryName"], **properties.get("LifecyclePolicy", {})}
    _document(policy.get("LifecyclePolicyText", "{}"), path)
    yield Call("ecr", "PutLifecyclePolicy", api_parameters("ecr", "PutLifecyclePolicy", policy, path))


_SPECIAL: dict[str, Callable[[str, Properties], Iterator[Call]]] = {
    "AWS::S3::Bucket": bucket_calls,
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::SQS::Queue": _queue,
    "AWS::SQS::QueuePolicy": _queue_policy,
    "AWS::SNS::Topic": _topic,
    "AWS::SNS::TopicPolicy": _topic_policy,
    "AWS::IAM::Role": _role,
    "AWS::IAM::RolePolicy": lambda path, properties: iter([_role_policy(path, properties)]),
    "AWS::IAM::InstanceProfile": _instance_profile,
    "AWS::Events::Rule": _rule,
    "AWS::EC2::SecurityGroup": _security_group,
    "AWS::Batch::ComputeEnvironment": _compute_environment,
    "AWS::Budgets::Budget": _budget,
    "AWS::KMS::Key": _key,
    "AWS::ECR::Repository": _repository,
}


def api_calls(path: str, resource: Mapping[str, Any]) -> list[Call]:
    """Return the calls that make a rendered resource; ``{Ref}`` stands for what the first of them gives.

    Raises
    ------
    WrongProperty
        For a property that AWS's API does not have, or that it would not take.
    """
    kind, properties = resource["Type"], dict(resource["Properties"])
    if kind in _SPECIAL:
        return list(_SPECIAL[kind](path, properties))
    if kind not in _PLAIN:
        raise WrongProperty(f"{path}: nothing is known of {kind}")
    return list(_PLAIN[kind].calls(path, properties))
