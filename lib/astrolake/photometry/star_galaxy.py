"""The probability that a source is a star, from how extended it is and how faint.

Two classes whose extension has a distribution each (Bayes' theorem, as in Sebok 1979, AJ 84, 1526): stars
have none but for errors; galaxies have log-normal sizes that fall with magnitude, seen through the
seeing. How many of either there are at a magnitude is found from the image itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.photometry.stellar_locus import COMPACT, WIDE

Float64 = NDArray[np.float64]

_FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))
_PIVOT_MAG = 20.0
#: Sizes at which the distribution of galaxies is summed, in standard deviations of ln size.
_NODES = np.linspace(-3.6, 3.6, 37)
_NODE_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()
#: Extensions of spoilt sources are anywhere in about so many magnitudes.
_OUTLIER_RANGE_MAG = 5.0
_CHUNK = 20_000
#: An image's population is found from so many sources, whose extension is known so well, in so many rounds.
_SAMPLE, _WELL_MEASURED_MAG, _POPULATION_ROUNDS = 400, 0.4, 6
#: How far sizes at magnitude 20, and their change per magnitude, may be from those trained on.
_LINE_PRIOR = np.array([0.3, 0.15])

#: What tells the extension: two circles (`star_locus`), or the PSF magnitude less that of a galaxy model.
Measure = Literal["circles", "model"]


@dataclass(frozen=True)
class StarGalaxyModel:
    """Distributions of the extension; the defaults are trained by `benchmarks/star_galaxy.py`.

    Parameters
    ----------
    ln_size, ln_size_per_mag, ln_size_sigma : float
        Mean of ln(sigma / arcsec) of galaxies at magnitude 20, its change with magnitude, its scatter;
        sigma is that of the Gaussian that loses as much light.
    floor : float
        Scatter of stars beyond their errors, mag.
    outliers : float
        Fraction of either class with an extension that says nothing.
    prior, prior_per_mag : float
        ln of stars over galaxies at magnitude 20, and its change with magnitude, where nothing better is
        known.
    """

    ln_size: float = -0.459
    ln_size_per_mag: float = -0.354
    ln_size_sigma: float = 0.392
    floor: float = 0.01
    outliers: float = 0.012
    prior: float = 0.0
    prior_per_mag: float = -0.5


MODEL = StarGalaxyModel()


def galaxy_extension(size_ratio: ArrayLike, measure: Measure = "circles") -> Float64:
    """Return the extension of a Gaussian galaxy behind a Gaussian point-spread function.

    With t the square of `size_ratio`: a PSF fit loses 2.5 log10(1 + t / 2); of the light within a circle of
    k FWHM 1 - 2^(-4 k^2 / (1 + t)) is left.

    Parameters
    ----------
    size_ratio : array
        sigma of the galaxy over that of the point-spread function.
    measure : {'circles', 'model'}
    """
    t = np.asarray(size_ratio, dtype=np.float64) ** 2
    if measure == "model":
        return np.asarray(2.5 * np.log10(1 + t / 2))
    compact, wide = (-np.expm1(-4 * np.log(2) * k**2 / (1 + t)) for k in (COMPACT, WIDE))
    star = -np.expm1(-4 * np.log(2) * COMPACT**2) / -np.expm1(-4 * np.log(2) * WIDE**2)
    return np.asarray(-2.5 * np.log10(compact / wide / star))


def log_star_galaxy_ratio(
    extension: ArrayLike,
    extension_err: ArrayLike,
    mag: ArrayLike,
    fwhm_arcsec: float,
    model: StarGalaxyModel = MODEL,
    measure: Measure = "circles",
) -> Float64:
    """Return ln p(extension | star) - ln p(extension | galaxy) of each source.

    Parameters
    ----------
    extension, extension_err, mag : (N,) array
        As `star_locus` measures them, and a total magnitude.
    fwhm_arcsec : float
        Of the point-spread function.
    model : StarGalaxyModel
    measure : {'circles', 'model'}

    Returns
    -------
    (N,) float64
        NaN where an input is.
    """
    star, galaxy = class_densities(extension, extension_err, mag, fwhm_arcsec, model, measure)
    return np.asarray(np.log(star / galaxy))


def class_densities(
    extension: ArrayLike,
    extension_err: ArrayLike,
    mag: ArrayLike,
    fwhm_arcsec: float,
    model: StarGalaxyModel = MODEL,
    measure: Measure = "circles",
) -> tuple[Float64, Float64]:
    """Return p(extension | star) and p(extension | galaxy), per mag; arguments as `log_star_galaxy_ratio`."""
    values = np.stack([np.asarray(v, dtype=np.float64) for v in (extension, extension_err, mag)])
    found = np.full((2, values.shape[1]), np.nan)
    rows = np.flatnonzero(np.isfinite(values).all(axis=0)) if np.isfinite(fwhm_arcsec) else np.empty(0, int)
    for part in np.array_split(rows, max(1, -(-len(rows) // _CHUNK))):
        star, by_size = _densities(values[:, part], fwhm_arcsec / _FWHM_PER_SIGMA, model, measure)
        found[:, part] = star, by_size.sum(axis=1) + model.outliers / _OUTLIER_RANGE_MAG
    return found[0], found[1]


def _densities(
    values: Float64, psf_sigma: float, model: StarGalaxyModel, measure: Measure
) -> tuple[Float64, Float64]:
    """Return p(extension | star), and p(extension, size | galaxy) at the nodes, outliers left out."""
    extension, error, mag = values
    spread = np.hypot(error, model.floor)
    star = (1 - model.outliers) * _normal(extension, spread) + model.outliers / _OUTLIER_RANGE_MAG
    mean = model.ln_size + model.ln_size_per_mag * (mag - _PIVOT_MAG)
    size = np.exp(mean[:, np.newaxis] + model.ln_size_sigma * _NODES)
    expected = galaxy_extension(size / psf_sigma, measure)
    # Half the distance of the nodes on either side bridges the gaps between them.
    spread = np.hypot(spread[:, np.newaxis], np.gradient(expected, axis=1))
    galaxy = (1 - model.outliers) * _NODE_WEIGHTS * _normal(extension[:, np.newaxis] - expected, spread)
    return star, galaxy


def _normal(value: Float64, sigma: Float64) -> Float64:
    return np.asarray(np.exp(-0.5 * (value / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma))


def fit_prior(log_ratio: Float64, mag: Float64, model: StarGalaxyModel = MODEL) -> tuple[float, float]:
    """Return ln(stars / galaxies) at magnitude 20 and its slope, most probable for the sources of an image.

    Expectation and maximisation (Dempster, Laird & Rubin 1977) of the mixture's likelihood with a logistic
    mixing ratio; a weak normal prior about the model's values (2 and 0.5 per mag wide) holds what few sources
    leave open.

    Parameters
    ----------
    log_ratio, mag : (N,) float64
        Of `log_star_galaxy_ratio`; rows that are not finite do not count.
    model : StarGalaxyModel
    """
    use = np.isfinite(log_ratio) & np.isfinite(mag)
    ratio, design = log_ratio[use], np.stack([np.ones(use.sum()), mag[use] - _PIVOT_MAG], axis=1)
    start = np.array([model.prior, model.prior_per_mag])
    weight = np.array([2.0, 0.5]) ** -2.0
    found = start.copy()
    for _ in range(50):
        share = _logistic(ratio + design @ found)
        mixed = _logistic(design @ found)
        gradient = design.T @ (share - mixed) - weight * (found - start)
        curvature = (design * (mixed * (1 - mixed))[:, np.newaxis]).T @ design + np.diag(weight)
        step = np.linalg.solve(curvature, gradient)
        found = found + step
        if np.abs(step).max() < 1e-4:
            break
    return float(found[0]), float(found[1])


def fit_population(
    extension: Float64,
    extension_err: Float64,
    mag: Float64,
    fwhm_arcsec: float,
    model: StarGalaxyModel = MODEL,
) -> StarGalaxyModel:
    """Return a model with the galaxy sizes and the prior that the sources of an image make most probable.

    Expectation and maximisation over some hundred sources: each tells how probably it is a galaxy, and of
    which size; ln size is fitted as a line over magnitude, held by a normal prior about the model's own line,
    and the prior of stars by `fit_prior`. Other bands, depths and profiles than those trained on have other
    sizes.

    Parameters
    ----------
    extension, extension_err, mag : (N,) float64
    fwhm_arcsec : float
    model : StarGalaxyModel
        Where to start, and what to return when no source tells anything.
    """
    values = np.stack([extension, extension_err, mag])
    rows = np.flatnonzero(np.isfinite(values).all(axis=0) & (extension_err < _WELL_MEASURED_MAG))
    if not rows.size or not np.isfinite(fwhm_arcsec):
        return model
    sample = values[:, rows[:: max(1, len(rows) // _SAMPLE)]]
    design = np.stack([np.ones(sample.shape[1]), sample[2] - _PIVOT_MAG], axis=1)
    trained = np.array([model.ln_size, model.ln_size_per_mag])
    held = np.diag(_LINE_PRIOR**-2.0)
    found, outlier = model, model.outliers / _OUTLIER_RANGE_MAG
    for _ in range(_POPULATION_ROUNDS):
        star, by_size = _densities(sample, fwhm_arcsec / _FWHM_PER_SIGMA, found, "circles")
        of_size = by_size.sum(axis=1)
        galaxy = of_size + outlier
        ratio = np.log(star / galaxy)
        prior = fit_prior(ratio, sample[2], found)
        # What an outlier is says nothing of its size.
        weight = (1 - star_probability(ratio, sample[2], prior)) * of_size / galaxy
        offset = by_size @ _NODES / np.maximum(of_size, 1e-300)
        line = np.array([found.ln_size, found.ln_size_per_mag])
        size = design @ line + found.ln_size_sigma * offset
        pull = (design * (weight / found.ln_size_sigma**2)[:, np.newaxis]).T
        line = np.linalg.solve(pull @ design + held, pull @ size + held @ trained)
        found = replace(found, ln_size=float(line[0]), ln_size_per_mag=float(line[1]))
    return replace(found, prior=prior[0], prior_per_mag=prior[1])


def star_probability(log_ratio: Float64, mag: Float64, prior: tuple[float, float]) -> Float64:
    """Return the probability of a star, by the ratio of likelihoods and the prior of `fit_prior`."""
    return _logistic(log_ratio + prior[0] + prior[1] * (mag - _PIVOT_MAG))


def star_probabilities(
    extension: Float64,
    extension_err: Float64,
    mag: Float64,
    fwhm_arcsec: float,
    model: StarGalaxyModel = MODEL,
) -> Float64:
    """Return the probability of a star of each source of an image, prior and sizes found from the image.

    Parameters
    ----------
    extension, extension_err, mag : (N,) float64
        As `star_locus` measures them, and a total AB magnitude; NaN gives NaN.
    fwhm_arcsec : float
        Of the image's stars.
    model : StarGalaxyModel
    """
    found = fit_population(extension, extension_err, mag, fwhm_arcsec, model)
    ratio = log_star_galaxy_ratio(extension, extension_err, mag, fwhm_arcsec, found)
    return star_probability(ratio, mag, fit_prior(ratio, mag, found))


def _logistic(x: Float64) -> Float64:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))
