"""Absolute magnitudes and k-corrections of fitted templates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.cosmology import Planck18
from numpy.typing import NDArray

from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.model_grid import ModelGrid
from astrolake.photoz.photometry import ZERO_POINT_UJY
from astrolake.photoz.template_kernel import Fits

Float32 = NDArray[np.float32]


def absolute_magnitudes(
    models: ModelGrid, grid: RedshiftGrid, bands: Sequence[str], fits: Fits
) -> dict[str, Float32]:
    """Return absolute magnitudes of the fitted templates, and their k-corrections, in the bands.

    The template A S(lambda / (1 + z)) that fits has at 10 pc the flux A S(lambda) (1 + z) (D_L / 10 pc)^2;
    K is what remains of m - M after the distance modulus (Hogg et al. 2002, astro-ph/0210394). Distances
    are those of Planck 2018.

    Returns
    -------
    dict of (n,) float32
        `mag_abs_<band>` (AB) and `kcorr_<band>`; NaN at redshift 0, without a fit, and where the template
        does not cover the band at rest.
    """
    known = (fits.template >= 0) & (fits.amplitude > 0)
    mode = np.where(known, np.argmax(np.where(np.isfinite(fits.density), fits.density, 0.0), axis=1), 0)
    template = np.where(known, fits.template, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        modulus = 5 * np.log10(Planck18.luminosity_distance(grid.z).to_value("pc") / 10)
        modulus[~np.isfinite(modulus)] = np.nan
        scale = np.where(known, fits.amplitude, np.nan).astype(np.float64)
        result: dict[str, Float32] = {}
        for b, band in enumerate(bands):
            rest = scale * models.rest_flux[template, b] * (1 + grid.z[mode])
            observed = scale * models.flux[template, mode, b]
            absolute = ZERO_POINT_UJY - 2.5 * np.log10(rest) - modulus[mode]
            result[f"mag_abs_{band}"] = absolute.astype(np.float32)
            seen = ZERO_POINT_UJY - 2.5 * np.log10(observed)
            result[f"kcorr_{band}"] = (seen - absolute - modulus[mode]).astype(np.float32)
    return result
