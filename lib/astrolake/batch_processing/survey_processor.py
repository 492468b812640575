"""Processes a survey by AWS Batch: a job for a field, or an array of jobs over a manifest."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from tqdm import tqdm

from astrolake.batch_processing.batch_queue import FAILED, FINISHED, SUCCEEDED, BatchQueue, Clock, Job
from astrolake.batch_processing.catalog_file import Catalog, Part, join_catalogs
from astrolake.batch_processing.field_catalog import SCHEMA
from astrolake.batch_processing.field_task import PREFIX, Extraction, FieldTask
from astrolake.batch_processing.job_report import FORGOTTEN, JobsSummary
from astrolake.batch_processing.job_watch import JobWatch, is_array
from astrolake.batch_processing.step_task import STEP_PREFIX, StepTask
from astrolake.errors import AstrolakeError, BadArguments
from astrolake.lake.storage import Storage, canonical_uri

if TYPE_CHECKING:
    import boto3

_LOG = logging.getLogger(__name__)


class SurveyProcessor:
    """Submits fields of a survey to AWS Batch, watches them, and brings their catalogs together.

    Submitting is idempotent: a job's name tells what it does, and a job of that name that waits, runs or has
    succeeded is not submitted again. Where Batch no longer knows it, the job that is submitted anew finds its
    catalog up to date and ends at once.

    Parameters
    ----------
    job_queue, job_definition : str
        Names or ARNs, as the stack's outputs have them.
    images : str
        Where frames lie, ``<images>/<run>/<camcol>/frame-<band>-<run>-<camcol>-<field>.fits.bz2``; by
        default where the job definition says (IMAGES_URI).
    extraction : Extraction
        How sources are extracted.
    session : boto3 Session
        Credentials and region; the ambient ones by default.
    clock : Clock
        Time and sleep.
    """

    def __init__(
        self,
        job_queue: str,
        job_definition: str,
        *,
        images: str = "",
        extraction: Extraction | None = None,
        session: boto3.session.Session | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._queue = BatchQueue(job_queue, job_definition, session, self._clock)
        self._images = images
        self._extraction = extraction or Extraction()
        self._storage_options = _storage_options(session)
        self._tasks: dict[str, FieldTask] = {}

    def submit_field_processing(
        self,
        field_id: int,
        run: int,
        camcol: int,
        bands: Sequence[str],
        output_bucket: str,
        *,
        again: bool = False,
    ) -> str:
        """Submit the extraction of a field in some bands and return the id of its job.

        Parameters
        ----------
        field_id, run, camcol : int
            As SDSS numbers its imaging.
        bands : sequence of str
            Of u, g, r, i, z.
        output_bucket : str
            ``s3://bucket/prefix/`` of the catalogs; that of the field will lie at
            ``run=<run>/camcol=<camcol>/field=<field>/catalog-<bands>.parquet`` below it.
        again : bool
            Also where such a job is there, or the catalog is up to date.

        Raises
        ------
        BadArguments
            When a number, band or location is none.
        AstrolakeError
            When Batch refuses the job, or cannot be reached.
        """
        task = FieldTask(run, camcol, field_id, tuple(bands), output_bucket, self._images, self._extraction)
        name, command = task.job_name(self._queue.definition), task.command()
        if again:
            job_id = self._queue.submit(name, [*command, "--again"])
        else:
            job_id = self._queue.submit_once(name, PREFIX, command)
        self._tasks[job_id] = task
        return job_id

    def submit_manifest(
        self, step: str, manifest_uri: str, *, flags: Sequence[str] = (), slice_size: int = 100
    ) -> str:
        """Submit an astrolake job over a manifest, an array of jobs with a slice each; return its id.

        Parameters
        ----------
        step : str
            Name of a job, as `astrolake run` takes it.
        manifest_uri : str
            Text file with one input a line: of ingest_images and ingest_catalog a file, of extract_sources
            and force_photometry the URI of an image of the lake.
        flags : sequence of str
            The job's flags, e.g. ``["--lake", "s3://bucket/lake"]``.
        slice_size : int
            Inputs of a child; at least what makes no more than 10,000 children.

        Raises
        ------
        BadArguments
            When there would be too many children.
        BadInput
            When the manifest cannot be read or is empty.
        AstrolakeError
            When Batch refuses the job, or cannot be reached.
        """
        task = StepTask(step, canonical_uri(manifest_uri), slice_size, tuple(flags))
        children = task.children(self._storage_options)
        name = task.job_name(self._queue.definition, self._storage_options)
        return self._queue.submit_once(name, STEP_PREFIX, task.command(), array_size=children)

    def monitor_jobs(
        self,
        job_ids: Iterable[str],
        update_interval: float = 60,
        *,
        progress: bool = True,
        timeout_s: float | None = None,
    ) -> JobsSummary:
        """Watch jobs until all are finished.

        Parameters
        ----------
        job_ids : iterable of str
        update_interval : float
            Seconds between looks.
        progress : bool
            Show a bar with the jobs by state on stderr.
        timeout_s : float, optional
            For how long to watch.

        Returns
        -------
        JobsSummary
            Which succeeded, and which failed and why; print it.

        Raises
        ------
        BadArguments
            When the interval is not positive.
        AstrolakeError
            When jobs are not finished in time, or Batch cannot be reached.
        """
        if not update_interval > 0:
            raise BadArguments(f"update_interval {update_interval!r}: give seconds, more than 0")
        watch, start = JobWatch.over(self._queue, job_ids), self._clock.now()
        with tqdm(total=len(watch.pending), desc="jobs", unit="job", disable=not progress) as bar:
            while True:
                watch.look()
                self._recall(watch)
                _show(bar, watch)
                waited = self._clock.now() - start
                if not watch.pending:
                    break
                if timeout_s is not None and waited >= timeout_s:
                    raise AstrolakeError(
                        f"{len(watch.pending)} jobs are not finished after {waited:.0f} s ({watch.counts}); "
                        "watch them again, or see in the console why they wait"
                    )
                self._clock.sleep(update_interval)
        summary = JobsSummary(
            tuple(watch.succeeded), tuple(watch.failed), tuple(watch.forgotten), watch.counts, waited
        )
        _LOG.log(logging.INFO if summary.ok else logging.WARNING, "%s", summary)
        return summary

    def resubmit_failed(self, job_ids: Iterable[str]) -> list[str]:
        """Submit what failed again, and nothing else; return the ids to watch from now on.

        They are the given ones, each that failed replaced by its successor; an array by an array of its
        failed children.

        Raises
        ------
        AstrolakeError
            When Batch no longer knows a job, or refuses one.
        """
        ids = list(dict.fromkeys(job_ids))
        # What failed a moment ago must not be taken for a job that waits.
        self._queue.forget_listings()
        successors: dict[str, list[str]] = {}
        known = set()
        for job in self._queue.describe(ids):
            known.add(job["jobId"])
            if job["status"] == FAILED:
                successors[job["jobId"]] = self._resubmit(job)
        for job_id in (job_id for job_id in ids if job_id not in known):
            successors[job_id] = [self._resubmit_known(job_id)]
        _LOG.info("%d of %d jobs submitted again", len(successors), len(ids))
        return [successor for job_id in ids for successor in successors.get(job_id, [job_id])]

    def aggregate_catalogs(self, job_ids: Iterable[str], output: str) -> Catalog:
        """Write the catalogs of fields into one Parquet file, with columns run, camcol and field.

        Rows follow each other by run, camcol and field, so that the same jobs give the same file. The sources
        of jobs that failed are not in it; `Catalog.missing` names these.

        Parameters
        ----------
        job_ids : iterable of str
            Of `submit_field_processing`.
        output : str
            ``s3://bucket/name.parquet`` or a local path; it is replaced when all is read.

        Raises
        ------
        BadArguments
            When the output is no .parquet file, a job is of no field, or two are of the same field.
        BadInput
            When a catalog is gone, or of another version.
        AstrolakeError
            When a job is not finished, or Batch does not know it.
        """
        path = canonical_uri(output)
        if not path.endswith(".parquet"):
            raise BadArguments(f"output {output!r}: give the name of a .parquet file")
        tasks, missing = self._finished_tasks(list(dict.fromkeys(job_ids)))
        if not tasks:
            raise AstrolakeError(f"none of {len(missing)} jobs succeeded, there is nothing to aggregate")
        tasks.sort(key=lambda task: (task.run, task.camcol, task.field))
        for one, next_one in pairwise(tasks):
            if one.label.rpartition("-")[0] == next_one.label.rpartition("-")[0]:
                raise BadArguments(
                    f"{one.catalog_uri} and {next_one.catalog_uri} are of one field, whose sources would be "
                    "twice in the catalog; aggregate them apart"
                )
        parts = [
            Part(task.catalog_uri, {"run": task.run, "camcol": task.camcol, "field": task.field})
            for task in tasks
        ]
        rows, columns = join_catalogs(parts, path, SCHEMA, self._storage_options)
        if missing:
            _LOG.warning("%s lacks the sources of %d jobs that failed", path, len(missing))
        return Catalog(path, rows, columns, tuple(missing), self._storage_options)

    def _recall(self, watch: JobWatch) -> None:
        """Count forgotten jobs that were submitted from here and left a catalog as succeeded."""
        for job_id in list(watch.forgotten):
            task = self._tasks.get(job_id)
            if task is not None and self._exists(task.catalog_uri):
                watch.recall(job_id)

    def _exists(self, uri: str) -> bool:
        storage = Storage.at(uri, self._storage_options)
        return bool(storage.fs.exists(storage.path()))

    def _resubmit(self, job: Job) -> list[str]:
        command = job["container"]["command"]
        task = FieldTask.from_command(command)
        if task is not None:
            name = task.job_name(self._queue.definition)
            job_id = self._queue.submit_once(name, PREFIX, command)
            self._tasks[job_id] = task
            return [job_id]
        step = StepTask.from_command(command)
        failed = list(self._queue.failed_children(job["jobId"])) if is_array(job) else []
        indices = [int(child["arrayProperties"]["index"]) for child in failed]
        return [
            self._queue.submit_once(
                retry.job_name(self._queue.definition, self._storage_options),
                STEP_PREFIX,
                retry.command(),
                array_size=retry.children(self._storage_options),
            )
            for retry in step.retries(indices)
        ]

    def _resubmit_known(self, job_id: str) -> str:
        task = self._tasks.get(job_id)
        if task is None:
            raise AstrolakeError(f"job {job_id}: {FORGOTTEN}")
        if self._exists(task.catalog_uri):
            return job_id
        successor = self._queue.submit_once(task.job_name(self._queue.definition), PREFIX, task.command())
        self._tasks[successor] = task
        return successor

    def _finished_tasks(self, job_ids: list[str]) -> tuple[list[FieldTask], list[str]]:
        """Return the fields that were extracted, and the jobs that failed."""
        tasks: dict[str, FieldTask] = {}
        missing, unfinished, unknown = [], [], set(job_ids)
        for job in self._queue.describe(job_ids):
            unknown.discard(job["jobId"])
            if job["status"] not in FINISHED:
                unfinished.append(job["jobId"])
            elif job["status"] == SUCCEEDED:
                task = FieldTask.from_command(job["container"]["command"])
                if task is None:
                    raise BadArguments(f"job {job['jobId']} is of no field: it has no catalog to aggregate")
                tasks[task.catalog_uri] = task
            else:
                missing.append(job["jobId"])
        if unfinished:
            raise AstrolakeError(f"{len(unfinished)} jobs are not finished: monitor_jobs waits for them")
        if lost := [job_id for job_id in job_ids if job_id in unknown and job_id not in self._tasks]:
            raise AstrolakeError(f"{len(lost)} jobs, {', '.join(lost[:5])}: {FORGOTTEN}")
        tasks |= {task.catalog_uri: task for task in (self._tasks[job_id] for job_id in unknown)}
        return list(tasks.values()), missing


def _show(bar: tqdm, watch: JobWatch) -> None:
    counts = watch.counts
    bar.total = sum(counts.values())
    bar.n = watch.finished
    bar.set_postfix({state.lower(): n for state, n in sorted(counts.items())}, refresh=True)


def _storage_options(session: boto3.session.Session | None) -> dict[str, str]:
    """Return options of the object store that lead to where a session leads; none for the ambient one."""
    credentials = session.get_credentials() if session is not None else None
    if session is None or credentials is None:
        return {}
    frozen = credentials.get_frozen_credentials()
    options = {
        "AWS_ACCESS_KEY_ID": frozen.access_key,
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
        "AWS_SESSION_TOKEN": frozen.token,
        "AWS_REGION": session.region_name,
    }
    return {name: value for name, value in options.items() if value}
