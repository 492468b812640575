"""Every resource of the templates is made through boto3 in moto, and says of itself what the templates say."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError

from astrolake.schema import SOURCES
from astrolake.schema.athena import glue_columns
from tests.cloudformation.replay import Replay


@pytest.fixture(scope="module")
def stack(account, everything):
    """A replay of production with every part, and its outputs."""
    replay = Replay()
    outputs = replay.run(everything | account | {"KmsKeyArn": _key()})
    return replay, outputs


def _key() -> str:
    return boto3.client("kms").create_key(Description="buckets")["KeyMetadata"]["Arn"]


@pytest.fixture(scope="module")
def outputs(stack):
    return stack[1]


def test_everything_is_made(stack):
    replay, outputs = stack
    kinds = {resource["Type"] for resource in replay.resources.values()}
    assert len(replay.resources) > 100
    assert len(kinds) > 35
    assert len(outputs) > 20


def bucket_names(outputs):
    return [value for name, value in outputs.items() if name.endswith("Bucket")]


def test_buckets_are_private_versioned_and_encrypted(outputs):
    s3 = boto3.client("s3")
    assert len(bucket_names(outputs)) == 5
    for bucket in bucket_names(outputs):
        rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
        wanted = "AES256" if bucket == outputs["AccessLogsBucket"] else "aws:kms"
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == wanted
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        assert set(block.values()) == {True}
        policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        (tls,) = (item for item in policy["Statement"] if item["Sid"] == "TlsOnly")
        assert tls["Effect"] == "Deny"
        assert tls["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]


def test_objects_cool_down_and_old_versions_go(outputs):
    s3 = boto3.client("s3")
    rules = s3.get_bucket_lifecycle_configuration(Bucket=outputs["SurveyImagesBucket"])["Rules"]
    moves = [(move["StorageClass"], move["Days"]) for rule in rules for move in rule.get("Transitions", ())]
    assert moves == [("STANDARD_IA", 30), ("GLACIER_IR", 120)]
    for bucket in bucket_names(outputs):
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
        assert any("NoncurrentVersionExpiration" in rule for rule in rules)
        # S3 takes delete markers away that hide nothing: asked to, or with current objects that expire.
        assert any("Expiration" in rule and not rule["Filter"].get("Prefix") for rule in rules)


def test_access_is_logged_beside(outputs):
    s3 = boto3.client("s3")
    for name in (
        "SurveyImagesBucket",
        "SourceCatalogsBucket",
        "DerivedProductsBucket",
        "AthenaResultsBucket",
    ):
        logging = s3.get_bucket_logging(Bucket=outputs[name])["LoggingEnabled"]
        assert logging["TargetBucket"] == outputs["AccessLogsBucket"]


def test_uploads_reach_the_function(outputs):
    s3, sqs, functions = boto3.client("s3"), boto3.client("sqs"), boto3.client("lambda")
    notified = s3.get_bucket_notification_configuration(Bucket=outputs["SurveyImagesBucket"])
    queue = sqs.get_queue_attributes(QueueUrl=outputs["UploadQueueUrl"], AttributeNames=["All"])["Attributes"]
    suffixes = {
        rule["Value"]
        for entry in notified["QueueConfigurations"]
        for rule in entry["Filter"]["Key"]["FilterRules"]
    }
    assert suffixes == {".fits", ".fits.gz", ".fits.fz", ".fits.bz2", ".fit"}
    assert {entry["QueueArn"] for entry in notified["QueueConfigurations"]} == {queue["QueueArn"]}
    function = functions.get_function_configuration(FunctionName=outputs["UploadFunction"])
    assert int(queue["VisibilityTimeout"]) >= 6 * function["Timeout"]
    (mapping,) = functions.list_event_source_mappings(EventSourceArn=queue["QueueArn"])["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] == 100
    assert mapping["FunctionArn"] == function["FunctionArn"]
    concurrency = functions.get_function_concurrency(FunctionName=outputs["UploadFunction"])
    assert concurrency["ReservedConcurrentExecutions"] == 120


def test_failed_messages_are_kept(outputs):
    sqs = boto3.client("sqs")
    queue = sqs.get_queue_attributes(QueueUrl=outputs["UploadQueueUrl"], AttributeNames=["All"])["Attributes"]
    dead = sqs.get_queue_attributes(QueueUrl=outputs["UploadDeadLetterQueueUrl"], AttributeNames=["All"])
    redrive = json.loads(queue["RedrivePolicy"])
    assert redrive == {"deadLetterTargetArn": dead["Attributes"]["QueueArn"], "maxReceiveCount": 5}
    assert dead["Attributes"]["SqsManagedSseEnabled"] == queue["SqsManagedSseEnabled"] == "true"


def test_the_table_of_the_uploads_is_as_declared(outputs):
    table = boto3.client("glue").get_table(DatabaseName=outputs["GlueDatabase"], Name="sources")["Table"]
    storage = table["StorageDescriptor"]
    assert storage["Location"] == f"s3://{outputs['SourceCatalogsBucket']}/sources/"
    assert storage["Columns"] == glue_columns(SOURCES)
    assert [key["Name"] for key in table["PartitionKeys"]] == list(SOURCES.partition_by)
    assert "parquet" in storage["SerdeInfo"]["SerializationLibrary"].lower()


def test_the_crawler_reads_delta_natively(outputs):
    crawler = boto3.client("glue").get_crawler(Name="astrolake-prod-lake")["Crawler"]
    (target,) = crawler["Targets"]["DeltaTargets"]
    assert (target["CreateNativeDeltaTable"], target["WriteManifest"]) == (True, False)
    assert f"{outputs['LakeUri']}/images/" in target["DeltaTables"]


def test_glue_jobs_run_on_5_1(outputs):
    glue = boto3.client("glue")
    jobs = [glue.get_job(JobName=name)["Job"] for name in glue.list_jobs()["JobNames"]]
    assert len(jobs) == 11
    for job in jobs:
        assert (job["GlueVersion"], job["Command"]["Name"]) == ("5.1", "glueetl")
        assert job["DefaultArguments"]["--lake"] == outputs["LakeUri"]
        assert job["SecurityConfiguration"] == "astrolake-prod"
        name = job["Name"].removeprefix("astrolake-prod-")
        assert job["Command"]["ScriptLocation"].endswith(f"astrolake/0.1.0/jobs/{name}.py")


def test_the_workflow_is_one_chain(outputs):
    glue = boto3.client("glue")
    assert glue.get_workflow(Name=outputs["GlueWorkflow"])["Workflow"]["MaxConcurrentRuns"] == 1
    triggers = [glue.get_trigger(Name=name)["Trigger"] for name in glue.list_triggers()["TriggerNames"]]
    needs = {
        action["JobName"].removeprefix("astrolake-prod-"): {
            condition["JobName"].removeprefix("astrolake-prod-")
            for condition in trigger.get("Predicate", {}).get("Conditions", ())
        }
        for trigger in triggers
        for action in trigger["Actions"]
    }
    assert needs == {
        "ingest_images": set(),
        "ingest_catalog": set(),
        "extract_sources": {"ingest_images", "ingest_catalog"},
        "build_objects": {"extract_sources"},
        "force_photometry": {"build_objects"},
        "crossmatch_catalogs": {"build_objects"},
        "train_photoz": {"crossmatch_catalogs"},
        "estimate_photoz": {"train_photoz"},
        "maintain_tables": {"force_photometry", "crossmatch_catalogs", "estimate_photoz"},
        "publish_tables": {"maintain_tables"},
    }
    assert {
        trigger["Name"]: trigger["Schedule"] for trigger in triggers if trigger["Type"] == "SCHEDULED"
    } == {"astrolake-prod-start": "cron(0 6 * * ? *)"}


def test_queries_are_limited_and_saved(outputs):
    athena = boto3.client("athena")
    group = athena.get_work_group(WorkGroup=outputs["AthenaWorkgroup"])["WorkGroup"]["Configuration"]
    assert group["EnforceWorkGroupConfiguration"] is True
    assert group["BytesScannedCutoffPerQuery"] == 1099511627776
    assert group["ResultConfiguration"]["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"
    assert group["ResultConfiguration"]["OutputLocation"] == f"s3://{outputs['AthenaResultsBucket']}/results/"
    ids = athena.list_named_queries(WorkGroup=outputs["AthenaWorkgroup"])["NamedQueryIds"]
    saved = [athena.get_named_query(NamedQueryId=each)["NamedQuery"] for each in ids]
    assert {query["Database"] for query in saved} == {outputs["GlueDatabase"]}
    assert {"cone_search", "brightest_sources", "depth"} <= {query["Name"] for query in saved}


def test_batch_runs_on_spot_and_tries_again(outputs):
    batch = boto3.client("batch")
    environments = batch.describe_compute_environments()["computeEnvironments"]
    assert {item["computeResources"]["type"] for item in environments} == {"SPOT"}
    assert {item["computeResources"]["minvCpus"] for item in environments} == {0}
    queues = {queue["jobQueueName"] for queue in batch.describe_job_queues()["jobQueues"]}
    assert queues == {outputs["CpuJobQueue"], outputs["GpuJobQueue"]}
    definitions = {
        item["jobDefinitionName"]: item for item in batch.describe_job_definitions()["jobDefinitions"]
    }
    extraction = definitions[outputs["SourceExtractionJobDefinition"]]
    assert extraction["timeout"]["attemptDurationSeconds"] == 7200
    retries = extraction["retryStrategy"]["evaluateOnExit"]
    assert retries[0]["onStatusReason"] == "Host EC2*"
    assert [entry["action"].upper() for entry in retries] == ["RETRY", "RETRY", "RETRY", "EXIT"]
    environment = {item["name"]: item["value"] for item in extraction["containerProperties"]["environment"]}
    assert environment == {
        "LAKE": outputs["LakeUri"],
        "IMAGES_URI": f"s3://{outputs['SurveyImagesBucket']}/sdss/frames",
    }
    gpu = definitions[outputs["GpuJobDefinition"]]["containerProperties"]
    assert {"type": "GPU", "value": "1"} in gpu["resourceRequirements"]


def test_instances_need_tokens_and_encrypt_volumes(outputs):
    ec2 = boto3.client("ec2")
    (version,) = ec2.describe_launch_template_versions(LaunchTemplateName="astrolake-prod-batch")[
        "LaunchTemplateVersions"
    ]
    data = version["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True


def test_images_are_fixed_and_old_ones_go():
    ecr = boto3.client("ecr")
    (repository,) = ecr.describe_repositories()["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"]["scanOnPush"] is True
    policy = json.loads(ecr.get_lifecycle_policy(repositoryName="astrolake-prod")["lifecyclePolicyText"])
    assert len(policy["rules"]) == 2


def test_emr_serverless_stops_when_idle(outputs):
    client = boto3.client("emr-serverless")
    application = client.get_application(applicationId=outputs["EmrApplicationId"])["application"]
    assert application["releaseLabel"] == "emr-7.13.0"
    assert application["autoStopConfiguration"]["enabled"] is True
    assert application["maximumCapacity"]["cpu"] == "400 vCPU"


def test_alarms_and_failed_jobs_are_heard(outputs):
    cloudwatch, events = boto3.client("cloudwatch"), boto3.client("events")
    alarms = {alarm["AlarmName"]: alarm for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}
    assert len(alarms) == 5
    assert {tuple(alarm["AlarmActions"]) for alarm in alarms.values()} == {(outputs["AlertsTopicArn"],)}
    dead = alarms["astrolake-prod-dead-letters"]
    assert dead["Dimensions"] == [{"Name": "QueueName", "Value": "astrolake-prod-uploads-dead-letter"}]
    rules = {rule["Name"] for rule in events.list_rules()["Rules"]}
    assert rules == {f"astrolake-prod-{kind}-failures" for kind in ("glue", "batch", "emr")}
    for rule in rules:
        (target,) = events.list_targets_by_rule(Rule=rule)["Targets"]
        assert target["Arn"] == outputs["AlertsTopicArn"]
    body = json.loads(cloudwatch.get_dashboard(DashboardName="astrolake-prod")["DashboardBody"])
    assert len(body["widgets"]) == 6


def test_the_topic_is_encrypted_and_somebody_listens(outputs):
    sns = boto3.client("sns")
    attributes = sns.get_topic_attributes(TopicArn=outputs["AlertsTopicArn"])["Attributes"]
    assert attributes["KmsMasterKeyId"].startswith("arn:aws:kms:")
    assert "TlsOnly" in attributes["Policy"]
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=outputs["AlertsTopicArn"])["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operations@example.org")


def test_the_budget_warns():
    client = boto3.client("budgets")
    budget = client.describe_budget(AccountId="123456789012", BudgetName="astrolake-prod-monthly")["Budget"]
    assert float(budget["BudgetLimit"]["Amount"]) == 2000
    warnings = client.describe_notifications_for_budget(
        AccountId="123456789012", BudgetName="astrolake-prod-monthly"
    )["Notifications"]
    assert sorted(warning["Threshold"] for warning in warnings) == [50, 90, 100]


def test_logs_expire(stack):
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    mine = [group for group in groups if "astrolake-prod" in group["logGroupName"]]
    assert len(mine) == 5
    assert {group["retentionInDays"] for group in mine} == {365}


def test_the_model_and_the_notebook(outputs):
    sagemaker = boto3.client("sagemaker")
    model = sagemaker.describe_model(ModelName="astrolake-prod")
    assert model["PrimaryContainer"]["ModelDataUrl"].endswith("/models/model.tar.gz")
    (variant,) = sagemaker.describe_endpoint_config(EndpointConfigName="astrolake-prod")["ProductionVariants"]
    assert variant["ModelName"] == "astrolake-prod"
    notebook = sagemaker.describe_notebook_instance(NotebookInstanceName=outputs["NotebookInstance"])
    assert notebook["DirectInternetAccess"] == "Disabled"


def test_a_second_stack_of_the_same_names_is_refused(stack):
    replay, _ = stack
    with pytest.raises(ClientError, match="AlreadyExists"):
        replay.make("Catalog/Database", replay.resources["Catalog/Database"])
