"""Watches jobs of AWS Batch until they are finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from astrolake.batch_processing.batch_queue import FINISHED, SUCCEEDED, BatchQueue, Job
from astrolake.batch_processing.job_report import FailedJob

#: A job that Batch does not know at two looks in a row is forgotten; one just submitted may take a moment.
_LOOKS = 2
_FORGOTTEN = "FORGOTTEN"


@dataclass
class JobWatch:
    """What is known of some jobs; only those that are not finished are asked for again.

    Parameters
    ----------
    queue : BatchQueue
    pending : dict
        Looks in vain at each job that is not finished.
    """

    queue: BatchQueue
    pending: dict[str, int]
    succeeded: list[str] = field(default_factory=list)
    failed: list[FailedJob] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    _settled: Counter[str] = field(default_factory=Counter)
    _open: Counter[str] = field(default_factory=Counter)

    @classmethod
    def over(cls, queue: BatchQueue, job_ids: Iterable[str]) -> JobWatch:
        """Return a watch over jobs, each once."""
        return cls(queue, dict.fromkeys(job_ids, 0))

    @property
    def counts(self) -> dict[str, int]:
        """Jobs by state at the last look, children of arrays counted each."""
        return dict(self._settled + self._open)

    @property
    def finished(self) -> int:
        """How many jobs, children counted each, need no more looks."""
        done = self._settled + Counter({state: self._open[state] for state in FINISHED})
        return done.total()

    def look(self) -> None:
        """Ask for the jobs that were not finished at the last look."""
        self._open = Counter()
        unseen = set(self.pending)
        for job in self.queue.describe(list(self.pending)):
            unseen.discard(job["jobId"])
            self.pending[job["jobId"]] = 0
            if job["status"] in FINISHED:
                self._settle(job)
            else:
                self._open += _states(job)
        for job_id in [job_id for job_id in self.pending if job_id in unseen]:
            self.pending[job_id] += 1
            if self.pending[job_id] < _LOOKS:
                self._open["SUBMITTED"] += 1
                continue
            del self.pending[job_id]
            self.forgotten.append(job_id)
            self._settled[_FORGOTTEN] += 1

    def recall(self, job_id: str) -> None:
        """Count a forgotten job as one that succeeded."""
        self.forgotten.remove(job_id)
        self.succeeded.append(job_id)
        self._settled -= Counter({_FORGOTTEN: 1})
        self._settled[SUCCEEDED] += 1

    def _settle(self, job: Job) -> None:
        del self.pending[job["jobId"]]
        self._settled += _states(job)
        if job["status"] == SUCCEEDED:
            self.succeeded.append(job["jobId"])
            return
        children = list(self.queue.failed_children(job["jobId"])) if is_array(job) else []
        # An array that was ended before it had children failed as a whole.
        self.failed += [FailedJob.of(failed) for failed in children or [job]]


def is_array(job: Job) -> bool:
    """Tell whether a job is an array of jobs; a child is none."""
    return "size" in job.get("arrayProperties", {})


def _states(job: Job) -> Counter[str]:
    summary = Counter(job["arrayProperties"].get("statusSummary", {})) if is_array(job) else Counter()
    return +summary or Counter({job["status"]: job["arrayProperties"]["size"] if is_array(job) else 1})
