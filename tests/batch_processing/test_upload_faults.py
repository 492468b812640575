"""A thousand events on a hundred images while store and network fail: no row is lost, none is there twice."""

import hashlib
import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus

import boto3
import pyarrow as pa
import pytest
from fault_proxy import FAULTS, FaultProxy
from tiny_images import tiny_fits

from astrolake.batch_processing.conditional import ConditionalStore
from astrolake.batch_processing.image_catalog import image_catalog
from astrolake.batch_processing.image_state import ImageState, StateStore
from astrolake.batch_processing.upload_batch import process_event
from astrolake.batch_processing.upload_function import UploadProcessor, UploadSettings
from astrolake.lake.glue_parquet import parquet_entry
from astrolake.lake.sql_glue import run_glue_query
from astrolake.schema import SOURCES

pytest.importorskip("s3fs")

IMAGES, CATALOGS, DATABASE = "survey-images", "source-catalogs", "astronomy_catalog"
SEED, N_EVENTS, N_IMAGES, N_WORKERS, N_HOT = 20_250_601, 1_000, 100, 6, 1
#: Keys of all kinds; {} is the number of the image.
NAMES = (
    "night 1/frame {}.fits",
    "a+b/frame+{} +.fits",
    "Größe/Ωmega {} ☄.fits",
    "100%25/{}%20.fits",
    "plain/{}.fits",
    "quotes'\"&=#?/{}.fits",
)
#: What lies at a key: bands of its HDUs, or none of these.
DELETED, BROKEN = "deleted", "broken"
KINDS = ("g", "r", "i", "gr", BROKEN, DELETED)


