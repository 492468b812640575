"""A stack is made from a checkout, found unchanged the second time, and deleted with all that it holds."""

import importlib.util
import io
import json
from pathlib import Path

import pytest
from moto.s3.models import s3_backends

from astrolake import __version__
from astrolake.batch_processing.artifacts import collect_artifacts
from astrolake.batch_processing.aws import make_client
from astrolake.batch_processing.cleanup import empty_bucket
from astrolake.batch_processing.stacks import find_stack
from astrolake.cli import main

REPOSITORY = Path(__file__).parents[2]
ROOT = """AWSTemplateFormatVersion: '2010-09-09'
Parameters:
  ProjectName: {Type: String}
  Environment: {Type: String}
  LibraryVersion: {Type: String}
  ArtifactsBucket: {Type: String}
  ArtifactsPrefix: {Type: String}
  AlertEmail: {Type: String, Default: ''}
  VpcId: {Type: String}
  SubnetIds: {Type: String}
  MonthlyBudgetUsd: {Type: Number}
  EnableEtl: {Type: String}
  EnableBatch: {Type: String}
  EnableEmr: {Type: String}
  EnableMl: {Type: String}
Resources:
  Storage:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: !Sub 'https://${ArtifactsBucket}.s3.${AWS::Region}.${AWS::URLSuffix}/${ArtifactsPrefix}/cloudformation/storage.yml'
      Parameters:
        Name: !Sub '${ProjectName}-${Environment}'
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      TopicName: !Sub '${ProjectName}-${Environment}-alerts'
Outputs:
  AlertsTopicArn:
    Value: !Ref Topic
"""
STORAGE = """AWSTemplateFormatVersion: '2010-09-09'
Parameters:
  Name: {Type: String}
Resources:
  Images:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    Properties:
      BucketName: !Sub '${Name}-survey-images-${AWS::AccountId}-${AWS::Region}'
      VersioningConfiguration:
        Status: Enabled
  Repository:
    Type: AWS::ECR::Repository
    Properties:
      RepositoryName: !Ref Name
  Log:
    Type: AWS::Logs::LogGroup
    Properties:
      LogGroupName: !Sub '/astrolake/${Name}'
Outputs:
  Images:
    Value: !Ref Images
"""
IMAGES = "astrolake-dev-survey-images-123456789012-us-east-1"
ARTIFACTS = "astrolake-artifacts-123456789012-us-east-1"


@pytest.fixture
def checkout(tmp_path, aws, monkeypatch):
    # moto applies a Deny without its condition, and would refuse all calls to a bucket that wants TLS.
    monkeypatch.setattr("moto.s3.models.FakeBucket.get_permission", lambda *args: None)
    root = tmp_path / "checkout"
    for folder in ("cloudformation", "jobs", "dist"):
        (root / folder).mkdir(parents=True)
    (root / "cloudformation" / "astronomy-stack.yml").write_text(ROOT)
    (root / "cloudformation" / "storage.yml").write_text(STORAGE)
    values = [{"ParameterKey": "ProjectName", "ParameterValue": "astrolake"}]
    values.append({"ParameterKey": "MonthlyBudgetUsd", "ParameterValue": "50"})
    for name in ("parameters.json", "parameters-prod.json"):
        (root / "cloudformation" / name).write_text(json.dumps(values))
    (root / "jobs" / "publish_tables.py").write_text("print()\n")
    (root / "dist" / f"astrolake-lambda-{__version__}.zip").write_bytes(b"zip")
    return root


def setup(checkout, *flags):
    return main(["setup", "--checkout", str(checkout), *flags])


