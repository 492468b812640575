"""The templates: no finding of cfn-lint, generated parts up to date, saved queries that run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from astrolake.lake.sql_statement import parse_query
from tests.cloudformation.conftest import parameter_file
from tests.cloudformation.lint import findings
from tests.cloudformation.render import (
    ACCOUNT,
    REGION,
    ROOT,
    TEMPLATES,
    RenderError,
    load_template,
    rendered_outputs,
    rendered_resources,
)

FILES = sorted(TEMPLATES.glob("*.yml"))


def test_cfn_lint_finds_nothing():
    assert findings(FILES) == []


def test_generated_templates_are_up_to_date():
    done = subprocess.run(
        [sys.executable, TEMPLATES / "make_templates.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_template_but_the_cluster_is_in_the_root():
    root = load_template(TEMPLATES / ROOT)["Resources"].values()
    nested = {stack["Properties"]["TemplateURL"]["Fn::Sub"].rsplit("/", 1)[-1] for stack in root}
    assert nested == {file.name for file in FILES} - {ROOT, "emr-cluster.yml"}


def test_every_query_is_saved_and_is_sql_of_athena(everything):
    saved = {
        resource["Properties"]["Name"]: resource["Properties"]["QueryString"]
        for resource in rendered_resources(everything).values()
        if resource["Type"] == "AWS::Athena::NamedQuery"
    }
    assert set(saved) == {file.stem for file in (TEMPLATES.parent / "sql/queries").glob("*.sql")}
    for text in saved.values():
        assert "${" not in text
        assert parse_query(text)


def test_buckets_are_named_after_project_account_and_region(everything):
    outputs = rendered_outputs(everything)
    names = {
        "SurveyImagesBucket": "survey-images",
        "SourceCatalogsBucket": "source-catalogs",
        "DerivedProductsBucket": "derived-products",
        "AthenaResultsBucket": "athena-results",
        "AccessLogsBucket": "access-logs",
    }
    for output, name in names.items():
        assert outputs[output] == f"astrolake-prod-{name}-{ACCOUNT}-{REGION}"
    assert outputs["LakeUri"] == f"s3://{outputs['SourceCatalogsBucket']}/lake"
    assert outputs["GlueDatabase"] == "astronomy_catalog"


def test_the_longest_project_has_buckets_in_the_region_of_the_longest_name():
    longest = parameter_file("parameters.json") | {"ProjectName": "a" * 13, "Environment": "prod"}
    found = [r["Properties"] for r in rendered_resources(longest).values() if r["Type"] == "AWS::S3::Bucket"]
    names = [bucket["BucketName"].replace(REGION, "ap-southeast-1") for bucket in found]
    assert len(names) == 5
    assert max(map(len, names)) <= 63


def test_rules_of_eventbridge_reach_the_encrypted_topic(everything):
    resources = rendered_resources(everything)
    for path, policy in (("Alerts/AlertsKey", "KeyPolicy"), ("Alerts/AlertsTopicPolicy", "PolicyDocument")):
        statements = resources[path]["Properties"][policy]["Statement"]
        (rules,) = (one for one in statements if "events.amazonaws.com" in str(one["Principal"]))
        assert rules["Principal"] == {"Service": "events.amazonaws.com"}
        assert "Condition" not in rules


def test_the_function_is_made_with_a_role_that_may_trace(everything, minimal):
    traced, untraced = rendered_resources(everything), rendered_resources(minimal)
    assert len(traced["Serverless/UploadRole"]["Properties"]["ManagedPolicyArns"]) == 1
    assert "ManagedPolicyArns" not in untraced["Serverless/UploadRole"]["Properties"]
    assert "Serverless/TracingPolicy" not in untraced


def test_the_serverless_tier_stands_alone(minimal):
    parts = {path.split("/")[0] for path in rendered_resources(minimal)}
    assert parts == {
        "Storage",
        "Alerts",
        "Cost",
        "Catalog",
        "CatalogTables",
        "Serverless",
        "Analytics",
        "NamedQueries",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Environment": "test"}, "Environment"),
        ({"MonthlyBudgetUsd": "much"}, "not a number"),
        ({"UploadConcurrency": "1"}, "out of bounds"),
        ({"ProjectName": "Sky Survey"}, "ProjectName"),
        ({"ProjectName": "sky-survey-2026"}, "ProjectName"),
        ({"KmsKeyArn": "alias/mine"}, "KmsKeyArn"),
        ({"Colour": "red"}, "Colour"),
    ],
)
def test_a_wrong_parameter_is_refused(change, message):
    with pytest.raises(RenderError, match=message):
        rendered_resources(parameter_file("parameters.json") | change)


def test_no_secret_or_account_is_in_the_templates():
    for file in [*FILES, *TEMPLATES.glob("*.json")]:
        text = Path(file).read_text(encoding="utf-8")
        assert "AKIA" not in text
        if file.name != "parameters-prod.json":
            assert ACCOUNT not in text
    placeholder = parameter_file("parameters-prod.json")["KmsKeyArn"]
    assert placeholder.endswith("00000000-0000-0000-0000-000000000000")


def test_the_dashboard_is_json(everything):
    body = rendered_resources(everything)["Alerts/Dashboard"]["Properties"]["DashboardBody"]
    assert "${" not in body
    assert len(json.loads(body)["widgets"]) == 6
