"""A stack that fails is explained down to the resource that failed, and a broken one is not touched."""

import pytest

from astrolake.batch_processing import cleanup, deploy, stacks
from astrolake.errors import AstrolakeError
from tests.cloudformation.render import ROOT, TEMPLATES, load_template

ROOT_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/sky/1"
NESTED_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/sky-Storage/2"


def event(number, logical, kind, status, reason="", physical="p"):
    return {
        "EventId": str(number),
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical,
        "ResourceType": kind,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


class Pages:
    def __init__(self, answer):
        self.answer = answer

    def paginate(self, **request):
        return self.answer(**request)


class FakeCloudFormation:
    """Stacks that go through given states, and their events, newest first."""

    def __init__(self, states, events=None, parameters=()):
        self.states, self.events, self.parameters = list(states), events or {}, list(parameters)
        self.executed, self.deleted, self.status, self.reason = [], [], "CREATE_COMPLETE", ""

    def describe_stacks(self, StackName):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        stack = {"StackName": "sky", "StackId": ROOT_ID, "StackStatus": state, "Parameters": self.parameters}
        return {"Stacks": [stack]}

    def get_paginator(self, name):
        if name == "describe_change_set":
            return Pages(lambda **request: [{"Changes": []}])
        return Pages(lambda StackName: [{"StackEvents": self.events.get(StackName, [])}])

    def execute_change_set(self, **request):
        self.executed.append(request)

    def create_change_set(self, **request):
        self.tags = request["Tags"]
        return {"Id": "change-1", "StackId": ROOT_ID}

    def describe_change_set(self, ChangeSetName):
        return {"Status": self.status, "StatusReason": self.reason}

    def delete_change_set(self, ChangeSetName):
        self.deleted.append(ChangeSetName)

    def get_template(self, **request):
        return {"TemplateBody": "other"}


@pytest.fixture
def cloudformation(monkeypatch):
    def use(fake):
        monkeypatch.setattr(deploy, "make_client", lambda *args: fake)
        monkeypatch.setattr(stacks, "make_client", lambda *args: fake)
        return fake

    return use


NESTED = "AWS::CloudFormation::Stack"
EVENTS = {
    "sky": [
        event(4, "sky", NESTED, "ROLLBACK_IN_PROGRESS", "The following resource(s) failed", ROOT_ID),
        event(3, "Topic", "AWS::SNS::Topic", "CREATE_FAILED", "Resource creation cancelled"),
        event(2, "Storage", NESTED, "CREATE_FAILED", f"Embedded stack {NESTED_ID} was not made", NESTED_ID),
        event(1, "sky", NESTED, "CREATE_IN_PROGRESS", "User Initiated", ROOT_ID),
    ],
    NESTED_ID: [
        event(12, "Images", "AWS::S3::Bucket", "CREATE_FAILED", "sky-images already exists"),
        event(11, "Images", "AWS::S3::Bucket", "CREATE_IN_PROGRESS"),
    ],
}


def test_failures_of_nested_stacks_come_first_and_cancelled_ones_not_at_all(cloudformation):
    cloudformation(FakeCloudFormation(["ROLLBACK_COMPLETE"], EVENTS))
    lines = deploy.describe_failures("sky").splitlines()
    assert lines[0] == "  Images (AWS::S3::Bucket): sky-images already exists"
    assert lines[1].startswith("  Storage (AWS::CloudFormation::Stack): Embedded stack")
    assert len(lines) == 2
    assert "123456789012" not in "".join(lines)


def test_a_failed_execution_raises_with_the_reasons_and_shows_progress_in_order(cloudformation):
    states = ["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE"]
    fake = cloudformation(FakeCloudFormation(states, {}))
    seen, waits = [], []

    def sleep(seconds):
        waits.append(seconds)
        fake.events = EVENTS

    with pytest.raises(AstrolakeError, match="is ROLLBACK_COMPLETE:\n  Images .*already exists"):
        deploy.execute_plan("change-1", "sky", None, lambda e: seen.append(e.event_id), sleep)
    assert fake.executed == [{"ChangeSetName": "change-1", "StackName": "sky"}]
    assert seen == ["1", "2", "3", "4"]
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("state", "message"), [("ROLLBACK_COMPLETE", "astrolake cleanup"), ("UPDATE_IN_PROGRESS", "try again")]
)
def test_a_stack_that_cannot_be_changed_is_left_alone(cloudformation, state, message):
    cloudformation(FakeCloudFormation([state]))
    with pytest.raises(AstrolakeError, match=message):
        deploy.plan_changes(deploy.Plan("sky", "body", {}))


