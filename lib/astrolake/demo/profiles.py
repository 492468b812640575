"""Light profiles as sums of Gaussians, so that convolving one with another only adds variances.

The weights are fitted at run time to the exact curve of growth (the flux inside a radius) of the
profile: non-negative least squares on a fixed, logarithmic grid of widths (the idea of Hogg & Lang
2013, PASP 125, 719, whose own tables are truncated profiles and miss 6 % of the flux of n = 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import gammainc, gammaincinv

from astrolake.errors import BadArguments

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mixture:
    """A circular profile of total flux 1: `weights` (K,) and `variances` (K,) of its Gaussians."""

    weights: Float64
    variances: Float64

    def enclosed_flux(self, radius: Float64) -> Float64:
        """Return the flux inside each radius (N,), in the unit of the square root of a variance."""
        grown = 1.0 - np.exp(-0.5 * np.square(radius)[:, np.newaxis] / self.variances)
        return np.asarray(grown @ self.weights)


def moffat_enclosed_flux(radius: Float64, beta: float) -> Float64:
    """Return the flux of a Moffat profile (Moffat 1969, A&A 3, 455) inside radii in units of alpha."""
    return np.asarray(1.0 - (1.0 + np.square(radius)) ** (1.0 - beta))


def moffat_alpha(fwhm: float, beta: float) -> float:
    """Return the scale alpha of a Moffat profile: FWHM = 2 alpha sqrt(2^(1/beta) - 1)."""
    return fwhm / (2.0 * float(np.sqrt(2.0 ** (1.0 / beta) - 1.0)))


def sersic_enclosed_flux(radius: Float64, n: float) -> Float64:
    """Return the flux of a Sersic profile inside radii in units of its half-light radius.

    The incomplete gamma function of Graham & Driver (2005), PASA 22, 118, eq. 2, with b_n exact.
    """
    b_n = gammaincinv(2.0 * n, 0.5)
    return np.asarray(gammainc(2.0 * n, b_n * np.asarray(radius) ** (1.0 / n)))


@lru_cache(maxsize=16)
def moffat_mixture(beta: float = 3.0) -> Mixture:
    """Return the Moffat profile of alpha = 1 as eight Gaussians.

    For beta = 3 the curve of growth is good to 1e-4 and the surface brightness to 1 % inside
    4 alpha and 5 % inside 8 alpha; from beta = 2.5 to 4 the curve of growth is good to 1e-3.

    Raises
    ------
    BadArguments
        When beta lies outside [2.5, 4], where the grid of widths does not follow the profile.
    """
    if not 2.5 <= beta <= 4.0:
        raise BadArguments(f"beta={beta} lies outside [2.5, 4]: choose a Moffat exponent in that range")
    sigmas = np.geomspace(0.3, 4.5, 8)
    return _fit(lambda r: moffat_enclosed_flux(r, beta), sigmas, np.geomspace(0.03, 15.0, 300))


@lru_cache(maxsize=16)
def sersic_mixture(n: float) -> Mixture:
    """Return the Sersic profile of half-light radius 1 and index n as seven to nine Gaussians.

    The curve of growth is good to 0.3 % of the total flux for n = 1 and n = 4. The grid of widths
    opens up with n as the profile does, its core steeper and its wings wider.

    Raises
    ------
    BadArguments
        When n lies outside [0.8, 4.5].
    """
    if not 0.8 <= n <= 4.5:
        raise BadArguments(f"n={n} lies outside [0.8, 4.5]: choose a Sersic index in that range")
    narrowest = 0.08 * (0.02 / 0.08) ** ((n - 1.0) / 3.0)
    widest = 1.5 * (10.0 / 1.5) ** ((n - 1.0) / 3.0)
    sigmas = np.geomspace(narrowest, widest, round(7 + 2 * (n - 1.0) / 3.0))
    return _fit(lambda r: sersic_enclosed_flux(r, n), sigmas, np.geomspace(0.01, 30.0, 400))


def _fit(enclosed_flux: Callable[[Float64], Float64], sigmas: Float64, radii: Float64) -> Mixture:
    """Fit weights to the curve of growth at `radii`; one heavy row holds their sum at 1."""
    heavy = 100.0
    growth = 1.0 - np.exp(-0.5 * np.square(radii[:, np.newaxis] / sigmas))
    rows = np.vstack([growth, np.full(sigmas.size, heavy)])
    weights, _ = nnls(rows, np.append(enclosed_flux(radii), heavy))
    used = weights > 0
    return Mixture(weights[used] / weights[used].sum(), np.square(sigmas[used]))
