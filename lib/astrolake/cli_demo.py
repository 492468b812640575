"""The demo: a generated sky through the whole chain, by the same jobs that a cluster runs."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from astrolake.cli_report import inventory, write_report
from astrolake.demo import write_sample_sky
from astrolake.job import Job
from astrolake.job.args import parse_args
from astrolake.job.runner import run_job
from astrolake.lake.lake import Lake
from astrolake.lake.sql import run_query
from astrolake.lake.sql_text import format_table
from astrolake.visualization import ReportTable

#: Mean epoch of the sample's two visits, to which the reference catalog is moved.
_EPOCH = "2019.7"
#: Enough for some 290 spectra.
_FOREST = ("--method", "random_forest", "--n-trees", "40", "--max-depth", "8", "--min-instances", "3")
_TITLE = "The most variable stars that the reference catalog knows"
_ANSWER = """SELECT o.object_id, round(o.ra, 5) AS ra, round(o.dec, 5) AS dec,
       round(o.mag_aper_r, 3) AS mag_r, round(o.g_r, 3) AS g_r, o.n_r AS visits,
       round(m.sep_arcsec, 3) AS sep_arcsec, round(g.pmra, 1) AS pmra, round(g.pmdec, 1) AS pmdec
FROM objects o
JOIN crossmatches_objects_x_gaia m ON m.left_id = o.object_id
JOIN gaia g ON g.source_id = m.right_id
WHERE o.mag_aper_r BETWEEN 15 AND 20
ORDER BY o.chi2_r DESC
LIMIT 5"""


@dataclass(frozen=True)
class _Step:
    """One run of a job: its flags, and the table that shows what it made."""

    job: str
    flags: tuple[str, ...]
    table: str


def run_demo(directory: Path, seed: int) -> int:
    """Generate the sample sky, run the chain, ask SQL, draw; return the exit code."""
    start = time.monotonic()
    directory = directory.absolute()
    sky, lake_dir = directory / "sky", directory / "lake"
    rows = [_sample(sky, seed)]
    for step in _steps(sky):
        summary = _run(step, lake_dir)
        if summary["status"] != "done":
            return 1
        rows.append(_row(step, summary))
        _print_row(rows[-1])
    lake = Lake.open(str(lake_dir))
    answer = run_query(lake, _ANSWER)
    print(f"\n{_TITLE}; ask more with: astrolake sql --lake '{lake_dir}' \"SELECT ...\"\n\n{_ANSWER}\n")
    print(format_table(answer))
    clock = time.monotonic()
    tables = [ReportTable(_TITLE, answer.to_pandas(), _ANSWER)]
    paths = write_report(lake, directory / "report", sky / "truth.parquet", tables)
    rows.append(("draw pictures and report", "", len(paths), "", time.monotonic() - clock))
    _print_row(rows[-1])
    _print_summary(lake, paths)
    print(f"\nDone in {time.monotonic() - start:.0f} s.")
    return 0


def _print_summary(lake: Lake, paths: Sequence[Path]) -> None:
    print(f"\nTables of the lake {lake.uri}\n")
    print(format_table(pa.Table.from_pandas(inventory(lake), preserve_index=False)))
    print("\nPictures and report\n")
    for path in paths:
        print(f"  {path}")


_COLUMNS = ("step", "rows in", "rows written", "rejected", "seconds")


def _sample(directory: Path, seed: int) -> tuple[object, ...]:
    _print_row(_COLUMNS)
    clock = time.monotonic()
    with tqdm(desc="sample sky", unit="file", leave=False, disable=None) as bar:

        def tick(message: str) -> None:
            bar.set_postfix_str(message)
            bar.update()

        sample = write_sample_sky(directory, seed=seed, progress=tick)
    row = ("generate sample sky", "", sample.n_sources, "", time.monotonic() - clock)
    _print_row(row)
    return row


def _steps(sky: Path) -> Sequence[_Step]:
    def match(left: str, right: str, *flags: str) -> _Step:
        both = ("--left", left, "--right", right, *flags)
        return _Step("crossmatch_catalogs", both, f"crossmatches/{left}_x_{right}")

    return (
        _Step("ingest_images", ("--images", str(sky / "images")), "images"),
        _Step("extract_sources", (), "detections"),
        _Step("build_objects", (), "objects"),
        _Step("ingest_catalog", ("--input", str(sky / "reference.fits"), "--table", "gaia"), "gaia"),
        _Step("ingest_catalog", ("--input", str(sky / "specz.csv"), "--table", "specz"), "specz"),
        match("objects", "gaia", "--radius-arcsec", "1.0", "--epoch", _EPOCH),
        match("objects", "specz", "--radius-arcsec", "1.0"),
        _Step("train_photoz", ("--spec-table", "specz", *_FOREST), "models"),
        _Step("estimate_photoz", ("--model", "random_forest"), "photoz"),
        _Step("publish_tables", (), ""),
    )


def _run(step: _Step, lake_dir: Path) -> dict[str, Any]:
    job: Job = importlib.import_module(f"astrolake.jobs.{step.job}").JOB
    logging.getLogger("astrolake").setLevel(logging.WARNING)
    return run_job(job, parse_args(job.args, ["--lake", str(lake_dir), *step.flags], job.name, job.doc))


def _row(step: _Step, summary: dict[str, Any]) -> tuple[object, ...]:
    name = f"{step.job} {step.table}" if step.job in ("ingest_catalog", "crossmatch_catalogs") else step.job
    written = summary["rows_written"].get(step.table, summary["rows_out"])
    return (name, summary["rows_in"], written, summary["rows_rejected"], summary["seconds"])


def _print_row(row: Sequence[object]) -> None:
    """Print a step on one line: its name, then right-aligned numbers."""
    name, *numbers = row
    cells = [f"{value:.1f}" if isinstance(value, float) else str(value) for value in numbers]
    print(f"{name!s:<52}" + "".join(f"{cell:>14}" for cell in cells))
    sys.stdout.flush()
