"""One density from those of several methods, weighted by what spectroscopic redshifts say of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.metrics import density_scores, residuals, sigma_nmad
from astrolake.photoz.pdf import normalise, summarise

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

Kind = Literal["linear", "product"]
Loss = Literal["cde", "crps"]

#: Part of each density that is spread evenly before densities are multiplied: a method that excludes a
#: redshift may be wrong, and a product could never take it back.
_FLOOR = 1e-3
#: Galaxies that weights are learned from at most; more do not change their second digit.
_MOST_ROWS, _MOST_ROWS_OF_PRODUCT = 5000, 1500
_LEAST_ROWS = 50
_FOLDS = 3
#: Bounds of the logarithms of weights.
_LOG_WEIGHTS = (-12.0, 1.5)
#: Overlap below which methods exclude each other.
DISAGREEMENT = 0.1


@dataclass(frozen=True)
class Pool:
    """How densities are pooled.

    Parameters
    ----------
    kind : {"linear", "product"}
        The weighted mean of the densities (Stone 1961), or their product, each to the power of its weight
        (the logarithmic pool; Genest & Zidek 1986, Stat. Sci. 1, 114).
    weights : tuple of float
        One for each method, not negative. Those of the mean are brought to a sum of 1. Powers of 1 are for
        methods that err independently, powers that sum to 1 for methods that err alike.
    loss : dict of str to float
        Of each single method and of the pools tried, on galaxies that weights were not learned from.
    """

    kind: Kind
    weights: tuple[float, ...]
    loss: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "product"):
            raise BadArguments(f"pool {self.kind!r}: give linear or product")
        weights = np.asarray(self.weights, dtype=np.float64)
        if (
            weights.ndim != 1
            or not weights.size
            or not (weights >= 0).all()
            or not 0 < weights.sum() < np.inf
        ):
            raise BadArguments(f"weights {self.weights}: give finite numbers, none below 0 and not all 0")

    @property
    def mixes(self) -> bool:
        """Whether more than one method has a say."""
        return sum(weight > 0 for weight in self.weights) > 1

    def __call__(self, pdfs: Sequence[ArrayLike], grid: RedshiftGrid) -> Float32:
        """Return the pooled densities.

        Parameters
        ----------
        pdfs : sequence of (n, grid.n) arrays
            Of each method; rows without probability (zeros or NaN) say nothing, and the others then decide.
        grid : RedshiftGrid

        Returns
        -------
        (n, grid.n) float32
            Normalised; NaN where no method says anything.
        """
        densities = _checked(pdfs, grid, len(self.weights))
        return (
            _linear(densities, self.weights, grid)
            if self.kind == "linear"
            else _product(densities, self.weights, grid)
        )


def overlap(one: ArrayLike, other: ArrayLike, grid: RedshiftGrid) -> Float64:
    """Return the integral of sqrt(p q), (n,): 1 for equal densities, 0 for such that exclude each other.

    Bhattacharyya (1943), Bull. Calcutta Math. Soc. 35, 99. NaN where a row has no probability.
    """
    p, q = _checked([one, other], grid, 2)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(p * q).sum(axis=1, dtype=np.float64) * grid.step)


def disagree(
    one: ArrayLike, other: ArrayLike, grid: RedshiftGrid, least_overlap: float = DISAGREEMENT
) -> NDArray[np.bool_]:
    """Return where two methods' densities overlap by less than `least_overlap`, (n,).

    Never where one is missing. Bit METHODS_DISAGREE of `photoz_flags`.
    """
    return np.asarray(overlap(one, other, grid) < least_overlap)


def learn_pool(
    pdfs: Sequence[ArrayLike],
    true: ArrayLike,
    grid: RedshiftGrid,
    kinds: Sequence[Kind] = ("linear", "product"),
    loss: Loss = "cde",
    seed: int = 1,
) -> Pool:
    """Return the pool that serves galaxies of known redshift best.

    Weights minimise the loss; pools and single methods are compared on galaxies that the weights were not
    learned from (three folds). A pool is chosen only when its loss is less than that of the best single
    method by a standard error, and neither the other loss nor the scatter of its medians is more; otherwise
    all weight is that method's, so that combining does no harm.

    Parameters
    ----------
    pdfs : sequence of (n, grid.n) arrays
        Densities of each method for the same galaxies, none of which the methods were trained on.
    true : (n,) array
        Their spectroscopic redshifts; rows without one, or without a density of any method, are left out.
    grid : RedshiftGrid
    kinds : sequence of {"linear", "product"}
        Pools to try.
    loss : {"cde", "crps"}
        See `metrics.DensityScores`.
    seed : int
        Of the folds.

    Raises
    ------
    BadArguments
        When shapes do not fit.
    BadInput
        When fewer than 50 galaxies are left to learn from.
    """
    densities = _checked(pdfs, grid, len(pdfs))
    z = np.asarray(true, dtype=np.float64)
    if z.shape != densities[0].shape[:1]:
        raise BadArguments(f"{z.size} true redshifts for {len(densities[0])} densities")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(np.isfinite(z) & np.all([_says(p) for p in densities], axis=0)))
    rows = rows[:_MOST_ROWS]
    if rows.size < _LEAST_ROWS:
        raise BadInput(
            f"{rows.size} galaxies with densities and redshift: {_LEAST_ROWS} are needed for weights"
        )
    sample, z = [density[rows] for density in densities], z[rows]
    judged = {f"method {k}": _Judged(density, z, grid, loss) for k, density in enumerate(sample)}
    record = {name: float(one.loss.mean()) for name, one in judged.items()}
    single = min(range(len(sample)), key=lambda k: record[f"method {k}"])
    chosen, least = Pool("linear", tuple(float(k == single) for k in range(len(sample)))), np.inf
    for kind in kinds:
        pooled = _Judged(_held_out(kind, sample, z, grid, loss), z, grid, loss)
        record[kind] = float(pooled.loss.mean())
        if record[kind] < least and pooled.improves_on(judged[f"method {single}"]):
            chosen, least = Pool(kind, _weights(kind, sample, z, grid, loss)), record[kind]
    return Pool(chosen.kind, chosen.weights, record)


def held_out(pool: Pool, pdfs: Sequence[ArrayLike], true: ArrayLike, grid: RedshiftGrid) -> Float32:
    """Return pooled densities of galaxies, each under weights learned from others, (n, grid.n).

    Parameters
    ----------
    pool : Pool
        What `learn_pool` made of these galaxies; where it is one method alone, densities are this one's.
    pdfs, true, grid
        As for `learn_pool`; every galaxy has all densities and a redshift.
    """
    densities = _checked(pdfs, grid, len(pool.weights))
    if not pool.mixes:
        return pool(densities, grid)
    return _held_out(pool.kind, densities, np.asarray(true, dtype=np.float64), grid, "cde")


class _Judged:
    """Loss of each galaxy, mean of the other loss, and scatter of the medians of densities."""

    def __init__(self, pdf: Float32, z: Float64, grid: RedshiftGrid, loss: Loss) -> None:
        scores = density_scores(pdf, grid, z)
        self.loss, other = (scores.cde, scores.crps) if loss == "cde" else (scores.crps, scores.cde)
        self.other = float(other.mean())
        self.scatter = sigma_nmad(residuals(summarise(pdf, grid)["z_median"], z))

    def improves_on(self, single: _Judged) -> bool:
        """Return whether the loss is less by a standard error, and nothing else is worse."""
        gain = single.loss - self.loss
        sure = gain.mean() > gain.std(ddof=1) / np.sqrt(gain.size)
        return bool(sure and self.other <= single.other and self.scatter <= single.scatter)


def _held_out(kind: Kind, sample: list[Float32], z: Float64, grid: RedshiftGrid, loss: Loss) -> Float32:
    """Return the pooled density of each galaxy under weights learned from the others."""
    fold = np.arange(z.size) % _FOLDS
    out = np.empty_like(sample[0])
    for k in range(_FOLDS):
        learn, judge = fold != k, fold == k
        weights = _weights(kind, [density[learn] for density in sample], z[learn], grid, loss)
        out[judge] = Pool(kind, weights)([density[judge] for density in sample], grid)
    return out


def _weights(
    kind: Kind, sample: list[Float32], z: Float64, grid: RedshiftGrid, loss: Loss
) -> tuple[float, ...]:
    """Return the weights of least mean loss; starting from equal ones and from each method alone."""
    of_mean = (_mean_loss if kind == "linear" else _product_loss)(sample, z, grid, loss)
    n = len(sample)

    def objective(log_weights: Any) -> float:
        return of_mean(np.exp(np.clip(log_weights, *_LOG_WEIGHTS)))

    starts = [np.full(n, -np.log(n)), *(np.where(np.arange(n) == k, 0.0, -3.0) for k in range(n))]
    first = min(starts, key=objective)
    options = {"xatol": 0.02, "fatol": 1e-5, "maxfev": 40 * n}
    found = minimize(objective, first, method="Nelder-Mead", options=options).x
    weights = np.exp(np.clip(found, *_LOG_WEIGHTS))
    if kind == "linear":
        weights /= weights.sum()
    return tuple(float(weight) for weight in weights)


def _mean_loss(
    sample: list[Float32], z: Float64, grid: RedshiftGrid, loss: Loss
) -> Callable[[Float64], float]:
    """Return the loss of the weighted mean as a function of weights: both losses are quadratic in them."""
    if loss == "cde":
        here = np.array([density[_at(grid, z)].mean() for density in sample], dtype=np.float64)
        rows = sample
    else:
        here = np.zeros(len(sample))
        step_up = grid.z >= z[:, np.newaxis]
        rows = [np.cumsum(density, axis=1) * np.float32(grid.step) - step_up for density in sample]
    square = np.array([[np.vdot(p, q) for q in rows] for p in rows], dtype=np.float64) * grid.step / z.size

    def of_weights(weights: Float64) -> float:
        share = weights / weights.sum()
        return float(share @ square @ share - 2.0 * share @ here)

    return of_weights


def _product_loss(
    sample: list[Float32], z: Float64, grid: RedshiftGrid, loss: Loss
) -> Callable[[Float64], float]:
    """Return the loss of the product as a function of its powers, on some of the galaxies."""
    logs = np.stack([_floored_log(density, grid) for density in sample])[:, :_MOST_ROWS_OF_PRODUCT]
    z = z[:_MOST_ROWS_OF_PRODUCT]
    at = _at(grid, z)

    def of_weights(weights: Float64) -> float:
        total = np.tensordot(weights.astype(np.float32), logs, 1)
        density = np.exp(total - total.max(axis=1, keepdims=True))
        mass = density.sum(axis=1) * np.float32(grid.step)
        if loss == "crps":
            return float(density_scores(density, grid, z).crps.mean())
        square = np.einsum("nz,nz->n", density, density) * grid.step / mass**2
        return float(np.mean(square - 2.0 * density[at] / mass))

    return of_weights


def _at(grid: RedshiftGrid, z: Float64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index of each row and of the bin that holds its redshift."""
    place = np.clip(np.rint((z - grid.z_min) / grid.step), 0, grid.n - 1)
    return np.arange(z.size), place.astype(np.int64)


