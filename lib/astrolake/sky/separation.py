"""Angles between positions, and the unit vectors that make them cheap to search."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ARCSEC_PER_RAD = 180.0 * 3600.0 / np.pi

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]


def separation_arcsec(
    ra1_deg: ArrayLike, dec1_deg: ArrayLike, ra2_deg: ArrayLike, dec2_deg: ArrayLike
) -> Float64:
    """Return the great-circle separation of positions in arcsec, by Vincenty's formula.

    The formula (Vincenty 1975, Survey Review 23, 88, for a sphere) keeps full precision at
    every angle, 0 and 180 deg included. Positions broadcast against each other; NaN gives NaN.

    Parameters
    ----------
    ra1_deg, dec1_deg, ra2_deg, dec2_deg : float64, shapes that broadcast
        Any right ascension is allowed, 0 and 360 are the same.

    Returns
    -------
    float64, the broadcast shape, in [0, 648000]
    """
    ra1, ra2 = np.asarray(ra1_deg, dtype=np.float64), np.asarray(ra2_deg, dtype=np.float64)
    dec1, dec2 = np.radians(dec1_deg, dtype=np.float64), np.radians(dec2_deg, dtype=np.float64)
    turn = ra2 - ra1
    # Wrapping in degrees is exact; the sine of an angle near 2 pi is not.
    dlon = np.radians(turn - 360.0 * np.rint(turn / 360.0))
    sin1, cos1, sin2, cos2 = np.sin(dec1), np.cos(dec1), np.sin(dec2), np.cos(dec2)
    cos_dlon = np.cos(dlon)
    across = np.hypot(cos2 * np.sin(dlon), cos1 * sin2 - sin1 * cos2 * cos_dlon)
    along = sin1 * sin2 + cos1 * cos2 * cos_dlon
    return np.asarray(np.arctan2(across, along) * ARCSEC_PER_RAD, dtype=np.float64)


def unit_vectors(ra_deg: Float64, dec_deg: Float64) -> Float64:
    """Return the (N, 3) unit vectors of (N,) positions: x to (0, 0), z to the north pole."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    cos_dec = np.cos(dec)
    found = np.empty((*np.shape(ra), 3))
    found[..., 0], found[..., 1], found[..., 2] = cos_dec * np.cos(ra), cos_dec * np.sin(ra), np.sin(dec)
    return found


def lonlat(vectors: Float64) -> tuple[Float64, Float64]:
    """Return ra in [0, 360) and dec in degrees of (N, 3) vectors of any length > 0."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    ra = np.degrees(np.arctan2(y, x)) % 360.0
    # A tiny negative angle wraps to 360.0 itself after rounding.
    return np.where(ra >= 360.0, 0.0, ra), np.degrees(np.arctan2(z, np.hypot(x, y)))


def tangent_basis(ra_deg: Float64, dec_deg: Float64) -> tuple[Float64, Float64, Float64]:
    """Return the (N, 3) unit vectors p (east), q (north) and r (outward) at (N,) positions.

    The normal triad of ESA (1997), The Hipparcos and Tycho Catalogues, vol. 1, section 1.5.5;
    at a pole, east follows from the given right ascension.
    """
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    sin_ra, cos_ra, sin_dec, cos_dec = np.sin(ra), np.cos(ra), np.sin(dec), np.cos(dec)
    east = np.stack([-sin_ra, cos_ra, np.zeros_like(ra)], axis=-1)
    north = np.stack([-sin_dec * cos_ra, -sin_dec * sin_ra, cos_dec], axis=-1)
    outward = np.stack([cos_dec * cos_ra, cos_dec * sin_ra, sin_dec], axis=-1)
    return east, north, outward


def chord(angle_arcsec: float) -> float:
    """Return the straight-line distance of two unit vectors that are `angle_arcsec` apart."""
    return float(2.0 * np.sin(0.5 * angle_arcsec / ARCSEC_PER_RAD))


def chord_angle_arcsec(chord_length: ArrayLike) -> Float64:
    """Return the angles in arcsec that belong to chords in [0, 2]; inverse of `chord`."""
    half = np.clip(0.5 * np.asarray(chord_length, dtype=np.float64), 0.0, 1.0)
    return np.asarray(2.0 * np.arcsin(half) * ARCSEC_PER_RAD)


def widen_chord(chord_length: ArrayLike) -> Float64:
    """Return chords enlarged beyond the rounding of unit vectors, for searches refined afterwards.

    The margin of 1e-9 relative plus 1e-14 exceeds the error of a chord between float64 unit
    vectors (about 4e-16), so that no pair within the exact angle is lost.
    """
    return np.asarray(np.asarray(chord_length, dtype=np.float64) * (1.0 + 1e-9) + 1e-14)


def checked_positions(
    ra_deg: ArrayLike, dec_deg: ArrayLike, name: str = "positions"
) -> tuple[Float64, Float64]:
    """Return ra and dec as contiguous (N,) float64 arrays once they are known to be positions.

    Raises
    ------
    ValueError
        When lengths differ, a value is not finite, or a declination lies outside [-90, 90];
        the message names the first row at fault.
    """
    ra = np.ascontiguousarray(ra_deg, dtype=np.float64)
    dec = np.ascontiguousarray(dec_deg, dtype=np.float64)
    if ra.ndim != 1 or ra.shape != dec.shape:
        raise ValueError(f"{name}: ra and dec must be 1-D of equal length, got {ra.shape} and {dec.shape}")
    good = np.isfinite(ra) & (np.abs(dec) <= 90.0)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"{name}: row {row} has ra={ra[row]}, dec={dec[row]}; drop rows whose position is not "
            "finite or whose declination is outside [-90, 90] first"
        )
    return ra, dec
