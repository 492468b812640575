"""AWS Batch without containers: moto keeps the books, and a stand-in for its compute runs the entry point."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from moto.batch.models import batch_backends
from moto.batch_simple.models import BatchSimpleBackend
from moto.core.models import default_user_config

ENTRYPOINT = Path(__file__).parents[2] / "batch" / "entrypoint.py"
QUEUE, DEFINITION = "astronomy-queue", "source-extraction"
ACCOUNT, REGION = "123456789012", "us-east-1"

#: What a container does: command and environment in; exit code, reason and state's reason out.
Container = Callable[[list[str], dict[str, str]], "Ended"]


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    code: int | None = 0
    reason: str = ""
    status_reason: str = "Essential container in task exited"


def entrypoint(command: list[str], environment: dict[str, str]) -> Ended:
    """Run the image's entry point as a process."""
    done = subprocess.run(
        [sys.executable, str(ENTRYPOINT), *command],
        env=os.environ | environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Ended(done.returncode, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "")


@dataclass
class Compute:
    """Runs the jobs that wait in moto's queue when asked to.

    Parameters
    ----------
    container : callable
        What a container does.
    waiting : list
        Jobs of moto that have not run, children of arrays among them.
    slept : list of float
        For how long it was waited.
    """

    container: Container = entrypoint
    waiting: list[Any] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass: what waits runs meanwhile."""
        self.slept.append(seconds)
        self.now += seconds
        if seconds >= 1:
            self.run()

    def run(self) -> None:
        """Run all that waits."""
        waiting, self.waiting = self.waiting, []
        for job in waiting:
            if job._child_jobs is None:
                self._run_one(job)
        for job in waiting:
            if job._child_jobs is not None:
                _stop(job, all(child.status == "SUCCEEDED" for child in job._child_jobs), Ended(None))

    def _run_one(self, job: Any) -> None:
        environment = {"AWS_BATCH_JOB_ID": job.job_id}
        if "index" in job.array_properties:
            environment["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.array_properties["index"])
        ended = self.container(job.container_overrides["command"], environment)
        job.log_stream_name = job._stream_name
        job._start_attempt()
        _stop(job, ended.code == 0, ended)

    def ids(self) -> list[str]:
        """Return the ids of the jobs that moto knows."""
        return list(batch_backends[ACCOUNT][REGION]._jobs)


def _stop(job: Any, success: bool, ended: Ended) -> None:
    job._mark_stopped(success=success)
    job.exit_code, job.job_stopped_reason = ended.code, ended.status_reason
    job.ended = ended


@contextmanager
def compute_of(container: Container = entrypoint) -> Iterator[Compute]:
    """Let moto keep jobs waiting until the compute runs them, and say of them what Batch says."""
    from moto.batch.models import Job

    compute = Compute(container)
    mark, describe = BatchSimpleBackend._mark_job_as_finished, Job.describe

    def keep(backend: Any, include_start_attempt: bool, job: Any) -> None:
        backend.backend._jobs[job.job_id] = job
        if "size" in job.array_properties:
            job._child_jobs = []
        compute.waiting.append(job)

    def described(job: Any) -> dict[str, Any]:
        found = describe(job)
        ended = getattr(job, "ended", None)
        if ended is not None and ended.code is not None:
            found["container"] |= {"exitCode": ended.code, "reason": ended.reason}
        if "index" in job.array_properties:
            found["arrayProperties"] = {"index": job.array_properties["index"]}
        return found

    BatchSimpleBackend._mark_job_as_finished, Job.describe = keep, described
    settings = default_user_config.get("batch", {})
    default_user_config["batch"] = {"use_docker": False}
    try:
        yield compute
    finally:
        BatchSimpleBackend._mark_job_as_finished, Job.describe = mark, describe
        default_user_config["batch"] = settings


def make_queue() -> Any:
    """Create queue and job definition; return a client."""
    iam, batch = boto3.client("iam"), boto3.client("batch")
    role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument=json.dumps({}))["Role"]["Arn"]
    environment = batch.create_compute_environment(
        computeEnvironmentName="cpu", type="UNMANAGED", state="ENABLED", serviceRole=role
    )["computeEnvironmentArn"]
    batch.create_job_queue(
        jobQueueName=QUEUE,
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
    )
    batch.register_job_definition(
        jobDefinitionName=DEFINITION,
        type="container",
        containerProperties={"image": "astrolake", "vcpus": 2, "memory": 4096},
    )
    return batch
