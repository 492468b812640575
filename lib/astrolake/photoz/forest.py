"""Densities of redshift from trees: a forest's own leaves, or what boosted predictions turned out to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photoz.compiled import compiled_fast
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.learner import register
from astrolake.photoz.metrics import density_scores
from astrolake.photoz.trees import TreeEnsemble

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: A leaf is known by so many of its redshifts: quantiles (k + 1/2) / 4.
LABELS = 4
#: Redshifts of leaves are kept in this unit, as uint16.
_UNIT = 2.5e-4
#: Rows that fill the leaves at most: more would make a forest's file larger than its memory allows.
_MOST_LABEL_ROWS = 200_000
#: Bytes of the work space of a block.
_WORK_BYTES = 64 << 20
#: Widths of the smoothing that are tried, in redshift.
SMOOTHINGS = (0.004, 0.008, 0.012, 0.018, 0.025, 0.035, 0.05, 0.08)
#: Nodes of prediction, and steps of residual, of the density about a boosted prediction.
_NODES, _RESIDUALS = 40, np.linspace(-0.75, 1.5, 451)
_KERNEL = 0.008


@register("random_forest")
@dataclass
class ForestLearner:
    """A random forest whose density is that of the training redshifts that share leaves with the object.

    These are the weights of quantile regression forests (Meinshausen 2006, JMLR 7, 983), with each leaf's
    redshifts known by `LABELS` quantiles, smoothed by a Gaussian.

    Parameters
    ----------
    trees : TreeEnsemble
        Their mean is the prediction.
    labels : (leaves, LABELS) uint16
        Redshifts of the training rows in each leaf, in units of 0.00025.
    smoothing : float
        Standard deviation of the Gaussian, in redshift.
    """

    trees: TreeEnsemble
    labels: NDArray[np.uint16]
    smoothing: float = 0.012
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        if self.labels.shape != (self.trees.n_leaves, LABELS) or self.labels.dtype != np.uint16:
            raise BadInput(f"labels {self.labels.shape} of {self.trees.n_leaves} leaves")
        self._bins: tuple[RedshiftGrid, NDArray[np.uint64]] | None = None

    @classmethod
    def learn(cls, trees: TreeEnsemble, features: Float32, z: Float64) -> ForestLearner:
        """Return the forest with its leaves filled by the training rows: (n, f) features, (n,) redshifts."""
        rows = slice(None, None, len(z) // _MOST_LABEL_ROWS + 1)
        return cls(trees, leaf_labels(trees, features[rows], np.asarray(z, np.float64)[rows]))

    def predict(self, features: Float32) -> Float64:
        """Return the mean over the trees, (n,): what MLlib's transform gives."""
        return self.trees.predict(features)

    def density(self, features: Float32, grid: RedshiftGrid) -> Float32:
        """Return densities, (n, grid.n) float32 with `sum * step == 1`."""
        result = np.empty((len(features), grid.n), np.float32)
        taps = _gaussian(self.smoothing / grid.step)
        bins = self._leaf_bins(grid)
        block = int(np.clip(_WORK_BYTES // (8 * self.trees.n_trees), 1024, 16_384))
        for start in range(0, len(features), block):
            found = self.trees.gather(features[start : start + block], bins)
            _count_and_smooth(found, taps, np.float32(grid.step), result[start : start + block])
        return result

    def smoothed_for(self, features: Float32, z: Float64, grid: RedshiftGrid) -> ForestLearner:
        """Return the forest with the smoothing of the least CDE loss for rows held back from training."""
        loss = []
        for width in SMOOTHINGS:
            density = replace(self, smoothing=width).density(features, grid)
            loss.append(density_scores(density, grid, z).cde.mean())
        return replace(self, smoothing=SMOOTHINGS[int(np.argmin(loss))])

    def params(self) -> dict[str, Any]:
        """Return what JSON holds of the learner."""
        return {"smoothing": self.smoothing}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the learner."""
        return self.trees.arrays() | {"labels": self.labels}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any]) -> ForestLearner:
        """Return the learner that `arrays` and `params` came from."""
        return cls(TreeEnsemble.from_arrays(arrays), arrays["labels"], float(params["smoothing"]))

    def _leaf_bins(self, grid: RedshiftGrid) -> NDArray[np.uint64]:
        """Return for each leaf the bins of the grid that its redshifts are in, four in a number."""
        if self._bins is None or self._bins[0] != grid:
            place = np.rint((self.labels * _UNIT - grid.z_min) / grid.step)
            bins = np.clip(place, 0, grid.n - 1).astype(np.uint16)
            self._bins = grid, np.ascontiguousarray(bins).view(np.uint64).ravel()
        return self._bins[1]


@dataclass
class BoostedLearner:
    """Boosted trees; the density is that of rows held back whose prediction was about the same.

    Parameters
    ----------
    trees : TreeEnsemble
    nodes : (m,) float64
        Predictions at which the density is known, ascending.
    tables : (m, r) float32
        Density of (z - prediction) / (1 + prediction) at -0.75, -0.745, ..., 1.5 for each node.
    """

    trees: TreeEnsemble
    nodes: Float64
    tables: Float32
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        if self.tables.shape != (len(self.nodes), len(_RESIDUALS)) or not len(self.nodes):
            raise BadInput(f"tables {self.tables.shape} of {len(self.nodes)} predictions")

    @classmethod
    def learn(cls, trees: TreeEnsemble, features: Float32, z: Float64) -> BoostedLearner:
        """Return the learner with the residuals of rows held back from training."""
        prediction = trees.predict(features)
        nodes, tables = residual_tables(prediction, np.asarray(z, np.float64))
        return cls(trees, nodes, tables)

    def predict(self, features: Float32) -> Float64:
        """Return the predictions, (n,): what MLlib's or xgboost's own gives."""
        return self.trees.predict(features)

    def density(self, features: Float32, grid: RedshiftGrid) -> Float32:
        """Return densities, (n, grid.n) float32 with `sum * step == 1`."""
        prediction = np.clip(self.predict(features), grid.z_min, grid.z_max)
        result = np.empty((len(prediction), grid.n), np.float32)
        place = np.interp(prediction, self.nodes, np.arange(len(self.nodes)))
        step = float(_RESIDUALS[1] - _RESIDUALS[0])
        _shift_tables(self.tables, prediction, place, grid.z, float(_RESIDUALS[0]), step, grid.step, result)
        return result

    def params(self) -> dict[str, Any]:
        """Return what JSON holds of the learner."""
        return {}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the learner."""
        return self.trees.arrays() | {"nodes": self.nodes, "tables": self.tables}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any]) -> BoostedLearner:
        """Return the learner that `arrays` and `params` came from."""
        return cls(TreeEnsemble.from_arrays(arrays), arrays["nodes"], arrays["tables"])


