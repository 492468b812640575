"""Petrosian fluxes and radii, and radii that hold a share of the light, from curves of growth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrolake.photometry.flags import Flag, where
from astrolake.photometry.growth_kernels import N_RADII, radial_measures
from astrolake.photometry.measure import Columns, Float64, Int32, Objects, Scene, ellipses

#: Curves reach this many semi-major axes; those that turn out too short are measured again.
_REACHES = (5.0, 12.0)
#: Reaches are rounded up to this ladder, px: sources of like size are measured alike.
_LADDER_PX = np.unique(np.ceil(8 * 1.25 ** np.arange(40)).astype(np.intp))


def radial_photometry(scene: Scene, objects: Objects, ids: Int32, flux_auto: Float64) -> Columns:
    """Measure Petrosian fluxes and radii, and the radii that hold 20, 50 and 80 % of flux_auto.

    The Petrosian ratio is eta(r) = mean surface brightness between 0.8 r and 1.25 r, over that within r;
    the Petrosian radius is where it first falls to 0.2, and flux_petro what a circle of twice that radius
    holds (Blanton et al. 2001, AJ 121, 2358, section 3.3; Strauss et al. 2002, AJ 124, 1810, section 3.2).
    SDSS measures all bands with the radius of r; here every image has its own.

    Parameters
    ----------
    scene : Scene
    objects : (n,) structured array
        As SEP detects them; the circles are centred on the isophotal centroids, as SExtractor's are.
    ids : (n,) int32
        Number of each source in the segmentation.
    flux_auto : (n,) float64
        Kron flux.

    Returns
    -------
    dict of (n,) arrays
        flux_radius, flux_radius_20, flux_radius_80 (px; NaN where flux_auto is not positive or the light
        does not reach that share within 12 semi-major axes), petro_radius, petro_r50, petro_r90 (px),
        flux_petro, flux_petro_err and flags. Without a Petrosian radius, because the ratio does not
        fall to 0.2 within ten semi-major axes, all of them are NaN and the source is flagged.
    """
    axis = ellipses(objects)[0]
    reaches = np.stack([_rounded(factor * axis) for factor in _REACHES])
    measures, cut = np.full((8, len(objects)), np.nan), np.zeros(len(objects), bool)
    places = np.stack([objects["x"], objects["y"], flux_auto])
    radial_measures(scene.arrays(), ids, places, reaches, measures, cut)
    low, half, high, petro, r50, r90, flux, variance = measures
    return {
        "flux_radius_20": low,
        "flux_radius": half,
        "flux_radius_80": high,
        "petro_radius": petro,
        "petro_r50": r50,
        "petro_r90": r90,
        "flux_petro": flux,
        "flux_petro_err": scene.error(flux, variance, np.pi * (N_RADII * petro) ** 2),
        "flags": where(cut, Flag.APERTURE_INCOMPLETE) | where(np.isnan(petro), Flag.NO_PETROSIAN_RADIUS),
    }


def _rounded(reach_px: Float64) -> NDArray[np.intp]:
    step = np.searchsorted(_LADDER_PX, reach_px).clip(max=len(_LADDER_PX) - 1)
    rounded: NDArray[np.intp] = _LADDER_PX[step]
    return rounded
