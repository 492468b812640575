"""Ingest and cross-match two catalogs beside the peers, in one run on the same rows.

    python benchmarks/crossmatch.py [--left 2000000] [--right 5000000] [--side-deg 20] [--repeats 3]
        [--peer-python PYTHON] [--peers lsdb stilts astropy ckdtree hats-import]

PYTHON is an environment with lsdb, hats-import and astropy (LSDB needs pandas 3); stilts comes from the
system. Sessions and workers are started before the clock runs: Spark's, and Dask's for LSDB and hats-import.
STILTS pays its Java start, about half a second. All must find the same pairs.

* ingest_catalog / hats-import: both catalogs, from the same Parquet files;
* crossmatch_catalogs: the whole job on tables of the lake: plan, match, partitions, commit, provenance;
* lsdb: on the catalogs that hats-import made, written as a HATS catalog;
* kernel: `astrolake.sky.matching.match` on arrays, one process; the others: without loading the files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astrolake.jobs import crossmatch_catalogs, ingest_catalog
from memory import PeakOfWorkers
from pairs import write_pair

from astrolake.job.args import parse_args
from astrolake.job.runner import run_job
from astrolake.lake.lake import Lake
from astrolake.lake.reader import table_snapshot
from astrolake.lake.session import prepare_local_environment, spark_session
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions

RADIUS = 1.0
PEERS = ("hats-import", "lsdb", "stilts", "astropy", "ckdtree")


def job(module: object, *flags: str) -> float:
    """Run a job in this session and return its seconds."""
    summary = run_job(module.JOB, parse_args(module.JOB.args, flags, module.JOB.name, ""))
    if summary["status"] != "done" or summary["rows_rejected"]:
        raise SystemExit(f"{module.JOB.name}: {summary}")
    return float(summary["seconds"])


def ingest(folder: Path, lake: Path) -> float:
    shutil.rmtree(lake, ignore_errors=True)
    sides = ("left", "right")
    return sum(
        job(ingest_catalog, "--lake", str(lake), "--input", str(folder / side), "--table", side)
        for side in sides
    )


def crossmatch(folder: Path, lake: Path) -> float:
    flags = ("--left", "left", "--right", "right", "--radius-arcsec", str(RADIUS))
    return job(crossmatch_catalogs, "--lake", str(lake), *flags)


def kernel(folder: Path) -> float:
    sides = []
    for side in ("left", "right"):
        rows = pq.read_table(folder / side)
        sides.append(Positions(*(rows.column(name).to_numpy() for name in ("ra", "dec", "id"))))
    start = time.perf_counter()
    match(*sides, RADIUS)
    return time.perf_counter() - start


def pairs_of(lake: Path) -> np.ndarray:
    snapshot = table_snapshot(Lake.open(str(lake)), "crossmatches/left_x_right")
    files = [snapshot.storage.path(file.path) for file in snapshot.files]
    rows = pa.concat_tables([pq.ParquetFile(f).read(["left_id", "right_id"]) for f in files])
    return _sorted(rows.column("left_id").to_numpy(), rows.column("right_id").to_numpy())


def _sorted(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    order = np.argsort(left, kind="stable")
    return np.stack([left[order], right[order]])


def run_peer(python: str, peer: str, folder: Path) -> float:
    command = [python, str(Path(__file__).with_name("crossmatch_peers.py")), peer, str(folder), str(RADIUS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer}: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def measure(args: argparse.Namespace, folder: Path) -> None:
    lake = folder / "lake"
    spark = spark_session("benchmark", local_memory="2g")
    spark.range(100).mapInArrow(lambda batches: batches, "id long").count()
    seconds: dict[str, list[float]] = {}
    # Sampling memory slows the workers down: it has runs of its own.
    with PeakOfWorkers() as ingest_peak:
        ingest(folder, lake)
    for _ in range(args.repeats):
        seconds.setdefault("ingest_catalog", []).append(ingest(folder, lake))
    if "hats-import" in args.peers:
        seconds["hats-import"] = [run_peer(args.peer_python, "hats-import", folder)]
    with PeakOfWorkers() as match_peak:
        crossmatch(folder, lake)
    for _ in range(args.repeats):
        # Spark ends workers that were idle while the peers ran.
        spark.range(0, 8, 1, 4).mapInArrow(lambda batches: batches, "id long").count()
        seconds.setdefault("crossmatch_catalogs", []).append(crossmatch(folder, lake))
        for peer in (p for p in args.peers if p != "hats-import"):
            seconds.setdefault(peer, []).append(run_peer(args.peer_python, peer, folder))
        seconds.setdefault("kernel", []).append(kernel(folder))
    ours = pairs_of(lake)
    for peer in (p for p in args.peers if p != "hats-import"):
        rows = pq.read_table(folder / f"pairs-{peer}.parquet")
        theirs = _sorted(rows.column("left").to_numpy(), rows.column("right").to_numpy())
        if not np.array_equal(ours, theirs):
            differ = len(set(map(tuple, ours.T.tolist())) ^ set(map(tuple, theirs.T.tolist())))
            print(f"{peer}: {differ} pairs differ")
    print(f"{args.left} x {args.right} rows, {ours.shape[1]} matches, {args.repeats} rounds\n")
    print("| what | median s | min-max | over ours |\n|---|---|---|---|")
    for name, runs in seconds.items():
        base = seconds[
            "ingest_catalog" if name in ("ingest_catalog", "hats-import") else "crossmatch_catalogs"
        ]
        ratio = statistics.median(runs) / statistics.median(base)
        print(f"| {name} | {statistics.median(runs):.2f} | {min(runs):.2f}-{max(runs):.2f} | {ratio:.2f} |")
    print(
        "\npeak memory of all Python workers together: "
        f"ingest {ingest_peak.mb:.0f} MB, match {match_peak.mb:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--left", type=int, default=2_000_000)
    parser.add_argument("--right", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side-deg", type=float, default=20.0, help="side of the patch of sky")
    parser.add_argument("--peer-python", default="python3")
    parser.add_argument("--peers", nargs="*", default=[], choices=PEERS)
    parser.add_argument("--folder", help="keep the files here (a new temporary directory)")
    args = parser.parse_args()
    prepare_local_environment()
    folder = Path(args.folder or tempfile.mkdtemp(prefix="crossmatch-"))
    if not (folder / "right").exists():
        write_pair(folder, args.left, args.right, args.side_deg)
    measure(args, folder)
    if not args.folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
