"""Fluxes of templates through filters at all redshifts, computed once for a set of templates and filters."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photoz import igm
from astrolake.photoz.filters import FilterCurve
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.sed_files import Spectrum
from astrolake.photoz.templates import TemplateSet

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Step of ln wavelength that spectra are binned to: 60 km/s.
_STEP = 2e-4
#: Microjansky of erg/s/cm2/A at a wavelength in Angstrom squared: 1e29 / c.
_UJY_PER_FLAM = 1e29 / 2.99792458e18
#: Changes when the same inputs give another grid.
_FORMAT = 1


@dataclass(frozen=True)
class ModelGrid:
    """Model fluxes.

    Parameters
    ----------
    flux : (n_templates, n_z, n_bands) float32
        In microjansky for spectra in erg/s/cm2/A; each template scaled to a mean of 1 over its grid.
    rest_flux : (n_templates, n_bands) float32
        The same for z = 0 without hydrogen, on the same scale; NaN where a spectrum does not cover a band.
    """

    flux: Float32
    rest_flux: Float32


def model_grid(
    templates: TemplateSet,
    filters: Sequence[FilterCurve],
    grid: RedshiftGrid,
    igm_model: igm.IgmModel = "inoue2014",
    cache: str | Path | None = None,
) -> ModelGrid:
    """Return the fluxes of templates through filters at the redshifts of a grid.

    Parameters
    ----------
    templates : TemplateSet
    filters : sequence of FilterCurve
    grid : RedshiftGrid
    igm_model : {"inoue2014", "madau1995", "none"}
    cache : path, optional
        Directory where grids are kept, by the hash of all that they are made from; several processes may
        use one at the same time.

    Raises
    ------
    BadInput
        When a spectrum ends before the red end of a band at the lowest redshift.
    """
    if cache is None:
        return _compute(templates, filters, grid, igm_model)
    file = Path(cache) / f"photoz-models-{content_hash(templates, filters, grid, igm_model)[:24]}.npz"
    if (kept := _read(file)) is not None:
        return kept
    computed = _compute(templates, filters, grid, igm_model)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Readers see a whole file or none; of two writers either's is the same.
    partial = file.with_name(f".{file.stem}.{os.getpid()}.npz")
    np.savez(partial, flux=computed.flux, rest_flux=computed.rest_flux)
    partial.replace(file)
    return computed


def content_hash(
    templates: TemplateSet, filters: Sequence[FilterCurve], grid: RedshiftGrid, igm_model: igm.IgmModel
) -> str:
    """Return the SHA-256 of all that a grid of fluxes is made from; names do not matter."""
    digest = hashlib.sha256(f"{_FORMAT} {igm_model} {grid.z_min!r} {grid.z_max!r} {grid.step!r}".encode())
    arrays = [array for s in templates.spectra for array in (s.wavelength, s.flux)]
    arrays += [array for curve in filters for array in (curve.wavelength, curve.response)]
    for array in arrays:
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def _read(file: Path) -> ModelGrid | None:
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return ModelGrid(arrays["flux"], arrays["rest_flux"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None  # not one of ours, or cut short: computed anew and replaced


def _compute(
    templates: TemplateSet, filters: Sequence[FilterCurve], grid: RedshiftGrid, igm_model: igm.IgmModel
) -> ModelGrid:
    _check_coverage(templates, filters, grid.z_min)
    ends = [curve.wavelength for curve in filters]
    shortest = min(float(wave[0]) for wave in ends) / (1 + grid.z_max)
    longest = max(float(wave[-1]) for wave in ends)
    log_wave = np.arange(np.log(max(shortest, 1.0)), np.log(longest) + _STEP, _STEP)
    spectra = np.array([_binned(spectrum, log_wave) for spectrum in templates.spectra])
    rest = np.exp(log_wave)
    flux = np.empty((len(templates), grid.n, len(filters)))
    bluest = min(float(wave[0]) for wave in ends)
    for k, z in enumerate(grid.z):
        # What lies between the bluest and the reddest light of the filters.
        seen = slice(*np.searchsorted(rest, [bluest / (1 + z), longest / (1 + z)]))
        through = igm.transmission(igm_model, rest[seen], float(z))
        flux[:, k] = spectra[:, seen] @ (through * _weights(filters, rest[seen] * (1 + z))).T
    at_rest = spectra @ _weights(filters, rest).T
    reach = np.array([spectrum.wavelength[-1] for spectrum in templates.spectra])
    at_rest[reach[:, np.newaxis] < [curve.support[1] for curve in filters]] = np.nan
    scale = flux.mean(axis=(1, 2))
    if (scale <= 0).any():
        dark = templates.names[int(np.argmin(scale))]
        raise BadInput(f"template {dark} has no light in any band at any redshift")
    return ModelGrid(
        (flux / scale[:, np.newaxis, np.newaxis]).astype(np.float32),
        (at_rest / scale[:, np.newaxis]).astype(np.float32),
    )


def _weights(filters: Sequence[FilterCurve], observed: Float64) -> Float64:
    """Return what turns binned spectra into photon-counting AB fluxes, (bands, wavelengths)."""
    rows = []
    for curve in filters:
        response = np.interp(observed, curve.wavelength, curve.response, left=0.0, right=0.0)
        under = response.sum() * _STEP
        # d lambda = lambda d ln lambda, and a photon of f_lambda counts lambda.
        rows.append(_UJY_PER_FLAM * response * observed**2 * _STEP / under)
    return np.array(rows)


def _binned(spectrum: Spectrum, log_wave: Float64) -> Float64:
    """Return mean fluxes in bins of ln wavelength: narrow lines keep their light."""
    edges = np.exp(np.append(log_wave - _STEP / 2, log_wave[-1] + _STEP / 2))
    at, flux = spectrum.wavelength, spectrum.flux
    parts = np.diff(at) * (flux[1:] + flux[:-1]) / 2
    total = np.append(0.0, np.cumsum(parts))
    return np.asarray(np.diff(_integral(edges, at, flux, total)) / np.diff(edges))


def _integral(edges: Float64, at: Float64, flux: Float64, total: Float64) -> Float64:
    """Return the integral of a piecewise straight spectrum up to each edge; no light beyond its ends."""
    inside = np.clip(edges, at[0], at[-1])
    k = np.clip(np.searchsorted(at, inside, side="right") - 1, 0, len(at) - 2)
    width = np.maximum(at[k + 1] - at[k], 1e-12)
    x = inside - at[k]
    result: Float64 = total[k] + x * (flux[k] + (flux[k + 1] - flux[k]) * x / width / 2)
    return result


def _check_coverage(templates: TemplateSet, filters: Sequence[FilterCurve], z_min: float) -> None:
    for curve in filters:
        needed = curve.support[1] / (1 + z_min)
        short = [s.name for s in templates.spectra if s.wavelength[-1] < needed]
        if short:
            raise BadInput(
                f"band {curve.band} needs spectra up to {needed:.0f} A, and {', '.join(short[:3])} of the "
                f"template set {templates.name} end before: leave the band out or take longer templates"
            )
