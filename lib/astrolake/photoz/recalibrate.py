"""Probabilities made true: densities recalibrated on rows held back from training.

The probability integral transform (PIT) of a density is its cumulative at the true redshift; where densities
are true, it is uniform (Dawid 1984, JRSS A 147, 278). Here the distribution of the PIT is learned, as a
function of magnitude and of the estimated redshift, and every cumulative F is replaced by R(F), R being the
cumulative of the PIT there (Bordoloi et al. 2010, MNRAS 406, 881; Kuleshov et al. 2018): the whole density
changes, quantiles and intervals with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz import pdf
from astrolake.photoz.compiled import compiled
from astrolake.photoz.grid import RedshiftGrid

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Cumulative probabilities between which a map is straight: dense at both ends, where tails are made.
KNOTS = np.unique(np.concatenate([ndtr(np.linspace(-4.0, 4.0, 81)), np.linspace(0, 1, 65)]))
#: Normal scores beyond this are outliers beyond the density's own tails.
_FARTHEST = 4.0
#: Shift and width are found again from what they leave: neighbours of a node are not all at the node.
_ROUNDS = 2
#: A map needs so many rows; fewer leave densities as they are.
LEAST_ROWS = 200


@dataclass(frozen=True)
class Recalibration:
    """Maps of cumulative probability at nodes of redshift and magnitude, bilinear between.

    Parameters
    ----------
    z_nodes, mag_nodes : (a,), (b,) float64
        Ascending medians of densities, and magnitudes.
    maps : (a, b, k) float64
        R at `KNOTS`: rising from 0 to 1.
    """

    z_nodes: Float64
    mag_nodes: Float64
    maps: Float64

    def __post_init__(self) -> None:
        if self.maps.shape != (len(self.z_nodes), len(self.mag_nodes), len(KNOTS)):
            raise ValueError(f"maps {self.maps.shape} at {len(self.z_nodes)} x {len(self.mag_nodes)} nodes")

    @classmethod
    def learn(
        cls,
        density: NDArray[np.floating],
        grid: RedshiftGrid,
        z_true: ArrayLike,
        mag: ArrayLike,
        neighbours: int | None = None,
    ) -> Recalibration:
        """Return the recalibration that makes the PIT of these rows uniform.

        At each node the `neighbours` rows nearest in rank of redshift and magnitude give shift and width of
        the normal scores of their PIT, from the quantiles that bound 68 %; what shape is left is taken from
        all rows.

        Parameters
        ----------
        density : (n, grid.n) array
            Densities of rows that the learner was not trained on.
        grid : RedshiftGrid
        z_true, mag : (n,) arrays
            Spectroscopic redshifts, and the magnitudes `apply` will be given.
        neighbours : int, optional
            Rows for each node; 300, or a twelfth of all if that is more.

        Raises
        ------
        BadInput
            For fewer than 200 rows.
        """
        z, magnitude = np.asarray(z_true, dtype=np.float64), np.asarray(mag, dtype=np.float64)
        point = pdf.summarise(density, grid)["z_median"].astype(np.float64)
        usable = np.isfinite(point) & np.isfinite(z) & np.isfinite(magnitude)
        if usable.sum() < LEAST_ROWS:
            raise BadInput(f"{int(usable.sum())} rows are held back; calibration needs {LEAST_ROWS} at least")
        z, magnitude, point = z[usable], magnitude[usable], point[usable]
        score = np.clip(ndtri(pdf.cdf_at(np.asarray(density)[usable], grid, z)), -_FARTHEST, _FARTHEST)
        near = max(300, len(z) // 12) if neighbours is None else neighbours
        count = int(np.clip(np.sqrt(len(z) / near) * 2, 1, 8))
        z_nodes, mag_nodes = (_nodes(values, count) for values in (point, magnitude))
        places = _weights(z_nodes, point), _weights(mag_nodes, magnitude)
        shift, width = np.zeros((len(z_nodes), len(mag_nodes))), np.ones((len(z_nodes), len(mag_nodes)))
        left = score
        for _ in range(_ROUNDS):
            more, factor = _local_scores(left, point, magnitude, z_nodes, mag_nodes, near)
            shift, width = shift + width * more, width * factor
            left = (score - _between(shift, *places)) / _between(width, *places)
        shape = _smooth_cumulative(left)
        inner = (ndtri(KNOTS)[np.newaxis, np.newaxis] - shift[..., np.newaxis]) / width[..., np.newaxis]
        maps = np.interp(inner, *shape)
        maps[..., 0], maps[..., -1] = 0.0, 1.0
        return cls(z_nodes, mag_nodes, maps)

    def apply(self, density: Float32, grid: RedshiftGrid, mag: ArrayLike) -> Float32:
        """Return recalibrated densities, (n, grid.n) float32 with `sum * step == 1`; NaN rows stay NaN."""
        rows = np.array(density, dtype=np.float32, order="C")
        if rows.ndim != 2 or rows.shape[1] != grid.n:
            raise BadArguments(f"densities have the shape {rows.shape}; the grid has {grid.n} redshifts")
        place_mag = _places(self.mag_nodes, np.asarray(mag, dtype=np.float64))
        _map_rows(rows, grid.edges, KNOTS, self.maps, self.z_nodes, place_mag)
        return rows

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` reads."""
        return {"z_nodes": self.z_nodes, "mag_nodes": self.mag_nodes, "maps": self.maps}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Recalibration:
        """Return the recalibration that `arrays` came from."""
        return cls(arrays["z_nodes"], arrays["mag_nodes"], arrays["maps"])


