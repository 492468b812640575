"""Templates and filters with known shapes: a break that moves, and galaxies drawn from it."""

from __future__ import annotations

import numpy as np

from astrolake.photoz.filters import FilterCurve
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.photometry import BandColumns
from astrolake.photoz.sed_files import Spectrum
from astrolake.photoz.templates import TemplateSet

BANDS = tuple("ugrizy")
#: As many redshifts and bands in all tests: one compiled kernel.
GRID = RedshiftGrid(0.0, 1.5, 0.01)
COLUMNS = tuple(BandColumns(b, f"flux_{b}", f"err_{b}", unit="microjansky") for b in BANDS)


def box(band: str, low: float, high: float) -> FilterCurve:
    """A filter with straight edges 20 A wide."""
    return FilterCurve(band, np.array([low - 20, low, high, high + 20]), np.array([0.0, 1.0, 1.0, 0.0]))


FILTERS = tuple(
    box(band, low, high)
    for band, low, high in zip(
        BANDS, (3300, 4000, 5500, 6900, 8200, 9300), (4000, 5500, 6900, 8200, 9300, 10500), strict=True
    )
)


def break_spectrum(name: str, depth: float, slope: float) -> Spectrum:
    """A power law with a break at 4000 A and another at 2500 A."""
    wave = np.exp(np.linspace(np.log(500.0), np.log(30000.0), 3000))
    below = np.where(wave < 4000, depth, 1.0) * np.where(wave < 2500, 0.5 + depth / 2, 1.0)
    return Spectrum(name, wave, below * (wave / 5000) ** slope)


def templates() -> TemplateSet:
    spectra = tuple(
        break_spectrum(f"t{k}", depth, slope)
        for k, (depth, slope) in enumerate([(0.25, 0.4), (0.4, -0.2), (0.6, -0.9), (0.8, -1.6)])
    )
    return TemplateSet("breaks", spectra, np.eye(3)[[0, 1, 2, 2]])


def catalog(flux: np.ndarray, error: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of (n, 6) fluxes."""
    columns = {f"flux_{b}": flux[:, k] for k, b in enumerate(BANDS)}
    return columns | {f"err_{b}": error[:, k] for k, b in enumerate(BANDS)}
