"""How probable matches are, from positional errors and the density of the sky.

Budavari & Szalay (2008), ApJ 679, 301 (the Bayes factor); Salvato et al. (2018), MNRAS 473, 4937
(NWAY: p_any and p_i).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from astrolake.sky.separation import ARCSEC_PER_RAD, Float64, Int64

#: Square degrees of the sky.
SKY_DEG2 = 4 * np.pi * (180 / np.pi) ** 2


def log10_bayes_factor(sep_arcsec: ArrayLike, sigma1_arcsec: ArrayLike, sigma2_arcsec: ArrayLike) -> Float64:
    """Return log10 of the odds that two detections are of one object, before any prior.

    B = 2 / s2 exp(-psi**2 / (2 s2)), s2 = sigma1**2 + sigma2**2 in radians: Budavari & Szalay (2008),
    eq. 16, for circular Gaussian errors much smaller than the sky.

    Parameters
    ----------
    sep_arcsec : (N,) float64
    sigma1_arcsec, sigma2_arcsec : (N,) float64
        Standard deviation of the position in one coordinate. NaN where unknown, where both are 0, and where
        the odds are beyond the range of numbers.
    """
    s2 = np.square(sigma1_arcsec, dtype=np.float64) + np.square(sigma2_arcsec, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        natural = np.log(2.0) + 2 * np.log(ARCSEC_PER_RAD) - np.log(s2) - np.square(sep_arcsec) / (2 * s2)
    return np.where((s2 > 0) & np.isfinite(natural), natural / np.log(10.0), np.nan)


def prior_of_match(density_deg2: float, completeness: float = 1.0) -> float:
    """Return the chance that a given row of the other catalog is the counterpart, before looking.

    completeness / (rows on all of the sky): Salvato et al. (2018), eq. 3, for two catalogs.
    """
    return min(completeness / (density_deg2 * SKY_DEG2), 1.0)


def p_single(log10_bf: Float64, prior: float) -> Float64:
    """Return the probability that a pair is one object rather than two unrelated ones.

    Budavari & Szalay (2008), eq. 10: 1 / (1 + (1 - prior) / (prior B)).
    """
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + (1.0 - prior) / prior * 10.0**-log10_bf))


def group_probabilities(group: Int64, log10_bf: Float64, prior: float) -> tuple[Float64, Float64]:
    """Return p_any and p_i of candidates that stand by group: one group is all candidates of a row.

    p_any is the chance that any of the candidates is the counterpart, p_i that this one is, if any:
    Salvato et al. (2018), eq. 5 and 6.

    Parameters
    ----------
    group : (N,) int64
        Numbers of the groups; equal ones stand together.
    log10_bf : (N,) float64
        NaN where the errors are not known: such a candidate has no part in p_any, and its p_i is NaN;
        p_any is NaN where that goes for all candidates.
    prior : float
        See `prior_of_match`.

    Returns
    -------
    p_any, p_i : (N,) float64
    """
    if not group.size:
        return np.empty(0), np.empty(0)
    weight = np.where(np.isnan(log10_bf), -np.inf, log10_bf + np.log10(prior))
    first = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    size = np.diff(first, append=group.size)
    # Relative to the best of a group: factors of 1e300 and more would overflow.
    best = np.maximum.reduceat(weight, first)
    top = np.where(np.isfinite(best), best, 0.0)
    share = 10.0 ** (weight - np.repeat(top, size))
    total = np.add.reduceat(share, first)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        p_any = np.where(np.isfinite(best), total / (total + 10.0**-top), np.nan)
        p_i = share / np.repeat(total, size)
    return np.repeat(p_any, size), np.where(np.isnan(log10_bf), np.nan, p_i)