@dataclass
class Queue:
    """A queue that gives messages in any order, often twice, and again until they are done."""

    random: random.Random
    waiting: list[dict] = field(default_factory=list)
    under_way: int = 0
    open: bool = True
    received: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.changed = threading.Condition()

    def put(self, message: dict) -> None:
        with self.changed:
            self.waiting.append(message)
            self.changed.notify_all()

    def take(self, most: int) -> list[dict]:
        """Return some messages; none when all is done."""
        with self.changed:
            while not self.waiting and (self.open or self.under_way):
                self.changed.wait()
            chosen = []
            while self.waiting and len(chosen) < most:
                chosen.append(self.waiting.pop(self.random.randrange(len(self.waiting))))
            self.under_way += len(chosen)
            self.changed.notify_all()
            for message in chosen:
                self.received[message["messageId"]] += 1
            return chosen

    def settle(self, messages: list[dict], failed: set[str]) -> None:
        """Take messages that are done out of the queue, and put back what failed."""
        with self.changed:
            self.under_way -= len(messages)
            self.waiting += [message for message in messages if message["messageId"] in failed]
            self.changed.notify_all()

    def wait_until_short(self) -> None:
        """Wait until the functions have nearly caught up."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.waiting) <= N_WORKERS)

    def close(self) -> None:
        with self.changed:
            self.open = False
            self.changed.notify_all()


@dataclass(frozen=True)
class Change:
    """An image is put, replaced or deleted."""

    key: str
    kind: str
    seed: int

    @property
    def content(self) -> bytes:
        if self.kind == BROKEN:
            return b"<html>" + str(self.seed).encode()
        return tiny_fits(self.seed, self.kind)


def history(rng: random.Random) -> list[Change]:
    """Return what happens to the images, in order; each ends with a file, a broken one, or none."""
    changes: list[list[Change]] = []
    for i in range(N_IMAGES):
        key = NAMES[i % len(NAMES)].format(i)
        kinds = rng.choices(KINDS, [3, 3, 3, 2, 1, 2], k=rng.choice([1, 2, 3, 4]))
        kinds[0] = kinds[0] if kinds[0] != DELETED else "r"
        changes.append([Change(key, kind, rng.randrange(40)) for kind in kinds])
    mixed = []
    while changes:
        # Few at a time, so that several functions meet at an image while it changes.
        mixed.append(rng.choice(changes[:N_HOT]).pop(0))
        changes = [left for left in changes if left]
    return mixed


def notification(change: Change, number: int, etag: str) -> dict:
    """Return a message of the queue, as S3 writes it."""
    event = "ObjectRemoved:Delete" if change.kind == DELETED else "ObjectCreated:Put"
    found = {"key": quote_plus(change.key, safe="/"), "eTag": etag, "sequencer": f"{number:016X}"}
    record = {"eventSource": "aws:s3", "eventName": event}
    record["s3"] = {"bucket": {"name": IMAGES}, "object": found}
    return {"messageId": str(number), "eventSource": "aws:sqs", "body": json.dumps({"Records": [record]})}


@pytest.fixture
def drill(aws, monkeypatch) -> Iterator[FaultProxy]:
    """Buckets and table on a server, and the proxy that the functions reach it by."""
    s3, glue = boto3.client("s3"), boto3.client("glue")
    for bucket in (IMAGES, CATALOGS):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    glue.create_database(DatabaseInput={"Name": DATABASE})
    glue.create_table(DatabaseName=DATABASE, TableInput=parquet_entry(SOURCES, f"s3://{CATALOGS}/sources/"))
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)
    proxy = FaultProxy(aws, rate=0.04, seed=SEED)
    yield proxy
    proxy.close()


def processors(proxy: FaultProxy, direct: str, monkeypatch) -> list[UploadProcessor]:
    """Return one processor for each function; they see the world through the proxy."""
    settings = UploadSettings(CATALOGS, database=DATABASE, attempts=2, read_timeout_s=2.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    found = [UploadProcessor(settings) for _ in range(N_WORKERS)]
    monkeypatch.setenv("AWS_ENDPOINT_URL", direct)
    return found


def work(processor: UploadProcessor, queue: Queue, rng: random.Random) -> None:
    while messages := queue.take(rng.randint(1, 4)):
        answer = process_event({"Records": messages}, processor)
        queue.settle(messages, {failed["itemIdentifier"] for failed in answer["batchItemFailures"]})


def live(changes: list[Change], queue: Queue, rng: random.Random) -> None:
    """Change the images and send word of it: at once or late, once or often."""
    s3 = boto3.client("s3")
    late: list[dict] = []
    number = 0
    for i, change in enumerate(changes):
        if change.kind == DELETED:
            s3.delete_object(Bucket=IMAGES, Key=change.key)
        else:
            s3.put_object(Bucket=IMAGES, Key=change.key, Body=change.content)
        etag = hashlib.md5(b"" if change.kind == DELETED else change.content).hexdigest()
        left, n_changes = N_EVENTS - number, len(changes) - i
        for _ in range(left if n_changes == 1 else min(rng.randint(1, 2 * left // n_changes - 1), left)):
            message = notification(change, number, etag)
            number += 1
            if rng.random() < 0.3:
                late.append(message)
            else:
                queue.put(message)
        while late and rng.random() < 0.5:
            queue.put(late.pop(rng.randrange(len(late))))
        queue.wait_until_short()
    for message in late:
        queue.put(message)
    assert number == N_EVENTS
    queue.close()


def expected_rows(last: dict[str, Change], folder: Path) -> pa.Table:
    """Return the rows of the images as they are in the end."""
    tables = []
    for change in last.values():
        if change.kind in (DELETED, BROKEN):
            continue
        path = folder / "image.fits"
        path.write_bytes(change.content)
        run_id = f"upload-{hashlib.md5(change.content).hexdigest()}"
        catalog = image_catalog(path, f"s3://{IMAGES}/{change.key}", run_id)
        for (survey, band), rows in catalog.tables.items():
            for name, value in (("survey", survey), ("band", band)):
                rows = rows.append_column(name, pa.array([value] * rows.num_rows))
            tables.append(rows.cast(pa.schema([(f.name, f.type) for f in rows.schema])))
    return pa.concat_tables(tables).sort_by("source_id")


def test_no_row_is_lost_or_double(drill, aws, tmp_path, monkeypatch):
    rng = random.Random(SEED)
    changes = history(rng)
    last = {change.key: change for change in changes}
    assert len(last) == N_IMAGES
    assert Counter(change.kind for change in last.values()).keys() == set(KINDS)
    queue = Queue(random.Random(SEED + 1))
    functions = processors(drill, aws, monkeypatch)
    with ThreadPoolExecutor(N_WORKERS) as pool:
        done = [pool.submit(work, f, queue, random.Random(i)) for i, f in enumerate(functions)]
        live(changes, queue, rng)
        for future in done:
            future.result()

    assert set(drill.happened) == {"requests", *FAULTS}, drill.happened
    assert len(queue.received) == N_EVENTS
    assert max(queue.received.values()) > 1

    found = run_glue_query(DATABASE, "SELECT * FROM sources ORDER BY source_id")
    expected = expected_rows(last, tmp_path)
    assert found.column("source_id").to_pylist() == expected.column("source_id").to_pylist()
    assert found.select(expected.column_names).equals(expected)
    states = StateStore(ConditionalStore(boto3.client("s3"), CATALOGS), "sources_state")
    for key, change in last.items():
        state: ImageState = states.read(f"s3://{IMAGES}/{key}")[0]
        assert state.status == {DELETED: "gone", BROKEN: "rejected"}.get(change.kind, "done"), key
