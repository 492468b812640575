"""Memory and time of a large image, extracted in parts.

    python benchmarks/large_image.py [--size 16384] [--subtile 3072]

A simulated field is repeated over a file on disk, which is then extracted as a memory map: what the process
holds beyond it is the extraction's own. The image in memory, as the job reads it, comes on top: 4 bytes a
pixel, and once more while it is converted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from memory import Sampler
from simulated_fields import GAIN, Field, simulate

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.options import ExtractionOptions

_PATCH = 2048


def anonymous_mb() -> float:
    """Return the resident memory of this process that is no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell RssAnon")


class Peak(Sampler):
    """Samples the memory of this process."""

    every_s, mb = 0.02, 0.0

    def sample(self) -> None:
        """Look once."""
        self.mb = max(self.mb, anonymous_mb())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--subtile", type=int, default=3072)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="astrolake-bench-") as folder:
        name = Path(folder) / "image.npy"
        image = np.lib.format.open_memmap(name, mode="w+", dtype=">f4", shape=(args.size, args.size))
        patch, _, _ = simulate(Field("patch", (_PATCH, _PATCH)))
        for top in range(0, args.size, _PATCH):
            for left in range(0, args.size, _PATCH):
                image[top : top + _PATCH, left : left + _PATCH] = patch[: args.size - top, : args.size - left]
        del image, patch
        mapped, before = np.load(name, mmap_mode="r"), anonymous_mb()
        clock = time.process_time()
        with Peak() as peak:
            found = extract_frame(mapped, gain=GAIN, options=ExtractionOptions(subtile_px=args.subtile))
        seconds = time.process_time() - clock
    print(
        f"{args.size} x {args.size} in parts of {args.subtile}: {len(found)} sources, {seconds:.1f} s of CPU,"
    )
    print(f"{peak.mb - before:.0f} MB beyond the image, of which the catalog {catalog_mb(found):.0f} MB")


def catalog_mb(found: object) -> float:
    """Return the size of the columns."""
    return sum(values.nbytes for values in found.columns.values()) / 2**20


if __name__ == "__main__":
    main()