def test_a_change_set_without_changes_is_deleted(cloudformation):
    fake = cloudformation(FakeCloudFormation(["CREATE_COMPLETE"]))
    fake.status, fake.reason = "FAILED", "No updates are to be performed."
    assert deploy.plan_changes(deploy.Plan("sky", "body", {})) == ("", [])
    assert fake.deleted == ["change-1"]


def test_a_stack_has_the_tags_of_its_nested_stacks_spelt_alike(cloudformation):
    fake = cloudformation(FakeCloudFormation(["CREATE_COMPLETE"]))
    deploy.plan_changes(deploy.Plan("sky", "body", {"ProjectName": "survey2", "Environment": "prod"}))
    assert fake.tags == [{"Key": "Project", "Value": "survey2"}, {"Key": "Environment", "Value": "prod"}]
    root = load_template(TEMPLATES / ROOT)["Resources"].values()
    nested = {tag["Key"] for stack in root for tag in stack["Properties"]["Tags"]}
    assert nested == {tag["Key"] for tag in fake.tags}


def test_a_refused_change_set_gives_the_reason(cloudformation):
    fake = cloudformation(FakeCloudFormation(["CREATE_COMPLETE"]))
    fake.status, fake.reason = "FAILED", "Template error: no such parameter"
    with pytest.raises(AstrolakeError, match="no such parameter"):
        deploy.plan_changes(deploy.Plan("sky", "body", {}))
    assert fake.deleted == ["change-1"]


def test_a_template_too_long_for_a_request_is_refused():
    with pytest.raises(AstrolakeError, match="nested ones"):
        deploy.plan_changes(deploy.Plan("sky", "x" * 60_000, {}))


class FakeDeletion(FakeCloudFormation):
    """Of a nested stack, a bucket and a security group cannot be deleted; force forgets them."""

    def __init__(self):
        super().__init__(["DELETE_FAILED", "DELETE_COMPLETE"])
        self.modes = []

    def delete_stack(self, StackName, DeletionMode="STANDARD"):
        self.modes.append(DeletionMode)

    def get_paginator(self, name):
        def resource(kind, physical):
            return {
                "ResourceType": kind,
                "LogicalResourceId": "A",
                "PhysicalResourceId": physical,
                "ResourceStatus": "DELETE_FAILED",
            }

        inside = [resource("AWS::S3::Bucket", "kept"), resource("AWS::EC2::SecurityGroup", "sg-1")]
        of = {ROOT_ID: [resource(NESTED, NESTED_ID)], NESTED_ID: inside}
        if name == "list_stack_resources":
            return Pages(lambda StackName: [{"StackResourceSummaries": of[StackName]}])
        return super().get_paginator(name)


def test_what_a_forced_deletion_leaves_behind_is_told(cloudformation, monkeypatch):
    fake = cloudformation(FakeDeletion())
    monkeypatch.setattr(cleanup, "make_client", lambda *args: fake)
    inventory = cleanup.Inventory(stacks.Stack("sky", ROOT_ID, "CREATE_COMPLETE"), (), (), None, {}, ())
    remains = cleanup.delete_everything(inventory, sleep=lambda seconds: None)
    assert fake.modes == ["STANDARD", "FORCE_DELETE_STACK"]
    assert remains == ["AWS::EC2::SecurityGroup sg-1: could not be deleted with the stack"]
