"""How good photometric redshifts and their densities are, against spectroscopic ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments, BadInput
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.pdf import cumulative
from astrolake.schema.columns import plain_numbers

Float64 = NDArray[np.float64]

#: |dz| / (1 + z) beyond which an estimate is an outlier (Hildebrandt et al. 2010, A&A 523, A31).
OUTLIER = 0.15
#: |dz| beyond which it is catastrophic.
CATASTROPHIC = 1.0
#: Below this the LSST Science Book (arXiv:0912.0201, sect. 3.8) never calls a residual a 3 sigma outlier.
_LEAST_THREE_SIGMA = 0.06
#: No galaxy has such a blueshift: catalogs write -1, -9.99 or -99 for an unknown redshift.
LEAST_REDSHIFT = -0.5
#: Standard deviations in a median absolute deviation, and in an interquartile range, of a Gaussian.
_MAD, _IQR = 1.4826, 1.349
#: The statistic of Anderson and Darling is infinite for a true redshift where the density has vanished.
_LEAST_PIT = 1e-6
#: Rows whose cumulative densities are held at a time.
_BLOCK = 8192


@dataclass(frozen=True)
class DensityScores:
    """Scores of each row's density at its true redshift.

    Parameters
    ----------
    pit : (n,) float64
        Probability integral transform: the probability below the true redshift.
    crps : (n,) float64
        Continuous ranked probability score (Hersbach 2000, Wea. Forecasting 15, 559, eq. 1), in redshift: the
        integral of the squared difference between the cumulative density and a step at the true redshift.
    cde : (n,) float64
        Integral of the squared density less twice the density at the true redshift. Its mean is
        the CDE loss (Izbicki & Lee 2017, Electron. J. Stat. 11, 2800), as RAIL has it.
    """

    pit: Float64
    crps: Float64
    cde: Float64


def residuals(predicted: ArrayLike, true: ArrayLike) -> Float64:
    """Return (predicted - true) / (1 + true)."""
    z_spec = np.asarray(true, dtype=np.float64)
    return np.asarray((np.asarray(predicted, dtype=np.float64) - z_spec) / (1.0 + z_spec))


def sigma_nmad(dz: ArrayLike) -> float:
    """Return 1.4826 median(abs(dz - median(dz))): a standard deviation that outliers do not move.

    Without the median of dz where it is that of Brammer et al. (2008, ApJ 686, 1503); with it, as in
    RAIL and Hoaglin, Mosteller & Tukey (1983).
    """
    values = np.asarray(dz, dtype=np.float64)
    return float(_MAD * np.median(np.abs(values - np.median(values))))


def point_metrics(dz: Float64, difference: Float64) -> dict[str, float]:
    """Return the metrics of point estimates.

    Parameters
    ----------
    dz : (n,) float64
        Residuals over 1 + z.
    difference : (n,) float64
        Residuals themselves.

    Returns
    -------
    dict of str to float
        See `evaluate`.
    """
    quarter, middle, three = np.percentile(dz, [25, 50, 75])
    low, high = np.percentile(dz, [15.865, 84.135])
    sigma_iqr = float((three - quarter) / _IQR)
    size = np.abs(dz)
    return {
        "scatter": sigma_nmad(dz),
        "bias": float(middle),
        "outlier_fraction": float(np.mean(size > OUTLIER)),
        "outlier_fraction_3sigma": float(np.mean(size > max(_LEAST_THREE_SIGMA, 3.0 * sigma_iqr))),
        "catastrophic_fraction": float(np.mean(np.abs(difference) > CATASTROPHIC)),
        "sigma_iqr": sigma_iqr,
        "sigma_68": float((high - low) / 2.0),
        "mean_bias": float(dz.mean()),
        "rms": float(np.sqrt(np.mean(dz**2))),
    }


def error_metrics(difference: Float64, error: Float64) -> dict[str, float]:
    """Return how well errors tell the residuals: both (n,), in redshift, errors above 0."""
    pull = difference / error
    return {
        "coverage_68": float(np.mean(np.abs(pull) <= 1.0)),
        "coverage_95": float(np.mean(np.abs(pull) <= 2.0)),
        "pull_scatter": sigma_nmad(pull),
    }


def density_metrics(scores: DensityScores) -> dict[str, float]:
    """Return the metrics of densities; see `evaluate`."""
    pit = scores.pit
    return {
        "pit_ks": uniform_ks(pit),
        "pit_ad": uniform_ad(pit),
        "pit_outlier_fraction": float(np.mean((pit < 1e-4) | (pit > 1.0 - 1e-4))),
        "pdf_coverage_68": float(np.mean((pit >= 0.16) & (pit <= 0.84))),
        "pdf_coverage_95": float(np.mean((pit >= 0.025) & (pit <= 0.975))),
        "crps": float(scores.crps.mean()),
        "cde_loss": float(scores.cde.mean()),
    }


def density_scores(pdf: ArrayLike, grid: RedshiftGrid, true: ArrayLike) -> DensityScores:
    """Return the scores of densities, constant in each bin of their grid, at the true redshifts.

    Parameters
    ----------
    pdf : (n, grid.n) array
        Densities; they are normalised here.
    grid : RedshiftGrid
    true : (n,) array
        Also beyond the grid: the density is 0 there.

    Raises
    ------
    BadArguments
        When shapes do not fit.
    """
    rows, z_spec = np.asarray(pdf, dtype=np.float32), np.asarray(true, dtype=np.float64)
    if rows.shape != (z_spec.size, grid.n):
        raise BadArguments(
            f"densities have the shape {rows.shape}; {z_spec.size} true redshifts and a grid of {grid.n} "
            f"need ({z_spec.size}, {grid.n})"
        )
    parts = [
        _block_scores(rows[start : start + _BLOCK], grid, z_spec[start : start + _BLOCK])
        for start in range(0, len(rows), _BLOCK)
    ]
    pit, crps, cde = (np.concatenate(column) for column in zip(*parts, strict=True))
    return DensityScores(pit, crps, cde)


def _block_scores(pdf: NDArray[np.float32], grid: RedshiftGrid, z: Float64) -> tuple[Float64, ...]:
    below = cumulative(pdf, grid)
    edges, row = grid.edges, np.arange(len(z))
    place = np.clip((z - edges[0]) / grid.step, 0, grid.n)
    left = np.minimum(place.astype(np.int64), grid.n - 1)
    inside = place - left
    a, b = below[row, left], below[row, left + 1]
    pit = a + inside * (b - a)
    # Of a straight piece from a to b, the mean of its square is (a^2 + a b + b^2) / 3.
    start, end = below[:, :-1], below[:, 1:]
    ours = np.zeros_like(below)
    np.cumsum((start**2 + start * end + end**2) / 3.0, axis=1, out=ours[:, 1:])
    start, end = 1.0 - start, 1.0 - end
    theirs = np.zeros_like(below)
    np.cumsum((start**2 + start * end + end**2) / 3.0, axis=1, out=theirs[:, 1:])
    crps = ours[row, left] + theirs[:, -1] - theirs[row, left + 1]
    crps += inside * (a**2 + a * pit + pit**2) / 3.0
    over, last = 1.0 - pit, 1.0 - b
    crps += (1.0 - inside) * (over**2 + over * last + last**2) / 3.0
    beyond = np.maximum(edges[0] - z, 0.0) + np.maximum(z - edges[-1], 0.0)
    mass = np.diff(below, axis=1)
    here = np.where(beyond > 0, 0.0, mass[row, left])
    cde = ((mass**2).sum(axis=1) - 2.0 * here) / grid.step
    return pit, crps * grid.step + beyond, cde


def uniform_ks(pit: ArrayLike) -> float:
    """Return the distance of Kolmogorov and Smirnov between values and a uniform distribution on [0, 1]."""
    u = np.sort(np.asarray(pit, dtype=np.float64))
    n = u.size
    return float(max(np.max(np.arange(1, n + 1) / n - u), np.max(u - np.arange(n) / n)))


def uniform_ad(pit: ArrayLike) -> float:
    """Return the statistic of Anderson & Darling (1954, JASA 49, 765) against a uniform distribution.

    It grows with the number of values where they are not uniform; 2.5 is its 95 % quantile where they are.
    Values are cut to [1e-6, 1 - 1e-6].
    """
    u = np.sort(np.clip(np.asarray(pit, dtype=np.float64), _LEAST_PIT, 1.0 - _LEAST_PIT))
    n = u.size
    weight = (2.0 * np.arange(1, n + 1) - 1.0) / n
    return float(-n - np.sum(weight * (np.log(u) + np.log1p(-u[::-1]))))


@dataclass(frozen=True)
class Residuals:
    """Rows that can be judged, and how many cannot.

    Parameters
    ----------
    dz, difference, true : (n,) float64
        Residuals over 1 + z, residuals, true redshifts of the rows that have both redshifts.
    error : (n,) float64, optional
        Errors of the estimates; NaN where there is none.
    scores : DensityScores, optional
    used : (m,) bool
        Which of the rows given these are.
    n_without_true, n_without_estimate : int
        Rows without a true redshift, and those of the others without an estimate.
    """

    dz: Float64
    difference: Float64
    true: Float64
    error: Float64 | None
    scores: DensityScores | None
    used: NDArray[np.bool_]
    n_without_true: int
    n_without_estimate: int

    def metrics(self) -> dict[str, float]:
        """Return all metrics that these rows allow; see `evaluate`."""
        found = point_metrics(self.dz, self.difference)
        if self.error is not None and (known := self.error > 0).any():
            found |= error_metrics(self.difference[known], self.error[known])
        return found | ({} if self.scores is None else density_metrics(self.scores))

    def __getitem__(self, rows: Any) -> Residuals:
        """Return some of the rows, by mask or indices."""
        scores = self.scores
        if scores is not None:
            scores = DensityScores(scores.pit[rows], scores.crps[rows], scores.cde[rows])
        error = None if self.error is None else self.error[rows]
        return Residuals(
            self.dz[rows], self.difference[rows], self.true[rows], error, scores, self.used, 0, 0
        )


def compare(
    predicted: ArrayLike,
    true: ArrayLike,
    photo_z_err: ArrayLike | None = None,
    pdf: ArrayLike | None = None,
    grid: RedshiftGrid | None = None,
) -> Residuals:
    """Put estimates beside true redshifts; parameters and errors as in `evaluate`."""
    z_phot, z_spec = _column("predicted", predicted), _column("true", true)
    columns = {"true": z_spec, "predicted": z_phot}
    if photo_z_err is not None:
        columns["photo_z_err"] = _column("photo_z_err", photo_z_err)
    densities = None if pdf is None else _densities(pdf)
    lengths = {name: len(column) for name, column in columns.items()}
    lengths |= {} if densities is None else {"pdf": len(densities)}
    if len(set(lengths.values())) > 1:
        raise BadArguments(f"columns differ in length: {lengths}; give one row for each galaxy")
    known = np.isfinite(z_spec) & (z_spec > LEAST_REDSHIFT)
    estimated = np.isfinite(z_phot) if densities is None else np.isfinite(z_phot) & _has_mass(densities)
    used = known & estimated
    if not used.any():
        raise BadInput(
            f"of {len(used)} rows {int(known.sum())} have a true redshift, {int(estimated.sum())} an "
            "estimate, and none both: nothing to evaluate"
        )
    difference = z_phot[used] - z_spec[used]
    scores = None
    if densities is not None:
        grid = grid or RedshiftGrid()
        scores = density_scores(densities if used.all() else densities[used], grid, z_spec[used])
    error = columns["photo_z_err"][used] if photo_z_err is not None else None
    return Residuals(
        dz=difference / (1.0 + z_spec[used]),
        difference=difference,
        true=z_spec[used],
        error=error,
        scores=scores,
        used=used,
        n_without_true=int((~known).sum()),
        n_without_estimate=int((known & ~estimated).sum()),
    )


def evaluate(
    predicted: ArrayLike,
    true: ArrayLike,
    photo_z_err: ArrayLike | None = None,
    pdf: ArrayLike | None = None,
    grid: RedshiftGrid | None = None,
) -> dict[str, float]:
    """Return the accuracy of photometric redshifts.

    Parameters
    ----------
    predicted : (n,) array
        Estimates; NaN or null where there is none.
    true : (n,) array
        Spectroscopic redshifts; NaN, null or below -0.5 (catalogs write -1 or -99) where there is none.
    photo_z_err : (n,) array, optional
        Errors at 68 % probability, in redshift.
    pdf : (n, grid.n) array, or column of lists, optional
        Densities.
    grid : RedshiftGrid, optional
        Redshifts of the densities; 0 to 3 in steps of 0.01 when not given.

    Returns
    -------
    dict of str to float
        n, n_without_true, n_without_estimate: rows judged, and left out.

        Of dz = (predicted - true) / (1 + true): scatter (`sigma_nmad`), bias (median), outlier_fraction
        (abs(dz) > 0.15), outlier_fraction_3sigma (abs(dz) beyond three times sigma_iqr and 0.06),
        catastrophic_fraction (abs(predicted - true) > 1), sigma_iqr (interquartile range over 1.349),
        sigma_68 (half the central 68 %), mean_bias, rms.

        With errors: coverage_68 and coverage_95 (residuals within one and two errors), pull_scatter
        (sigma_nmad of residuals over errors; 1 is ideal).

        With densities: pit_ks and pit_ad (`uniform_ks`, `uniform_ad` of the probability integral
        transforms), pit_outlier_fraction (below 1e-4 or above 1 - 1e-4), pdf_coverage_68 and pdf_coverage_95
        (of the central intervals), crps and cde_loss (see `DensityScores`).

    Raises
    ------
    BadArguments
        When columns differ in length or shape.
    BadInput
        When no row has both redshifts.
    """
    found = compare(predicted, true, photo_z_err, pdf, grid)
    counts = {
        "n": found.dz.size,
        "n_without_true": found.n_without_true,
        "n_without_estimate": found.n_without_estimate,
    }
    return counts | found.metrics()


def _column(name: str, values: Any) -> Float64:
    try:
        column = plain_numbers(values)
    except (TypeError, ValueError) as error:
        raise BadArguments(f"{name} does not hold numbers: {error}") from None
    if column.ndim != 1:
        raise BadArguments(f"{name} has the shape {column.shape}; give one number for each galaxy")
    return column


def _densities(pdf: Any) -> NDArray[np.float32]:
    """Return densities as one array; a missing one of a column of lists becomes a row of zeros."""
    rows = pdf if isinstance(pdf, np.ndarray) and pdf.dtype != object else list(pdf)
    if isinstance(rows, list):
        length = next((len(row) for row in rows if row is not None), 0)
        rows = [np.zeros(length) if row is None else row for row in rows]
    try:
        array = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError):
        raise BadArguments(
            "the densities differ in length; give one density for each galaxy, all on one grid"
        ) from None
    if array.ndim != 2:
        raise BadArguments(f"densities have the shape {array.shape}; give one row for each galaxy")
    return array


def _has_mass(pdf: NDArray[np.float32]) -> NDArray[np.bool_]:
    total = pdf.sum(axis=1, dtype=np.float64)
    return np.asarray((total > 0) & np.isfinite(total))
