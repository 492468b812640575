"""Parameter values to render with, and an account of moto's to replay in."""

import io
import json
import zipfile
from collections.abc import Iterator

import pytest

pytest.importorskip("boto3")
pytest.importorskip("moto")

import boto3
from moto import mock_aws

from tests.cloudformation.render import TEMPLATES

REGION = "us-east-1"
#: What is left to the person who deploys, so that every resource of the templates is made.
EVERYTHING = {
    "CatalogUri": "s3://incoming-catalogs/incoming/gaia.parquet",
    "TrainPhotoz": "true",
    "ModelImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/astrolake-prod:model-0.1.0",
    "ModelDataUrl": "s3://astrolake-prod-derived-products-123456789012-us-east-1/models/model.tar.gz",
}


def parameter_file(name: str) -> dict[str, str]:
    """Return the values of a parameter file of the templates."""
    entries = json.loads((TEMPLATES / name).read_text(encoding="utf-8"))
    return {entry["ParameterKey"]: entry["ParameterValue"] for entry in entries}


@pytest.fixture(scope="session")
def everything() -> dict[str, str]:
    """Parameters of production with every optional part."""
    return parameter_file("parameters-prod.json") | EVERYTHING


@pytest.fixture(scope="session")
def minimal() -> dict[str, str]:
    """Parameters of the serverless tier alone."""
    return parameter_file("parameters.json") | {"EnableEtl": "false"}


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, str]]:
    """An account of moto's with what a stack finds there: a network, artifacts, Batch's own role.

    Gives the parameters that name them.
    """
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    config = {
        "iam": {"load_aws_managed_policies": True},
        "batch": {"use_docker": False},
        "lambda": {"use_docker": False},
    }
    with pytest.MonkeyPatch.context() as patch, mock_aws(config=config):
        for name in (*names, "AWS_SESSION_TOKEN"):
            patch.setenv(name, "testing")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.delenv("AWS_PROFILE", raising=False)
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        yield {**_network(), "ArtifactsBucket": _artifacts()}


def _network() -> dict[str, str]:
    ec2, iam = boto3.client("ec2"), boto3.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24")["Subnet"]["SubnetId"] for i in range(2)
    ]
    iam.create_role(
        Path="/aws-service-role/batch.amazonaws.com/",
        RoleName="AWSServiceRoleForBatch",
        AssumeRolePolicyDocument="{}",
    )
    return {"VpcId": vpc, "SubnetIds": ",".join(subnets)}


def _artifacts() -> str:
    """Return a bucket with the nested templates and a function's zip, as `astrolake setup` uploads them."""
    s3, bucket, prefix = boto3.client("s3"), "astrolake-artifacts", "astrolake/0.1.0"
    s3.create_bucket(Bucket=bucket)
    for template in TEMPLATES.glob("*.yml"):
        s3.put_object(
            Bucket=bucket, Key=f"{prefix}/cloudformation/{template.name}", Body=template.read_bytes()
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("handler.py", "def lambda_handler(event, context):\n    return {}\n")
    s3.put_object(Bucket=bucket, Key=f"{prefix}/lambda/astrolake-lambda-0.1.0.zip", Body=packed.getvalue())
    return bucket


@pytest.fixture(scope="session")
def cluster() -> dict[str, str]:
    """Parameters of the template of EMR clusters."""
    return {
        "ArtifactsBucket": "astrolake-artifacts",
        "SubnetIds": "subnet-00000000000000001,subnet-00000000000000002",
        "SurveyImagesBucket": "images",
        "SourceCatalogsBucket": "catalogs",
        "DerivedProductsBucket": "products",
    }
