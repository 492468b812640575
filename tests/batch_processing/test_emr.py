"""Requests for EMR as the API takes them, submitted to an offline EMR."""

import importlib
import json
import sys
from pathlib import Path

import botocore.session
import pytest
from botocore.validate import ParamValidator

from astrolake import __version__
from astrolake.batch_processing.emr import (
    EmrRun,
    RunState,
    add_step,
    read_request,
    run_state,
    start_job_run,
    step_of,
    wait_for_run,
)
from astrolake.cli import job_names, load_job
from astrolake.errors import AstrolakeError, BadArguments
from astrolake.job.args import parse_args

boto3 = pytest.importorskip("boto3")

ROOT = Path(__file__).resolve().parents[2]
REQUESTS = ROOT / "emr" / "serverless"
ROLE = "arn:aws:iam::123456789012:role/emr"
VALUES = {
    "ApplicationId": "00fabcdefgh1ij2k",
    "ExecutionRoleArn": ROLE,
    "Artifacts": "s3://artifacts/astrolake/0.1.0",
    "LakeUri": "s3://catalogs/lake",
    "SurveyImages": "s3://images",
    "LogUri": "s3://logs/emr",
    "GlueDatabase": "astronomy_catalog",
    "Version": "0.1.0",
}


def request_of(job: str, *flags: str, **values: str):
    return read_request(REQUESTS, job, VALUES | values, flags)


def validation_errors(service: str, operation: str, params) -> str:
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    return ParamValidator().validate(params, model.input_shape).generate_report()


def test_every_job_has_a_request():
    assert sorted(path.stem for path in REQUESTS.glob("*.json")) == sorted([*job_names(), "common"])


@pytest.mark.parametrize("job", job_names())
def test_a_request_is_what_the_api_takes(job):
    request = request_of(job) | {"clientToken": "token"}
    assert validation_errors("emr-serverless", "StartJobRun", request) == ""
    # A misspelt member is noticed.
    wrong = request | {"jobDriver": {"sparkSubmitt": request["jobDriver"]["sparkSubmit"]}}
    assert "sparkSubmitt" in validation_errors("emr-serverless", "StartJobRun", wrong)
    steps = {"JobFlowId": "j-1", "Steps": [step_of(request, "token")]}
    assert validation_errors("emr", "AddJobFlowSteps", steps) == ""
    assert "$" not in json.dumps(request)


@pytest.mark.parametrize("job", job_names())
def test_the_job_takes_its_arguments(job):
    found, submit = load_job(job), request_of(job)["jobDriver"]["sparkSubmit"]
    args = parse_args(found.args, submit["entryPointArguments"], found.name, found.doc)
    assert args.lake == VALUES["LakeUri"]
    assert submit["entryPoint"] == f"s3://artifacts/astrolake/0.1.0/jobs/{job}.py"


def test_the_environment_is_the_archive_that_is_packed():
    submit = request_of("extract_sources", Version=__version__)["jobDriver"]["sparkSubmit"]
    words = submit["sparkSubmitParameters"].split(" ")
    assert words[words.index("--archives") + 1].endswith(
        f"/emr/pyspark_astrolake-{__version__}.tar.gz#environment"
    )
    settings = dict(word.split("=", 1) for word in words if word.startswith("spark."))
    python = "./environment/bin/python"
    assert settings["spark.emr-serverless.driverEnv.PYSPARK_PYTHON"] == python
    assert settings["spark.executorEnv.PYSPARK_PYTHON"] == python


def test_a_jobs_own_settings_follow_the_common_ones():
    words = request_of("train_photoz")["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"].split(" ")
    memory = [word for word in words if word.startswith("spark.driver.memory=")]
    assert memory == ["spark.driver.memory=14g", "spark.driver.memory=27g"]


def test_further_flags_come_last():
    arguments = request_of("extract_sources", "--band", "r i")["jobDriver"]["sparkSubmit"][
        "entryPointArguments"
    ]
    assert arguments == ["--lake", "s3://catalogs/lake", "--band", "r i"]


def test_what_is_missing_is_named():
    with pytest.raises(BadArguments, match=r"no job 'extract'.*extract_sources"):
        request_of("extract")
    with pytest.raises(BadArguments, match="ingest_images: no value for SurveyImages"):
        read_request(
            REQUESTS, "ingest_images", {name: VALUES[name] for name in VALUES if name != "SurveyImages"}
        )


def application() -> str:
    client = boto3.client("emr-serverless")
    return client.create_application(name="a", releaseLabel="emr-7.13.0", type="SPARK")["applicationId"]


def test_a_job_run_is_started_as_asked(aws):
    request = request_of("extract_sources", ApplicationId=application())
    run = start_job_run(request, "night 1")
    found = boto3.client("emr-serverless").get_job_run(applicationId=run.owner, jobRunId=run.run_id)["jobRun"]
    assert found["name"] == "astrolake extract_sources"
    assert found["jobDriver"] == request["jobDriver"]
    assert found["executionRole"] == ROLE
    assert run.logs == f"s3://logs/emr/applications/{run.owner}/jobs/{run.run_id}/"


