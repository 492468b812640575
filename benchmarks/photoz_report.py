"""Rows of the photo-z benchmarks: how good redshifts are, whether their errors are true, and flags."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from astrolake.photoz.flags import PhotozFlag
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.metrics import evaluate

HEADER = (
    "| code | train s | gal/s | sigma_NMAD | outliers | bias | CDE loss | CRPS | PIT KS | 68 % holds |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)
HEADER_OF_ERRORS = (
    "| code | 68 % holds | by z_spec | by z_phot | by magnitude | flagged | outliers flagged |\n"
    "|---|---|---|---|---|---|---|"
)
Arrays = Mapping[str, np.ndarray]


def print_row(
    name: str,
    train_s: float,
    rate: float,
    z_phot: np.ndarray,
    z: np.ndarray,
    pdf: np.ndarray | None,
    grid: RedshiftGrid,
) -> None:
    found = evaluate(z_phot, z, pdf=pdf, grid=grid)
    density = [found.get(key) for key in ("cde_loss", "crps", "pit_ks", "pdf_coverage_68")]
    digits = (2, 4, 3, 3)
    cells = ["-" if value is None else f"{value:.{n}f}" for value, n in zip(density, digits, strict=True)]
    print(
        f"| {name} | {train_s:.1f} | {rate:,.0f} | {found['scatter']:.4f} "
        f"| {100 * found['outlier_fraction']:.2f} % | {found['bias']:+.4f} | {' | '.join(cells)} |",
        flush=True,
    )


def print_errors(name: str, estimates: Arrays, z: np.ndarray, magnitude: np.ndarray) -> None:
    """Print how much the 68 % intervals hold, over all and in quintiles, and what the support flag marks."""
    held = (z >= estimates["z_lo68"]) & (z <= estimates["z_hi68"])
    cells = [f"{held.mean():.3f}"]
    for by in (z, estimates["z_phot"], magnitude):
        parts = [held[part].mean() for part in np.array_split(np.argsort(by), 5)]
        cells.append(f"{min(parts):.3f}-{max(parts):.3f}")
    outlier = np.abs(estimates["z_phot"] - z) / (1 + z) > 0.15
    flagged = (estimates["photoz_flags"] & PhotozFlag.OUT_OF_SUPPORT) > 0
    cells += [f"{100 * flagged.mean():.1f} %", f"{100 * flagged[outlier].mean():.0f} %"]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)
