"""Faults put into copies of the templates are caught: by cfn-lint, the rules, or the replay's checks."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("cfn_guard_rs")

from tests.cloudformation.api_calls import api_calls
from tests.cloudformation.conversion import WrongProperty
from tests.cloudformation.guard import rules_by_outcome
from tests.cloudformation.lint import findings
from tests.cloudformation.render import ROOT, TEMPLATES, RenderError, load_template, rendered_resources


@dataclass(frozen=True)
class Fault:
    """One text of a template in place of another, from its `nth` occurrence only."""

    name: str
    file: str
    text: str
    instead: str
    nth: int = 0


FAULTS = (
    Fault("misspelt property of a bucket", "storage.yml", "VersioningConfiguration:", "VersionConfiguration:"),
    Fault("misspelt property within a rule", "storage.yml", "NoncurrentDays:", "NonCurrentDay:"),
    Fault("misspelt property of a queue", "storage.yml", "VisibilityTimeout:", "VisibilityTimeOut:"),
    Fault("misspelt key of the redrive policy", "storage.yml", "maxReceiveCount:", "maxReceives:"),
    Fault("dropped dead letter queue", "storage.yml", "      RedrivePolicy:\n        deadLetterTargetArn: !GetAtt UploadDeadLetterQueue.Arn\n        maxReceiveCount: 5\n", ""),
    Fault("public bucket", "storage.yml", "BlockPublicPolicy: true", "BlockPublicPolicy: false", 1),
    Fault("policy that lets HTTP in", "storage.yml", "aws:SecureTransport: 'false'", "aws:SecureTransport: 'true'", 1),
    Fault("policy for another bucket", "storage.yml", "Bucket: !Ref SourceCatalogs", "Bucket: !Ref SurveyImages"),
    Fault("storage class that is none", "storage.yml", "StorageClass: GLACIER_IR", "StorageClass: GLACIER_INSTANT"),
    Fault("suffix under a misspelt key", "storage.yml", "Name: suffix", "Name: sufix"),
    Fault("all actions on the images", "serverless.yml", "Action: s3:GetObject\n", "Action: s3:*\n"),
    Fault("all resources", "serverless.yml", "Resource: !Ref UploadQueueArn", "Resource: '*'"),
    Fault("batch that fails as a whole", "serverless.yml", "      FunctionResponseTypes:\n        - ReportBatchItemFailures\n", ""),
    Fault("timeout that is a word", "serverless.yml", "Timeout: 300", "Timeout: five minutes"),
    Fault("reference to nothing", "serverless.yml", "!GetAtt UploadRole.Arn", "!GetAtt UploadRoles.Arn"),
    Fault("attribute that is none", "serverless.yml", "!GetAtt UploadLogs.Arn", "!GetAtt UploadLogs.Name"),
    Fault("logs for ever", "serverless.yml", "      RetentionInDays: !Ref LogRetentionDays\n", ""),
    Fault("output that the nested stack lacks", "astronomy-stack.yml", "Storage.Outputs.UploadQueueArn", "Storage.Outputs.UploadsArn"),
    Fault("parameter that the nested stack lacks", "astronomy-stack.yml", "UploadConcurrency: !Ref", "UploadsConcurrency: !Ref"),
    Fault("stack without tags", "astronomy-stack.yml", "        - Key: Project\n", "        - Key: Projekt\n"),
    Fault("old Glue", "etl-jobs.yml", "GlueVersion: '5.1'", "GlueVersion: '3.0'"),
    Fault("worker that is none", "etl-jobs.yml", "WorkerType: G.1X", "WorkerType: G.1XL"),
    Fault("misspelt property of a job", "etl-jobs.yml", "ScriptLocation:", "ScriptLocations:"),
    Fault("job that no trigger can name", "etl-workflow.yml", "State: SUCCEEDED", "State: SUCCESS"),
    Fault("misspelt property of a trigger", "etl-workflow.yml", "Predicate:", "Predicates:"),
    Fault("misspelt column type key", "catalog-tables.yml", "SerdeInfo:", "SerDeInformation:"),
    Fault("clients choose the place of results", "analytics.yml", "EnforceWorkGroupConfiguration: true", "EnforceWorkGroupConfiguration: false"),
    Fault("misspelt scan limit", "analytics.yml", "BytesScannedCutoffPerQuery:", "BytesScannedCutOffPerQueries:"),
    Fault("alarm that tells nobody", "alerts.yml", "      AlarmActions:\n        - !Ref AlertsTopic\n", ""),
    Fault("comparison that is none", "alerts.yml", "GreaterThanThreshold", "AboveThreshold"),
    Fault("topic in the clear", "alerts.yml", "      KmsMasterKeyId: !GetAtt AlertsKey.Arn\n", ""),
    Fault("budget without a limit's unit", "cost.yml", "          Unit: USD\n", ""),
    Fault("instances without token", "batch.yml", "HttpTokens: required", "HttpTokens: optional"),
    Fault("clear volumes", "batch.yml", "Encrypted: true", "Encrypted: false"),
    Fault("strategy that is none", "batch.yml", "SPOT_PRICE_CAPACITY_OPTIMIZED", "SPOT_CHEAPEST"),
    Fault("misspelt property of a container", "batch.yml", "ResourceRequirements:", "ResourcesRequired:"),
    Fault("notebook on the internet", "ml.yml", "DirectInternetAccess: Disabled", "DirectInternetAccess: Enabled"),
    Fault("misspelt property of the application", "emr.yml", "AutoStopConfiguration:", "AutoStop:"),
)  # fmt: skip


@pytest.fixture
def seeded(tmp_path) -> Callable[[Fault], Path]:
    def seed(fault):
        folder = tmp_path / "cloudformation"
        shutil.copytree(TEMPLATES, folder)
        file = folder / fault.file
        parts = file.read_text(encoding="utf-8").split(fault.text)
        assert len(parts) > fault.nth + 1, f"{fault.file} has no {fault.text!r}"
        head, tail = fault.text.join(parts[: fault.nth + 1]), fault.text.join(parts[fault.nth + 1 :])
        file.write_text(head + fault.instead + tail, encoding="utf-8")
        return folder

    return seed


def caught_by(folder, file, parameters):
    """Return the first part of the chain that refuses the templates, the fastest asked first."""
    try:
        resources = rendered_resources(parameters, folder)
        for path, resource in resources.items():
            api_calls(path, resource)
    except (RenderError, WrongProperty) as error:
        return f"replay: {error}"
    failed = rules_by_outcome(resources)["failed"]
    failed |= rules_by_outcome(load_template(folder / ROOT)["Resources"], "STACK_IS_TAGGED")["failed"]
    if failed:
        return f"rules: {failed}"
    found = findings([folder / file])
    return f"lint: {found}" if found else ""


def test_the_templates_themselves_are_not_refused(everything):
    assert caught_by(TEMPLATES, "storage.yml", everything) == ""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught(fault, seeded, everything):
    assert caught_by(seeded(fault), fault.file, everything)