def test_one_token_is_sent_for_one_request(aws, monkeypatch):
    sent = []

    class Client:
        def start_job_run(self, **request):
            sent.append(request["clientToken"])
            return {"applicationId": "a", "jobRunId": "r"}

    monkeypatch.setattr("astrolake.batch_processing.emr.make_client", lambda service, session: Client())
    start_job_run(request_of("extract_sources"), "night 1")
    start_job_run(request_of("extract_sources"), "night 1")
    start_job_run(request_of("extract_sources"), "night 2")
    start_job_run(request_of("extract_sources", "--band", "r"), "night 1")
    assert sent[0] == sent[1]
    assert len(set(sent)) == 3
    assert all(1 <= len(token) <= 64 for token in sent)


def test_an_unknown_application_is_an_error_without_account(aws):
    with pytest.raises(AstrolakeError, match="cannot start astrolake extract_sources") as caught:
        start_job_run(request_of("extract_sources"), "t")
    assert "123456789012" not in str(caught.value)


def cluster() -> str:
    return boto3.client("emr").run_job_flow(
        Name="c",
        ReleaseLabel="emr-7.13.0",
        LogUri="s3://logs/emr/",
        Instances={
            "MasterInstanceType": "m5.xlarge",
            "InstanceCount": 1,
            "KeepJobFlowAliveWhenNoSteps": True,
        },
        JobFlowRole="r",
        ServiceRole="s",
    )["JobFlowId"]


def test_a_step_is_added_once_for_a_token(aws):
    cluster_id = cluster()
    request = request_of("extract_sources", "--where", "mjd > 59000")
    first = add_step(cluster_id, request, "night-1")
    assert add_step(cluster_id, request, "night-1") == first
    second = add_step(cluster_id, request, "night-2")
    steps = {step["Id"]: step for step in boto3.client("emr").list_steps(ClusterId=cluster_id)["Steps"]}
    assert set(steps) == {first.run_id, second.run_id}
    arguments = steps[first.run_id]["Config"]["Args"]
    assert arguments[:3] == ["spark-submit", "--deploy-mode", "cluster"]
    at = arguments.index("s3://artifacts/astrolake/0.1.0/jobs/extract_sources.py")
    assert arguments[at + 1 :] == ["--lake", "s3://catalogs/lake", "--where", "mjd > 59000"]
    assert "spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python" in arguments
    assert not [word for word in arguments if "emr-serverless" in word]
    assert first.logs == f"s3://logs/emr/{cluster_id}/steps/{first.run_id}/"
    assert run_state(first).state in ("PENDING", "RUNNING", "STARTING")


def test_waiting_backs_off_until_the_end(monkeypatch):
    states = iter(
        [RunState("QUEUED"), RunState("QUEUED"), *[RunState("RUNNING")] * 6, RunState("FAILED", "no memory")]
    )
    monkeypatch.setattr("astrolake.batch_processing.emr.run_state", lambda run, session: next(states))
    waits: list[float] = []
    end = wait_for_run(EmrRun("emr", "j-1", "s-1"), sleep=waits.append)
    assert end == RunState("FAILED", "no memory")
    assert not end.succeeded
    assert waits == [5.0, 7.5, 11.25, 16.875, 25.3125, 37.96875, 56.953125, 60.0]


def test_waiting_ends_with_its_time(monkeypatch):
    monkeypatch.setattr("astrolake.batch_processing.emr.run_state", lambda run, session: RunState("RUNNING"))
    end = wait_for_run(EmrRun("emr", "j-1", "s-1"), timeout_s=30, sleep=lambda seconds: None)
    assert not end.ended


@pytest.fixture
def submit(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "emr"))
    monkeypatch.delitem(sys.modules, "submit", raising=False)
    return importlib.import_module("submit").main


COMMON = (
    "--artifacts",
    "s3://art/x/",
    "--lake",
    "s3://c/lake",
    "--survey-images",
    "s3://i",
    "--log-uri",
    "s3://l",
)


def test_the_script_submits_and_says_where_the_logs_are(aws, submit, capsys):
    flags = (
        "--application-id",
        application(),
        "--execution-role-arn",
        ROLE,
        "--no-wait",
        "--",
        "--band",
        "r",
    )
    assert submit(["extract_sources", *COMMON, *flags]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["logs"].startswith("s3://l/applications/")
    found = boto3.client("emr-serverless").get_job_run(applicationId=said["owner"], jobRunId=said["id"])[
        "jobRun"
    ]
    assert found["jobDriver"]["sparkSubmit"]["entryPointArguments"] == [
        "--lake",
        "s3://c/lake",
        "--band",
        "r",
    ]


@pytest.mark.parametrize(("state", "code"), [("SUCCESS", 0), ("FAILED", 1)])
def test_the_scripts_exit_code_is_the_jobs(aws, submit, capsys, monkeypatch, state, code):
    monkeypatch.setattr(
        "astrolake.batch_processing.emr.run_state", lambda run, session: RunState(state, "why")
    )
    flags = ("--application-id", application(), "--execution-role-arn", ROLE)
    assert submit(["extract_sources", *COMMON, *flags]) == code
    assert json.loads(capsys.readouterr().out)["state"] == state


def test_the_script_refuses_half_an_address(aws, submit, capsys):
    assert submit(["extract_sources", *COMMON, "--application-id", "a"]) == 2
    assert "--execution-role-arn" in capsys.readouterr().err
