"""Petrosian fluxes and radii, and radii that hold a share of the light, from curves of growth."""

from __future__ import annotations

import numpy as np
import sep
from numpy.typing import NDArray

from astrolake.photometry.flags import Flag, aperture_flags, where
from astrolake.photometry.growth import STEP_PX, growth_curves, rounded_reach
from astrolake.photometry.measure import Columns, Float64, Int32, Objects, Scene, ellipses

#: Petrosian ratio at the Petrosian radius, and radius of the aperture in Petrosian radii (SDSS).
ETA, N_RADII = 0.2, 2.0
#: The ratio compares the ring between these multiples of a radius with the circle inside it (SDSS).
_RING = (0.8, 1.25)
#: Shares of flux_auto and of flux_petro whose radii are measured.
_AUTO_SHARES = {"flux_radius_20": 0.2, "flux_radius": 0.5, "flux_radius_80": 0.8}
_PETRO_SHARES = {"petro_r50": 0.5, "petro_r90": 0.9}
#: Curves reach this many semi-major axes; those that turn out too short are measured again.
_REACHES = (5.0, 12.0)
#: Within a smaller radius a pixel is too coarse for a ring.
_SMALLEST_PX = 1.0
#: At two Petrosian radii there is no light left on the rim to be divided.
_SUBPIX = 1


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
    n, x, y = len(objects), objects["x"], objects["y"]
    names = (*_AUTO_SHARES, "petro_radius", *_PETRO_SHARES, "flux_petro", "flux_petro_err")
    out: Columns = {name: np.full(n, np.nan) for name in names}
    flags, axis, rows = np.zeros(n, np.int32), ellipses(objects)[0], np.arange(n)
    for factor in _REACHES:
        reach = factor * axis[rows]
        curves = growth_curves(scene, x[rows], y[rows], ids[rows], reach)
        for curve in curves:
            out["petro_radius"][rows[curve.rows]] = petrosian_radius(curve.flux)
        flags[rows] = _add_fluxes(scene, (x, y, ids), rows, out)
        for curve in curves:
            at = rows[curve.rows]
            for name, share in _AUTO_SHARES.items():
                out[name][at] = radius_holding(curve.flux, share * flux_auto[at])
            for name, share in _PETRO_SHARES.items():
                out[name][at] = radius_holding(curve.flux, share * out["flux_petro"][at])
        lacking = np.isnan(out["petro_r90"][rows]) | np.isnan(out["flux_radius_80"][rows])
        # Beyond the image a curve does not grow.
        rows = rows[lacking & (rounded_reach(reach) < max(scene.sky.residual.shape))]
        if not len(rows):
            break
    flags |= where(np.isnan(out["petro_radius"]), Flag.NO_PETROSIAN_RADIUS)
    return out | {"flags": flags}


def petrosian_radius(growth: Float64) -> Float64:
    """Return the radius at which the Petrosian ratio first falls to 0.2.

    Parameters
    ----------
    growth : (n, m) float64
        Flux inside the radii 0, STEP_PX, 2 STEP_PX, ...

    Returns
    -------
    (n,) float64
        Pixels, interpolated between the radii; NaN where the ratio stays above 0.2.
    """
    last = int((growth.shape[1] - 1) / _RING[1])
    first = round(_SMALLEST_PX / STEP_PX)
    steps = np.arange(first, last + 1)
    inner, outer = (_at_steps(growth, steps * ratio) for ratio in _RING)
    area = _RING[1] ** 2 - _RING[0] ** 2
    within = growth[:, first : last + 1]
    # A circle without light has no ratio, and no crossing either.
    eta = np.divide(outer - inner, area * within, out=np.full(within.shape, np.inf), where=within > 0)
    below = eta <= ETA
    found = np.flatnonzero(below.any(axis=1))
    index = below[found].argmax(axis=1)
    before, after = eta[found, np.maximum(index - 1, 0)], eta[found, index]
    falls = (index > 0) & np.isfinite(before) & (before > after)
    share = np.where(falls, (before - ETA) / np.where(falls, before - after, 1), 1)
    radius = np.full(len(growth), np.nan)
    radius[found] = STEP_PX * (first + index - 1 + share)
    return radius


def radius_holding(growth: Float64, flux: Float64) -> Float64:
    """Return the smallest radius inside which lies a flux; NaN where it is not positive or not reached.

    Parameters
    ----------
    growth : (n, m) float64
        Flux inside the radii 0, STEP_PX, 2 STEP_PX, ...
    flux : (n,) float64
        In between, the flux grows as the area of the circle.
    """
    reached = (growth >= flux[:, None]) & (flux[:, None] > 0)
    rows = np.flatnonzero(reached.any(axis=1))
    index = reached[rows].argmax(axis=1)
    low, high = growth[rows, index - 1], growth[rows, index]
    share = (flux[rows] - low) / (high - low)
    radius = np.full(len(growth), np.nan)
    radius[rows] = STEP_PX * np.sqrt((index - 1) ** 2 + share * (2 * index - 1))
    return radius


def _at_steps(growth: Float64, step: NDArray[np.floating]) -> Float64:
    """Return the curves between their radii."""
    low = np.minimum(step.astype(np.intp), growth.shape[1] - 2)
    share = step - low
    out: Float64 = growth[:, low] * (1 - share) + growth[:, low + 1] * share
    return out


def _add_fluxes(
    scene: Scene, place: tuple[Float64, Float64, Int32], rows: NDArray[np.intp], out: Columns
) -> Int32:
    """Sum the Petrosian apertures of some sources into `out`; return their flags."""
    flags = np.zeros(len(rows), np.int32)
    known = np.isfinite(out["petro_radius"][rows])
    at = rows[known]
    if len(at):
        x, y, ids = (values[at] for values in place)
        flux, error, sep_flags = sep.sum_circle(
            scene.sky.residual,
            x,
            y,
            N_RADII * out["petro_radius"][at],
            err=scene.sky.noise,
            gain=scene.gain,
            subpix=_SUBPIX,
            **scene.masking(ids),
        )
        area = np.pi * (N_RADII * out["petro_radius"][at]) ** 2
        out["flux_petro"][at], out["flux_petro_err"][at] = flux, scene.sum_error(flux, error, area)
        flags[known] = aperture_flags(sep_flags)
    return flags
