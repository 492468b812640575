"""A CloudFormation stack made or changed: by a change set, watched to its end, failures explained."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astrolake.batch_processing.aws import aws_errors, make_client
from astrolake.batch_processing.stacks import Stack, find_stack
from astrolake.errors import AstrolakeError
from astrolake.redact import redact

if TYPE_CHECKING:
    import boto3

_PAUSE_S = 5.0
_CHANGE_SET_S = 600.0
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
#: From here nothing but deletion leads on.
_BROKEN = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
_MOST_BODY_BYTES = 51_200

Sleep = Callable[[float], None]


@dataclass(frozen=True)
class Change:
    """What a change set would do to a resource."""

    action: str
    logical_id: str
    resource_type: str
    replacement: bool


@dataclass(frozen=True)
class Event:
    """What happened to a resource of a stack."""

    event_id: str
    logical_id: str
    physical_id: str
    resource_type: str
    status: str
    reason: str

    @property
    def is_failure(self) -> bool:
        """Whether the resource could not be made, changed or deleted for a reason of its own."""
        return self.status.endswith("_FAILED") and "cancelled" not in self.reason.lower()


@dataclass(frozen=True)
class Plan:
    """A stack as it shall be.

    Parameters
    ----------
    name : str
    template : str
        Body of the root template.
    parameters : mapping
    """

    name: str
    template: str
    parameters: Mapping[str, str]


def plan_changes(plan: Plan, session: boto3.session.Session | None = None) -> tuple[str, list[Change]]:
    """Make a change set, and return its ARN and changes; both empty when the stack is as planned.

    Raises
    ------
    AstrolakeError
        When the stack is being changed, is broken, or CloudFormation refuses the template.
    """
    if len(plan.template.encode()) > _MOST_BODY_BYTES:
        raise AstrolakeError(
            f"the root template has more than {_MOST_BODY_BYTES} bytes; move parts into nested ones"
        )
    client = make_client("cloudformation", session)
    stack = find_stack(plan.name, session)
    if stack is not None:
        _check_changeable(stack)
        if _is_current(client, stack, plan):
            return "", []
    new = stack is None or stack.status == "REVIEW_IN_PROGRESS"
    with aws_errors(f"plan stack {plan.name}", "the message names what to mend"):
        made = client.create_change_set(
            StackName=plan.name,
            ChangeSetName=f"astrolake-{uuid.uuid4().hex[:12]}",
            ChangeSetType="CREATE" if new else "UPDATE",
            TemplateBody=plan.template,
            Parameters=parameter_list(plan.parameters),
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=_tags(plan.parameters),
        )
        if not _ready(client, made["Id"]):
            client.delete_change_set(ChangeSetName=made["Id"])
            return "", []
        pages = client.get_paginator("describe_change_set").paginate(ChangeSetName=made["Id"])
        changes = [_change(item) for page in pages for item in page["Changes"]]
    return made["Id"], changes


def drop_plan(change_set: str, name: str, session: boto3.session.Session | None = None) -> None:
    """Delete a change set that shall not be executed, and the empty stack that it may have left."""
    client = make_client("cloudformation", session)
    with aws_errors(f"delete the change set of {name}"):
        client.delete_change_set(ChangeSetName=change_set)
        stack = find_stack(name, session)
        if stack is not None and stack.status == "REVIEW_IN_PROGRESS":
            client.delete_stack(StackName=name)


def execute_plan(
    change_set: str,
    name: str,
    session: boto3.session.Session | None = None,
    report: Callable[[Event], None] | None = None,
    sleep: Sleep = time.sleep,
) -> Stack:
    """Execute a change set, wait for the stack, and return it.

    Raises
    ------
    AstrolakeError
        When the stack fails; the message has the failed resources, of nested stacks too, and why.
    """
    client = make_client("cloudformation", session)
    seen = newest_event(name, session)
    with aws_errors(f"change stack {name}"):
        client.execute_change_set(ChangeSetName=change_set, StackName=name)
    stack = wait_for_stack(name, session, report, seen, sleep)
    if stack is None or stack.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        status = "is gone" if stack is None else f"is {stack.status}"
        raise AstrolakeError(f"stack {name} {status}:\n{describe_failures(name, seen, session)}")
    return stack


def wait_for_stack(
    name: str,
    session: boto3.session.Session | None = None,
    report: Callable[[Event], None] | None = None,
    seen: str = "",
    sleep: Sleep = time.sleep,
) -> Stack | None:
    """Return a stack when it has come to rest, None when it is gone.

    Parameters
    ----------
    name : str
        Or identifier, which a deleted stack is found by.
    session : boto3 Session
    report : callable, optional
        Told of every event after `seen`, oldest first.
    seen : str
        Identifier of an event.
    sleep : callable
        Waits for so many seconds.
    """
    while True:
        stack = find_stack(name, session)
        if report is not None and stack is not None:
            for event in reversed(list(events_since(name, seen, session))):
                report(event)
                seen = event.event_id
        if stack is None or stack.status == "DELETE_COMPLETE":
            return None
        if not stack.status.endswith("_IN_PROGRESS"):
            return stack
        sleep(_PAUSE_S)


def events_since(name: str, seen: str, session: boto3.session.Session | None = None) -> Iterator[Event]:
    """Yield the events of a stack after one of them, newest first."""
    pages = make_client("cloudformation", session).get_paginator("describe_stack_events")
    with aws_errors(f"read the events of stack {name}"):
        for page in pages.paginate(StackName=name):
            for item in page["StackEvents"]:
                if item["EventId"] == seen:
                    return
                yield _event(item)


def newest_event(name: str, session: boto3.session.Session | None = None) -> str:
    """Return the identifier of a stack's newest event, empty when there is none."""
    return next((event.event_id for event in events_since(name, "", session)), "")


