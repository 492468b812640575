"""Jobs run in this process, one by one or as the chain of the demo."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from astrolake.demo import Layout, SampleSky
from astrolake.job import Job
from astrolake.job.args import parse_args
from astrolake.job.runner import run_job

#: Two overlapping fields of the demo's scale, small enough for a test.
LAYOUT = Layout(naxis1=640, naxis2=480, overlap_px=96)


def run(name: str, lake: Path | str, *flags: object) -> dict[str, Any]:
    """Run a job in this process and return its summary."""
    job: Job = importlib.import_module(f"astrolake.jobs.{name}").JOB
    return run_job(job, parse_args(job.args, ["--lake", str(lake), *map(str, flags)], name, job.doc))


def chain(sky: SampleSky, lake: Path) -> dict[str, dict[str, Any]]:
    """Run the chain of the demo and return the summaries by step."""
    steps = {
        "ingest_images": ("ingest_images", "--images", sky.images_dir),
        "extract_sources": ("extract_sources",),
        "build_objects": ("build_objects",),
        "gaia": ("ingest_catalog", "--input", sky.reference, "--table", "gaia"),
        "specz": ("ingest_catalog", "--input", sky.specz, "--table", "specz"),
        "match": ("crossmatch_catalogs", "--left", "objects", "--right", "gaia", "--epoch", "2019.7"),
        "publish": ("publish_tables",),
    }
    return {step: run(name, lake, *flags) for step, (name, *flags) in steps.items()}
