"""Weighted means over groups of rows, and the order of bands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from astrolake.schema import band_suffix
from astrolake.sky.separation import Float64, Int64

_OPTICAL = tuple(name for band in "ugrizy" for name in (band, f"{band}_cap"))
_BY_WAVELENGTH = (*_OPTICAL, "j", "h", "k", "ks", "w1", "w2", "w3", "w4")
#: Magnitude error of a relative flux error of one.
_MAG_PER_RELATIVE_FLUX = 2.5 / np.log(10.0)


@dataclass(frozen=True)
class GroupMeans:
    """Means of G groups; NaN where a group has no such figure.

    Parameters
    ----------
    mean, error : (G,) float64
    chi2 : (G,) float64
        Reduced chi-square about the mean, of the values with a known error, two or more.
    """

    mean: Float64
    error: Float64
    chi2: Float64


def weighted_means(group: Int64, n_groups: int, value: Float64, error: Float64) -> GroupMeans:
    """Return the inverse-variance weighted mean of each group.

    A value whose error is unknown (not finite, or not positive) gets the average weight of its
    group, hence equal weights where no error is known; the error of the mean counts the known
    ones only.

    Parameters
    ----------
    group : (N,) int64
        Group of each row, 0 <= group < n_groups, in any order.
    n_groups : int
    value, error : (N,) float64
        A value that is not finite does not take part.
    """
    use = np.isfinite(value)
    group, value, error = group[use], value[use], error[use]
    known = np.isfinite(error) & (error > 0)
    weight = np.zeros(value.size)
    weight[known] = error[known] ** -2.0
    n_known = np.bincount(group[known], minlength=n_groups)
    known_weight = np.bincount(group, weight, n_groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        usual = np.where(n_known > 0, known_weight / n_known, 1.0)
        weight = np.where(known, weight, usual[group])
        mean = np.bincount(group, weight * value, n_groups) / np.bincount(group, weight, n_groups)
        mean_error = np.where(n_known > 0, known_weight**-0.5, np.nan)
        square = np.bincount(group[known], ((value - mean[group]) ** 2 * weight)[known], n_groups)
        chi2 = np.where(n_known > 1, square / (n_known - 1), np.nan)
    return GroupMeans(mean, mean_error, chi2)


def mean_magnitudes(group: Int64, n_groups: int, mag: Float64, mag_err: Float64) -> GroupMeans:
    """Return the magnitude of the mean flux of each group, its error in mag, and the fluxes' chi-square.

    Magnitudes become fluxes relative to mag 0, f = 10**(-0.4 mag), with the error
    f mag_err ln(10) / 2.5; `weighted_means` averages them.
    """
    flux = np.where(np.isfinite(mag), 10.0 ** (-0.4 * mag), np.nan)
    means = weighted_means(group, n_groups, flux, flux * mag_err / _MAG_PER_RELATIVE_FLUX)
    error = _MAG_PER_RELATIVE_FLUX * means.error / means.mean
    return GroupMeans(-2.5 * np.log10(means.mean), error, means.chi2)


def order_bands(bands: Iterable[str]) -> tuple[str, ...]:
    """Return the bands by wavelength, bands of unknown wavelength last by name.

    Bands whose columns would have the same names (`band_suffix`) are one band (the first name in
    sorted order stays). The empty name, an unknown band, is left out.
    """
    distinct = {band_suffix(band): band for band in sorted(bands, reverse=True) if band}
    place = {band: number for number, band in enumerate(_BY_WAVELENGTH)}
    return tuple(distinct[key] for key in sorted(distinct, key=lambda key: (place.get(key, len(place)), key)))