@compiled
def _map_rows(
    rows: Float32, edges: Float64, knots: Float64, maps: Float64, z_nodes: Float64, place_mag: Float64
) -> None:
    """Replace the cumulative F of each row by R(F), in place."""
    n, last, step = rows.shape[1], knots.size - 1, edges[1] - edges[0]
    mapped, slope, sums = np.empty(last + 1), np.empty(last), np.empty(n + 1)
    sums[0] = 0.0
    for row in range(rows.shape[0]):
        total = 0.0
        for column in range(n):
            total += rows[row, column]
            sums[column + 1] = total
        if not (total > 0.0 and total < np.inf):
            rows[row, :] = np.nan
            continue
        middle = min(np.searchsorted(sums, 0.5 * total), n)
        median = edges[middle] - step * (sums[middle] - 0.5 * total) / rows[row, middle - 1]
        i = min(max(np.searchsorted(z_nodes, median) - 1, 0), z_nodes.size - 1)
        i1 = min(i + 1, z_nodes.size - 1)
        u = min(max((median - z_nodes[i]) / (z_nodes[i1] - z_nodes[i]), 0.0), 1.0) if i1 > i else 0.0
        j = int(place_mag[row])
        j1, v = min(j + 1, maps.shape[1] - 1), place_mag[row] - j
        for k in range(last + 1):
            low = (1 - v) * maps[i, j, k] + v * maps[i, j1, k]
            high = (1 - v) * maps[i1, j, k] + v * maps[i1, j1, k]
            mapped[k] = (1 - u) * low + u * high
        for k in range(last):
            slope[k] = (mapped[k + 1] - mapped[k]) / (knots[k + 1] - knots[k])
        below, k, scale = 0.0, 0, 1.0 / total
        for column in range(n):
            value = min(sums[column + 1] * scale, 1.0)
            while k < last - 1 and knots[k + 1] < value:
                k += 1
            above = mapped[k] + (value - knots[k]) * slope[k]
            rows[row, column] = (above - below) / step
            below = above


def _nodes(values: Float64, count: int) -> Float64:
    """Return up to `count` distinct quantiles in the middles of equal shares."""
    return np.unique(np.quantile(values, (np.arange(count) + 0.5) / count))


def _places(nodes: Float64, values: Float64) -> Float64:
    """Return where values lie between nodes, in nodes from the first; beyond the ends, at them.

    NaN, a magnitude that was not observed, is at the middle.
    """
    filled = np.where(np.isnan(values), nodes[len(nodes) // 2], values)
    result: Float64 = np.interp(filled, nodes, np.arange(len(nodes), dtype=np.float64))
    return result


def _weights(nodes: Float64, values: Float64) -> Float64:
    """Return the share of each node in each value, (n, nodes)."""
    place = _places(nodes, values)
    result: Float64 = np.clip(1 - np.abs(place[:, np.newaxis] - np.arange(len(nodes))), 0, None)
    return result


def _between(table: Float64, by_z: Float64, by_mag: Float64) -> Float64:
    """Return the bilinear interpolation of a table at the nodes, (n,)."""
    result: Float64 = np.einsum("ni,ij,nj->n", by_z, table, by_mag)
    return result


def _local_scores(
    score: Float64, z: Float64, mag: Float64, z_nodes: Float64, mag_nodes: Float64, neighbours: int
) -> tuple[Float64, Float64]:
    """Return shift and width of the normal scores near each node, (a, b) each."""
    order_z, order_mag = np.sort(z), np.sort(mag)
    rank_z, rank_mag = np.searchsorted(order_z, z) / len(z), np.searchsorted(order_mag, mag) / len(z)
    shift, width = np.empty((2, len(z_nodes), len(mag_nodes)))
    nearest = min(neighbours, len(z))
    for i, node_z in enumerate(np.searchsorted(order_z, z_nodes) / len(z)):
        for j, node_mag in enumerate(np.searchsorted(order_mag, mag_nodes) / len(z)):
            squared = (rank_z - node_z) ** 2 + (rank_mag - node_mag) ** 2
            near = np.argpartition(squared, nearest - 1)[:nearest]
            low, high = np.quantile(score[near], [0.16, 0.84])
            shift[i, j], width[i, j] = (low + high) / 2, max((high - low) / 1.9889, 0.2)
    return shift, width


def _smooth_cumulative(score: Float64) -> tuple[Float64, Float64]:
    """Return scores and their cumulative, smoothed by a Gaussian of Silverman's width (1986, eq. 3.31)."""
    at = np.linspace(-2 * _FARTHEST, 2 * _FARTHEST, 161)
    width = (
        0.9 * min(score.std(), np.subtract(*np.quantile(score, [0.75, 0.25])) / 1.349) * len(score) ** -0.2
    )
    total = np.zeros(len(at))
    for part in np.array_split(score, len(score) // 10_000 + 1):
        total += ndtr((at[:, np.newaxis] - part) / width).sum(axis=1)
    return at, total / len(score)