def _linear(densities: Sequence[Float32], weights: Sequence[float], grid: RedshiftGrid) -> Float32:
    total = np.zeros_like(densities[0])
    for density, weight in zip(densities, weights, strict=True):
        total += np.float32(weight) * np.nan_to_num(density)
    return normalise(total, grid)


def _product(densities: Sequence[Float32], weights: Sequence[float], grid: RedshiftGrid) -> Float32:
    total, says = np.zeros_like(densities[0]), np.zeros(len(densities[0]), dtype=bool)
    for density, weight in zip(densities, weights, strict=True):
        total += np.float32(weight) * _floored_log(density, grid)
        says |= _says(density)
    pooled: Float32 = np.exp(total - total.max(axis=1, keepdims=True))
    pooled[~says] = 0.0
    return normalise(pooled, grid)


def _floored_log(density: Float32, grid: RedshiftGrid) -> Float32:
    """Return the logarithm of a density with the floor, 0 where it says nothing."""
    even = np.float32(_FLOOR / (grid.n * grid.step))
    floored = np.where(
        _says(density)[:, np.newaxis], np.float32(1.0 - _FLOOR) * density + even, np.float32(1.0)
    )
    logs: Float32 = np.log(floored)
    return logs


def _says(density: Float32) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(density[:, 0]))


def _checked(pdfs: Sequence[ArrayLike], grid: RedshiftGrid, n_methods: int) -> list[Float32]:
    if not pdfs or len(pdfs) != n_methods:
        raise BadArguments(f"{len(pdfs)} methods for {n_methods} weights")
    densities = [normalise(np.asarray(pdf, dtype=np.float32), grid) for pdf in pdfs]
    if len({density.shape for density in densities}) > 1:
        raise BadArguments(f"densities of different galaxies: {[density.shape for density in densities]}")
    return densities
