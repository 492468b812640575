"""Two catalogs of one sky: what the cross-match benchmarks match."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of a file.
FILE_ROWS = 1_000_000
_CLUSTERS = 2_000
_ARCSEC = 1 / 3600


def positions(rng: np.random.Generator, n: int, side_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions in a patch around (160, 10), 30 % of them in clusters of some arcmin."""
    n_field = int(0.7 * n)
    ra0, dec0 = 160.0, 10.0
    low, high = np.sin(np.radians([dec0 - side_deg / 2, dec0 + side_deg / 2]))
    width = side_deg / np.cos(np.radians(dec0))
    ra = ra0 + width * (rng.random(n_field) - 0.5)
    dec = np.degrees(np.arcsin(rng.uniform(low, high, n_field)))
    heart = rng.integers(0, _CLUSTERS, n - n_field)
    hearts = np.random.default_rng(42).random((2, _CLUSTERS)) - 0.5
    scatter = rng.normal(0, 0.05, (2, n - n_field))
    ra_c = ra0 + 0.95 * width * hearts[0][heart] + scatter[0]
    dec_c = dec0 + 0.95 * side_deg * hearts[1][heart] + scatter[1]
    return np.concatenate([ra, ra_c]), np.concatenate([dec, dec_c])


def write_pair(folder: Path, n_left: int, n_right: int, side_deg: float = 20.0, seed: int = 7) -> None:
    """Write ``left/`` and ``right/``: Parquet files of id, ra, dec and mag in no order.

    A bit more than half of the left rows have a counterpart, scattered by 0.2 arcsec.
    """
    rng = np.random.default_rng(seed)
    n_common = int(0.63 * n_left)
    ra, dec = positions(rng, n_left, side_deg)
    moved = rng.normal(0, 0.2 * _ARCSEC, (2, n_common))
    common = ra[:n_common] + moved[0] / np.cos(np.radians(dec[:n_common])), dec[:n_common] + moved[1]
    other = positions(rng, n_right - n_common, side_deg)
    right = (np.concatenate([c, o]) for c, o in zip(common, other, strict=True))
    for name, (ra_, dec_), first in (("left", (ra, dec), 0), ("right", tuple(right), 10**9)):
        _write(folder / name, rng, ra_, dec_, first)


def _write(folder: Path, rng: np.random.Generator, ra: np.ndarray, dec: np.ndarray, first: int) -> None:
    folder.mkdir(parents=True)
    order = rng.permutation(len(ra))
    for i, start in enumerate(range(0, len(ra), FILE_ROWS)):
        rows = order[start : start + FILE_ROWS]
        mag = rng.normal(21, 1.5, len(rows)).astype(np.float32)
        table = pa.table({"id": first + rows, "ra": ra[rows] % 360.0, "dec": dec[rows], "mag": mag})
        pq.write_table(table, folder / f"part-{i:04d}.parquet")
