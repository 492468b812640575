"""What the magnitude (or any other number) of a candidate says about whether it is the counterpart.

Counterparts of X-ray or radio sources are brighter than the rest of a deep catalog: the ratio of both
distributions multiplies the odds that come from the separation. Salvato et al. (2018), MNRAS 473, 4937,
section 2.3 and appendix B5; Sutherland & Saunders (1992), MNRAS 259, 413, for the idea.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import fsspec
import numpy as np

from astrolake.errors import BadInput
from astrolake.sky.separation import Float64, Int64

#: Bins hold equal shares of the counterparts, as NWAY's: a rule of thumb against noise.
_BINS = 14
#: Fewer sure counterparts make no distribution (NWAY's limit).
FEWEST = 100
#: A bin without rows is taken to have this many: absence of evidence shall not rule a candidate out.
_UNSEEN = 0.5
#: Values farther from the others than so many interquartile ranges are apart: -99 is no magnitude.
_APART = 3.0
#: Fine bins keep sign, exponent and 11 bits of the fraction of a float32: 0.005 mag at 15, 0.01 at 20.
_DROPPED_BITS = 12
#: Smaller numbers count as 0: they would have bins without end.
_SMALLEST = 2.0**-10


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


def fine_bins(values: Float64) -> Int64:
    """Return the fine bin of each (finite) value: the same wherever and beside whatever it is counted."""
    bits = np.where(np.abs(values) < _SMALLEST, 0.0, values).astype(np.float32).view(np.int32)
    # The bits of negative numbers fall as the numbers rise.
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    return (ordered >> _DROPPED_BITS).astype(np.int64)


def lower_edges(bins: Int64) -> Float64:
    """Return the lower edge of each fine bin."""
    ordered = (bins << _DROPPED_BITS).astype(np.int32)
    bits = np.where(ordered < 0, ordered ^ np.int32(0x7FFFFFFF), ordered).astype(np.int32)
    return bits.view(np.float32).astype(np.float64)


def learn_prior(bins: Int64, counterparts: Float64, field: Float64) -> MagnitudePrior:
    """Return the prior from the distributions of sure counterparts and of rows that are none.

    Parameters
    ----------
    bins : (M,) int64
        Fine bins that hold any row, increasing.
    counterparts, field : (M,) float64
        Numbers (or sums of weights) in each.

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
    low, high = lower_edges(bins), lower_edges(bins + 1)
    share = np.cumsum(counterparts) / total
    # A bin ends behind the fine bin in which its share of the counterparts is reached.
    inner = np.searchsorted(share, np.arange(1, _BINS) / _BINS) + 1
    first, last = np.flatnonzero(counterparts)[[0, -1]]
    apart = np.flatnonzero(low[1:] - high[:-1] > _APART * _interquartile_range(low, counterparts + field)) + 1
    cuts = np.unique(np.concatenate([[0, first, last + 1], inner, apart]))
    cuts = cuts[cuts < len(bins)]
    seen, beside = (np.add.reduceat(values, cuts) for values in (counterparts, field))
    ratio = np.maximum(seen, _UNSEEN) / total / (np.maximum(beside, _UNSEEN) / others)
    # Between two groups that are apart no value says anything.
    starts, ends = low[cuts], high[np.append(cuts[1:], len(bins)) - 1]
    gap = np.isin(cuts[1:], apart)
    edges = np.concatenate([starts, ends[:-1][gap], ends[-1:]])
    log10_ratio = np.concatenate([np.log10(ratio), np.zeros(gap.sum())])
    order = np.argsort(edges[:-1], kind="stable")
    return MagnitudePrior(np.append(edges[:-1][order], edges[-1]), log10_ratio[order])


def _interquartile_range(low: Float64, weight: Float64) -> float:
    share = np.cumsum(weight) / weight.sum()
    quarter, three = low[np.searchsorted(share, [0.25, 0.75])]
    return max(float(three - quarter), float(np.spacing(np.abs(low).max())))


def read_prior(path: str) -> MagnitudePrior:
    """Return the prior in a text file.

    Its four columns are lower and upper edge, and the densities of counterparts and field, as NWAY writes
    them. A density of 0 counts as 1/100 of the smallest other one.

    Raises
    ------
    BadInput
        When the file cannot be read, or its bins do not join.
    """
    try:
        with fsspec.open(path, "r", encoding="utf-8") as stream:
            low, high, counterparts, field = np.loadtxt(io.StringIO(stream.read()), ndmin=2).T
    except (OSError, ValueError, ImportError) as error:
        raise BadInput(
            f"{path} is no magnitude prior (columns: lo hi counterparts field): {error}"
        ) from error
    values = np.concatenate([counterparts, field])
    joined = np.array_equal(low[1:], high[:-1]) and (high > low).all()
    both = np.isfinite(values).all() and (values >= 0).all() and counterparts.any() and field.any()
    if not (joined and both):
        raise BadInput(f"{path}: bins must join, and densities be numbers from 0 on, not all 0")
    least = values[values > 0].min() / 100
    ours, theirs = (
        np.maximum(density, least) / (density * (high - low)).sum() for density in (counterparts, field)
    )
    return MagnitudePrior(np.append(low, high[-1]), np.log10(ours / theirs))
