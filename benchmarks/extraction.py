"""Spark's overhead over a bare multiprocessing loop of the same chain, and the memory of its workers.

    python benchmarks/extraction.py [--fields 64] [--repeats 3]

Makes a set of fields (one rendered field, cloned with shifted pointings), ingests it into a fresh lake,
and runs in turn, on the same files and with as many processes as cores:

* loop: multiprocessing.Pool over the files; each worker reads a file, extracts, calibrates, puts the sources
  on the sky and writes a Parquet file (the function `image_sources`, as in the job);
* job: the whole job `extract_sources` into a lake without detections: the same extraction by Spark, HEALPix
  partitions, Delta commit, provenance;
* again: the job once more, which finds out what it replaces and replaces it.

The session is started and its workers are forked before the clock runs, as the pool's are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from astrolake.jobs import extract_sources, ingest_images
from astropy.io import fits
from memory import Sampler, descendants

from astrolake.demo.files import image_header
from astrolake.demo.layout import Layout, plan_exposures
from astrolake.demo.sky import draw_sky
from astrolake.demo.write import take_image
from astrolake.job.args import parse_args
from astrolake.job.runner import run_job
from astrolake.lake.session import prepare_local_environment
from astrolake.photometry.image_sources import image_sources
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import scan_file

RADII = (1.5, 3.0, 5.0)


def make_fields(directory: Path, count: int) -> list[str]:
    """Render one field and write it under shifted pointings."""
    layout = Layout()
    exposure = next(e for e in plan_exposures(layout, 7) if e.band.name == "r")
    image, header = take_image(draw_sky(layout, 7), exposure, 7), image_header(exposure)
    names = []
    for i in range(count):
        shifted = header.copy()
        shifted["CRVAL1"] = header["CRVAL1"] + 0.5 * (i % 8)
        shifted["CRVAL2"] = header["CRVAL2"] - 0.3 * (i // 8)
        shifted["FIELD"] = i
        path = directory / f"field-{i:03d}.fits"
        fits.PrimaryHDU(image, shifted).writeto(path)
        names.append(str(path))
    return names


def extract_to_parquet(work: tuple[dict, str]) -> int:
    """Do for one image what the job does, and write its rows to a file of its own."""
    row, directory = work
    found = image_sources(row, [], ExtractionOptions(psf="moffat"), RADII)
    pq.write_table(found.rows, f"{directory}/{row['image_id']}.parquet", compression="zstd")
    return found.rows.num_rows


def extract_into(lake_uri: str, counts: set[int]) -> float:
    """Run the job on all images of a lake and return its seconds."""
    clock = time.perf_counter()
    done = run_job(
        extract_sources.JOB, parse_args(extract_sources.JOB.args, ["--lake", lake_uri], "extract", "")
    )
    counts.add(done["rows_written"]["detections"])
    return time.perf_counter() - clock


def warm(_: int) -> int:
    """Import what a worker needs, so that neither side is charged for it."""
    import astrolake.photometry.image_sources  # noqa: F401

    return os.getpid()


class WorkerMemory(Sampler):
    """Samples the resident memory of Spark's Python workers; keeps each one's peak."""

    every_s = 0.05

    def __init__(self) -> None:
        super().__init__()
        self.peak_mb: dict[int, float] = {}

    def sample(self) -> None:
        """Look once."""
        for process in descendants(os.getpid()):
            try:
                command = (process / "cmdline").read_bytes()
                status = (process / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            peak = re.search(r"VmHWM:\s+(\d+)", status)
            if b"-m\0astrolake.lake.worker_daemon" in command and peak is not None:
                self.peak_mb[int(process.name)] = int(peak.group(1)) / 1024


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    prepare_local_environment()
    with tempfile.TemporaryDirectory(prefix="astrolake-bench-") as folder:
        measure(Path(folder), args.fields, args.repeats)


def measure(folder: Path, fields: int, repeats: int) -> None:
    """Run the three in turn, `repeats` times, and print medians and ratios."""
    (folder / "images").mkdir()
    files = make_fields(folder / "images", fields)
    lake_uri = str(folder / "lake")
    rows = [image | {"overlapping": []} for name in files for image in scan_file(name).images]
    cores = os.cpu_count() or 1
    pool = multiprocessing.get_context("spawn").Pool(cores)
    pool.map(warm, range(8 * cores))
    ingest = run_job(
        ingest_images.JOB,
        parse_args(ingest_images.JOB.args, ["--lake", lake_uri, "--images", *files], "ingest", ""),
    )
    assert ingest["rows_out"] == fields, ingest
    times: dict[str, list[float]] = {"loop": [], "job": [], "again": []}
    counts = set()
    with WorkerMemory() as memory:
        for repeat in range(repeats + 1):
            out = folder / f"loop-{repeat}"
            out.mkdir()
            clock = time.perf_counter()
            counts.add(
                sum(pool.imap_unordered(extract_to_parquet, [(row, str(out)) for row in rows], chunksize=1))
            )
            loop = time.perf_counter() - clock
            shutil.rmtree(folder / "lake" / "detections", ignore_errors=True)
            job, again = extract_into(lake_uri, counts), extract_into(lake_uri, counts)
            if repeat:  # the first round warms both sides
                for name, seconds in (("loop", loop), ("job", job), ("again", again)):
                    times[name].append(seconds)
    pool.close()
    assert len(counts) == 1, f"the three found different sources: {counts}"
    base = times["loop"]
    print(f"{fields} fields of 2048 x 1489, {counts.pop()} sources, {cores} processes, {repeats} rounds\n")
    print("| what | median s | s per field | ratio to the loop, median (min-max) |\n|---|---|---|---|")
    for name, values in times.items():
        ratios = [value / other for value, other in zip(values, base, strict=True)]
        median = statistics.median(values)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        print(f"| {name} | {median:.2f} | {median / fields:.3f} | {spread} |")
    print(f"\npeak memory of a Python worker: {max(memory.peak_mb.values()):.0f} MB")


if __name__ == "__main__":
    main()
