"""Fields of SDSS through the container's entry point, and many jobs through SurveyProcessor.

    ASTROLAKE_TEST_DATA=FOLDER python benchmarks/batch_fields.py [--fields 50] [--at-once 2] [--jobs 1000]

Fields are copies (links) of one real field's frames in g, r and i under other numbers; each is a process of
its own that starts, reads three frames of bzip2, extracts with PSF photometry, matches the bands and writes
its catalog, as in a container. Jobs are submitted to and watched at a local moto server, which answers as
Batch does but runs nothing.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from astrolake.batch_processing.catalog_file import Part, join_catalogs
from astrolake.batch_processing.field_catalog import SCHEMA
from astrolake.batch_processing.field_task import FieldTask
from astrolake.lake.atomic_file import remove

ROOT = Path(__file__).resolve().parents[1]
RUN, CAMCOL, FIELD, BANDS = 4510, 4, 30, "gri"


def link_fields(data: Path, images: Path, count: int) -> None:
    """Link the frames of one field under the numbers of others."""
    folder = images / str(RUN) / str(CAMCOL)
    folder.mkdir(parents=True)
    for band in BANDS:
        frame = data / "images_sdss" / f"frame-{band}-{RUN:06d}-{CAMCOL}-{FIELD:04d}.fits.bz2"
        for number in range(count):
            (folder / frame.name.replace(f"-{FIELD:04d}.", f"-{number:04d}.")).symlink_to(frame)


def run_field(task: FieldTask) -> float:
    """Run a field as a process and return its seconds."""
    start = time.monotonic()
    command = [sys.executable, str(ROOT / "batch" / "entrypoint.py"), *task.command()]
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - start


def measure_fields(data: Path, count: int, at_once: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        images, out = Path(directory, "images"), Path(directory, "out")
        link_fields(data, images, count)
        tasks = [FieldTask(RUN, CAMCOL, n, tuple(BANDS), str(out), str(images)) for n in range(count)]
        run_field(tasks[0])  # compiles, in a new installation
        remove(tasks[0].catalog_uri)
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            seconds = list(pool.map(run_field, tasks))
        wall = time.monotonic() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime
        start = time.monotonic()
        parts = [
            Part(task.catalog_uri, {"run": RUN, "camcol": CAMCOL, "field": task.field}) for task in tasks
        ]
        rows, _ = join_catalogs(parts, f"file://{out}/all.parquet", SCHEMA)
        joined = time.monotonic() - start
        size = Path(out, "all.parquet").stat().st_size
        start = time.monotonic()
        run_field(tasks[0])
        again = time.monotonic() - start
    print(
        "| fields | at once | s | fields/s | s per field: median, 90 % | CPU s per field | peak memory, MB |"
    )
    print("|---|---|---|---|---|---|---|")
    median, most = np.quantile(seconds, [0.5, 0.9])
    print(
        f"| {count} | {at_once} | {wall:.0f} | {count / wall:.3f} | {median:.1f}, {most:.1f} "
        f"| {spent / count:.2f} | {used.ru_maxrss / 1024:.0f} |"
    )
    print(
        f"\n{rows} sources of all fields in one file of {size / 1e6:.1f} MB in {joined:.1f} s; "
        f"a field that is up to date: {again:.1f} s."
    )


def measure_jobs(counts: list[int]) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "batch_processing"))
    from batch_world import DEFINITION, QUEUE, Ended, compute_of, make_queue
    from moto.server import ThreadedMotoServer

    from astrolake.batch_processing import SurveyProcessor
    from astrolake.batch_processing.batch_queue import Clock

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    print(
        "\n| jobs | submit, s | submit again, s | watch, s | resubmit 1 % that failed, s | peak memory, MB |"
    )
    print("|---|---|---|---|---|---|")
    for run, count in enumerate(counts):
        with compute_of(lambda command, _: Ended(int(int(command[3][8:]) % 100 == 0))) as compute:
            if run == 0:
                make_queue()
            clock = Clock(time.monotonic, lambda seconds: compute.sleep(seconds) if seconds >= 1 else None)
            processor = SurveyProcessor(QUEUE, DEFINITION, clock=clock)
            times = [time.monotonic()]
            for _ in range(2):
                ids = [processor.submit_field_processing(n, run, 1, "r", "s3://b/o") for n in range(count)]
                times.append(time.monotonic())
            summary = processor.monitor_jobs(ids, progress=False)
            times.append(time.monotonic())
            successors = processor.resubmit_failed(ids)
            times.append(time.monotonic())
            assert len(set(ids)) == count
            assert len(summary.failed) == len(set(successors) - set(ids)) == count // 100
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {count} | {' | '.join(f'{d:.1f}' for d in np.diff(times))} | {peak:.0f} |")
    server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--jobs", type=int, nargs="*", default=[1_000, 10_000])
    args = parser.parse_args()
    if args.fields:
        measure_fields(Path(os.environ["ASTROLAKE_TEST_DATA"]), args.fields, args.at_once)
    if args.jobs:
        measure_jobs(args.jobs)


if __name__ == "__main__":
    main()
