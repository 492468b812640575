"""Offsets of zero points, and errors that catalogs leave out, from galaxies of known redshift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadInput
from astrolake.photoz.model_grid import ModelGrid
from astrolake.photoz.photometry import Photometry

Float64 = NDArray[np.float64]

#: Galaxies at a time: their fluxes of all templates at once.
_BLOCK = 2048
_LEAST = 50
#: Along tilts that templates can follow, offsets would drift on without a better fit: few rounds.
_ROUNDS, _CONVERGED = 8, 1e-3
#: Only galaxies seen this well, in flux over error, in a band tell about it.
_WELL_SEEN = 5.0
#: Corrections beyond this factor are no offsets: the band is another one, or in another unit.
_LARGEST = 3.0


@dataclass(frozen=True)
class ZeroPoints:
    """What fluxes are multiplied with, and what part of them is added to their errors in quadrature.

    Parameters
    ----------
    factor : (bands,) float64
    floor : (bands,) float64
        Scatter of fluxes about the best template beyond their errors, relative to the flux.
    n : (bands,) int64
        Galaxies that told.
    """

    factor: Float64
    floor: Float64
    n: NDArray[np.int64]

    @property
    def offset_mag(self) -> Float64:
        """What is added to magnitudes."""
        result: Float64 = -2.5 * np.log10(self.factor)
        return result


def best_at_redshift(
    models: ModelGrid, z_index: NDArray[np.int64], flux: Float64, flux_err: Float64, floor: Float64
) -> tuple[NDArray[np.int64], Float64]:
    """Return the best template of galaxies at known redshifts, and its fluxes scaled to theirs.

    Parameters
    ----------
    models : ModelGrid
    z_index : (n,) int64
        Place of each redshift in the grid.
    flux, flux_err : (n, bands) float64
        In one unit; NaN where not observed.
    floor : (bands,) float64
        Relative error that is added.

    Returns
    -------
    template : (n,) int64
    fitted : (n, bands) float64
        In the unit of the fluxes.
    """
    template = np.empty(len(flux), dtype=np.int64)
    fitted = np.empty(flux.shape)
    for start in range(0, len(flux), _BLOCK):
        rows = slice(start, start + _BLOCK)
        value, error = flux[rows], flux_err[rows]
        variance = error**2 + (floor * value) ** 2
        seen = np.isfinite(variance) & (variance > 0)
        weight = np.where(seen, 1.0 / np.where(seen, variance, 1.0), 0.0)
        f = np.where(seen, value, 0.0)
        m = models.flux[:, z_index[rows]].astype(np.float64)
        top = np.maximum(np.einsum("tnb,nb->tn", m, weight * f), 0.0)
        under = np.maximum(np.einsum("tnb,tnb,nb->tn", m, m, weight), 1e-300)
        best = np.argmax(top**2 / under, axis=0)
        chosen = best, np.arange(len(best))
        template[rows] = best
        fitted[rows] = (top / under)[chosen][:, np.newaxis] * m[chosen]
    return template, fitted


def calibrate(
    models: ModelGrid,
    photometry: Photometry,
    z_index: NDArray[np.int64],
    floor: ArrayLike,
    rounds: int = _ROUNDS,
) -> ZeroPoints:
    """Return the offsets that make templates at known redshifts fit, found in turns with the templates.

    In each round every galaxy gets its best template, and every band the median of model over flux of the
    galaxies well seen in it (Ilbert et al. 2006, A&A 457, 841, section 4). All bands together are a matter
    of the templates' scale: the median of the offsets stays 0.

    Parameters
    ----------
    models : ModelGrid
    photometry : Photometry
        Of galaxies with spectroscopic redshifts.
    z_index : (n,) int64
        Places of their redshifts in the grid of the models.
    floor : (bands,) array
        Relative errors to begin with.
    rounds : int
        At most.

    Raises
    ------
    BadInput
        For fewer than 50 galaxies in a band, or offsets that no zero point has.
    """
    start = np.broadcast_to(np.asarray(floor, dtype=np.float64), len(photometry.bands)).copy()
    flux, error = photometry.flux, photometry.flux_err
    well = np.isfinite(flux) & (flux > _WELL_SEEN * error)
    counts = well.sum(axis=0)
    if (counts < _LEAST).any():
        few = photometry.bands[int(np.argmin(counts))]
        raise BadInput(
            f"zero points need {_LEAST} galaxies with redshift seen at {_WELL_SEEN:g} sigma in every band; "
            f"{few} has {counts.min()}"
        )
    factor = np.ones(len(start))
    for _ in range(rounds):
        _, fitted = best_at_redshift(models, z_index, flux * factor, error * factor, start)
        ratio = np.where(well, fitted / np.where(well, flux * factor, 1.0), np.nan)
        step = np.nanmedian(ratio, axis=0)
        factor *= step
        factor /= np.median(factor)
        if np.abs(step / np.median(step) - 1).max() < _CONVERGED:
            break
    wrong = (factor > _LARGEST) | (factor < 1 / _LARGEST) | ~np.isfinite(factor)
    if wrong.any():
        band = photometry.bands[int(np.argmax(wrong))]
        raise BadInput(
            f"zero point of band {band}: fluxes would be multiplied by {factor[wrong][0]:.3g}; check its "
            "filter curve and unit"
        )
    return ZeroPoints(factor, _left_over(ratio, flux, error, well), counts.astype(np.int64))


def _left_over(ratio: Float64, flux: Float64, error: Float64, well: NDArray[np.bool_]) -> Float64:
    """Return the scatter of model over flux that the errors do not explain, by band."""
    found = np.zeros(flux.shape[1])
    for b in range(flux.shape[1]):
        rows = well[:, b]
        left = np.log(ratio[rows, b])
        scatter = 1.4826 * np.median(np.abs(left - np.median(left)))
        found[b] = np.sqrt(max(scatter**2 - np.median(error[rows, b] / flux[rows, b]) ** 2, 0.0))
    return found