def test_the_stack_is_made_once(checkout, capsys):
    assert setup(checkout, "--alert-email", "night@example.org") == 0
    printed = capsys.readouterr()
    assert "add     Storage (AWS::CloudFormation::Stack)" in printed.out
    assert "create_complete" in printed.err
    assert f"missing: dist/astrolake-{__version__}.gluewheels.zip (not needed for this tier)" in printed.out

    stack = find_stack("sky-survey-stack")
    assert stack.parameters["AlertEmail"] == "night@example.org"
    assert stack.parameters["EnableBatch"] == "false"
    written = json.loads((checkout / "dist" / "parameters-sky-survey-stack.json").read_text())
    assert {item["ParameterKey"]: item["ParameterValue"] for item in written} == stack.parameters

    assert setup(checkout, "--alert-email", "night@example.org") == 0
    again = capsys.readouterr().out
    assert "no changes: the stack is as planned" in again
    assert "artifacts: 0 uploaded" in again


def test_the_parameters_file_is_that_of_create_stack(checkout, capsys):
    assert setup(checkout, "--artifacts-only") == 0
    cloudformation = make_client("cloudformation")
    assert cloudformation.describe_stacks()["Stacks"] == []
    parameters = json.loads((checkout / "dist" / "parameters-sky-survey-stack.json").read_text())
    cloudformation.create_stack(StackName="sky-survey-stack", TemplateBody=ROOT, Parameters=parameters)
    capsys.readouterr()
    assert setup(checkout) == 0
    printed = capsys.readouterr().out
    assert "no changes: the stack is as planned" in printed
    assert "AlertsTopicArn = arn:aws:sns:us-east-1:123456789012:astrolake-dev-alerts" in printed


def test_other_code_is_another_prefix_and_an_update(checkout, capsys):
    assert setup(checkout) == 0
    before = find_stack("sky-survey-stack").parameters["ArtifactsPrefix"]
    (checkout / "dist" / f"astrolake-lambda-{__version__}.zip").write_bytes(b"new zip")
    capsys.readouterr()
    assert setup(checkout, "--dry-run") == 0
    assert "no changes" not in capsys.readouterr().out
    assert find_stack("sky-survey-stack").parameters["ArtifactsPrefix"] == before
    assert setup(checkout) == 0
    stack = find_stack("sky-survey-stack")
    assert stack.parameters["ArtifactsPrefix"] == collect_artifacts(checkout, False).prefix != before
    assert stack.status == "UPDATE_COMPLETE"


def test_the_artifacts_bucket_is_closed(checkout):
    assert setup(checkout) == 0
    s3 = make_client("s3")
    assert s3.get_bucket_versioning(Bucket=ARTIFACTS)["Status"] == "Enabled"
    blocked = s3.get_public_access_block(Bucket=ARTIFACTS)["PublicAccessBlockConfiguration"]
    assert all(blocked.values())
    assert len(blocked) == 4
    rules = s3.get_bucket_encryption(Bucket=ARTIFACTS)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=ARTIFACTS)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [f"arn:aws:s3:::{ARTIFACTS}", f"arn:aws:s3:::{ARTIFACTS}/*"]


def test_a_dry_run_makes_nothing(checkout, capsys):
    assert setup(checkout, "--dry-run") == 0
    assert "1 AWS::ECR::Repository" in capsys.readouterr().out
    assert make_client("s3").list_buckets()["Buckets"] == []
    assert make_client("cloudformation").describe_stacks()["Stacks"] == []
    assert not list((checkout / "dist").glob("*.json"))


def test_what_is_missing_is_said_before_anything_is_made(checkout, capsys):
    (checkout / "dist" / f"astrolake-lambda-{__version__}.zip").unlink()
    assert setup(checkout) == 2
    printed = capsys.readouterr()
    assert "needed); build it: make lambda-zip" in printed.out
    assert f"dist/astrolake-lambda-{__version__}.zip" in printed.err
    assert setup(checkout.parent) == 2
    assert "has no cloudformation/astronomy-stack.yml" in capsys.readouterr().err
    assert make_client("s3").list_buckets()["Buckets"] == []


