"""How estimate_photoz scales: the same kind of galaxies, more and more of them, at one density on the sky.

    python benchmarks/photoz_scale.py [--rows 1000000 20000000] [--trees 100] [--depth 12]

A forest and a template fit are trained once on a small catalog of the same kind and estimate all
galaxies of the large one. Rate and memory for a core should stay flat as rows grow. The second method
joins the first in the table, whose rows are then written again. Seconds of CPU are those of all processes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from memory import PeakOfWorkers, cpu_seconds

from astrolake.cli import load_job
from astrolake.job import main as run_main
from astrolake.lake.session import prepare_local_environment, spark_session
from astrolake.photoz.filters import load_filters
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.model_grid import model_grid
from astrolake.photoz.templates import load_templates

BANDS = tuple("ugriz")
_PIECE = 500_000
_DENSITY_DEG2 = 50_000
_TRAINING = 10_000
_ERRORS = (0.2, 0.05, 0.04, 0.04, 0.08)


class Galaxies:
    """Templates at random redshifts, seen with noise."""

    def __init__(self) -> None:
        self.grid = RedshiftGrid(0.0, 1.5, 0.01)
        self.flux = model_grid(load_templates("cww"), load_filters("sdss2010", BANDS), self.grid).flux

    def table(self, start: int, count: int, side_deg: float, *, spectra: bool) -> pa.Table:
        """Return rows start ... start + count, the same whatever the pieces' size is a multiple of."""
        rng = np.random.default_rng([7, start, spectra])
        z = rng.beta(2, 3, count) * 1.4 + 0.02
        kind = rng.integers(len(self.flux), size=count)
        flux = self.flux[kind, np.rint(z / self.grid.step).astype(int)]
        mag = -2.5 * np.log10(np.maximum(flux, 1e-12))
        mag += (rng.uniform(18, 22.5, count) - mag[:, 3])[:, np.newaxis]
        ra, dec = rng.uniform(150, 150 + side_deg, count), rng.uniform(-side_deg / 2, side_deg / 2, count)
        columns = {"id": np.arange(start, start + count), "ra": ra, "dec": dec}
        for k, band in enumerate(BANDS):
            error = np.hypot(0.02, _ERRORS[k] * 10 ** (0.3 * (mag[:, k] - 22.5)))
            seen = mag[:, k] + rng.normal(size=count) * np.minimum(error, 1.0)
            columns[f"mag_{band}"] = np.where(error < 1, seen, np.nan)
            columns[f"mag_{band}_err"] = np.where(error < 1, error, np.nan)
        if spectra:
            columns["z"] = z
        return pa.table(columns)


def write(folder: Path, rows: int, *, spectra: bool) -> Path:
    galaxies, side = Galaxies(), (rows / _DENSITY_DEG2) ** 0.5
    folder.mkdir()
    for start in range(0, rows, _PIECE):
        piece = galaxies.table(start, min(_PIECE, rows - start), side, spectra=spectra)
        pq.write_table(piece, folder / f"{start:09d}.parquet")
    return folder


def job(name: str, *flags: object) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        code = run_main(load_job(name), [str(flag) for flag in flags])
    if code:
        raise SystemExit(f"{name} failed")
    return json.loads(stdout.getvalue().splitlines()[-1])


def trained(root: Path, trees: int, depth: int) -> None:
    """Train both models in the lake."""
    lake = root / "lake"
    job("ingest_catalog", "--lake", lake, "--input", write(root / "spectra", _TRAINING, spectra=True),
        "--table", "spectra", "--id-column", "id")  # fmt: skip
    common = (
        "--lake", lake, "--table", "spectra", "--spec-table", "spectra", "--z-max", 1.5, "--magnitudes",
        *(f"mag_{b}" for b in BANDS), "--errors", *(f"mag_{b}_err" for b in BANDS),
    )  # fmt: skip
    job("train_photoz", *common, "--method", "random_forest", "--n-trees", trees, "--max-depth", depth)
    job("train_photoz", *common, "--method", "template", "--template-set", "cww", "--filters", "sdss2010")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 20_000_000])
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--root", type=Path, help="keep lake and models here, and use those that are there")
    parser.add_argument("--pdf-step", type=float, default=0.02)
    args = parser.parse_args()
    prepare_local_environment()
    spark_session("photoz scale", local_memory="3g")
    root = args.root or Path(tempfile.mkdtemp(prefix="photoz-scale-"))
    if not (root / "lake").exists():
        trained(root, args.trees, args.depth)
    print("| rows | method | s | CPU s | gal/s | gal per CPU s | peak of workers, MB |")
    print("|" + "---|" * 7)
    for rows in args.rows:
        lake = root / "lake"
        job("ingest_catalog", "--lake", lake, "--input", write(root / f"g{rows}", rows, spectra=False),
            "--table", "galaxies", "--id-column", "id")  # fmt: skip
        shutil.rmtree(root / f"g{rows}")
        shutil.rmtree(lake / "photoz", ignore_errors=True)
        for method in ("random_forest", "template"):
            start, cpu = time.monotonic(), cpu_seconds()
            with PeakOfWorkers() as peak:
                job("estimate_photoz", "--lake", lake, "--table", "galaxies", "--model", method,
                    "--pdf-step", args.pdf_step)  # fmt: skip
            seconds, cpu = time.monotonic() - start, cpu_seconds() - cpu
            columns = f"{seconds:.0f} | {cpu:.0f} | {rows / seconds:,.0f} | {rows / cpu:,.0f} | {peak.mb:.0f}"
            print(f"| {rows:,} | {method} | {columns} |", flush=True)
    if args.root is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