@register("gbt")
class GbtLearner(BoostedLearner):
    """Gradient-boosted trees of MLlib."""


@register("xgboost")
class XgboostLearner(BoostedLearner):
    """Gradient-boosted trees of xgboost."""


def leaf_labels(trees: TreeEnsemble, features: Float32, z: Float64) -> NDArray[np.uint16]:
    """Return quantiles of the redshifts of the rows in each leaf, (leaves, LABELS); if none, its value."""
    own = trees.value * trees.factor * trees.n_trees + trees.base
    labels = np.repeat(_units(own)[:, np.newaxis], LABELS, axis=1)
    by_z = np.argsort(z, kind="stable")
    units = _units(z[by_z])
    quantiles = (np.arange(LABELS) + 0.5) / LABELS
    for mine in trees.leaves(features[by_z]):
        order = np.argsort(mine, kind="stable")
        leaf, first, count = np.unique(mine[order], return_index=True, return_counts=True)
        at = first[:, np.newaxis] + (quantiles * count[:, np.newaxis]).astype(np.int64)
        labels[leaf] = units[order][at]
    return labels


def _units(z: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return redshifts in units of 0.00025."""
    return np.rint(np.clip(z, 0, 65_535 * _UNIT) / _UNIT).astype(np.uint16)


def residual_tables(prediction: Float64, z: Float64) -> tuple[Float64, Float32]:
    """Return nodes of prediction and the density of (z - prediction) / (1 + prediction) about each.

    A node stands for the rows between its neighbours, weighted by how near they are in rank; their
    residuals are smoothed by a Gaussian of 0.008.
    """
    if not len(z):
        raise BadInput("no rows are held back to learn the errors of the predictions from")
    order = np.argsort(prediction, kind="stable")
    count = int(np.clip(len(z) // 50, 1, _NODES))
    centre = (np.arange(count) + 0.5) * len(z) / count
    step = _RESIDUALS[1] - _RESIDUALS[0]
    residual = ((z - prediction) / (1 + np.maximum(prediction, -0.5)))[order]
    column = np.clip(np.rint((residual - _RESIDUALS[0]) / step), 0, len(_RESIDUALS) - 1).astype(np.int64)
    rank = np.arange(len(z)) + 0.5
    tables = np.empty((count, len(_RESIDUALS)), np.float32)
    taps = _gaussian(_KERNEL / step)
    for k in range(count):
        weight = (
            np.maximum(1 - np.abs(rank - centre[k]) / (len(z) / count), 0) if count > 1 else np.ones(len(z))
        )
        counts = np.bincount(column, weight, len(_RESIDUALS))
        # A little everywhere: no redshift is impossible.
        smooth = np.convolve(counts, taps, "same") + 1e-4 * weight.sum() / len(_RESIDUALS)
        tables[k] = smooth / (smooth.sum() * step)
    nodes = np.interp(centre, rank, prediction[order])
    return np.maximum.accumulate(nodes), tables


def _gaussian(width: float) -> Float32:
    """Return the taps of a Gaussian of that standard deviation, out to 4 of them, with sum 1."""
    reach = max(int(np.ceil(4 * width)), 1)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 1e-3)) ** 2)
    result: Float32 = (taps / taps.sum()).astype(np.float32)
    return result


@compiled_fast
def _count_and_smooth(found: NDArray[np.uint64], taps: Float32, step: np.float32, density: Float32) -> None:
    """Fill in densities from the bins of all leaves, (trees, at least n), four bins in a number."""
    n = density.shape[1]
    reach = len(taps) // 2
    # One count for each of the four: neighbours in the list are often alike, and would wait for each other.
    a, b = np.zeros(n, np.float32), np.zeros(n, np.float32)
    c, d = np.zeros(n, np.float32), np.zeros(n, np.float32)
    padded = np.zeros(n + 2 * reach, np.float32)
    low = np.uint64(0xFFFF)
    for row in range(density.shape[0]):
        a[:], b[:], c[:], d[:] = 0, 0, 0, 0
        for t in range(found.shape[0]):
            item = found[t, row]
            a[item & low] += 1
            b[(item >> np.uint64(16)) & low] += 1
            c[(item >> np.uint64(32)) & low] += 1
            d[item >> np.uint64(48)] += 1
        for k in range(n):
            padded[reach + k] = a[k] + b[k] + c[k] + d[k]
        total = np.float32(0)
        for k in range(n):
            density[row, k] = 0
        for j in range(len(taps)):
            for k in range(n):
                density[row, k] += taps[j] * padded[k + j]
        for k in range(n):
            total += density[row, k]
        scale = np.float32(1) / (total * step)
        for k in range(n):
            density[row, k] *= scale


@compiled_fast
def _shift_tables(
    tables: Float32, prediction: Float64, place: Float64, z: Float64,
    start: float, residual_step: float, step: float, density: Float32,
) -> None:  # fmt: skip
    """Fill in the tables at each row's place, carried over from residuals to redshifts."""
    last = tables.shape[1] - 1
    mixed = np.empty(tables.shape[1], np.float32)
    for row in range(len(prediction)):
        node = min(int(place[row]), tables.shape[0] - 2) if tables.shape[0] > 1 else 0
        share = np.float32(place[row] - node)
        upper = min(node + 1, tables.shape[0] - 1)
        for k in range(last + 1):
            mixed[k] = (1 - share) * tables[node, k] + share * tables[upper, k]
        slope = 1 / ((1 + prediction[row]) * residual_step)
        total = 0.0
        for k in range(len(z)):
            at = min(max((z[k] - prediction[row]) * slope - start / residual_step, 0.0), last - 1e-6)
            left = int(at)
            value = mixed[left] + (at - left) * (mixed[left + 1] - mixed[left])
            density[row, k] = value
            total += value
        for k in range(len(z)):
            density[row, k] /= total * step
