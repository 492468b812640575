"""Positions at another epoch: uniform space motion, with its perspective where it is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from astrolake.sky.separation import ARCSEC_PER_RAD, Float64, lonlat, tangent_basis

_MAS_PER_RAD = 1000.0 * ARCSEC_PER_RAD
_MJD_J2000 = 51544.5
_DAYS_PER_YEAR = 365.25
#: One au per Julian year in km/s (ESA 1997, eq. 1.2.22): 149597870.7 km / (365.25 * 86400 s).
_AU_PER_YEAR_KM_S = 149_597_870.7 / (365.25 * 86_400.0)


def propagate(
    ra_deg: ArrayLike,
    dec_deg: ArrayLike,
    pmra_mas_yr: ArrayLike,
    pmdec_mas_yr: ArrayLike,
    from_epoch_yr: ArrayLike,
    to_epoch_yr: ArrayLike,
    parallax_mas: ArrayLike = 0.0,
    radial_velocity_km_s: ArrayLike = 0.0,
) -> tuple[Float64, Float64]:
    """Return the positions at `to_epoch_yr` of stars known at `from_epoch_yr`.

    The star moves on a straight line in space, u(t) ~ r (1 + zeta t) + (p pmra + q pmdec) t with
    zeta = v_r parallax / A: ESA (1997), The Hipparcos and Tycho Catalogues, vol. 1, eq. 1.5.20 to
    1.5.24; Butkevich & Lindegren (2014), A&A 570, A62. It holds at the poles and for any time
    span; light-travel time is left out (below 1 mas in a century for every known star).

    Parameters
    ----------
    ra_deg, dec_deg : (N,) float64
        ICRS at `from_epoch_yr`; NaN stays NaN.
    pmra_mas_yr, pmdec_mas_yr : (N,) float64
        Proper motion in mas per Julian year, pmra with the factor cos(dec).
    from_epoch_yr, to_epoch_yr : (N,) float64 or float
        Julian epochs, for example 2016.0.
    parallax_mas, radial_velocity_km_s : (N,) float64 or float
        At `from_epoch_yr`; unless both are finite and the parallax is positive, the perspective is left out.

    Returns
    -------
    ra_deg, dec_deg : (N,) float64
        ra in [0, 360) where the star moved. A row with a proper motion or an epoch that is not
        finite is taken not to move: its position comes back unchanged.
    """
    ra, dec, pmra, pmdec, years, approach = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (ra_deg, dec_deg, pmra_mas_yr, pmdec_mas_yr)),
        np.asarray(to_epoch_yr, dtype=np.float64) - np.asarray(from_epoch_yr, dtype=np.float64),
        perspective(parallax_mas, radial_velocity_km_s),
    )
    shift_ra, shift_dec = pmra * years / _MAS_PER_RAD, pmdec * years / _MAS_PER_RAD
    moves = np.isfinite(shift_ra) & np.isfinite(shift_dec) & ((shift_ra != 0) | (shift_dec != 0))
    east, north, outward = tangent_basis(ra[moves], dec[moves])
    distance = (1.0 + approach[moves] * years[moves])[:, np.newaxis]
    new_ra, new_dec = ra.copy(), dec.copy()
    new_ra[moves], new_dec[moves] = lonlat(
        outward * distance + east * shift_ra[moves, np.newaxis] + north * shift_dec[moves, np.newaxis]
    )
    return new_ra, new_dec


def perspective(parallax_mas: ArrayLike, radial_velocity_km_s: ArrayLike) -> Float64:
    """Return zeta = v_r parallax / A, the relative change of distance per year; 0 where it is not known."""
    parallax = np.asarray(parallax_mas, dtype=np.float64)
    velocity = np.asarray(radial_velocity_km_s, dtype=np.float64)
    zeta = velocity * parallax / _MAS_PER_RAD / _AU_PER_YEAR_KM_S
    return np.asarray(np.where(np.isfinite(zeta) & (parallax > 0), zeta, 0.0))


def farthest_motion_deg(
    pmra_mas_yr: ArrayLike, pmdec_mas_yr: ArrayLike, years: ArrayLike, zeta: ArrayLike = 0.0
) -> float:
    """Return the largest angle that rows move in their years; rows without motion count for nothing."""
    span = np.asarray(years, dtype=np.float64)
    shift = np.hypot(pmra_mas_yr, pmdec_mas_yr) * np.abs(span) / _MAS_PER_RAD
    angle = np.arctan2(shift, 1.0 + np.asarray(zeta, dtype=np.float64) * span)
    return float(np.degrees(np.nanmax(np.where(np.isfinite(angle), angle, 0.0), initial=0.0)))


def julian_year(mjd: ArrayLike) -> Float64:
    """Return the Julian epoch in years of Modified Julian Dates; NaN stays NaN.

    J = 2000.0 + (MJD - 51544.5) / 365.25 (IAU 1976; Lieske 1979, A&A 73, 282).
    """
    return np.asarray(2000.0 + (np.asarray(mjd, dtype=np.float64) - _MJD_J2000) / _DAYS_PER_YEAR)
