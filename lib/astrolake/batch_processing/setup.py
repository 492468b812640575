"""The values that a stack is made with, and the plan that follows from them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from astrolake import __version__
from astrolake.batch_processing.account import Account, Network, default_network
from astrolake.batch_processing.artifacts import ROOT_TEMPLATE, Artifacts, Missing, collect_artifacts
from astrolake.batch_processing.deploy import Plan, parameter_list
from astrolake.batch_processing.stacks import DEFAULT_STACK, find_stack
from astrolake.errors import BadArguments

if TYPE_CHECKING:
    import boto3

_TIERS = {
    "serverless": dict.fromkeys(("EnableEtl", "EnableBatch", "EnableEmr", "EnableMl"), "false"),
    "full": dict.fromkeys(("EnableEtl", "EnableBatch", "EnableEmr", "EnableMl"), "true"),
}
TIERS = tuple(_TIERS)
_ENVIRONMENT_FILES = {"dev": "parameters.json", "prod": "parameters-prod.json"}
_PARAMETER = re.compile(r"^  (\w+):", re.MULTILINE)
_RESOURCE_TYPE = re.compile(r"^ {4}Type: (AWS::\S+|Custom::\S+)", re.MULTILINE)
#: Parts of the stack that the serverless tier leaves out.
_FULL_ONLY = ("etl", "batch", "emr", "ml")


@dataclass(frozen=True)
class Wishes:
    """What a user asked for.

    Parameters
    ----------
    checkout : Path
    stack : str
    tier : str
        serverless or full; empty keeps that of the stack, serverless for a new one.
    environment : str
        dev or prod; decides which file the values start from.
    alert_email : str
        Empty keeps what the stack, or the file, says.
    network : Network
        Empty means the region's default VPC.
    artifacts_bucket : str
        Empty means `<project>-artifacts-<account>-<region>`.
    values : mapping
        Parameters of the template that take precedence.
    """

    checkout: Path
    stack: str = DEFAULT_STACK
    tier: str = ""
    environment: str = "dev"
    alert_email: str = ""
    network: Network = field(default_factory=Network)
    artifacts_bucket: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """What a stack will be made from.

    Parameters
    ----------
    plan : Plan
    tier : str
    artifacts : Artifacts
    bucket : str
        Of the artifacts.
    """

    plan: Plan
    tier: str
    artifacts: Artifacts
    bucket: str

    @property
    def missing(self) -> tuple[Missing, ...]:
        """Archives that the tier needs and dist/ lacks."""
        return tuple(item for item in self.artifacts.missing if item.needed)


def prepare_setup(wishes: Wishes, account: Account, session: boto3.session.Session | None = None) -> Setup:
    """Return the plan of a stack; nothing is made.

    Parameters of a stack that is there stay where neither the wishes nor the file speak of them.

    Raises
    ------
    BadArguments
        When there is no checkout, the parameters file is damaged, the full tier has no network, or the
        stack is one of another environment.
    """
    there = find_stack(wishes.stack, session)
    before = there.parameters if there is not None else {}
    if before.get("Environment", wishes.environment) != wishes.environment:
        raise BadArguments(
            f"stack {wishes.stack} is one of {before['Environment']}: say so with --environment"
        )
    tier = wishes.tier or ("full" if before.get("EnableBatch") == "true" else "serverless")
    artifacts = collect_artifacts(wishes.checkout, tier == "full")
    values = read_parameters(wishes.checkout / "cloudformation" / _ENVIRONMENT_FILES[wishes.environment])
    template = (wishes.checkout / ROOT_TEMPLATE).read_text(encoding="utf-8")
    declared = set(_PARAMETER.findall(template.partition("\nResources:")[0]))
    kept = {name: value for name, value in before.items() if name in declared and name not in values}
    project = wishes.values.get("ProjectName", values.get("ProjectName", "astrolake"))
    bucket = wishes.artifacts_bucket or f"{project}-artifacts-{account.account_id}-{account.region}"
    network = _network(wishes, tier, session)
    values = kept | values | _TIERS[tier]
    values |= {
        "Environment": wishes.environment,
        "LibraryVersion": __version__,
        "ArtifactsBucket": bucket,
        "ArtifactsPrefix": artifacts.prefix,
        "VpcId": network.vpc_id,
        "SubnetIds": ",".join(network.subnet_ids),
    }
    if wishes.alert_email:
        values["AlertEmail"] = wishes.alert_email
    values |= wishes.values
    return Setup(Plan(wishes.stack, template, values), tier, artifacts, bucket)


def _network(wishes: Wishes, tier: str, session: boto3.session.Session | None) -> Network:
    if wishes.network.vpc_id or tier != "full":
        return wishes.network
    network = default_network(session)
    if not (network.vpc_id and network.subnet_ids):
        raise BadArguments("the region has no default VPC with subnets: give --vpc-id and --subnet-ids")
    return network


def read_parameters(path: Path) -> dict[str, str]:
    """Return the values of a parameters file in the form of create-stack.

    Raises
    ------
    BadArguments
        When the file is missing or of another form.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {item["ParameterKey"]: str(item["ParameterValue"]) for item in found}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadArguments(
            f'{path}: {error!r}; it must be a list of {{"ParameterKey": ..., "ParameterValue": ...}}'
        ) from error


def write_parameters(setup: Setup, path: Path) -> None:
    """Write the values that the stack is made with, for create-stack and for the next time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(parameter_list(setup.plan.parameters), indent=2) + "\n", encoding="utf-8")


def count_resources(checkout: Path, tier: str) -> Counter[str]:
    """Return how many resources of each type the templates of a tier have, conditional ones included."""
    types: Counter[str] = Counter()
    for path in sorted((checkout / "cloudformation").glob("*.yml")):
        if tier == "full" or path.stem.partition("-")[0] not in _FULL_ONLY:
            types.update(_RESOURCE_TYPE.findall(path.read_text(encoding="utf-8")))
    return types