def test_the_full_tier_takes_the_default_network(checkout):
    for name in (f"astrolake-{__version__}.gluewheels.zip", f"pyspark_astrolake-{__version__}.tar.gz"):
        (checkout / "dist" / name).write_bytes(b"archive")
    assert setup(checkout, "--tier", "full", "--set", "MonthlyBudgetUsd=7") == 0
    values = find_stack("sky-survey-stack").parameters
    ec2 = make_client("ec2")
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    assert values["VpcId"] == vpc["VpcId"]
    assert set(values["SubnetIds"].split(",")) == {
        item["SubnetId"] for item in ec2.describe_subnets()["Subnets"]
    }
    assert (values["EnableMl"], values["MonthlyBudgetUsd"]) == ("true", "7")


def fill(bucket, n=3):
    s3 = make_client("s3")
    # moto makes buckets of templates without their versioning.
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for number in range(n):
        s3.put_object(Bucket=bucket, Key=f"night 1+2/α {number}.fits", Body=b"SIMPLE" * 10)
    s3.put_object(Bucket=bucket, Key="night 1+2/α 0.fits", Body=b"again")
    s3.delete_object(Bucket=bucket, Key="night 1+2/α 1.fits")


def test_cleanup_lists_and_deletes_everything(checkout, capsys):
    assert setup(checkout) == 0
    fill(IMAGES)
    logs = make_client("logs")
    capsys.readouterr()
    assert main(["cleanup", "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert f"bucket {IMAGES}: 4 object versions, 1 delete markers" in listed
    assert f"artifacts bucket {ARTIFACTS}: 4 object versions" in listed
    assert "ECR repository astrolake-dev: 0 images" in listed
    assert "log group /astrolake/astrolake-dev" in listed
    assert find_stack("sky-survey-stack").status == "CREATE_COMPLETE"

    assert main(["cleanup", "--yes"]) == 0
    assert "stack sky-survey-stack is deleted" in capsys.readouterr().out
    assert make_client("s3").list_buckets()["Buckets"] == []
    assert find_stack("sky-survey-stack") is None
    assert logs.describe_log_groups()["logGroups"] == []
    assert main(["cleanup", "--yes"]) == 0
    assert "nothing to delete" in capsys.readouterr().out


def test_cleanup_can_keep_the_data(checkout, capsys):
    assert setup(checkout) == 0
    fill(IMAGES)
    assert main(["cleanup", "--yes", "--keep-data"]) == 0
    assert f"remains: bucket {IMAGES}: kept" in capsys.readouterr().out
    s3 = make_client("s3")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [IMAGES]
    assert len(s3.list_object_versions(Bucket=IMAGES)["Versions"]) == 4


def test_artifacts_of_another_stack_are_left_alone(checkout, capsys):
    assert setup(checkout) == 0
    make_client("cloudformation").create_stack(
        StackName="other",
        TemplateBody="{Parameters: {From: {Type: String}}, Resources: {T: {Type: 'AWS::SNS::Topic'}}}",
        Parameters=[{"ParameterKey": "From", "ParameterValue": ARTIFACTS}],
    )
    capsys.readouterr()
    assert main(["cleanup", "--yes"]) == 0
    assert "artifacts bucket" not in capsys.readouterr().out
    assert [bucket["Name"] for bucket in make_client("s3").list_buckets()["Buckets"]] == [ARTIFACTS]


def test_a_bucket_of_artifacts_with_something_else_in_it_stays(checkout, capsys):
    assert setup(checkout) == 0
    s3 = make_client("s3")
    s3.put_object(Bucket=ARTIFACTS, Key="thesis/data.fits", Body=b"mine")
    capsys.readouterr()
    assert main(["cleanup", "--yes"]) == 0
    assert "artifacts bucket" not in capsys.readouterr().out
    assert s3.get_object(Bucket=ARTIFACTS, Key="thesis/data.fits")["Body"].read() == b"mine"


def test_buckets_that_were_left_are_deleted_by_name(aws, capsys):
    s3 = make_client("s3")
    for name in ("left-over", "mine"):
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="log", Body=b"x")
    assert main(["cleanup", "--bucket", "left-over", "nowhere", "--yes"]) == 2
    assert "no bucket nowhere" in capsys.readouterr().err
    assert main(["cleanup", "--bucket", "left-over", "--dry-run"]) == 0
    assert "bucket left-over: 1 object versions" in capsys.readouterr().out
    assert main(["cleanup", "--bucket", "left-over"]) == 2
    assert main(["cleanup", "--bucket", "left-over", "--yes"]) == 0
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["mine"]


def test_cleanup_asks(checkout, capsys, monkeypatch):
    assert setup(checkout) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("sky-survey-stack\n"))
    assert main(["cleanup"]) == 2
    assert "--yes" in capsys.readouterr().err

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    assert main(["cleanup"]) == 1
    assert "nothing was deleted" in capsys.readouterr().out
    assert find_stack("sky-survey-stack").status == "CREATE_COMPLETE"
    monkeypatch.setattr("sys.stdin", Terminal("sky-survey-stack\n"))
    assert main(["cleanup"]) == 0
    assert find_stack("sky-survey-stack") is None


