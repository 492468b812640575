import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolake.lake.keys import _BUCKETS, KeyStager, _bucket_of, may_repeat
from astrolake.lake.staging import REPORT, StagedRun, StageSpec, make_staging
from astrolake.lake.storage import Storage


def stage(root: Storage, *parts: pa.Array) -> StagedRun:
    make_staging(root, "run-1")
    stager = KeyStager(StageSpec(root, "run-1", "keys", pa.schema([])))
    for part in parts:
        assert not list(stager.add(part))
    (report,) = pa.Table.from_batches(stager.close(), schema=REPORT).to_pylist()
    return StagedRun(report["path"], report["n"], -1, -1)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=200))
def test_every_key_is_in_one_bucket_that_depends_on_the_key_alone(tmp_path_factory, keys):
    root = Storage.at(str(tmp_path_factory.mktemp("lake")))
    half = len(keys) // 2
    one = stage(root, pa.array(keys, pa.int64()))
    other = stage(root, pa.array(keys[half:], pa.int64()), pa.array(keys[:half], pa.int64()))
    found = [
        [np.sort(_bucket_of(root, file.path, b)).tolist() for b in range(_BUCKETS)] for file in (one, other)
    ]
    assert found[0] == found[1]
    assert sorted(sum(found[0], [])) == sorted(keys)


@pytest.mark.spark
def test_a_key_that_two_tasks_saw_is_found(spark, tmp_path):
    root = Storage.at(str(tmp_path))
    files = [stage(root, pa.array(np.arange(5000) + 5000 * i)) for i in range(3)]
    assert not may_repeat(spark, root, tuple(files))
    assert may_repeat(spark, root, (*files, stage(root, pa.array([7777]))))
    assert may_repeat(spark, root, (stage(root, pa.array([5, 5])),))
    assert not may_repeat(spark, root, ())


@pytest.mark.spark
def test_keys_may_be_strings(spark, tmp_path):
    root = Storage.at(str(tmp_path))
    names = [f"SDSS J{i:06d}" for i in range(3000)]
    files = stage(root, pa.array(names[:1500])), stage(root, pa.array(names[1500:]))
    assert not may_repeat(spark, root, files)
    assert may_repeat(spark, root, (*files, stage(root, pa.array([names[7]]))))


def test_no_keys_make_no_file(tmp_path):
    stager = KeyStager(StageSpec(Storage.at(str(tmp_path)), "run-1", "keys", pa.schema([])))
    assert list(stager.close()) == []
