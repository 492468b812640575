"""Real frames through the container's entry point: what it writes, records, and does when killed."""

import importlib.util
import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import boto3
import pandas as pd
import pyarrow.parquet as pq
import pytest
from batch_world import DEFINITION, ENTRYPOINT, QUEUE, compute_of, make_queue

from astrolake.batch_processing.batch_queue import Clock
from astrolake.batch_processing.field_catalog import SCHEMA, process_field
from astrolake.batch_processing.field_task import Extraction, FieldTask
from astrolake.errors import BadInput
from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake

pytestmark = pytest.mark.data
RUN, CAMCOL, FIELD = 4510, 4, 30
IMAGES = "s3://survey-images/sdss/frames"
#: What says where a frame lies.
PLACES = ["image_id", "detection_id", "run_id"]


def load_entrypoint():
    spec = importlib.util.spec_from_file_location("batch_entrypoint", ENTRYPOINT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


entrypoint = load_entrypoint()


@pytest.fixture(scope="module")
def frames(survey_data):
    """Frames of one field by band."""
    name = "frame-{}-004510-4-0030.fits.bz2"
    return {band: survey_data / "images_sdss" / name.format(band) for band in "ugriz"}


@pytest.fixture(scope="module")
def local_images(frames, tmp_path_factory):
    """A directory as of the survey bucket."""
    root = tmp_path_factory.mktemp("frames")
    folder = root / str(RUN) / str(CAMCOL)
    folder.mkdir(parents=True)
    for path in frames.values():
        (folder / path.name).symlink_to(path)
    return root


@pytest.fixture
def s3(aws, frames):
    """A client of buckets with the frames g, r and i of a field."""
    client = boto3.client("s3")
    for bucket in ("survey-images", "bucket"):
        client.create_bucket(Bucket=bucket)
    for band in "gri":
        key = f"sdss/frames/{RUN}/{CAMCOL}/{frames[band].name}"
        client.put_object(Bucket="survey-images", Key=key, Body=frames[band].read_bytes())
    return client


def task(images, output, bands="r", **extraction):
    return FieldTask(RUN, CAMCOL, FIELD, tuple(bands), str(output), str(images), Extraction(**extraction))


def read(uri):
    # As a file: its directories are no columns of it.
    return pq.ParquetFile(uri.removeprefix("file://")).read()


def flags(output, bands, images=IMAGES):
    numbers = [f"--run={RUN}", f"--camcol={CAMCOL}", f"--field={FIELD}"]
    return ["field", *numbers, "--bands", *bands, "--output", str(output), "--images", str(images)]


def test_the_documents_batch_snippet(s3, local_images, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGES_URI", IMAGES)
    with compute_of() as compute:
        make_queue()
        clock = Clock(lambda: compute.now, compute.sleep)
        monkeypatch.setattr("astrolake.batch_processing.survey_processor.Clock", lambda: clock)
        sdss_fields = [{"field": number, "run": RUN, "camcol": CAMCOL} for number in (FIELD, 31)]

        from astrolake.batch_processing import SurveyProcessor

        # Initialize processor
        processor = SurveyProcessor(
            job_queue='astronomy-queue',
            job_definition='source-extraction'
        )  # fmt: skip

        # Submit batch jobs for 1000 SDSS fields
        job_ids = []
        for field in sdss_fields[:1000]:
            job_id = processor.submit_field_processing(
                field_id=field['field'],
                run=field['run'],
                camcol=field['camcol'],
                bands=['g', 'r', 'i'],
                output_bucket='s3://bucket/processed/'
            )  # fmt: skip
            job_ids.append(job_id)

        # Monitor progress
        summary = processor.monitor_jobs(job_ids, update_interval=60)

        # Aggregate results
        catalog = processor.aggregate_catalogs(
            job_ids=job_ids,
            output='s3://bucket/full_catalog.parquet'
        )  # fmt: skip

        print(f"Processed {len(catalog)} sources across {len(job_ids)} fields")
    assert (QUEUE, DEFINITION) == ("astronomy-queue", "source-extraction")
    assert compute.slept == [0.025, 60]
    assert summary.succeeded == (job_ids[0],)
    (failed,) = summary.failed
    assert failed.exit_code == 1
    assert "no frame of field 004510-4-0031-gri can be used" in failed.container_reason
    assert catalog.missing == (job_ids[1],)
    rows = catalog.to_pandas()
    assert len(catalog) == len(rows) == 1764
    assert rows.groupby("band").size().to_dict() == {"g": 510, "i": 626, "r": 628}
    assert rows[["run", "camcol", "field"]].drop_duplicates().to_numpy().tolist() == [[RUN, CAMCOL, FIELD]]
    bright = catalog.to_pandas(columns=["ra", "dec"], filter=[("band", "=", "r"), ("mag_auto", "<", 18)])
    assert list(bright.columns) == ["ra", "dec"]
    assert 10 < len(bright) < 100
    assert_same_as_local(rows, process_field(task(local_images, tmp_path)).catalog_uri)
    assert_objects_hold_together(rows)


def assert_same_as_local(rows, uri):
    """The frame on S3 gives what the same frame on a disk gives."""
    local = read(uri).to_pandas()
    drop = [*PLACES, "object_number", "n_bands"]
    there = rows[rows["band"] == "r"].drop(columns=["run", "camcol", "field", *drop]).reset_index(drop=True)
    pd.testing.assert_frame_equal(there, local.drop(columns=drop), check_exact=True)


def assert_objects_hold_together(rows):
    """An object has at most one source of a band, and its sources lie within the radius of its first."""
    assert not rows.duplicated(["object_number", "band"]).any()
    sizes = rows.groupby("object_number")["band"].transform("size")
    assert (sizes == rows["n_bands"]).all()
    assert rows["object_number"].nunique() == rows["object_number"].max() + 1 == 794
    first = rows.groupby("object_number")[["ra", "dec"]].transform("first")
    cos_dec = 0.80  # of declination 36.8
    apart = ((rows["ra"] - first["ra"]) * cos_dec) ** 2 + (rows["dec"] - first["dec"]) ** 2
    assert apart.max() ** 0.5 * 3600 <= 1.001


@pytest.mark.spark
def test_a_catalog_is_what_extract_sources_stores(run_job, local_images, tmp_path):
    catalog = read(process_field(task(local_images, tmp_path / "out")).catalog_uri)
    lake = str(tmp_path / "lake")
    frame = next((local_images / str(RUN) / str(CAMCOL)).glob("frame-r-*"))
    assert run_job("ingest_images", "--lake", lake, "--images", frame)[0] == 0
    assert run_job("extract_sources", "--lake", lake)[0] == 0
    storage = Lake.open(lake).delta_storage("detections")
    (file,) = read_snapshot(storage).files
    stored = read(storage.path(file.path))
    columns = [name for name in SCHEMA.names if name in stored.column_names and name != "run_id"]
    assert len(columns) == len(SCHEMA.names) - 3
    theirs = stored.select(columns).to_pandas().sort_values("number", ignore_index=True)
    pd.testing.assert_frame_equal(catalog.select(columns).to_pandas(), theirs, check_exact=True)


def test_what_is_missing_or_damaged_is_recorded_beside_the_catalog(s3, frames, capsys):
    folder = f"sdss/frames/{RUN}/{CAMCOL}"
    half = frames["g"].read_bytes()[:1_000_000]
    s3.put_object(Bucket="survey-images", Key=f"{folder}/{frames['g'].name}", Body=half)
    words = [*flags("s3://bucket/out", "gruz"), "--psf", "none"]
    assert entrypoint.main(words, {}) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (4, 1, 3)
    assert summary["rows_written"] == {"catalog": 628}
    where = f"out/run={RUN}/camcol={CAMCOL}/field={FIELD}/_rejects-ugrz.jsonl"
    lines = s3.get_object(Bucket="bucket", Key=where)["Body"].read().decode().splitlines()
    rejects = {json.loads(line)["source"][len(IMAGES) :]: json.loads(line) for line in lines}
    assert {source.split("-")[1]: reject["error_type"] for source, reject in rejects.items()} == {
        "u": "FileNotFound",
        "g": "Truncated",
        "z": "FileNotFound",
    }
    # It is up to date now, and still incomplete.
    assert entrypoint.main([*words, "--strict"], {}) == 3
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again.pop("kept")
    assert again | {"kept": False, "seconds": 0} == summary | {"seconds": 0}
    # The frame is mended: the catalog is made anew, and u and z alone are missing.
    s3.put_object(Bucket="survey-images", Key=f"{folder}/{frames['g'].name}", Body=frames["g"].read_bytes())
    assert entrypoint.main(words, {}) == 0
    mended = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert mended["rows_written"] == {"catalog": 1138}
    assert mended["rows_rejected"] == 2


def test_a_field_without_frames_fails_and_writes_nothing(s3, caplog):
    words = [word.replace("--field=30", "--field=99") for word in flags("s3://bucket/out", "gr")]
    assert entrypoint.main(words, {}) == 1
    assert s3.list_objects_v2(Bucket="bucket")["KeyCount"] == 0


def test_a_frame_under_the_name_of_another_band_is_not_taken(s3, frames, local_images, tmp_path):
    name = frames["u"].name
    key = f"sdss/frames/{RUN}/{CAMCOL}/{name}"
    s3.put_object(Bucket="survey-images", Key=key, Body=frames["r"].read_bytes())
    with pytest.raises(BadInput, match="its header says band r, its name u"):
        process_field(task(IMAGES, tmp_path, "u"))


def test_arguments_that_are_none_exit_with_2(tmp_path, capsys):
    assert entrypoint.main(["field", "--run", "1"], {}) == 2
    assert entrypoint.main(["nothing"], {}) == 2
    assert entrypoint.main(flags(tmp_path, "q", tmp_path), {}) == 2
    assert entrypoint.main(flags(tmp_path, "r", ""), {}) == 2
    assert entrypoint.main(["step", "no_such_job"], {}) == 2
    assert capsys.readouterr().out == ""


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import entrypoint
from astrolake.batch_processing import field_catalog
write, calls = field_catalog.write_whole, []
def killed(*given):
    calls.append(given)
    if len(calls) == {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*given)
field_catalog.write_whole = killed
sys.exit(entrypoint.main(sys.argv[1:], os.environ))
"""


def test_killed_and_run_again_it_writes_the_same_bytes(s3):
    words = [*flags("s3://bucket/out", "ru"), "--psf=none"]
    # Before the rejects, and between them and the catalog.
    for before in (1, 2):
        script = KILLED.format(folder=str(ENTRYPOINT.parent), before=before)
        command = [sys.executable, "-c", script, *words]
        killed = subprocess.run(command, check=False, capture_output=True, timeout=300)
        assert killed.returncode == -signal.SIGKILL
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket="bucket").get("Contents", [])]
        assert len(keys) == before - 1
        assert not [key for key in keys if key.endswith(".parquet")]
    assert entrypoint.main(words, {}) == 0
    assert entrypoint.main([word.replace("bucket/out", "bucket/fresh") for word in words], {}) == 0
    held = {item["Key"] for item in s3.list_objects_v2(Bucket="bucket")["Contents"]}
    assert len(held) == 4
    for key in (key for key in held if key.startswith("out/")):
        fresh = s3.get_object(Bucket="bucket", Key=key.replace("out/", "fresh/"))["Body"].read()
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == fresh


@pytest.mark.spark
def test_a_step_takes_its_slice_of_a_manifest(spark, local_images, tmp_path, capsys):
    lake, folder = str(tmp_path / "lake"), local_images / str(RUN) / str(CAMCOL)
    manifest = tmp_path / "frames.txt"
    manifest.write_text("# frames\n" + "".join(f"{path}\n" for path in sorted(folder.iterdir())))
    step = ["step", "ingest_images", f"--manifest={manifest}", "--slice-size=2"]
    for index, images in ((1, 2), (2, 3)):
        assert entrypoint.main([*step, "--", "--lake", lake], {"AWS_BATCH_JOB_ARRAY_INDEX": str(index)}) == 0
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert summary["rows_in"] == (2 if index == 1 else 1)
        assert read_snapshot(Lake.open(lake).delta_storage("images")).rows == images
    uris = tmp_path / "uris.txt"
    uris.write_text(f"file://{sorted(folder.iterdir())[2]}\n")
    step = ["step", "extract_sources", f"--manifest={uris}", "--indices=0", "--", "--psf=none"]
    assert entrypoint.main(step, {"LAKE": lake}) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows_in"] == 1
    assert entrypoint.main(["step", "extract_sources", f"--manifest={uris}", "--indices=4"], {}) == 1


def test_a_step_that_fails_is_tried_again(monkeypatch, tmp_path):
    codes, paused, ran = [1, 1, 0], [], []
    monkeypatch.setattr(
        "astrolake.job.main", lambda job, words: ran.append((job.name, words)) or codes.pop(0)
    )
    monkeypatch.setattr(entrypoint, "time", SimpleNamespace(sleep=paused.append))
    step = ["step", "publish_tables", "--", "--lake", str(tmp_path)]
    assert entrypoint.main(step, {"LAKE": "elsewhere"}) == 0
    assert ran == [("publish_tables", ["--lake", str(tmp_path)])] * 3
    assert [0 <= pause <= bound for pause, bound in zip(paused, (20, 40), strict=True)] == [True, True]
    for code, tries in ((1, 2), (2, 1), (3, 1)):
        codes[:], ran[:] = [code] * 9, []
        assert entrypoint.main(["step", "publish_tables", "--tries=2", *step[2:]], {}) == code
        assert len(ran) == tries
