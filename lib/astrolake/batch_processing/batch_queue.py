"""What astrolake asks of AWS Batch: submit at a bearable rate, describe many jobs, find jobs by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astrolake.batch_processing.aws import aws_errors, make_client

if TYPE_CHECKING:
    import boto3

SUCCEEDED, FAILED = "SUCCEEDED", "FAILED"
FINISHED = (SUCCEEDED, FAILED)
#: Batch describes at most so many jobs a call.
DESCRIBED_AT_ONCE = 100
#: Batch takes about 50 SubmitJob a second of an account, and other users may be at it, too.
SUBMITTED_PER_S = 40.0
#: For so long a listing of the queue is believed, in seconds.
_LISTED_S = 60.0
_SUBMIT_REMEDY = "check that queue and job definition exist in this region and that you may use them"

Job = dict[str, Any]


@dataclass(frozen=True)
class Clock:
    """Time as the processor sees it; tests give their own.

    Parameters
    ----------
    now : callable
        Seconds, from anywhere.
    sleep : callable
        Waits some seconds.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class BatchQueue:
    """A job queue and a job definition.

    Calls that AWS throttles are tried again by botocore, with exponential back-off and jitter; besides,
    submissions keep a distance.

    Parameters
    ----------
    queue, definition : str
        Names or ARNs; of a name without revision Batch takes the newest.
    session : boto3 Session
        Credentials and region; the ambient ones by default.
    clock : Clock
    """

    def __init__(
        self,
        queue: str,
        definition: str,
        session: boto3.session.Session | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.queue = queue
        self.definition = definition
        self._client = make_client("batch", session)
        self._clock = clock or Clock()
        self._free_at = 0.0
        self._listings: dict[str, _Listing] = {}

    def submit(self, name: str, command: Sequence[str], *, array_size: int = 0) -> str:
        """Submit a job and return its id.

        Parameters
        ----------
        name : str
        command : sequence of str
            Arguments of the container's entry point.
        array_size : int
            Children of an array job, 2 to 10,000; 0 for a single job.
        """
        now = self._clock.now()
        if now < self._free_at:
            self._clock.sleep(self._free_at - now)
        self._free_at = max(now, self._free_at) + 1.0 / SUBMITTED_PER_S
        array = {"arrayProperties": {"size": array_size}} if array_size else {}
        with aws_errors(f"submit job {name} to queue {self.queue}", _SUBMIT_REMEDY):
            answer = self._client.submit_job(
                jobName=name,
                jobQueue=self.queue,
                jobDefinition=self.definition,
                containerOverrides={"command": list(command)},
                **array,
            )
        return str(answer["jobId"])

    def submit_once(self, name: str, prefix: str, command: Sequence[str], *, array_size: int = 0) -> str:
        """Submit a job unless the queue has one of this name that has not failed; return its id.

        Parameters
        ----------
        prefix : str
            Of the names of all jobs of this kind: they are listed together, at most once a minute.
        """
        listing = self._listing(prefix)
        if name not in listing.ids:
            listing.ids[name] = self.submit(name, command, array_size=array_size)
        return listing.ids[name]

    def forget_listings(self) -> None:
        """List the queue anew when next asked."""
        self._listings.clear()

    def describe(self, job_ids: Sequence[str]) -> Iterator[Job]:
        """Yield the jobs that Batch still knows, in no order."""
        for start in range(0, len(job_ids), DESCRIBED_AT_ONCE):
            some = list(job_ids[start : start + DESCRIBED_AT_ONCE])
            with aws_errors(f"describe {len(some)} jobs"):
                answer = self._client.describe_jobs(jobs=some)
            yield from answer["jobs"]

    def failed_children(self, array_id: str) -> Iterator[Job]:
        """Yield the children of an array job that failed."""
        failed = [job["jobId"] for job in self._list(arrayJobId=array_id, jobStatus=FAILED)]
        yield from self.describe(failed)

    def _listing(self, prefix: str) -> _Listing:
        now = self._clock.now()
        known = self._listings.get(prefix)
        if known is None or now - known.listed_at > _LISTED_S:
            known = self._listings[prefix] = _Listing(now, self._names(prefix))
        return known

    def _names(self, prefix: str) -> dict[str, str]:
        """Return the ids of jobs by their names, but of those whose newest job failed."""
        newest: dict[str, tuple[int, str, str]] = {}
        wanted = [{"name": "JOB_NAME", "values": [f"{prefix}*"]}]
        for job in self._list(jobQueue=self.queue, filters=wanted):
            seen = (int(job.get("createdAt", 0)), job["jobId"], job["status"])
            newest[job["jobName"]] = max(newest.get(job["jobName"], seen), seen)
        return {name: job_id for name, (_, job_id, status) in newest.items() if status != FAILED}

    def _list(self, **which: Any) -> Iterator[Job]:
        with aws_errors(f"list jobs of queue {self.queue}", _SUBMIT_REMEDY):
            for page in self._client.get_paginator("list_jobs").paginate(**which):
                yield from page["jobSummaryList"]


@dataclass(frozen=True)
class _Listing:
    """Jobs of a queue by name, as they were when listed and as submitted since."""

    listed_at: float
    ids: dict[str, str]