def test_production_must_be_named(checkout, capsys):
    assert setup(checkout, "--environment", "prod") == 0
    assert main(["cleanup", "--yes"]) == 2
    assert "--environment prod" in capsys.readouterr().err
    assert main(["cleanup", "--yes", "--environment", "prod"]) == 0
    assert find_stack("sky-survey-stack") is None


def test_more_versions_than_a_page_are_deleted(aws):
    s3 = make_client("s3")
    s3.create_bucket(Bucket="full")
    s3.put_bucket_versioning(Bucket="full", VersioningConfiguration={"Status": "Enabled"})
    # Without a call for each: the server is in this process.
    backend = s3_backends["123456789012"]["aws"]
    for number in range(1005):
        backend.put_object("full", f"{number % 7}", b"")
    assert empty_bucket("full") == 1005
    assert "Versions" not in s3.list_object_versions(Bucket="full")


def test_archives_are_packed_where_setup_looks_for_them(checkout, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("pack_zip", REPOSITORY / "lambda" / "pack_zip.py")
    pack_zip = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack_zip)
    monkeypatch.setattr(pack_zip, "ROOT", checkout)
    monkeypatch.setattr(
        pack_zip, "build_tree", lambda tree: (tree.mkdir(), (tree / "a").write_bytes(b"code"))
    )
    monkeypatch.setattr("sys.argv", ["pack_zip.py"])
    for archive in (checkout / "dist").glob("*.zip"):
        archive.unlink()
    needed = [missing.name for missing in collect_artifacts(checkout, full=False).missing if missing.needed]
    assert needed == [f"dist/astrolake-lambda-{__version__}.zip"]
    pack_zip.main()
    assert not any(missing.needed for missing in collect_artifacts(checkout, full=False).missing)


def test_what_was_chosen_before_stays(checkout, capsys):
    for name in (f"astrolake-{__version__}.gluewheels.zip", f"pyspark_astrolake-{__version__}.tar.gz"):
        (checkout / "dist" / name).write_bytes(b"archive")
    assert setup(checkout, "--tier", "full", "--alert-email", "night@example.org") == 0
    capsys.readouterr()
    assert setup(checkout) == 0
    printed = capsys.readouterr().out
    assert "full tier" in printed
    assert "no changes" in printed
    assert setup(checkout, "--environment", "prod") == 2
    assert "is one of dev" in capsys.readouterr().err
    values = find_stack("sky-survey-stack").parameters
    assert (values["AlertEmail"], values["EnableBatch"]) == ("night@example.org", "true")


def test_a_stack_has_no_name_that_leads_out_of_dist(checkout, capsys):
    assert main(["setup", "--checkout", str(checkout), "--stack", "../../x"]) == 2
    assert "--stack '../../x'" in capsys.readouterr().err