def describe_failures(name: str, seen: str = "", session: boto3.session.Session | None = None) -> str:
    """Return a line for each resource that failed after an event, where it first went wrong at the top."""
    lines: list[str] = []
    for event in reversed(list(events_since(name, seen, session))):
        if not event.is_failure:
            continue
        nested = event.resource_type == "AWS::CloudFormation::Stack" and event.physical_id not in ("", name)
        is_itself = event.logical_id == name
        if nested and not is_itself and event.physical_id.startswith("arn:"):
            lines.append(describe_failures(event.physical_id, "", session))
        lines.append(redact(f"  {event.logical_id} ({event.resource_type}): {event.reason or event.status}"))
    return "\n".join(line for line in lines if line) or "  no event says why; see the console"


def parameter_list(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    """Return parameters in the form of create-stack."""
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]


def _tags(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the tags of the nested stacks, spelt as there: IAM takes no two that differ in case alone."""
    values = {"Project": parameters.get("ProjectName"), "Environment": parameters.get("Environment")}
    return [{"Key": key, "Value": value} for key, value in values.items() if value]


def _check_changeable(stack: Stack) -> None:
    if stack.status in _BROKEN:
        raise AstrolakeError(
            f"stack {stack.name} is {stack.status}: delete it (`astrolake cleanup --stack {stack.name}`), "
            "then run setup again"
        )
    if stack.status.endswith("_IN_PROGRESS") and stack.status != "REVIEW_IN_PROGRESS":
        raise AstrolakeError(f"stack {stack.name} is {stack.status}: wait for it, then try again")


def _is_current(client: Any, stack: Stack, plan: Plan) -> bool:
    """Tell whether a stack was made from this template and these parameters, whose prefix tells content.

    CloudFormation itself finds nested stacks changed each time.
    """
    if not stack.status.endswith("_COMPLETE") or stack.status == "UPDATE_ROLLBACK_COMPLETE":
        return False
    if any(stack.parameters.get(key) != value for key, value in plan.parameters.items()):
        return False
    with aws_errors(f"read the template of stack {stack.name}"):
        found = client.get_template(StackName=stack.name, TemplateStage="Original")["TemplateBody"]
    return bool(found == plan.template)


def _ready(client: Any, change_set: str) -> bool:
    """Wait for a change set; return False when it changes nothing."""
    end = time.monotonic() + _CHANGE_SET_S
    while time.monotonic() < end:
        found = client.describe_change_set(ChangeSetName=change_set)
        if found["Status"] == "CREATE_COMPLETE":
            return True
        if found["Status"] == "FAILED":
            reason = found.get("StatusReason", "")
            if any(text in reason for text in _NO_CHANGES):
                return False
            client.delete_change_set(ChangeSetName=change_set)
            raise AstrolakeError(redact(f"CloudFormation refuses the change: {reason}"))
        time.sleep(1)
    raise AstrolakeError("CloudFormation takes more than ten minutes to plan; look at the console")


def _change(item: Mapping[str, Any]) -> Change:
    found = item["ResourceChange"]
    replacement = found.get("Replacement") in ("True", "Conditional")
    return Change(found["Action"], found["LogicalResourceId"], found["ResourceType"], replacement)


def _event(item: Mapping[str, Any]) -> Event:
    return Event(
        item["EventId"],
        item.get("LogicalResourceId", ""),
        item.get("PhysicalResourceId", ""),
        item.get("ResourceType", ""),
        item.get("ResourceStatus", ""),
        item.get("ResourceStatusReason", ""),
    )
