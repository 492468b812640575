"""Positions at another epoch: uniform space motion without parallax and radial velocity."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from astrolake.sky.separation import ARCSEC_PER_RAD, Float64, lonlat, tangent_basis

_MAS_PER_RAD = 1000.0 * ARCSEC_PER_RAD
_MJD_J2000 = 51544.5
_DAYS_PER_YEAR = 365.25


def propagate(
    ra_deg: ArrayLike,
    dec_deg: ArrayLike,
    pmra_mas_yr: ArrayLike,
    pmdec_mas_yr: ArrayLike,
    from_epoch_yr: ArrayLike,
    to_epoch_yr: ArrayLike,
) -> tuple[Float64, Float64]:
    """Return the positions at `to_epoch_yr` of stars known at `from_epoch_yr`.

    The star moves on a straight line in space, u(t) ~ r + (p pmra + q pmdec) t: ESA (1997), The
    Hipparcos and Tycho Catalogues, vol. 1, section 1.5.5, with parallax and radial velocity
    zero; see also Butkevich & Lindegren (2014), A&A 570, A62. It holds at the poles and
    for any time span.

    Parameters
    ----------
    ra_deg, dec_deg : (N,) float64
        ICRS at `from_epoch_yr`; NaN stays NaN.
    pmra_mas_yr, pmdec_mas_yr : (N,) float64
        Proper motion in mas per Julian year, pmra with the factor cos(dec).
    from_epoch_yr, to_epoch_yr : (N,) float64 or float
        Julian epochs, for example 2016.0.

    Returns
    -------
    ra_deg, dec_deg : (N,) float64
        ra in [0, 360) where the star moved. A row with a proper motion or an epoch that is not
        finite is taken not to move: its position comes back unchanged.
    """
    ra, dec, pmra, pmdec, start, end = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (ra_deg, dec_deg, pmra_mas_yr, pmdec_mas_yr)),
        *(np.asarray(v, dtype=np.float64) for v in (from_epoch_yr, to_epoch_yr)),
    )
    shift_ra, shift_dec = pmra * (end - start) / _MAS_PER_RAD, pmdec * (end - start) / _MAS_PER_RAD
    moves = np.isfinite(shift_ra) & np.isfinite(shift_dec) & ((shift_ra != 0) | (shift_dec != 0))
    east, north, outward = tangent_basis(ra[moves], dec[moves])
    new_ra, new_dec = ra.copy(), dec.copy()
    new_ra[moves], new_dec[moves] = lonlat(
        outward + east * shift_ra[moves, np.newaxis] + north * shift_dec[moves, np.newaxis]
    )
    return new_ra, new_dec


def julian_year(mjd: ArrayLike) -> Float64:
    """Return the Julian epoch in years of Modified Julian Dates; NaN stays NaN.

    J = 2000.0 + (MJD - 51544.5) / 365.25 (IAU 1976; Lieske 1979, A&A 73, 282).
    """
    return np.asarray(2000.0 + (np.asarray(mjd, dtype=np.float64) - _MJD_J2000) / _DAYS_PER_YEAR)
