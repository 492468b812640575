"""The rules of cloudformation/rules pass on the templates, and each of them can fail."""

import copy

import pytest

pytest.importorskip("cfn_guard_rs")

from tests.cloudformation.guard import RULE_FILES, rules_by_outcome
from tests.cloudformation.render import ROOT, TEMPLATES, load_template, rendered_resources

ALL_RULES = sorted(RULE_FILES)
IMAGES, QUEUE = "Storage/SurveyImages", "Storage/UploadQueue"
FUNCTION, MAPPING = "Serverless/UploadFunction", "Serverless/UploadMapping"


#: Rule -> a change that it must not let pass: path of the resource, keys down to the value, the value (None: gone).
BREAKS = {
    "BUCKET_ENCRYPTED": (IMAGES, ["BucketEncryption"], None),
    "BUCKET_BLOCKS_PUBLIC_ACCESS": (IMAGES, ["PublicAccessBlockConfiguration", "BlockPublicPolicy"], False),
    "BUCKET_VERSIONED": (IMAGES, ["VersioningConfiguration", "Status"], "Suspended"),
    "BUCKET_CLEANS_UP": (IMAGES, ["LifecycleConfiguration", "Rules"], [{"Id": "a", "Status": "Enabled"}]),
    "BUCKET_LOGS_ACCESS": (IMAGES, ["LoggingConfiguration"], None),
    "BUCKET_TAKES_TLS_ONLY": ("Storage/SurveyImagesPolicy", ["Bucket"], "another-bucket"),
    "QUEUE_ENCRYPTED": (QUEUE, ["SqsManagedSseEnabled"], False),
    "QUEUE_HAS_DEAD_LETTERS": (QUEUE, ["RedrivePolicy"], None),
    "TOPIC_ENCRYPTED": ("Alerts/AlertsTopic", ["KmsMasterKeyId"], None),
    "KEY_ROTATES": ("Alerts/AlertsKey", ["EnableKeyRotation"], False),
    "NO_WILDCARD_ACTION": (
        "Etl/JobRole",
        ["Policies", 0, "PolicyDocument", "Statement", 0, "Action"],
        "s3:*",
    ),
    "NO_WILDCARD_RESOURCE": (
        "Etl/JobRole",
        ["Policies", 0, "PolicyDocument", "Statement", 0, "Resource"],
        "*",
    ),
    "WILDCARD_RESOURCE_HAS_CONDITION": (
        "Etl/MetricsPolicy",
        ["PolicyDocument", "Statement", 0, "Condition"],
        None,
    ),
    "NO_PUBLIC_PRINCIPAL": (
        "Storage/UploadQueuePolicy",
        ["PolicyDocument", "Statement", 0, "Principal"],
        {"AWS": "*"},
    ),
    "ROLE_NOT_FOR_PEOPLE": (
        "Etl/JobRole",
        ["AssumeRolePolicyDocument", "Statement", 0, "Principal"],
        {"AWS": "*"},
    ),
    "NO_ADMINISTRATOR": (
        "Batch/InstanceRole",
        ["ManagedPolicyArns"],
        ["arn:aws:iam::aws:policy/AmazonS3FullAccess"],
    ),
    "LOGS_EXPIRE": ("Serverless/UploadLogs", ["RetentionInDays"], None),
    "FAILED_MESSAGES_ARE_REPORTED": (MAPPING, ["FunctionResponseTypes"], None),
    "FUNCTION_IS_BOUNDED": (FUNCTION, ["Timeout"], None),
    "GLUE_JOB_CURRENT": ("EtlJobs/BuildObjects", ["GlueVersion"], "4.0"),
    "QUERIES_ARE_BOUNDED": (
        "Analytics/WorkGroup",
        ["WorkGroupConfiguration", "BytesScannedCutoffPerQuery"],
        None,
    ),
    "BATCH_JOB_SURVIVES_SPOT": ("Batch/SourceExtraction", ["RetryStrategy", "EvaluateOnExit"], []),
    "BATCH_ON_SPOT": ("Batch/CpuEnvironment", ["ComputeResources", "Type"], "EC2"),
    "INSTANCES_ARE_SAFE": (
        "Batch/LaunchTemplate",
        ["LaunchTemplateData", "MetadataOptions", "HttpTokens"],
        "optional",
    ),
    "NOTHING_LISTENS": ("Batch/SecurityGroup", ["SecurityGroupIngress"], [{"CidrIp": "0.0.0.0/0"}]),
    "IMAGES_ARE_FIXED": ("Batch/Repository", ["ImageTagMutability"], "MUTABLE"),
    "NOTEBOOK_IS_CLOSED": ("Ml/Notebook", ["DirectInternetAccess"], "Enabled"),
    "ALARMS_ARE_HEARD": ("Alerts/DeadLettersAlarm", ["AlarmActions"], []),
}


@pytest.fixture(scope="module")
def resources(everything):
    return rendered_resources(everything)


@pytest.mark.parametrize("without", [{}, {"KmsKeyArn": ""}, {"EnableBatch": "false", "EnableMl": "false"}])
def test_the_templates_keep_the_rules(everything, without):
    outcome = rules_by_outcome(rendered_resources(everything | without))
    assert not outcome["failed"]


def test_every_rule_has_something_to_look_at(resources):
    nested = rules_by_outcome(load_template(TEMPLATES / ROOT)["Resources"])
    assert not nested["failed"]
    passed = rules_by_outcome(resources)["passed"] | nested["passed"]
    assert sorted(passed) == ALL_RULES


def test_the_template_of_clusters_keeps_the_rules(cluster):
    assert not rules_by_outcome(rendered_resources(cluster, template="emr-cluster.yml"))["failed"]


@pytest.mark.parametrize("rule", sorted(BREAKS))
def test_each_rule_can_fail(resources, rule):
    path, keys, value = BREAKS[rule]
    broken = copy.deepcopy(resources)
    place = broken[path]["Properties"]
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    assert rule in rules_by_outcome(broken, rule)["failed"]


def test_a_stack_without_tags_fails():
    nested = copy.deepcopy(load_template(TEMPLATES / ROOT)["Resources"])
    del nested["Storage"]["Properties"]["Tags"]
    assert rules_by_outcome(nested)["failed"] == {"STACK_IS_TAGGED"}
    assert {*BREAKS, "STACK_IS_TAGGED"} == set(ALL_RULES)


def test_a_policy_that_denies_too_little_fails(resources):
    broken = copy.deepcopy(resources)
    document = broken["Storage/SourceCatalogsPolicy"]["Properties"]["PolicyDocument"]
    (statement,) = document["Statement"]
    statement["Resource"] = statement["Resource"][:1]
    assert "BUCKET_TAKES_TLS_ONLY" in rules_by_outcome(broken, "BUCKET_TAKES_TLS_ONLY")["failed"]


def test_every_suppression_has_a_reason():
    found = 0
    for file in TEMPLATES.glob("*.yml"):
        for name, resource in load_template(file)["Resources"].items():
            metadata = resource.get("Metadata", {})
            for skip in metadata.get("checkov", {}).get("skip", ()):
                assert len(skip["comment"]) > 20, f"{file.name}: {name} {skip['id']}"
                found += 1
            if "guard" in metadata:
                assert len(metadata["guard"]["Reason"]) > 20, f"{file.name}: {name}"
                assert set(metadata["guard"]["SuppressedRules"]) <= set(ALL_RULES)
                found += 1
            assert "cfn-lint" not in metadata, f"{file.name}: {name}"
    assert found >= 10
