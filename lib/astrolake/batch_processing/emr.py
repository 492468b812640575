"""Jobs on EMR: requests read from files, submitted once, waited for with back-off."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from astrolake.batch_processing.aws import aws_errors, make_client
from astrolake.errors import BadArguments

if TYPE_CHECKING:
    from boto3.session import Session

LOGGER = logging.getLogger(__name__)
#: Seconds between looks at a run: few at first, so that a short run is not waited for long.
_FIRST_WAIT_S, _LONGEST_WAIT_S, _GROWTH = 5.0, 60.0, 1.5
_COMMON = "common"
_DONE = ("SUCCESS", "COMPLETED")
_ENDED = (*_DONE, "FAILED", "CANCELLED", "INTERRUPTED")
#: Where a step's Python is: YARN unpacks the archive beside it, as EMR Serverless does.
_PYTHON = "./environment/bin/python"


@dataclass(frozen=True)
class EmrRun:
    """A job run of an EMR Serverless application, or a step of an EMR cluster.

    `owner` is the id of the application or cluster, `logs` the S3 prefix of its logs (empty: none kept).
    """

    service: str
    owner: str
    run_id: str
    logs: str = ""


@dataclass(frozen=True)
class RunState:
    """What became of a run; `detail` is what EMR says of it."""

    state: str
    detail: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.state in _ENDED

    @property
    def succeeded(self) -> bool:
        """Whether the job did what it had to."""
        return self.state in _DONE


def read_request(
    directory: Path, job: str, values: Mapping[str, str], flags: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the StartJobRun request of a job: what is common to all, the job's own, and flags at the end.

    Parameters
    ----------
    directory : Path
        Of `common.json` and a file for each job; `${Name}` in them stands for a value.
    job : str
        Name of the job.
    values : mapping of str
        What the names in the files stand for; `Job` is the job's name.
    flags : sequence of str
        Further flags of the job, after those of its file.

    Raises
    ------
    BadArguments
        When there is no such job, or a file has a name without value; the message names it.
    """
    names = sorted(path.stem for path in directory.glob("*.json") if path.stem != _COMMON)
    if job not in names:
        raise BadArguments(f"no job {job!r} in {directory}; the jobs are {', '.join(names)}")
    parts = [json.loads((directory / f"{name}.json").read_text(encoding="utf-8")) for name in (_COMMON, job)]
    request: dict[str, Any] = _filled(_merged(*parts), {"Job": job, **values}, job)
    submit = request["jobDriver"]["sparkSubmit"]
    submit["entryPointArguments"] = [*submit["entryPointArguments"], *flags]
    submit["sparkSubmitParameters"] = " ".join(submit["sparkSubmitParameters"])
    return request


def _merged(first: Any, second: Any) -> Any:
    """Return two JSON values as one: objects by key, lists one after the other, else the second."""
    if isinstance(first, dict) and isinstance(second, dict):
        both = {key: _merged(first[key], second[key]) for key in first.keys() & second.keys()}
        return first | second | both
    return [*first, *second] if isinstance(first, list) and isinstance(second, list) else second


def _filled(value: Any, values: Mapping[str, str], job: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, values, job) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values, job) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return Template(value).substitute(values)
    except KeyError as error:
        raise BadArguments(f"{job}: no value for {error.args[0]} in {value!r}") from error


def start_job_run(request: Mapping[str, Any], token: str, session: Session | None = None) -> EmrRun:
    """Start a job run of an EMR Serverless application; one token starts it once, however often it is sent.

    Parameters
    ----------
    request : mapping
        Of `read_request`.
    token : str
        What tells this run from others of the same request: the name of a night, an execution's id.
    session : boto3 Session
        Credentials and region; the ambient ones by default.

    Raises
    ------
    AstrolakeError
        When EMR refuses it, or cannot be reached.
    """
    client = make_client("emr-serverless", session)
    body = json.dumps(request, sort_keys=True)
    token = hashlib.sha256(f"{token}\n{body}".encode()).hexdigest()
    with aws_errors(f"start {request['name']}"):
        answer = client.start_job_run(**request, clientToken=token)
    monitoring = request.get("configurationOverrides", {}).get("monitoringConfiguration", {})
    root = monitoring.get("s3MonitoringConfiguration", {}).get("logUri", "").rstrip("/")
    owner, run_id = answer["applicationId"], answer["jobRunId"]
    logs = f"{root}/applications/{owner}/jobs/{run_id}/" if root else ""
    return EmrRun("emr-serverless", owner, run_id, logs)


