"""How likely redshifts and types of galaxies are at a magnitude (Benitez 2000, ApJ 536, 571, section 4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import gammaln

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz.templates import N_TYPES

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Magnitudes from one row of a table to the next, and how faint it goes.
_MAG_STEP, _FAINTEST = 0.05, 32.0
#: The least part of its mean that the prior of a redshift has: no prior forbids what the fluxes say.
_FLOOR = 1e-4
#: Fewer galaxies of a type tell nothing about it.
_LEAST_OF_TYPE = 30
_LEAST = 100


@dataclass(frozen=True)
class MagnitudePrior:
    """p(z, T | m) = p(T | m) p(z | T, m) for ellipticals, spirals, and irregulars with starbursts.

    p(z | T, m) ~ z^alpha exp(-(z / z_m)^alpha) with z_m = z0 + km (m - m0), and p(T | m) =
    f exp(-kt (m - m0)) for the first two types; the third has what is left. Defaults are those of the
    Hubble Deep Field North (Table 1 there), for magnitudes F814W or i.

    Parameters
    ----------
    alpha, z0, km : tuple of 3 float
    fraction, kt : tuple of 2 float
    m0 : float
        Brighter galaxies get the prior of this magnitude.
    """

    alpha: tuple[float, ...] = (2.465, 1.806, 0.906)
    z0: tuple[float, ...] = (0.431, 0.390, 0.0626)
    km: tuple[float, ...] = (0.0913, 0.0636, 0.123)
    fraction: tuple[float, ...] = (0.35, 0.50)
    kt: tuple[float, ...] = (0.450, 0.147)
    m0: float = 20.0

    def __post_init__(self) -> None:
        if not (len(self.alpha) == len(self.z0) == len(self.km) == N_TYPES and min(self.alpha) > 0):
            raise BadArguments(f"prior {self}: give {N_TYPES} values of alpha > 0, z0 and km")
        if not len(self.fraction) == len(self.kt) == N_TYPES - 1 or not 0 <= sum(self.fraction) <= 1:
            raise BadArguments(f"prior {self}: give {N_TYPES - 1} fractions that add up to at most 1, and kt")

    def type_fractions(self, mag: ArrayLike) -> Float64:
        """Return p(T | m), (n, 3)."""
        fainter = self._fainter(mag)[:, np.newaxis]
        known = np.array(self.fraction) * np.exp(-np.array(self.kt) * fainter)
        known /= np.maximum(known.sum(axis=1, keepdims=True), 1.0)
        return np.concatenate([known, 1 - known.sum(axis=1, keepdims=True)], axis=1)

    def redshifts(self, z: Float64, mag: ArrayLike) -> Float64:
        """Return p(z | T, m), (n, 3, len(z)), each row adding up to 1."""
        alpha, z0, km = (np.array(x)[:, np.newaxis] for x in (self.alpha, self.z0, self.km))
        scale = np.maximum(z0 + km * self._fainter(mag)[:, np.newaxis, np.newaxis], 0.01)
        # z = 0 alone would never be chosen; the bin around it is.
        at = np.maximum(z, 0.25 * (z[1] - z[0]))
        values = at**alpha * np.exp(-np.minimum((at / scale) ** alpha, 700.0))
        values /= values.sum(axis=-1, keepdims=True)
        values = np.maximum(values, _FLOOR / len(z))
        return np.asarray(values / values.sum(axis=-1, keepdims=True))

    def _fainter(self, mag: ArrayLike) -> Float64:
        values = np.atleast_1d(np.asarray(mag, dtype=np.float64))
        return np.clip(values, self.m0, _FAINTEST) - self.m0

    @classmethod
    def learn(
        cls, z: ArrayLike, mag: ArrayLike, types: NDArray[Any], m0: float | None = None
    ) -> MagnitudePrior:
        """Return the prior that makes redshifts, magnitudes and types most likely.

        Parameters
        ----------
        z, mag : (n,) arrays
            Spectroscopic redshifts, and magnitudes.
        types : (n, 3) array
            How much of each type a galaxy is, as the best template at its redshift has it.
        m0 : float, optional
            The 1 % brightest magnitude by default.

        Raises
        ------
        BadInput
            For fewer than 100 galaxies.
        """
        redshift, magnitude = np.asarray(z, dtype=np.float64), np.asarray(mag, dtype=np.float64)
        known = (
            np.isfinite(redshift) & np.isfinite(magnitude) & (redshift > 0) & np.isfinite(types).all(axis=1)
        )
        if known.sum() < _LEAST:
            raise BadInput(
                f"a prior is learned from {_LEAST} galaxies at least; {int(known.sum())} are usable"
            )
        redshift, magnitude, weight = redshift[known], magnitude[known], np.asarray(types)[known]
        pivot = float(np.percentile(magnitude, 1)) if m0 is None else m0
        fainter = np.maximum(magnitude - pivot, 0.0)
        shapes = [_learn_redshifts(redshift, fainter, weight[:, k]) for k in range(N_TYPES)]
        fraction, kt = _learn_fractions(fainter, weight)
        alpha, z0, km = (tuple(column) for column in zip(*shapes, strict=True))
        return cls(alpha, z0, km, fraction, kt, pivot)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> MagnitudePrior:
        """Return the prior that `to_json` wrote."""
        lists = {name: tuple(values[name]) for name in ("alpha", "z0", "km", "fraction", "kt")}
        return cls(**lists, m0=float(values["m0"]))


@dataclass(frozen=True)
class PriorTable:
    """A prior at magnitudes, by classes of templates that share it.

    Parameters
    ----------
    values : (rows, classes, n_z) float32
        The last row says nothing: for galaxies without the magnitude, or without any prior.
    prior_class : (templates,) int64
    first : float
        Magnitude of the first row.
    """

    values: Float32
    prior_class: NDArray[np.int64]
    first: float

    @classmethod
    def make(cls, prior: MagnitudePrior | None, types: Float64, z: Float64) -> PriorTable:
        """Return the table of a prior for templates of these types, (n, 3); None is a flat prior."""
        if prior is None:
            values = np.ones((1, 1, len(z)), dtype=np.float32)
            return cls(values, np.zeros(len(types), dtype=np.int64), 0.0)
        kinds, prior_class = np.unique(types, axis=0, return_inverse=True)
        mags = np.arange(prior.m0, _FAINTEST + _MAG_STEP, _MAG_STEP)
        # The templates of a type share its probability.
        share = kinds / np.maximum(types.sum(axis=0), 1e-9)
        joint = prior.type_fractions(mags)[:, :, np.newaxis] * prior.redshifts(z, mags)
        values = np.einsum("ct,mtz->mcz", share, joint)
        values /= values.max(axis=(1, 2), keepdims=True)
        flat = np.ones((1, len(kinds), len(z)))
        table = np.maximum(np.concatenate([values, flat]), 1e-10).astype(np.float32)
        return cls(table, prior_class.ravel().astype(np.int64), prior.m0)

    def rows(self, mag: ArrayLike) -> NDArray[np.int64]:
        """Return the row of each magnitude; the last for NaN."""
        values = np.asarray(mag, dtype=np.float64)
        last = len(self.values) - 1
        place = np.round((np.nan_to_num(values, nan=0.0) - self.first) / _MAG_STEP)
        rows = np.clip(place, 0, max(last - 1, 0)).astype(np.int64)
        return np.where(np.isfinite(values), rows, last)


def _learn_redshifts(z: Float64, fainter: Float64, weight: Float64) -> tuple[float, float, float]:
    """Return alpha, z0 and km of one type by maximum likelihood; the norm is that of all z > 0."""
    if weight.sum() < _LEAST_OF_TYPE:
        weight = np.ones(len(z))

    def cost(parameters: Float64) -> float:
        alpha = np.exp(parameters[0])
        scale = np.maximum(parameters[1] + parameters[2] * fainter, 0.01)
        norm = (alpha + 1) * np.log(scale) - np.log(alpha) + gammaln((alpha + 1) / alpha)
        return float(-(weight * (alpha * np.log(z) - (z / scale) ** alpha - norm)).sum() / weight.sum())

    start = np.array([np.log(1.8), 0.4, 0.08])
    found = minimize(cost, start, method="Nelder-Mead", options={"maxiter": 2000}).x
    return float(np.exp(found[0])), float(found[1]), float(found[2])


def _learn_fractions(fainter: Float64, weight: Float64) -> tuple[tuple[float, ...], tuple[float, ...]]:
    def parts(parameters: Float64) -> Float64:
        # Numbers in place of fractions, so that any value makes fractions: a softmax with the last at 0.
        shares = np.exp(np.clip(np.append(parameters[:2], 0.0), -30, 30))
        return np.asarray(shares[:2] / shares.sum())

    def cost(parameters: Float64) -> float:
        known = parts(parameters) * np.exp(-parameters[2:] * fainter[:, np.newaxis])
        left = 1 - known.sum(axis=1)
        if (left <= 0).any():
            return 1e9
        return float(-(weight * np.log(np.maximum(np.column_stack([known, left]), 1e-12))).sum())

    found = minimize(cost, [0.5, 0.5, 0.2, 0.1], method="Nelder-Mead", options={"maxiter": 4000}).x
    first, second = (float(x) for x in parts(found))
    return (first, second), (float(found[2]), float(found[3]))
