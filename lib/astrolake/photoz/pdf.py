"""Densities of redshift on a grid: their summaries, their cumulative, coarser ones.

A density is a float32 row with `sum * grid.step == 1`, constant in the bin of a step around each redshift.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments
from astrolake.photoz.compiled import compiled
from astrolake.photoz.grid import RedshiftGrid

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Which summary is called z_phot.
Point = Literal["median", "mode", "mean"]

#: Cumulative probabilities of z_lo95, z_lo68, z_median, z_hi68, z_hi95.
_LEVELS = np.array([0.025, 0.16, 0.5, 0.84, 0.975])
_COLUMNS = ("z_mode", "z_mean", "z_lo95", "z_lo68", "z_median", "z_hi68", "z_hi95")
#: Half the width, over 1 + z, of the interval whose probability is `odds` (Benitez 2000, ApJ 536, 571).
ODDS_HALF_WIDTH = 0.06


def summarise(pdf: NDArray[np.floating], grid: RedshiftGrid, point: Point = "median") -> dict[str, Float32]:
    """Return point estimates and intervals of densities.

    Parameters
    ----------
    pdf : (n, grid.n) array
        Densities, of any norm; a row without probability (all zero, or any NaN) gives NaN.
    grid : RedshiftGrid
        Their redshifts.
    point : {"median", "mode", "mean"}
        What z_phot is.

    Returns
    -------
    dict of (n,) float32
        z_phot, z_phot_err (half the 68 % interval), z_mode (of the parabola through the highest bin and its
        neighbours), z_mean, z_median, z_lo68, z_hi68, z_lo95, z_hi95 (central intervals) and odds, the
        probability within 0.06 (1 + z_phot) of z_phot.
    """
    if point not in get_args(Point):
        raise BadArguments(f"point estimate {point!r}: give one of {', '.join(get_args(Point))}")
    rows = _rows(pdf, grid)
    table = np.empty((len(rows), len(_COLUMNS) + 1), dtype=np.float32)
    chosen = _COLUMNS.index(f"z_{point}")
    _summaries(rows, grid.edges, _LEVELS, chosen, ODDS_HALF_WIDTH, table)
    found: dict[str, Float32] = {
        name: np.ascontiguousarray(table[:, column]) for column, name in enumerate(_COLUMNS)
    }
    return {
        "z_phot": found[f"z_{point}"].copy(),
        "z_phot_err": ((found["z_hi68"] - found["z_lo68"]) / 2).astype(np.float32),
        **found,
        "odds": np.ascontiguousarray(table[:, -1]),
    }


@compiled
def _summaries(
    pdf: Float32, edges: Float64, levels: Float64, chosen: int, half_width: float, out: Float32
) -> None:
    n = pdf.shape[1]
    step = edges[1] - edges[0]
    cumulative = np.empty(n + 1)
    cumulative[0] = 0.0
    for row in range(pdf.shape[0]):
        total, moment, best = 0.0, 0.0, 0
        for k in range(n):
            value = pdf[row, k]
            total += value
            cumulative[k + 1] = total
            moment += k * value
            if value > pdf[row, best]:
                best = k
        if not (total > 0.0 and total < np.inf):
            out[row, :] = np.nan
            continue
        first, last = edges[0] + 0.5 * step, edges[n] - 0.5 * step
        shift = 0.0
        if 0 < best < n - 1:
            below, peak, above = pdf[row, best - 1], pdf[row, best], pdf[row, best + 1]
            curvature = below - 2 * peak + above
            shift = 0.5 * (below - above) / curvature if curvature < 0 else 0.0
        out[row, 0] = first + (best + shift) * step
        out[row, 1] = first + moment / total * step
        k = 0
        for level in range(levels.size):
            wanted = levels[level] * total
            while k < n - 1 and cumulative[k + 1] < wanted:
                k += 1
            inside = (wanted - cumulative[k]) / (cumulative[k + 1] - cumulative[k])
            out[row, 2 + level] = min(max(edges[k] + inside * step, first), last)
        centre = out[row, chosen]
        half = half_width * (1.0 + centre)
        mass = 0.0
        for side in range(2):
            place = (centre - half if side == 0 else centre + half) - edges[0]
            place = min(max(place / step, 0.0), float(n))
            bin_ = min(int(place), n - 1)
            part = cumulative[bin_] + (place - bin_) * pdf[row, bin_]
            mass += part if side == 1 else -part
        out[row, 2 + levels.size] = mass / total


def normalise(pdf: NDArray[np.floating], grid: RedshiftGrid) -> Float32:
    """Return the rows divided by their integral; a row without probability becomes NaN."""
    rows = _rows(pdf, grid)
    total = rows.sum(axis=1, dtype=np.float64)
    usable = (total > 0) & np.isfinite(total)
    factor = np.divide(1.0, total * grid.step, out=np.full(len(rows), np.nan), where=usable)
    result: Float32 = rows * factor.astype(np.float32)[:, np.newaxis]
    return result


def cumulative(pdf: NDArray[np.floating], grid: RedshiftGrid) -> Float64:
    """Return the probability below each edge of the bins, (n, grid.n + 1) float64, 0 first and 1 last."""
    rows = _rows(pdf, grid)
    sums = np.zeros((len(rows), grid.n + 1))
    np.cumsum(rows, axis=1, dtype=np.float64, out=sums[:, 1:])
    with np.errstate(invalid="ignore"):
        result: Float64 = sums / sums[:, -1:]
    return result


def cdf_at(pdf: NDArray[np.floating], grid: RedshiftGrid, z: ArrayLike) -> Float64:
    """Return the probability below one redshift of each row, (n,): the probability integral transform."""
    rows = _rows(pdf, grid)
    place = (np.asarray(z, dtype=np.float64) - grid.edges[0]) / grid.step
    result = np.empty(len(rows))
    _cdf_at(rows, np.broadcast_to(place, len(rows)).copy(), result)
    return result


@compiled
def _cdf_at(pdf: Float32, place: Float64, out: Float64) -> None:
    for row in range(pdf.shape[0]):
        below, total = 0.0, 0.0
        for k in range(pdf.shape[1]):
            value = np.float64(pdf[row, k])
            total += value
            below += value * min(max(place[row] - k, 0.0), 1.0)
        out[row] = below / total if total > 0.0 and np.isfinite(place[row]) else np.nan


def rebin(pdf: NDArray[np.floating], grid: RedshiftGrid, coarse: RedshiftGrid) -> Float32:
    """Return densities on another grid; probability beyond its ends goes to its first and last bins.

    On the same grid they are returned as they are, not copied.
    """
    rows = _rows(pdf, grid)
    return rows if coarse == grid else np.asarray(rows @ overlap_matrix(grid, coarse))


def overlap_matrix(grid: RedshiftGrid, coarse: RedshiftGrid) -> Float32:
    """Return (grid.n, coarse.n): the density on `coarse` of a density of 1 in each bin of `grid`."""
    edges = coarse.edges.copy()
    edges[0], edges[-1] = min(edges[0], grid.edges[0]), max(edges[-1], grid.edges[-1])
    low = np.maximum(grid.edges[:-1, np.newaxis], edges[np.newaxis, :-1])
    high = np.minimum(grid.edges[1:, np.newaxis], edges[np.newaxis, 1:])
    result: Float32 = (np.clip(high - low, 0, None) / coarse.step).astype(np.float32)
    return result


def _rows(pdf: NDArray[np.floating], grid: RedshiftGrid) -> Float32:
    rows = np.ascontiguousarray(pdf, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != grid.n:
        raise BadArguments(f"densities have the shape {np.shape(pdf)}; the grid has {grid.n} redshifts")
    return rows
