"""Which detections, over bands and epochs, are one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from astrolake.errors import BadArguments
from astrolake.objects.clumps import Clumps, first_of_runs, friends_of_friends, gather
from astrolake.sky.separation import Bool, Int64, checked_positions, chord, separation_arcsec, widen_chord

#: Smallest radius: seeds farther apart than this lie in different HEALPix cells of order 29.
MIN_RADIUS_ARCSEC = 0.001
MAX_RADIUS_ARCSEC = 3600.0
#: At most five points that are more than r apart fit within r of a point; one more for rounding.
_MAX_SEEDS = 6


@dataclass(frozen=True)
class Association:
    """Detections grouped into objects.

    Parameters
    ----------
    seed_index : (N,) int64
        Row of the detection that seeds the object of each detection; a seed has its own row.
    component : (N,) int64
        Row of the best detection of each detection's component (chains of steps <= radius).
    """

    seed_index: Int64
    component: Int64


def associate(
    ra_deg: ArrayLike, dec_deg: ArrayLike, priority: ArrayLike, id: ArrayLike, radius_arcsec: float = 1.0
) -> Association:
    """Group detections into objects: the best one left seeds an object and takes those around it.

    Equivalent to: go through the detections by priority; one that is within the radius of no
    earlier seed becomes a seed, any other joins the earliest seed within the radius. The result
    depends on the detections of a component only, and not on the order of rows.

    Parameters
    ----------
    ra_deg, dec_deg : (N,) float64
        ICRS; must be finite.
    priority : (N,) float
        The highest goes first, for example the signal-to-noise ratio; NaN goes last.
    id : (N,) int64 or str
        Unique; the smaller goes first where priorities are equal.
    radius_arcsec : float
        Between 0.001 and 3600, inclusive.

    Returns
    -------
    Association

    Raises
    ------
    BadArguments
        When the radius is out of range.
    ValueError
        When a position is not finite, lengths differ, or an id repeats at equal priority.
    """
    if not MIN_RADIUS_ARCSEC <= radius_arcsec <= MAX_RADIUS_ARCSEC:
        raise BadArguments(
            f"radius_arcsec={radius_arcsec}: give one in [{MIN_RADIUS_ARCSEC}, {MAX_RADIUS_ARCSEC}] arcsec"
        )
    ra, dec = checked_positions(ra_deg, dec_deg, "detections")
    by_rank = _by_rank(np.asarray(priority, dtype=np.float64), np.asarray(id), ra.size)
    rank = np.empty(ra.size, dtype=np.int64)
    rank[by_rank] = np.arange(ra.size)
    clumps = gather(ra, dec, rank, radius_arcsec)
    seeds = _seeds(clumps, rank, radius_arcsec)
    seed_index = np.empty(ra.size, dtype=np.int64)
    seed_index[clumps.rows] = by_rank[_first_seed(clumps, clumps.rows, seeds, rank, radius_arcsec)]
    component = friends_of_friends(clumps, radius_arcsec)
    return Association(seed_index, by_rank[_lowest(component, rank)[component]])


def incomplete_components(component: Int64, in_cell: Bool, near_border: Bool) -> Int64:
    """Return the components of a cell that may go on outside what was read.

    A partition is associated with its neighbours' detections in a margin around it. Where no
    component of the cell is incomplete, the objects whose seed lies in the cell are those that the
    whole sky would give; otherwise a wider margin is needed.

    Parameters
    ----------
    component : (N,) int64
        From `associate`.
    in_cell : (N,) bool
        Whether the detection lies in the cell itself.
    near_border : (N,) bool
        Whether the detection lies within the match radius of the outer edge of the margin.

    Returns
    -------
    (M,) int64
        Sorted component labels; empty when all are complete.
    """
    return np.intersect1d(component[in_cell], component[near_border])


def _by_rank(priority: NDArray[np.float64], ids: NDArray[Any], n_rows: int) -> Int64:
    """Return the rows by falling priority, then rising id; ids are compared only where needed."""
    if priority.shape != (n_rows,) or ids.shape != (n_rows,):
        raise ValueError(
            f"detections: {n_rows} positions, priorities {priority.shape}, ids {ids.shape}: give one each"
        )
    key = np.where(np.isnan(priority), np.inf, -priority)
    order: Int64 = np.argsort(key, kind="stable")
    equal = key[order][1:] == key[order][:-1]
    if not equal.any():
        return order
    tied = order[np.append(equal, False) | np.append(False, equal)]
    place = np.zeros(n_rows, dtype=np.int64)
    place[tied] = np.unique(ids[tied], return_inverse=True)[1]
    order = np.lexsort((place, key))
    repeated = (np.diff(place[order]) == 0) & (key[order][1:] == key[order][:-1])
    if repeated.any():
        row = int(order[int(np.argmax(repeated))])
        raise ValueError(f"detections: id {ids[row]} repeats; ids must be unique, drop the copies first")
    return order


def _seeds(clumps: Clumps, rank: Int64, radius_arcsec: float) -> Int64:
    """Return the rows of all seeds.

    In each round every detection that has no better undecided one within the radius is a seed,
    everywhere at once. Only the best of each clump can be, and it is compared with the best of all
    clumps that reach into its radius: stricter than necessary, so that a doubtful one waits for
    the next round.
    """
    reach = float(widen_chord(chord(radius_arcsec) + 2.0 * clumps.max_span))
    undecided, seeds = clumps.rows, [np.empty(0, dtype=np.int64)]
    while undecided.size:
        best = undecided[first_of_runs(clumps.cell[undecided])]
        pairs = cKDTree(clumps.vectors[best], balanced_tree=False).query_pairs(reach, output_type="ndarray")
        beaten = np.zeros(best.size, dtype=np.bool_)
        worse = np.where(rank[best[pairs[:, 0]]] < rank[best[pairs[:, 1]]], pairs[:, 1], pairs[:, 0])
        beaten[worse] = True
        seeds.append(best[~beaten])
        covered = _first_seed(clumps, undecided, seeds[-1], rank, radius_arcsec) < rank.size
        undecided = undecided[~covered]
    return np.concatenate(seeds)


def _first_seed(clumps: Clumps, rows: Int64, seeds: Int64, rank: Int64, radius_arcsec: float) -> Int64:
    """Return the rank of the best seed within the radius of each row; N where there is none."""
    first = np.full(rows.size, rank.size, dtype=np.int64)
    if not rows.size:
        return first
    bound = float(widen_chord(chord(radius_arcsec)))
    tree = cKDTree(clumps.vectors[seeds], balanced_tree=False)
    distance, index = tree.query(clumps.vectors[rows], k=_MAX_SEEDS, distance_upper_bound=bound)
    i, j = np.nonzero(np.isfinite(distance))
    near = seeds[index[i, j]]
    sep = separation_arcsec(clumps.ra[rows[i]], clumps.dec[rows[i]], clumps.ra[near], clumps.dec[near])
    within = sep <= radius_arcsec
    np.minimum.at(first, i[within], rank[near[within]])
    return first


def _lowest(component: Int64, rank: Int64) -> Int64:
    """Return the lowest rank in each component."""
    lowest = np.full(int(component.max(initial=-1)) + 1, rank.size, dtype=np.int64)
    np.minimum.at(lowest, component, rank)
    return lowest