def step_of(request: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Return the step of an EMR cluster that does what a request does on EMR Serverless."""
    submit = request["jobDriver"]["sparkSubmit"]
    given = submit["sparkSubmitParameters"].split(" ")
    pairs = zip(given[::2], given[1::2], strict=True)
    kept = [word for pair in pairs if not pair[1].startswith("spark.emr-serverless.") for word in pair]
    python = ["--conf", f"spark.yarn.appMasterEnv.PYSPARK_PYTHON={_PYTHON}"]
    # Failed steps leave the cluster and its other steps running.
    return {
        "Name": f"{request['name']} {token}",
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [
                *("spark-submit", "--deploy-mode", "cluster", *kept, *python),
                *(submit["entryPoint"], *submit["entryPointArguments"]),
            ],
        },
    }


def add_step(
    cluster_id: str, request: Mapping[str, Any], token: str, session: Session | None = None
) -> EmrRun:
    """Add a job to the steps of an EMR cluster, unless a step of this job and token is there already.

    EMR knows no tokens for steps: the step's name has it, and a step of that name that did not fail is taken.

    Raises
    ------
    AstrolakeError
        When EMR refuses it, or cannot be reached.
    """
    client = make_client("emr", session)
    step = step_of(request, token)
    with aws_errors(f"add the step {step['Name']!r} to the cluster {cluster_id}"):
        logs = client.describe_cluster(ClusterId=cluster_id)["Cluster"].get("LogUri", "").rstrip("/")
        pages = client.get_paginator("list_steps").paginate(ClusterId=cluster_id)
        step_id = next((found["Id"] for page in pages for found in page["Steps"] if _same(found, step)), "")
        if step_id:
            LOGGER.info("the cluster %s has the step %s already: %s", cluster_id, step["Name"], step_id)
        else:
            step_id = client.add_job_flow_steps(JobFlowId=cluster_id, Steps=[step])["StepIds"][0]
    return EmrRun("emr", cluster_id, step_id, f"{logs}/{cluster_id}/steps/{step_id}/" if logs else "")


def _same(found: Mapping[str, Any], step: Mapping[str, Any]) -> bool:
    return found["Name"] == step["Name"] and found["Status"]["State"] not in (
        "FAILED",
        "CANCELLED",
        "INTERRUPTED",
    )


def run_state(run: EmrRun, session: Session | None = None) -> RunState:
    """Return the present state of a run."""
    client = make_client(run.service, session)
    with aws_errors(f"ask for the state of {run.run_id}"):
        if run.service == "emr-serverless":
            found = client.get_job_run(applicationId=run.owner, jobRunId=run.run_id)["jobRun"]
            return RunState(found["state"], found.get("stateDetails", ""))
        status = client.describe_step(ClusterId=run.owner, StepId=run.run_id)["Step"]["Status"]
    failure = status.get("FailureDetails", {})
    return RunState(status["State"], failure.get("Reason", "") or failure.get("Message", ""))


def wait_for_run(
    run: EmrRun,
    session: Session | None = None,
    *,
    timeout_s: float = 86_400.0,
    sleep: Callable[[float], None] = time.sleep,
) -> RunState:
    """Wait until a run has ended, looking ever less often, and return how; each change is logged.

    Parameters
    ----------
    run : EmrRun
        As submitted.
    session : boto3 Session
        Credentials and region; the ambient ones by default.
    timeout_s : float
        Seconds after which its state is returned though it has not ended; the run goes on.
    sleep : callable
        Waits some seconds.
    """
    waited, wait, before = 0.0, _FIRST_WAIT_S, ""
    while True:
        state = run_state(run, session)
        if state.state != before:
            LOGGER.info("%s: %s %s", run.run_id, state.state, state.detail)
        if state.ended or waited >= timeout_s:
            return state
        sleep(wait)
        before, waited, wait = state.state, waited + wait, min(wait * _GROWTH, _LONGEST_WAIT_S)
