"""Whether the keys of many rows are distinct, without moving the rows.

Workers write the keys they see, as 64-bit numbers in buckets, to files below the run's staging directory;
then a task takes a bucket from all files, sorts it, and looks for equal neighbours.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import SparkSession

from astrolake.lake.staging import RUN, STAGING, StagedRun, StageSpec, report
from astrolake.lake.storage import Storage
from astrolake.sky.healpix import Int64

#: A bucket of 2e9 keys holds 30 million, 250 MB.
_BUCKETS = 64
#: Keys of a file, at most about this many.
_FILE_KEYS = 4_000_000
_HEADER = 8 * (_BUCKETS + 1)
#: Odd, so that multiplying by it permutes 64-bit numbers; the highest bits of the product are mixed well.
_MIX = np.uint64(0x9E3779B97F4A7C15)


class KeyStager:
    """Collects the keys of one task and writes them to files of buckets."""

    def __init__(self, spec: StageSpec) -> None:
        self.spec = spec
        self._keys: list[Int64] = []
        self._count = 0

    def add(self, keys: pa.Array) -> Iterator[pa.RecordBatch]:
        """Take keys, integers or strings by their 64-bit hash, and yield reports of what was written."""
        values = keys.to_numpy(zero_copy_only=False)
        if pa.types.is_string(keys.type):
            values = pd.util.hash_array(values.astype(object)).view(np.int64)
        self._keys.append(values.astype(np.int64))
        self._count += len(values)
        if self._count >= _FILE_KEYS:
            yield from self.close()

    def close(self) -> Iterator[pa.RecordBatch]:
        """Write what has been collected and yield its report."""
        if not self._keys:
            return
        keys = np.concatenate(self._keys)
        self._keys, self._count = [], 0
        bucket = (keys.view(np.uint64) * _MIX) >> np.uint64(64 - 6)
        order = np.argsort(bucket, kind="stable")
        starts = np.searchsorted(bucket[order], np.arange(_BUCKETS + 1, dtype=np.uint64)).astype(np.int64)
        path = f"{STAGING}/{self.spec.run_id}/{self.spec.table}-{uuid.uuid4().hex}.keys"
        with self.spec.root.fs.open(self.spec.root.path(path), "wb") as stream:
            stream.write(starts.tobytes())
            stream.write(keys[order].tobytes())
        yield report(RUN, len(keys), table=self.spec.table, path=path)


def may_repeat(spark: SparkSession, root: Storage, files: tuple[StagedRun, ...]) -> bool:
    """Tell whether any key may occur twice: no is certain, yes may be strings of one hash."""
    if not files:
        return False
    paths = spark.sparkContext.broadcast([file.path for file in files])

    def search(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for bucket in batch.column(0).to_pylist():
                keys = np.sort(np.concatenate([_bucket_of(root, path, bucket) for path in paths.value]))
                if (keys[1:] == keys[:-1]).any():
                    yield pa.RecordBatch.from_pydict({"bucket": [bucket]})

    tasks = min(_BUCKETS, 4 * spark.sparkContext.defaultParallelism)
    found = spark.range(0, _BUCKETS, 1, tasks).mapInArrow(search, "bucket long")
    return len(found.collect()) > 0


def _bucket_of(root: Storage, path: str, bucket: int) -> Int64:
    with root.fs.open(root.path(path), "rb") as stream:
        starts = np.frombuffer(stream.read(_HEADER), np.int64)
        begin, end = int(starts[bucket]), int(starts[bucket + 1])
        stream.seek(_HEADER + 8 * begin)
        return np.frombuffer(stream.read(8 * (end - begin)), np.int64)
