"""What the peers of the photo-z benchmark share: the sample, its grid, seconds of CPU, results."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

BANDS = "ugrizy"
Z_STEP = 0.01
GRID = np.linspace(0.0, 3.0, 301)
Sample = dict[str, np.ndarray]


def cpu() -> float:
    """Return the CPU seconds of this process and of the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def estimation_data() -> Path:
    from rail.utils.path_utils import RAILDIR

    return Path(RAILDIR) / "rail" / "examples_data" / "estimation_data" / "data"


def peer_name() -> str:
    return sys.argv[1]


def keep(folder: Path, pdf: np.ndarray | None, z_phot: np.ndarray, rows: np.ndarray | None = None) -> None:
    """Write point estimates and densities, and the test galaxies they are of, where not of all."""
    arrays = {"z_phot": z_phot, "rows": np.arange(len(z_phot)) if rows is None else rows}
    if pdf is not None:
        arrays["pdf"] = np.asarray(pdf, np.float32)
    np.savez(folder / f"{peer_name()}.npz", z=GRID, **arrays)


def median(pdf: np.ndarray) -> np.ndarray:
    mass = 0.5 * (pdf[:, 1:] + pdf[:, :-1]) * Z_STEP
    cdf = np.concatenate([np.zeros((len(pdf), 1)), np.cumsum(mass, axis=1)], axis=1)
    cdf /= np.maximum(cdf[:, -1:], 1e-30)
    return np.array([np.interp(0.5, row, GRID) for row in cdf])
