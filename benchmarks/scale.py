"""How ingest and cross-match scale: rows doubled three times at one density, with one core and with two.

    python benchmarks/scale.py [--left 250000] [--right 625000] [--doublings 3] [--cores 1 2]

Time and memory for a row should stay flat as rows grow, and time fall with cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from crossmatch import crossmatch, ingest
from memory import PeakOfWorkers
from pairs import write_pair

from astrolake.lake.session import prepare_local_environment, spark_session

#: Side of the patch that the smallest pair fills, in degrees.
_SIDE_DEG = 7.0
_REPEATS = 3


def one_run(folder: Path, cores: int) -> dict[str, float]:
    """Measure one pair with some cores, in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(folder), "--cores", str(cores)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, cores: int) -> dict[str, float]:
    # Spark takes as many as the process may use.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    prepare_local_environment()
    spark = spark_session("scale")
    spark.range(100).mapInArrow(lambda batches: batches, "id long").count()
    lake = folder / "lake"
    ingest(folder, lake)
    with PeakOfWorkers() as ingest_peak:
        ingest_s = statistics.median(ingest(folder, lake) for _ in range(_REPEATS))
    with PeakOfWorkers() as match_peak:
        match_s = statistics.median(crossmatch(folder, lake) for _ in range(_REPEATS))
    return {"ingest": ingest_s, "ingest_mb": ingest_peak.mb, "match": match_s, "match_mb": match_peak.mb}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--left", type=int, default=250_000)
    parser.add_argument("--right", type=int, default=625_000)
    parser.add_argument("--doublings", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.cores[0])))
        return
    print("| left | right | cores | ingest s | us/row | MB | match s | us/row | MB |")
    print("|" + "---|" * 9)
    for doubling in range(args.doublings + 1):
        factor = 2**doubling
        rows = args.left * factor, args.right * factor
        folder = Path(tempfile.mkdtemp(prefix="scale-"))
        write_pair(folder, *rows, side_deg=_SIDE_DEG * factor**0.5)
        for cores in args.cores:
            found = one_run(folder, cores)
            each = 1e6 / sum(rows)
            columns = [str(rows[0]), str(rows[1]), str(cores)]
            for what in ("ingest", "match"):
                seconds, held = found[what], found[f"{what}_mb"]
                columns += [f"{seconds:.1f}", f"{seconds * each:.2f}", f"{held:.0f}"]
            print("| " + " | ".join(columns) + " |", flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
