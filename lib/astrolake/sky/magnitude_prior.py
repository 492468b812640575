"""What the magnitude (or any other number) of a candidate says about whether it is the counterpart.

Counterparts of X-ray or radio sources are brighter than the rest of a deep catalog: the ratio of both
distributions multiplies the odds that come from the separation. Salvato et al. (2018), MNRAS 473, 4937,
section 2.3 and appendix B5; Sutherland & Saunders (1992), MNRAS 259, 413, for the idea.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astrolake.errors import BadInput
from astrolake.sky.separation import Float64

#: Bins hold equal shares of the counterparts, as NWAY's: a rule of thumb against noise.
_BINS = 14
#: Fewer sure counterparts make no distribution (NWAY's limit).
FEWEST = 100
#: A bin without rows is taken to have this many: absence of evidence shall not rule a candidate out.
_UNSEEN = 0.5


@dataclass(frozen=True)
class MagnitudePrior:
    """A step function of one column.

    Parameters
    ----------
    edges : (M + 1,) float64
        Increasing.
    log10_ratio : (M,) float64
        log10 of the density of counterparts over that of the field between two edges.
    """

    edges: Float64
    log10_ratio: Float64

    def weights(self, values: Float64) -> Float64:
        """Return log10 of the factor for the odds of each value: 0 where unknown or outside all bins."""
        at = np.searchsorted(self.edges, values, side="right") - 1
        at = np.where(values == self.edges[-1], len(self.log10_ratio) - 1, at)
        known = np.isfinite(values) & (at >= 0) & (at < len(self.log10_ratio))
        return np.where(known, self.log10_ratio[np.where(known, at, 0)], 0.0)


def fine_edges(quantiles: Float64) -> Float64:
    """Return edges of fine bins: the quantiles themselves, and as many at equal steps between the outer ones.

    Bright counterparts may all lie beyond the last quantile but one, and a single wild value must not
    widen all bins.

    Parameters
    ----------
    quantiles : (K,) float64
        In order, from the smallest to the largest value; empty when there is no value.
    """
    if not len(quantiles):
        return quantiles
    low, high = quantiles[:-1][[0, 1, -1]], quantiles[1:][[0, -2, -1]]
    inner = np.linspace(low, high, len(quantiles)).ravel()
    edges = np.unique(np.concatenate([quantiles, inner]))
    return edges if len(edges) > 1 else np.array([edges[0], np.nextafter(edges[0], np.inf)])


def learn_prior(edges: Float64, counterparts: Float64, field: Float64) -> MagnitudePrior:
    """Return the prior from the distributions of sure counterparts and of rows that are none.

    Parameters
    ----------
    edges : (M + 1,) float64
        Of fine bins that hold all values; coarser ones are made of them.
    counterparts, field : (M,) float64
        Numbers (or sums of weights) in each fine bin.

    Raises
    ------
    BadInput
        When there are fewer than `FEWEST` counterparts, or no field.
    """
    total, others = counterparts.sum(), field.sum()
    if total < FEWEST or others < 1:
        raise BadInput(
            f"{total:.0f} sure counterparts among {others:.0f} other rows are too few to learn from "
            f"({FEWEST} are needed); give the prior as a file, or leave it out"
        )
    share = np.cumsum(counterparts) / total
    # A bin ends behind the fine bin in which its share of the counterparts is reached.
    inner = np.searchsorted(share, np.arange(1, _BINS) / _BINS) + 1
    first, last = np.flatnonzero(counterparts)[[0, -1]]
    cuts = np.unique(np.concatenate([[0, first], inner, [last + 1, len(counterparts)]]))
    seen, beside = (np.add.reduceat(values, cuts[:-1]) for values in (counterparts, field))
    filled = (seen > 0) | (beside > 0)
    ratio = np.ones(len(seen))
    ratio[filled] = np.maximum(seen, _UNSEEN)[filled] / total / (np.maximum(beside, _UNSEEN)[filled] / others)
    return MagnitudePrior(edges[cuts], np.log10(ratio))


def read_prior(path: str) -> MagnitudePrior:
    """Return the prior in a text file of four columns: lower and upper edge, counterparts, field (densities).

    The format is NWAY's. A density of 0 counts as 1/100 of the smallest other one.

    Raises
    ------
    BadInput
        When the file cannot be read, or its bins do not join.
    """
    try:
        low, high, counterparts, field = np.loadtxt(path, ndmin=2).T
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path} is no magnitude prior (columns: lo hi counterparts field): {error}"
        ) from error
    values = np.concatenate([counterparts, field])
    joined = np.array_equal(low[1:], high[:-1]) and (high > low).all()
    if not (joined and np.isfinite(values).all() and (values >= 0).all() and (values > 0).any()):
        raise BadInput(f"{path}: bins must join, and densities be numbers from 0 on, not all 0")
    least = values[values > 0].min() / 100
    ratio = np.maximum(counterparts, least) / np.maximum(field, least)
    return MagnitudePrior(np.append(low, high[-1]), np.log10(ratio))
