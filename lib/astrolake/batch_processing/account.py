"""Whose account this is, and its default network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astrolake.batch_processing.aws import aws_errors, make_client, make_session
from astrolake.errors import BadArguments

if TYPE_CHECKING:
    import boto3


@dataclass(frozen=True)
class Account:
    """Account number and region of the credentials."""

    account_id: str
    region: str


@dataclass(frozen=True)
class Network:
    """A VPC and subnets in it, empty where there is none."""

    vpc_id: str = ""
    subnet_ids: tuple[str, ...] = ()


def check_account(session: boto3.session.Session | None = None) -> Account:
    """Return the account that the credentials belong to.

    Raises
    ------
    BadArguments
        When no region is set.
    AstrolakeError
        When there are no valid credentials.
    """
    session = session or make_session()
    if not session.region_name:
        raise BadArguments("no AWS region is set: give --region, or set one with `aws configure`")
    with aws_errors("check your AWS credentials", "set them up with `aws configure` or `aws sso login`"):
        identity = make_client("sts", session).get_caller_identity()
    return Account(identity["Account"], session.region_name)


def default_network(session: boto3.session.Session | None = None) -> Network:
    """Return the default VPC of the region with its subnets, an empty network when it was deleted.

    Raises
    ------
    AstrolakeError
        When EC2 may not be asked.
    """
    client = make_client("ec2", session)
    with aws_errors("look for the default VPC", "give --vpc-id and --subnet-ids, or allow ec2:DescribeVpcs"):
        vpcs = client.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        if not vpcs:
            return Network()
        vpc_id = vpcs[0]["VpcId"]
        mine = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "default-for-az", "Values": ["true"]}]
        pages = client.get_paginator("describe_subnets").paginate(Filters=mine)
        subnets = sorted(item["SubnetId"] for page in pages for item in page["Subnets"])
    return Network(vpc_id, tuple(subnets))
