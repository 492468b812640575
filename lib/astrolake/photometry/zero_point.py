"""Zero point of an image from stars of known magnitude: a robust fit with an optional colour term."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

#: Standard deviation of a normal distribution in median absolute deviations.
SIGMA_PER_MAD = 1.482602218505602
_ITERATIONS = 30
#: A colour term needs stars whose colours differ: standard deviation, mag.
_COLOUR_SPREAD = 0.1


@dataclass(frozen=True)
class ZeroPoint:
    """A fitted zero point: reference = measured + zero_point + colour_term (colour - pivot).

    Parameters
    ----------
    zero_point, error : float
        Magnitude of flux 1 for a star of the colour `pivot`, and its standard error; NaN when too few
        stars are left.
    colour_term, colour_term_err : float
        Per magnitude of colour; 0 and NaN when none was fitted.
    pivot : float
        Mean colour of the stars; NaN when no colour term was fitted.
    scatter : float
        Robust standard deviation of the residuals of the stars used, mag.
    extra_scatter : float
        What has to be added to the stars' errors in quadrature to explain the residuals, mag.
    n_stars, n_rejected : int
        Stars used, and stars left out as outliers.
    used : (N,) bool
        Which stars were used.
    """

    zero_point: float
    error: float
    colour_term: float
    colour_term_err: float
    pivot: float
    scatter: float
    extra_scatter: float
    n_stars: int
    n_rejected: int
    used: Bool


def fit_zero_point(
    measured: ArrayLike,
    measured_err: ArrayLike,
    reference: ArrayLike,
    reference_err: ArrayLike | None = None,
    colour: ArrayLike | None = None,
    *,
    clip_sigma: float = 3.0,
    min_stars: int = 3,
) -> ZeroPoint:
    """Fit the zero point of an image to stars of known magnitude.

    Weighted least squares with weights 1 / (errors^2 + s^2), where the extra scatter s is such that the
    residuals have a robust chi-square of one, and outliers (stars beyond `clip_sigma`: variables, blends,
    galaxies) are left out; iterated from the median until the stars used no longer change.

    Parameters
    ----------
    measured, measured_err : (N,) array
        Instrumental magnitudes, -2.5 log10(flux), and their errors.
    reference, reference_err : (N,) array
        Magnitudes of the reference; without errors they count as exact.
    colour : (N,) array, optional
        Colour of each star in the reference, for a linear colour term. None is fitted when fewer than twice
        `min_stars` stars have one or their colours hardly differ.
    clip_sigma : float
    min_stars : int
        With fewer stars there is no zero point.

    Returns
    -------
    ZeroPoint
        Stars with a value that is not finite, or an error that is not positive, are not used.

    Raises
    ------
    BadArguments
        When lengths differ, or a parameter is out of range.
    """
    y = np.asarray(reference, dtype=np.float64) - np.asarray(measured, dtype=np.float64)
    error = np.asarray(measured_err, dtype=np.float64)
    if reference_err is not None:
        error = np.hypot(error, np.asarray(reference_err, dtype=np.float64))
    if y.ndim != 1 or error.shape != y.shape or (colour is not None and np.shape(colour) != y.shape):
        raise BadArguments("fit_zero_point: magnitudes, errors and colours must be 1-D of one length")
    if clip_sigma <= 0 or min_stars < 2:
        raise BadArguments(f"clip_sigma={clip_sigma}, min_stars={min_stars}: give more than 0, and 2 or more")
    usable = np.isfinite(y) & np.isfinite(error) & (error > 0)
    tint = np.zeros(y.size) if colour is None else np.asarray(colour, dtype=np.float64)
    if colour is not None and _tells_colours(tint[usable], min_stars):
        usable &= np.isfinite(tint)
        return _fit(y, error, tint, usable, clip_sigma, min_stars, with_colour=True)
    return _fit(y, error, np.zeros(y.size), usable, clip_sigma, min_stars, with_colour=False)


def _tells_colours(colour: Float64, min_stars: int) -> bool:
    known = colour[np.isfinite(colour)]
    return known.size >= 2 * min_stars and bool(known.std() > _COLOUR_SPREAD)


def _fit(
    y: Float64,
    error: Float64,
    colour: Float64,
    usable: Bool,
    clip_sigma: float,
    min_stars: int,
    *,
    with_colour: bool,
) -> ZeroPoint:
    if usable.sum() < min_stars:
        return _nothing(usable)
    used, extra = usable.copy(), 0.0
    parameters = np.array([np.median(y[usable]), 0.0][: 1 + with_colour])
    for iteration in range(_ITERATIONS):
        pivot = float(colour[used].mean())
        design = np.stack([np.ones(y.size), colour - pivot], axis=1)[:, : 1 + with_colour]
        if iteration:
            parameters, covariance = _solve(design[used], y[used], np.hypot(error, extra)[used])
        residual = y - design @ parameters
        extra = extra_scatter(residual[used], error[used])
        keep = usable & (np.abs(residual) <= clip_sigma * np.hypot(error, extra))
        if keep.sum() < min_stars:
            return _nothing(usable)
        if iteration > 1 and (keep == used).all():
            break
        used = keep
    errors = np.sqrt(np.diag(covariance))
    return ZeroPoint(
        zero_point=float(parameters[0]),
        error=float(errors[0]),
        colour_term=float(parameters[1]) if with_colour else 0.0,
        colour_term_err=float(errors[1]) if with_colour else np.nan,
        pivot=pivot if with_colour else np.nan,
        scatter=robust_sigma(residual[used]),
        extra_scatter=extra,
        n_stars=int(used.sum()),
        n_rejected=int(usable.sum() - used.sum()),
        used=used,
    )


def _nothing(usable: Bool) -> ZeroPoint:
    """Return what too few stars tell, or too few that agree."""
    none = np.zeros(usable.size, dtype=bool)
    return ZeroPoint(*(np.nan,) * 2, 0.0, *(np.nan,) * 4, 0, int(usable.sum()), none)


def _solve(design: Float64, y: Float64, error: Float64) -> tuple[Float64, Float64]:
    """Return the weighted least-squares parameters and their covariance."""
    weighted = design / error[:, np.newaxis]
    covariance = np.linalg.pinv(weighted.T @ weighted)
    return covariance @ (weighted.T @ (y / error)), np.asarray(covariance, dtype=np.float64)


def robust_sigma(values: Float64) -> float:
    """Return the standard deviation that the median absolute deviation stands for; NaN of nothing."""
    if not values.size:
        return float("nan")
    return float(SIGMA_PER_MAD * np.median(np.abs(values - np.median(values))))


def extra_scatter(residual: Float64, error: Float64) -> float:
    """Return s for which residual / hypot(error, s) has a robust standard deviation of one, 0 for less.

    The median of |residual| / hypot(error, s) falls with s, so that bisection finds it.
    """
    if np.median(np.abs(residual) / error) * SIGMA_PER_MAD <= 1.0:
        return 0.0
    low, high = 0.0, float(np.abs(residual).max() * SIGMA_PER_MAD)
    for _ in range(40):
        middle = 0.5 * (low + high)
        wide = np.median(np.abs(residual) / np.hypot(error, middle)) * SIGMA_PER_MAD > 1.0
        low, high = (middle, high) if wide else (low, middle)
    return high
