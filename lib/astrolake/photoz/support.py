"""Whether an object is like the training set, and how likely its redshift is an outlier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from astrolake.errors import BadInput
from astrolake.photoz.compiled import compiled
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.metrics import OUTLIER

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

#: Representatives of the training set kept in a model, and the neighbour that tells how dense it is there.
REPRESENTATIVES, NEIGHBOUR = 1024, 5
#: Training rows that representatives are made from.
MOST_PICTURED = 100 * REPRESENTATIVES
_ROUNDS = 8
_BLOCK = 512


@dataclass(frozen=True)
class Support:
    """A bounded picture of the training set in feature space, and the limits of what it supports.

    Parameters
    ----------
    centres : (m, f) float32
        Representatives.
    radius : (m,) float32
        What counts as a distance of 1 from each: the distance between training objects there, times a factor
        that few objects like them exceed.
    risk_limit : float
        Beyond it, or a distance of 1, an estimate is not supported.
    """

    centres: Float32
    radius: Float32
    risk_limit: float

    def __post_init__(self) -> None:
        if self.centres.ndim != 2 or self.radius.shape != (len(self.centres),):
            raise ValueError(f"radii {self.radius.shape} of centres {self.centres.shape}")

    @classmethod
    def learn(
        cls,
        features: Float32,
        held_features: Float32,
        held_density: Float32,
        grid: RedshiftGrid,
        unseen: Bool | None = None,
        flagged: float = 0.08,
        far: float = 0.01,
    ) -> Support:
        """Return the support of a training set.

        Parameters
        ----------
        features : (n, f) float32
            Of the training set.
        held_features, held_density : (m, f), (m, grid.n) float32
            Of rows held back: their calibrated densities.
        grid : RedshiftGrid
        unseen : (m,) bool, optional
            Which of the rows held back are not among `features`; all by default. Only these tell how far away
            new objects are.
        flagged : float
            Share of objects like those held back that may be flagged in all.
        far : float
            Share of them that may be flagged for their distance.
        """
        if len(features) < 2 or len(held_features) < 2:
            raise BadInput(f"support of {len(features)} training rows and {len(held_features)} held back")
        centres, radius = _representatives(features)
        distance = cls(centres, radius, np.inf).distance(held_features)
        fresh = distance if unseen is None or not unseen.any() else distance[unseen]
        limit = max(float(np.quantile(fresh, 1 - far)), 1e-3)
        danger = np.where(distance > limit, np.inf, risk(held_density, grid))
        scaled = (radius * np.float32(limit)).astype(np.float32)
        return cls(centres, scaled, float(min(np.quantile(danger, 1 - flagged), 1.0)))

    def distance(self, features: Float32) -> Float32:
        """Return the distance to the nearest representative over its radius, (n,); up to 1 is supported."""
        result = np.empty(len(features), dtype=np.float32)
        weight = 1 / self.radius.astype(np.float64) ** 2
        # |x - c|^2 / r^2 as one product: (x, |x|^2, 1) times the columns (-2 c, 1, |c|^2) / r^2
        parts = [-2 * self.centres.T, np.ones((1, len(weight))), (self.centres**2).sum(axis=1)[np.newaxis]]
        table = (np.concatenate(parts) * weight).astype(np.float32)
        for start in range(0, len(features), _BLOCK):
            block = features[start : start + _BLOCK]
            ones = np.ones((len(block), 1), dtype=np.float32)
            squared = np.hstack([block, (block**2).sum(axis=1, keepdims=True), ones]) @ table
            result[start : start + _BLOCK] = np.sqrt(np.maximum(squared.min(axis=1), 0))
        return result

    def beyond(self, distance: Float32, density: Float32, grid: RedshiftGrid) -> Bool:
        """Return which objects are farther than 1, or more at risk of being outliers than the limit, (n,)."""
        result: Bool = (distance > 1) | (risk(density, grid) > self.risk_limit)
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` reads."""
        return {"centres": self.centres, "radius": self.radius, "risk_limit": np.array([self.risk_limit])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Support:
        """Return the support that `arrays` came from."""
        return cls(arrays["centres"], arrays["radius"], float(arrays["risk_limit"][0]))


def risk(density: NDArray[np.floating], grid: RedshiftGrid) -> Float32:
    """Return the probability that the median is off by more than 0.15 (1 + z), (n,); NaN without density."""
    rows = np.ascontiguousarray(density, dtype=np.float32)
    result = np.empty(len(rows), dtype=np.float32)
    _risk(rows, grid.edges, OUTLIER, result)
    return result


@compiled
def _risk(density: Float32, edges: Float64, error: float, out: Float32) -> None:
    n, step = density.shape[1], edges[1] - edges[0]
    sums = np.empty(n + 1)
    sums[0] = 0.0
    for row in range(density.shape[0]):
        for k in range(n):
            sums[k + 1] = sums[k] + density[row, k]
        total = sums[n]
        if not (total > 0.0 and total < np.inf):
            out[row] = np.nan
            continue
        middle = min(np.searchsorted(sums, 0.5 * total), n)
        z = edges[middle] - step * (sums[middle] - 0.5 * total) / density[row, middle - 1]
        inside = 0.0
        # the true redshifts z' with |z' - z| = 0.15 (1 + z')
        for sign in (-1.0, 1.0):
            place = min(max(((z + sign * error) / (1.0 - sign * error) - edges[0]) / step, 0.0), float(n))
            k = min(int(place), n - 1)
            inside += sign * (sums[k] + (place - k) * density[row, k])
        out[row] = 1.0 - inside / total


def neighbour_weights(
    features: ArrayLike, target: ArrayLike, neighbours: int = 16, largest: float = 20.0
) -> Float64:
    """Return weights that give training rows the distribution of a target sample, (n,) with mean 1.

    The density of the target in a ball that holds `neighbours` training rows, over that of the training set
    (Lima et al. 2008, MNRAS 390, 118, eq. 24): rows in whose ball the target has none weigh nothing.

    Parameters
    ----------
    features, target : (n, f), (m, f) arrays
        Features of the training rows, and of objects the model is for (a random sample of these will do).
    neighbours : int
        Training rows in a ball; more give smoother weights.
    largest : float
        No row counts for more than so many.

    Raises
    ------
    BadInput
        When the target lies wholly outside the training set.
    """
    rows, wanted = np.asarray(features, dtype=np.float64), np.asarray(target, dtype=np.float64)
    tree = cKDTree(rows)
    count = min(neighbours, len(rows) - 1)
    radius = tree.query(rows, k=[count + 1])[0][:, 0]
    inside = cKDTree(wanted).query_ball_point(rows, radius, return_length=True)
    weight = inside / count * (len(rows) / len(wanted))
    if weight.sum() <= 0:
        raise BadInput("no target object lies near any training row: these samples have nothing in common")
    weight = np.minimum(weight / weight.mean(), largest)
    result: Float64 = weight / weight.mean()
    return result


def _representatives(features: Float32) -> tuple[Float32, Float32]:
    """Return centres of the training set (k-means of a sample) and the spacing of rows near each."""
    rng = np.random.default_rng(0)
    sample = features[np.sort(rng.permutation(len(features))[:MOST_PICTURED])]
    count = min(REPRESENTATIVES, max(len(sample) // 4, 1))
    centres = sample[np.sort(rng.permutation(len(sample))[:count])].astype(np.float64)
    for _ in range(_ROUNDS):
        owner = cKDTree(centres).query(sample)[1]
        size = np.bincount(owner, minlength=count)
        sums = np.stack([np.bincount(owner, column, minlength=count) for column in sample.T], axis=1)
        centres[size > 0] = sums[size > 0] / size[size > 0, np.newaxis]
    spacing = cKDTree(sample).query(centres, k=[min(NEIGHBOUR, len(sample))])[0][:, 0]
    floor = max(float(np.median(spacing)) * 0.1, 1e-3)
    return centres.astype(np.float32), np.maximum(spacing, floor).astype(np.float32)
