"""The mission's create-stack call in moto: nested stacks from the artifacts bucket, outputs, what comes of it."""

import json

import boto3
import pytest
from moto.cloudformation import parsing
from moto.cloudformation.models import Stack

from tests.cloudformation.conftest import parameter_file
from tests.cloudformation.render import ROOT, TEMPLATES, load_template, rendered_outputs, rendered_resources

STACK = "sky-survey-stack"
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse", "ignore:Could not find")
#: What moto's CloudFormation passes over in silence; test_replay makes these by themselves.
IGNORED = {
    "AWS::Athena::NamedQuery",
    "AWS::Athena::WorkGroup",
    "AWS::Budgets::Budget",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::EMRServerless::Application",
    "AWS::Glue::Crawler",
    "AWS::Glue::Database",
    "AWS::Glue::Job",
    "AWS::Glue::SecurityConfiguration",
    "AWS::Glue::Table",
    "AWS::Glue::Trigger",
    "AWS::Glue::Workflow",
    "AWS::IAM::RolePolicy",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}


def output_of(stack, attribute):
    """Return Outputs.<name> of a nested stack, which moto makes but does not let others refer to."""
    key = attribute.removeprefix("Outputs.")
    return stack.output_map[key].value


def without_nothing(clean):
    """Return moto's reader of functions as one that drops AWS::NoValue from lists too."""

    def read(node, resources):
        value = clean(node, resources)
        return [item for item in value if item is not None] if isinstance(value, list) else value

    return read


@pytest.fixture(scope="module")
def mended_moto():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stack, "get_cfn_attribute", output_of, raising=False)
        patch.setattr(parsing, "clean_json", without_nothing(parsing.clean_json))
        yield


@pytest.fixture(scope="module")
def created(account, mended_moto):
    """Types of the resources that moto's CloudFormation made, by path, and the outputs of the root."""
    given = parameter_file("parameters.json") | {"ArtifactsBucket": account["ArtifactsBucket"]}
    client = boto3.client("cloudformation")
    client.create_stack(
        StackName=STACK,
        # In JSON, because moto takes the short form of GetAtt apart at every dot.
        TemplateBody=json.dumps(load_template(TEMPLATES / ROOT)),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    client.get_waiter("stack_create_complete").wait(StackName=STACK)
    outputs = client.describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
    found = {
        f"{name.split('-')[-2]}/{resource['LogicalResourceId']}": resource
        for name in (stack["StackName"] for stack in client.list_stacks()["StackSummaries"])
        if name != STACK
        for resource in client.list_stack_resources(StackName=name)["StackResourceSummaries"]
        if resource["LogicalResourceId"]
    }
    return given, found, {output["OutputKey"]: output["OutputValue"] for output in outputs}


def test_the_body_fits_into_the_call():
    assert len((TEMPLATES / ROOT).read_bytes()) < 51_200


def test_what_moto_knows_is_made_and_the_rest_is_known(created):
    given, found, _ = created
    expected = rendered_resources(given)
    made = {path for path in found if path in expected}
    missing = {expected[path]["Type"] for path in expected.keys() - made}
    assert missing <= IGNORED
    assert {found[path]["ResourceType"] for path in made} >= {
        "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::IAM::Role", "AWS::Lambda::Function", "AWS::SNS::Topic",
        "AWS::Lambda::EventSourceMapping", "AWS::Events::Rule", "AWS::Logs::LogGroup", "AWS::KMS::Key",
    }  # fmt: skip


def test_outputs_are_those_of_the_renderer(created):
    given, _, outputs = created
    expected = rendered_outputs(given)
    assert outputs.keys() == expected.keys()
    for name in ("SurveyImagesBucket", "LakeUri", "GlueDatabase", "UploadFunction", "UploadQueueUrl"):
        assert outputs[name].rsplit("/", 1)[-1] == expected[name].rsplit("/", 1)[-1]


def test_made_resources_work(created):
    _, _, outputs = created
    s3, queue = boto3.client("s3"), boto3.client("sqs")
    assert outputs["SourceCatalogsBucket"] in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    attributes = queue.get_queue_attributes(QueueUrl=outputs["UploadQueueUrl"], AttributeNames=["All"])[
        "Attributes"
    ]
    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == 5
    function = boto3.client("lambda").get_function(FunctionName=outputs["UploadFunction"])["Configuration"]
    assert function["Handler"] == "handler.lambda_handler"
    assert function["Environment"]["Variables"]["CATALOG_BUCKET"] == outputs["SourceCatalogsBucket"]


def test_deleting_the_stack_leaves_nothing(created):
    client = boto3.client("cloudformation")
    client.delete_stack(StackName=STACK)
    assert not [
        stack
        for stack in client.list_stacks()["StackSummaries"]
        if stack["StackName"] == STACK and stack["StackStatus"] != "DELETE_COMPLETE"
    ]
