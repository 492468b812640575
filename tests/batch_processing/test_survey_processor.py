"""Fields are submitted once, watched to their end, submitted again where they failed; arrays, too."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from io import BytesIO

import boto3
import pytest
from batch_world import DEFINITION, ENTRYPOINT, QUEUE, Ended, compute_of, make_queue

from astrolake.batch_processing import SurveyProcessor
from astrolake.batch_processing.batch_queue import Clock
from astrolake.batch_processing.field_task import FieldTask
from astrolake.batch_processing.job_report import FailedJob
from astrolake.batch_processing.manifest import pack_indices, unpack_indices
from astrolake.errors import AstrolakeError, BadArguments, BadInput

OUT = "s3://bucket/processed/"
pytestmark = pytest.mark.usefixtures("aws")


class Containers:
    """Containers that note what they are given and end as told."""

    def __init__(self):
        self.ran = []
        self.ends = {}

    def __call__(self, command, environment):
        self.ran.append((command, environment))
        field = next((int(word.removeprefix("--field=")) for word in command if "--field=" in word), None)
        index = environment.get("AWS_BATCH_JOB_ARRAY_INDEX")
        return self.ends.get(field if field is not None else index, Ended())


@pytest.fixture
def containers():
    return Containers()


@pytest.fixture
def compute(aws, containers):
    with compute_of(containers) as running:
        make_queue()
        yield running


@pytest.fixture
def processor(compute):
    return new_processor(compute)


def new_processor(compute):
    return SurveyProcessor(QUEUE, DEFINITION, clock=Clock(lambda: compute.now, compute.sleep))


def submit(processor, count, **more):
    return [processor.submit_field_processing(n, 2583, 2, ["g", "r"], OUT, **more) for n in range(count)]


def test_a_job_says_what_to_do(processor, compute):
    submit(processor, 1)
    (job,) = compute.waiting
    assert re.fullmatch(r"astrolake-field-002583-2-0000-gr-[0-9a-f]{12}", job.job_name)
    command = job.container_overrides["command"]
    assert command == [
        "field",
        "--run=2583",
        "--camcol=2",
        "--field=0",
        "--bands",
        "g",
        "r",
        "--output=s3://bucket/processed",
    ]
    assert FieldTask.from_command(command) == FieldTask(2583, 2, 0, ("r", "g"), OUT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": -1}, "run -1"),
        ({"camcol": 7}, "camcol 7: give a whole number from 1 to 6"),
        ({"field_id": 1.5}, "field 1.5"),
        ({"bands": ["g", "y"]}, "give one or more of u, g, r, i, z"),
        ({"bands": []}, "bands"),
        ({"output_bucket": "ftp://bucket"}, "ftp://bucket"),
    ],
)
def test_what_is_no_field_is_refused(processor, compute, change, message):
    field = {"field_id": 1, "run": 2583, "camcol": 2, "bands": ["g"], "output_bucket": OUT}
    with pytest.raises(BadArguments, match=re.escape(message)):
        processor.submit_field_processing(**field | change)
    assert compute.waiting == []


def test_a_queue_that_is_not_there_is_named(compute):
    with pytest.raises(AstrolakeError, match="queue elsewhere"):
        SurveyProcessor("elsewhere", DEFINITION).submit_field_processing(1, 2583, 2, ["g"], OUT)


def test_a_field_is_submitted_once_while_it_waits_and_when_it_is_done(processor, compute):
    first = submit(processor, 3)
    assert submit(processor, 3) == first
    assert submit(new_processor(compute), 3) == first
    compute.run()
    assert submit(new_processor(compute), 3) == first
    assert len(compute.ids()) == 3
    assert processor.submit_field_processing(0, 2583, 2, "rg", OUT) == first[0]
    assert processor.submit_field_processing(0, 2583, 2, "gri", OUT) not in first
    assert not set(submit(processor, 3, again=True)) & set(first)


def test_a_field_that_failed_is_submitted_anew(processor, compute, containers):
    containers.ends[1] = Ended(1)
    first = submit(processor, 3)
    compute.run()
    again = submit(new_processor(compute), 3)
    assert again[0] == first[0]
    assert again[2] == first[2]
    assert again[1] != first[1]
    # The failed job is still in the queue's list, older than its successor.
    assert submit(new_processor(compute), 3) == again


def test_jobs_are_watched_until_all_are_finished(processor, compute, containers, capsys):
    containers.ends = {
        2: Ended(1, "s3://bucket/frame.fits: no permission"),
        4: Ended(137, "OutOfMemoryError: Container killed due to memory usage"),
        5: Ended(None, "", "Host EC2 (instance i-0123) terminated."),
    }
    ids = submit(processor, 6)
    summary = processor.monitor_jobs([*ids, *ids], update_interval=30)
    assert 30 in compute.slept
    assert summary.succeeded == (ids[0], ids[1], ids[3])
    assert {job.job_id: (job.cause, job.exit_code) for job in summary.failed} == {
        ids[2]: ("exit code 1", 1),
        ids[4]: ("memory", 137),
        ids[5]: ("spot", None),
    }
    assert summary.counts == {"SUCCEEDED": 3, "FAILED": 3}
    assert not summary.ok
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "submitted=6" in shown
    assert "failed=3, succeeded=3" in shown


def test_the_report_says_what_failed_and_what_to_do(processor, containers, tmp_path):
    arn = "arn:aws:iam::123456789012:role/x"
    containers.ends = {1: Ended(137, "OutOfMemoryError"), 2: Ended(1, f"{arn} may not")}
    summary = processor.monitor_jobs(submit(processor, 3), progress=False)
    text = str(summary)
    assert "2 failed, 1 succeeded" in text
    assert "1 failed: memory (give the job definition more memory)" in text
    assert "log source-extraction/default/" in text
    assert "123456789012" not in text
    table = summary.failed_table()
    assert list(table["exit_code"]) == [137, 1]
    assert table["name"].str.startswith("astrolake-field-002583-2-000").all()
    table.to_csv(tmp_path / "failed.csv", index=False)
    assert (tmp_path / "failed.csv").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ({"statusReason": "CannotPullContainerError: not found"}, "image"),
        ({"statusReason": "Job attempt duration exceeded timeout"}, "timeout"),
        ({"statusReason": "Dependent Job failed"}, "dependency"),
        ({"statusReason": "not needed", "isTerminated": True, "container": {"exitCode": 137}}, "cancelled"),
        ({"statusReason": "not needed", "isCancelled": True}, "cancelled"),
        ({"attempts": [{"container": {"exitCode": 3, "logStreamName": "a/b"}}]}, "rejects"),
        ({"container": {"exitCode": 2}}, "arguments"),
        ({"container": {"exitCode": 99}}, "exit code 99"),
        ({}, "unknown"),
    ],
)
def test_causes_are_told_from_what_batch_says(said, cause):
    failed = FailedJob.of({"jobId": "1", "jobName": "a", "status": "FAILED", **said})
    assert failed.cause == cause
    assert failed.remedy


def test_only_what_failed_is_submitted_again(processor, compute, containers):
    containers.ends = {1: Ended(1), 3: Ended(1)}
    ids = submit(processor, 5)
    compute.run()
    containers.ends, containers.ran = {}, []
    successors = processor.resubmit_failed(ids)
    assert [one == other for one, other in zip(ids, successors, strict=True)] == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert processor.resubmit_failed(ids) == successors
    assert processor.monitor_jobs(successors, progress=False).ok
    assert [command[3] for command, _ in containers.ran] == ["--field=1", "--field=3"]
    assert processor.resubmit_failed(successors) == successors


def test_a_job_that_a_user_ended_says_so(processor, compute):
    (job_id,) = submit(processor, 1)
    boto3.client("batch").terminate_job(jobId=job_id, reason="enough")
    compute.waiting[0]._mark_stopped(success=False)
    compute.waiting[0].ended = Ended(None)
    compute.waiting[0].job_stopped_reason = "enough"
    (failed,) = processor.monitor_jobs([job_id], progress=False).failed
    assert failed.status_reason == "enough"


def test_jobs_that_batch_forgot_are_told_apart(processor, compute):
    known = submit(processor, 2)
    compute.run()
    lost = ["00000000-0000-0000-0000-000000000000"]
    summary = processor.monitor_jobs([*known, *lost], progress=False)
    assert summary.forgotten == tuple(lost)
    assert summary.succeeded == tuple(known)
    assert "it keeps a finished job for about a day" in str(summary)
    assert not summary.ok
    with pytest.raises(AstrolakeError, match="about a day"):
        processor.resubmit_failed(lost)
    with pytest.raises(AstrolakeError, match="about a day"):
        processor.aggregate_catalogs([*known, *lost], "s3://bucket/all.parquet")


def test_without_a_catalog_nothing_is_aggregated(processor, compute, containers):
    containers.ends = {0: Ended(1)}
    (job_id,) = submit(processor, 1)
    compute.run()
    with pytest.raises(AstrolakeError, match="none of 1 jobs succeeded"):
        processor.aggregate_catalogs([job_id], "s3://bucket/all.parquet")
    with pytest.raises(BadArguments, match=r"give the name of a .parquet file"):
        processor.aggregate_catalogs([job_id], "s3://bucket/all/")


def test_bands_of_one_field_are_not_aggregated_twice(processor, compute):
    ids = [processor.submit_field_processing(1, 2583, 2, bands, OUT) for bands in ("g", "gr")]
    compute.run()
    with pytest.raises(BadArguments, match=r"catalog-g.parquet and .*catalog-gr.parquet are of one field"):
        processor.aggregate_catalogs(ids, "s3://bucket/all.parquet")


def test_watching_ends_in_time(processor, compute):
    (job_id,) = submit(processor, 1)
    compute.waiting.clear()
    with pytest.raises(AstrolakeError, match="1 jobs are not finished after 120 s"):
        processor.monitor_jobs([job_id], progress=False, timeout_s=100)
    with pytest.raises(AstrolakeError, match="monitor_jobs waits"):
        processor.aggregate_catalogs([job_id], "s3://bucket/all.parquet")
    with pytest.raises(BadArguments, match="update_interval"):
        processor.monitor_jobs([job_id], update_interval=0)


def put_manifest(lines):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="frames.txt", Body="\n".join(["# frames", *lines, ""]).encode())
    return "s3://bucket/frames.txt"


def test_a_manifest_becomes_an_array(processor, compute, containers):
    manifest = put_manifest([f"s3://bucket/{n}.fits" for n in range(25)])
    flags = ["--lake", "s3://bucket/lake"]
    job_id = processor.submit_manifest("ingest_images", manifest, flags=flags, slice_size=10)
    assert processor.submit_manifest("ingest_images", manifest, flags=flags, slice_size=10) == job_id
    containers.ends = {"1": Ended(1, "conflict")}
    summary = processor.monitor_jobs([job_id], progress=False)
    assert summary.counts == {"SUCCEEDED": 2, "FAILED": 1}
    (failed,) = summary.failed
    assert failed.job_id == f"{job_id}:1"
    assert failed.container_reason == "conflict"
    assert [environment["AWS_BATCH_JOB_ARRAY_INDEX"] for _, environment in containers.ran] == ["0", "1", "2"]
    containers.ran.clear()
    (retry,) = processor.resubmit_failed([job_id])
    assert processor.resubmit_failed([job_id]) == [retry]
    # The index of a single job is that of its only slice.
    assert processor.monitor_jobs([retry], progress=False).ok
    ((command, environment),) = containers.ran
    assert command[:2] == ["step", "ingest_images"]
    assert "--indices=1" in command
    assert command[-3:] == ["--", *flags]
    assert "AWS_BATCH_JOB_ARRAY_INDEX" not in environment


def test_children_that_fail_twice_keep_their_slices(processor, compute, containers):
    manifest = put_manifest([f"s3://bucket/{n}.fits" for n in range(10)])
    job_id = processor.submit_manifest("ingest_images", manifest, slice_size=1)
    containers.ends = {str(n): Ended(1) for n in (2, 5, 6, 7)}
    processor.monitor_jobs([job_id], progress=False)
    (retry,) = processor.resubmit_failed([job_id])
    containers.ends = {"1": Ended(1), "3": Ended(1)}
    processor.monitor_jobs([retry], progress=False)
    containers.ran.clear()
    (second,) = processor.resubmit_failed([retry])
    containers.ends = {}
    assert processor.monitor_jobs([second], progress=False).ok
    assert "--indices=5,7" in containers.ran[0][0]


@pytest.mark.parametrize(
    ("lines", "size", "message"),
    [([], 1, "names no input"), (["a"] * 10_001, 1, "give at least 2"), (["a"], 0, "slice_size 0")],
)
def test_manifests_that_make_no_array_are_refused(processor, lines, size, message):
    manifest = put_manifest(lines)
    with pytest.raises((BadArguments, BadInput), match=message):
        processor.submit_manifest("ingest_images", manifest, slice_size=size)


def test_a_manifest_that_is_not_there_is_named(processor):
    put_manifest(["a"])
    with pytest.raises(BadInput, match=r"s3://bucket/none.txt does not exist"):
        processor.submit_manifest("ingest_images", "s3://bucket/none.txt")


def test_indices_are_packed_and_unpacked():
    assert pack_indices([7, 0, 1, 2, 3, 7]) == "0-3,7"
    assert unpack_indices("0-3,7") == [0, 1, 2, 3, 7]
    with pytest.raises(BadArguments, match="0-3,7"):
        unpack_indices("1;2")
    with pytest.raises(BadArguments, match="no manifest has so many"):
        unpack_indices("0-99999999999")


def test_throttled_submissions_are_tried_again(processor, monkeypatch):
    from botocore.awsrequest import AWSResponse
    from urllib3 import HTTPResponse

    waits, refused = [], Counter()
    monkeypatch.setattr("botocore.endpoint.time.sleep", waits.append)
    body = b'{"message": "Too Many Requests"}'
    headers = {"x-amzn-ErrorType": "TooManyRequestsException", "Content-Type": "application/json"}

    def throttle(request, **_):
        refused[request.url] += 1
        if refused[request.url] <= 4:
            return AWSResponse(request.url, 429, headers, HTTPResponse(BytesIO(body), preload_content=False))
        return None

    processor._queue._client.meta.events.register("before-send.batch.SubmitJob", throttle)
    assert len(set(submit(processor, 1))) == 1
    assert list(refused.values()) == [5]
    assert len(waits) == 4
    # Full jitter: every pause is random below a bound that doubles.
    assert all(0 <= wait <= 2**n for n, wait in enumerate(waits))
    assert len(set(waits)) == 4


def test_submissions_keep_a_distance(compute):
    paused = []
    processor = SurveyProcessor(QUEUE, DEFINITION, clock=Clock(lambda: 0.0, paused.append))
    submit(processor, 21)
    assert paused == pytest.approx([n / 40 for n in range(1, 21)])


def test_a_thousand_jobs(processor, compute, containers):
    containers.ends = {n: Ended(1, "broken") for n in range(0, 1000, 50)}
    begun = time.monotonic()
    ids = submit(processor, 1000)
    summary = processor.monitor_jobs(ids, progress=False)
    assert (len(summary.succeeded), len(summary.failed)) == (980, 20)
    containers.ends = {}
    successors = processor.resubmit_failed(ids)
    assert len(set(successors) - set(ids)) == 20
    assert processor.monitor_jobs(successors, progress=False).ok
    assert len(compute.ids()) == 1020
    assert time.monotonic() - begun < 120


def test_an_unknown_log_level_keeps_no_container_from_running():
    environment = os.environ | {"LOG_LEVEL": "LOUD"}
    words = [sys.executable, str(ENTRYPOINT), "step", "nope"]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 2
    assert "LOG_LEVEL 'LOUD'" in ran.stderr
    assert "no job 'nope'" in ran.stderr
    assert "Traceback" not in ran.stderr
