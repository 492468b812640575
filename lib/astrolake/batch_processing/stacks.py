"""What is known of a CloudFormation stack: its state, parameters and outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astrolake.batch_processing.aws import aws_errors, error_code, make_client
from astrolake.errors import AstrolakeError

if TYPE_CHECKING:
    import boto3

DEFAULT_STACK = "sky-survey-stack"


@dataclass(frozen=True)
class Stack:
    """A stack as it is now.

    Parameters
    ----------
    name, stack_id, status : str
    parameters, outputs : dict
        By their name in the template.
    """

    name: str
    stack_id: str
    status: str
    parameters: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


def find_stack(name: str, session: boto3.session.Session | None = None) -> Stack | None:
    """Return a stack by name or identifier, None when there is none.

    Raises
    ------
    AstrolakeError
        When AWS cannot be asked.
    """
    from botocore.exceptions import ClientError

    with aws_errors(f"look for stack {name}"):
        try:
            answer = make_client("cloudformation", session).describe_stacks(StackName=name)
        except ClientError as error:
            if error_code(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
    return _stack(answer["Stacks"][0]) if answer["Stacks"] else None


def stack_outputs(name: str, session: boto3.session.Session | None = None) -> dict[str, str]:
    """Return the outputs of a stack.

    Raises
    ------
    AstrolakeError
        When there is no such stack.
    """
    stack = find_stack(name, session)
    if stack is None:
        raise AstrolakeError(
            f"there is no stack {name} here: `astrolake setup --stack {name}` makes it, "
            "--region and --profile choose others"
        )
    return stack.outputs


def stack_output(name: str, output: str, session: boto3.session.Session | None = None) -> str:
    """Return one output of a stack.

    Raises
    ------
    AstrolakeError
        When there is no such stack, or it has no such output.
    """
    outputs = stack_outputs(name, session)
    if not outputs.get(output):
        raise AstrolakeError(f"stack {name} has no output {output}; it has {sorted(outputs)}")
    return outputs[output]


def _stack(found: dict[str, Any]) -> Stack:
    parameters = {
        item["ParameterKey"]: item.get("ParameterValue", "") for item in found.get("Parameters", ())
    }
    outputs = {item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", ())}
    return Stack(found["StackName"], found["StackId"], found["StackStatus"], parameters, outputs)
