"""What learners see of a galaxy: asinh magnitude, colours, errors, and which bands are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.photoz.photometry import (
    ZERO_POINT_UJY,
    BandColumns,
    Photometry,
    bands_from_json,
    bands_to_json,
    numbers,
    read_photometry,
)

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_MAG = 2.5 / np.log(10.0)
#: Fewer rows teach nothing; the message says so instead of a model that has learned by heart.
LEAST_ROWS = 100
#: Standardised features beyond this are cut: one absurd value must not decide a whole estimate.
_FARTHEST = 12.0
#: Rows that the transformation is learned from, evenly drawn from larger tables.
_MOST_FITTED = 200_000
#: Probability of each band of an object that is to lose some.
_LOST = 1 / 3


@dataclass(frozen=True)
class ExtraColumn:
    """A further column to learn from, such as a size or a concentration; "log" for sizes and fluxes."""

    name: str
    transform: Literal["linear", "log"] = "linear"

    def read(self, columns: Mapping[str, ArrayLike], table: str) -> Float64:
        """Return the transformed column, NaN where it is missing or has no logarithm."""
        values = numbers(columns, self.name, table)
        if self.transform == "log":
            values = np.log(np.where(values > 0, values, np.nan))
        return np.where(np.isfinite(values), values, np.nan)


@dataclass(frozen=True)
class Inputs:
    """Photometry (n objects) and transformed extra columns, (n, k) float64 with NaN for missing."""

    photometry: Photometry
    extra: Float64

    def __len__(self) -> int:
        return len(self.photometry)

    def __getitem__(self, rows: Any) -> Inputs:
        """Return some of the objects, by mask, slice or indices."""
        return Inputs(self.photometry[rows], self.extra[rows])

    def perturbed(self, rng: np.random.Generator, noise: float, drop: float) -> Inputs:
        """Return these objects as seen again: fluxes with more noise, some bands and columns not observed.

        Parameters
        ----------
        rng : Generator
        noise : float
            Standard deviation of the added noise in units of the flux errors.
        drop : float
            Share of objects that lose bands and extra columns, each with probability 1/3; one band stays.
        """
        seen = self.photometry
        flux, error, extra = seen.flux, seen.flux_err, self.extra
        if noise > 0:
            known = np.where(np.isfinite(error), error, 0.0)
            flux = flux + noise * known * rng.standard_normal(flux.shape, dtype=np.float32)
        if drop > 0:
            some = rng.random((len(self), 1)) < drop
            lost = some & (rng.random(flux.shape, dtype=np.float32) < _LOST)
            lost[~(seen.observed & ~lost).any(axis=1)] = False
            flux, error = np.where(lost, np.nan, flux), np.where(lost, np.nan, error)
            extra = np.where(some & (rng.random(extra.shape, dtype=np.float32) < _LOST), np.nan, extra)
        return Inputs(Photometry(seen.bands, flux, error, seen.bad), extra)


@dataclass(frozen=True)
class FeatureSpec:
    """Columns to read and the transformation learned from the training set.

    Features, in this order: asinh magnitude of the reference band; colours of neighbouring bands; log errors
    of the asinh magnitudes (with `errors`); extra columns; then an indicator for each band and extra column,
    1 where it is missing. A missing asinh magnitude is replaced by its mean given the observed ones in the
    training set (as of a Gaussian), so that a colour across the missing band keeps its information.
    All but the indicators have mean 0 and variance 1 in the training set.

    Asinh magnitudes (Lupton, Gunn & Szalay 1999, AJ 118, 1406, eq. 3) are defined for negative fluxes;
    their softening is half the median flux error of the faint half of the training set.
    """

    bands: tuple[BandColumns, ...]
    extra: tuple[ExtraColumn, ...]
    errors: bool
    reference: int
    softening: Float64
    mean: Float64
    covariance: Float64
    centre: Float64
    scale: Float64

    @classmethod
    def fit(
        cls,
        columns: Mapping[str, ArrayLike],
        bands: Sequence[BandColumns],
        extra: Sequence[ExtraColumn] = (),
        errors: bool | None = None,
    ) -> FeatureSpec:
        """Return the features of a training table.

        Parameters
        ----------
        columns : mapping
            The training table.
        bands : sequence of BandColumns
            From blue to red.
        extra : sequence of ExtraColumn
            Further columns.
        errors : bool, optional
            Whether errors are features. They are by default where they say more than the magnitude does
            (surveys of several depths, real objects of several sizes), and not where they follow from it.

        Raises
        ------
        BadInput
            For fewer than 100 rows, or a column without a value.
        """
        inputs = read_inputs(columns, bands, extra, "the training table")
        return cls.fit_inputs(inputs, bands, extra, errors)

    @classmethod
    def fit_inputs(
        cls,
        inputs: Inputs,
        bands: Sequence[BandColumns],
        extra: Sequence[ExtraColumn] = (),
        errors: bool | None = None,
    ) -> FeatureSpec:
        """Return the features of training rows that were read by `read_inputs`; see `fit`."""
        if len(inputs) < LEAST_ROWS:
            raise BadInput(f"the training table has {len(inputs)} rows; at least {LEAST_ROWS} are needed")
        names = [band.value for band in bands] + [column.name for column in extra]
        usable = np.isfinite(np.column_stack([inputs.photometry.flux, inputs.extra])).sum(axis=0)
        if empty := [name for name, some in zip(names, usable.tolist(), strict=True) if not some]:
            raise BadInput(f"the training table has no usable value in {empty}; leave these columns out")
        inputs = inputs[:: len(inputs) // _MOST_FITTED + 1]
        softening = _softening(inputs.photometry)
        mags = asinh_mag(inputs.photometry.flux, softening)
        mean, covariance = _gaussian(mags)
        counts = inputs.photometry.observed.sum(axis=0)
        order = [k for k in (_reddish(len(bands)), *range(len(bands))) if counts[k] > 0.9 * counts.max()]
        if errors is None:
            errors = _errors_tell(mags, inputs.photometry, softening)
        blank = np.zeros(0)
        spec = cls(tuple(bands), tuple(extra), errors, order[0], softening, mean, covariance, blank, blank)
        raw = spec._raw(inputs)
        with np.errstate(invalid="ignore"):
            centre, scale = np.nanmean(raw, axis=0), np.nanstd(raw, axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        return cls(tuple(bands), tuple(extra), errors, order[0], softening, mean, covariance, centre, scale)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        bands = [band.band for band in self.bands]
        mags = [f"mag_{bands[self.reference]}", *(f"{b}_{r}" for b, r in pairwise(bands))]
        errors = [f"ln_err_{band}" for band in bands] if self.errors else []
        extra = [column.name for column in self.extra]
        return (*mags, *errors, *extra, *(f"missing_{name}" for name in (*bands, *extra)))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a catalog must have."""
        photometric = [name for band in self.bands for name in (band.value, band.error) if name is not None]
        return (*photometric, *(column.name for column in self.extra))

    def read(
        self, columns: Mapping[str, ArrayLike], table: str = "the catalog", *, whole: bool = True
    ) -> Inputs:
        """Return the photometry and extra columns of a catalog; `whole` as in `read_photometry`.

        Raises
        ------
        MissingColumns
            When the catalog lacks columns that the model was trained with.
        """
        return read_inputs(columns, self.bands, self.extra, table, whole=whole)

    def transform(self, inputs: Inputs) -> Float32:
        """Return the features, (n, len(names)) float32; never NaN."""
        values = (self._raw(inputs) - self.centre) / self.scale
        values = np.clip(np.where(np.isnan(values), 0.0, values), -_FARTHEST, _FARTHEST)
        missing = np.column_stack([~inputs.photometry.observed, np.isnan(inputs.extra)])
        return np.concatenate([values, missing], axis=1, dtype=np.float32, casting="same_kind")

    def magnitude(self, inputs: Inputs) -> Float64:
        """Return the asinh magnitude of the reference band, (n,), filled in where it is missing."""
        filled = self._filled(inputs)
        result: Float64 = filled[:, self.reference]
        return result

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        arrays = ("softening", "mean", "covariance", "centre", "scale")
        return {
            "bands": bands_to_json(self.bands),
            "extra": [asdict(column) for column in self.extra],
            "errors": self.errors,
            "reference": self.reference,
            **{name: getattr(self, name).tolist() for name in arrays},
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> FeatureSpec:
        """Return the features that `to_json` wrote."""
        arrays = ("softening", "mean", "covariance", "centre", "scale")
        return cls(
            bands_from_json(fields["bands"]),
            tuple(ExtraColumn(**column) for column in fields["extra"]),
            bool(fields["errors"]),
            int(fields["reference"]),
            *(np.array(fields[name], dtype=np.float64) for name in arrays),
        )

    def _filled(self, inputs: Inputs) -> Float64:
        mags = asinh_mag(inputs.photometry.flux, self.softening)
        return fill_missing(mags, self.mean, self.covariance)

    def _raw(self, inputs: Inputs) -> Float64:
        if inputs.photometry.bands != tuple(band.band for band in self.bands):
            raise BadArguments(f"bands {inputs.photometry.bands}; the features are of {self.names}")
        mags = self._filled(inputs)
        parts = [mags[:, self.reference, np.newaxis], mags[:, :-1] - mags[:, 1:]]
        if self.errors:
            parts.append(ln_asinh_err(inputs.photometry, self.softening))
        return np.concatenate([*parts, inputs.extra], axis=1)


def read_inputs(
    columns: Mapping[str, ArrayLike],
    bands: Sequence[BandColumns],
    extra: Sequence[ExtraColumn],
    table: str,
    *,
    whole: bool = True,
) -> Inputs:
    """Return the photometry and extra columns of a table; all missing columns are named at once."""
    wanted = [name for band in bands for name in (band.value, band.error) if name is not None]
    wanted += [column.name for column in extra]
    if missing := [name for name in wanted if name not in columns]:
        raise MissingColumns(table, missing, list(columns))
    photometry = read_photometry(columns, bands, table, whole=whole)
    parts = [column.read(columns, table) for column in extra]
    return Inputs(photometry, np.stack(parts, axis=1) if parts else np.empty((len(photometry), 0)))


def asinh_mag(flux: Float64, softening: Float64) -> Float64:
    """Return asinh magnitudes of fluxes in microjansky, (n, b); softening is the flux b of Lupton et al."""
    result: Float64 = ZERO_POINT_UJY - _MAG * (np.arcsinh(flux / (2 * softening)) + np.log(softening))
    return result


def ln_asinh_err(photometry: Photometry, softening: Float64) -> Float64:
    """Return ln of the errors of asinh magnitudes, (n, b), NaN where there is none."""
    result: Float64 = np.log(_MAG * photometry.flux_err / np.hypot(photometry.flux, 2 * softening))
    return result


def fill_missing(values: Float64, mean: Float64, covariance: Float64) -> Float64:
    """Return values with each NaN replaced by its mean given the row's others, as of a Gaussian."""
    gone = np.isnan(values)
    if not gone.any():
        return values
    filled = values.copy()
    patterns, pattern = np.unique(gone @ (1 << np.arange(values.shape[1])), return_inverse=True)
    for k, code in enumerate(patterns):
        if code == 0:
            continue
        rows = np.flatnonzero(pattern == k)
        lost = (int(code) >> np.arange(values.shape[1])) & 1 == 1
        if lost.all():
            filled[rows] = mean
            continue
        weights = np.linalg.solve(covariance[np.ix_(~lost, ~lost)], covariance[np.ix_(~lost, lost)])
        filled[np.ix_(rows, lost)] = mean[lost] + (values[np.ix_(rows, ~lost)] - mean[~lost]) @ weights
    return filled


def _reddish(bands: int) -> int:
    """Return the band that galaxies are best seen in: i of ugriz(y), the last but one of fewer."""
    return min(3, max(bands - 2, 0))


def _softening(photometry: Photometry) -> Float64:
    """Return half the median flux error of the fainter half of each band, a guess where no error is known."""
    result = np.empty(len(photometry.bands))
    for k in range(len(result)):
        seen = photometry.observed[:, k]
        flux, error = photometry.flux[seen, k], photometry.flux_err[seen, k]
        faint = error[(flux <= np.median(flux)) & np.isfinite(error)]
        result[k] = np.median(faint) / 2 if len(faint) else max(np.percentile(np.abs(flux), 5) / 5, 1e-6)
    return result


def _gaussian(values: Float64) -> tuple[Float64, Float64]:
    """Return mean and covariance of the rows without NaN, of all pairs where these are few; definite."""
    whole = values[np.isfinite(values).all(axis=1)]
    if len(whole) >= 10 * values.shape[1]:
        mean, covariance = whole.mean(axis=0), np.atleast_2d(np.cov(whole, rowvar=False))
    else:
        mean = np.nanmean(values, axis=0)
        there = np.isfinite(values)
        offset = np.where(there, values - mean, 0.0)
        covariance = offset.T @ offset / np.maximum(there.T.astype(float) @ there, 1)
    spread, axes = np.linalg.eigh(covariance)
    return mean, (axes * np.maximum(spread, 1e-4)) @ axes.T


def _slope(x: Float64, y: Float64) -> float:
    """Return the slope of the line of least squares, 0 where x is one value."""
    spread = float(np.var(x))
    return float(np.mean((x - x.mean()) * (y - y.mean()))) / spread if spread > 0 else 0.0


def _errors_tell(mags: Float64, photometry: Photometry, softening: Float64) -> bool:
    """Return whether errors scatter at a given magnitude by more than 10 % in any band."""
    errors = ln_asinh_err(photometry, softening)
    for k in range(mags.shape[1]):
        both = np.isfinite(mags[:, k]) & np.isfinite(errors[:, k])
        if both.sum() < LEAST_ROWS:
            continue
        order = np.argsort(mags[both, k])
        mag, error = mags[both, k][order], errors[both, k][order]
        rest = [
            e - np.median(e) - _slope(m, e) * (m - np.median(m))
            for m, e in zip(np.array_split(mag, 20), np.array_split(error, 20), strict=True)
        ]
        if np.median(np.abs(np.concatenate(rest))) * 1.4826 > 0.1:
            return True
    return False
