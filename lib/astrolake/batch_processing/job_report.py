"""What became of jobs, and of those that failed why, and what to do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pandas as pd

from astrolake.redact import redact

#: What the reasons of Batch and of the container say, the first that fits: pattern, cause, remedy.
_CAUSES = (
    (r"Host EC2 .*terminated", "spot", "the instance was taken away: resubmit"),
    (r"OutOfMemory|exit code 137", "memory", "give the job definition more memory"),
    (r"CannotPullContainer", "image", "push the image, and let the execution role read it from ECR"),
    (r"exceeded timeout", "timeout", "give the job definition a longer timeout"),
    (r"Dependent Job failed", "dependency", "see the job that it waited for"),
    (r"ResourceInitializationError|CannotStartContainer|DockerTimeout", "start", "resubmit; see its reason"),
    (r"MISCONFIGURATION", "misconfiguration", "the compute environment has no room for the job"),
)
#: Exit codes of the container's entry point.
_CODES = {
    1: ("exit code 1", "see its log"),
    2: ("arguments", "see its log: the arguments are wrong"),
    3: ("rejects", "with --strict: something was rejected; see the rejects beside its output"),
    137: ("memory", "killed: give the job definition more memory"),
    143: ("terminated", "resubmit"),
}
_ENDED = ("cancelled", "it was ended by a user: resubmit")


#: What to know of jobs that Batch no longer knows.
FORGOTTEN = (
    "Batch does not know them, it keeps a finished job for about a day; submit their fields again: a catalog "
    "that is up to date is kept as it is"
)


@dataclass(frozen=True)
class FailedJob:
    """A job, or a child of an array job, that failed.

    Parameters
    ----------
    job_id, name : str
    cause, remedy : str
    status_reason, container_reason : str
        What Batch and the container said.
    exit_code : int or None
        Of the last attempt's container, None where none ran.
    attempts : int
    log_stream : str
        In the log group of the job definition (/aws/batch/job).
    """

    job_id: str
    name: str
    cause: str
    remedy: str
    status_reason: str
    container_reason: str
    exit_code: int | None
    attempts: int
    log_stream: str

    @classmethod
    def of(cls, job: dict[str, Any]) -> FailedJob:
        """Return it from what describe_jobs says."""
        attempts = job.get("attempts", [])
        container = job.get("container", {})
        last = attempts[-1].get("container", {}) if attempts else {}
        code = container.get("exitCode", last.get("exitCode"))
        status_reason = str(job.get("statusReason", ""))
        container_reason = str(container.get("reason", last.get("reason", "")))
        ended = bool(job.get("isCancelled") or job.get("isTerminated"))
        cause, remedy = _ENDED if ended else _cause(f"{status_reason} {container_reason}", code)
        return cls(
            job["jobId"],
            job["jobName"],
            cause,
            remedy,
            redact(status_reason),
            redact(container_reason),
            code,
            len(attempts),
            str(container.get("logStreamName", last.get("logStreamName", ""))),
        )


def _cause(reasons: str, code: int | None) -> tuple[str, str]:
    for pattern, cause, remedy in _CAUSES:
        if re.search(pattern, reasons, re.IGNORECASE):
            return cause, remedy
    if code is None:
        return "unknown", "see its reason"
    return _CODES.get(code, (f"exit code {code}", "see its log"))


@dataclass(frozen=True)
class JobsSummary:
    """What became of some jobs.

    Parameters
    ----------
    succeeded : tuple of str
        Their ids.
    failed : tuple of FailedJob
        Of an array job the children that failed.
    forgotten : tuple of str
        Ids that Batch does not know, or no longer: it keeps a finished job for about a day.
    counts : dict
        Jobs by state, children of arrays counted each.
    seconds : float
        How long they were watched.
    """

    succeeded: tuple[str, ...] = ()
    failed: tuple[FailedJob, ...] = ()
    forgotten: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all jobs are known to have succeeded."""
        return not self.failed and not self.forgotten

    def failed_table(self) -> pd.DataFrame:
        """Return the failed jobs, one a row; write it with ``.to_csv(path, index=False)``."""
        columns = [item.name for item in fields(FailedJob)]
        table = pd.DataFrame([asdict(job) for job in self.failed], columns=columns)
        return table.astype({"exit_code": "Int64"})

    def report(self, longest: int = 20) -> str:
        """Return the report as text: counts, causes, and the first failed jobs."""
        return "\n".join(self._lines(longest))

    def _lines(self, longest: int) -> Iterator[str]:
        yield ", ".join(f"{n} {state.lower()}" for state, n in sorted(self.counts.items())) or "no jobs"
        causes = Counter((job.cause, job.remedy) for job in self.failed)
        for (cause, remedy), n in causes.most_common():
            yield f"{n} failed: {cause} ({remedy})"
        for job in self.failed[:longest]:
            said = job.container_reason or job.status_reason or f"exit code {job.exit_code}"
            log = f", log {job.log_stream}" if job.log_stream else ""
            yield f"  {job.name} ({job.job_id}): {said}{log}"
        if len(self.failed) > longest:
            yield f"  and {len(self.failed) - longest} more: see failed_table()"
        if self.forgotten:
            yield (
                f"{len(self.forgotten)} forgotten: {', '.join(self.forgotten[:5])}"
                f"{' ...' if len(self.forgotten) > 5 else ''}: {FORGOTTEN}"
            )

    def __str__(self) -> str:
        return self.report()
