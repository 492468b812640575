"""Stars of the sample sky: counts, colours, proper motions, and what Gaia would say about them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astrolake.sky.epoch import propagate
from astrolake.sky.healpix import cells_at_order

Float64 = NDArray[np.float64]

REF_EPOCH = 2016.0
BRIGHTEST_R, FAINTEST_R = 14.0, 23.0
#: Faintest star of the reference catalog.
REFERENCE_LIMIT_R = 20.5
_COUNT_SLOPE = 0.12
_LOCUS_SCATTER = 0.025
#: Order of the HEALPix cell in a Gaia source_id, and the bits to its right.
_GAIA_ORDER, _GAIA_BITS = 12, 35


def magnitudes_of_counts(
    rng: np.random.Generator, n: int, limits: tuple[float, float], slope: float
) -> Float64:
    """Draw n magnitudes between two limits from counts that rise as 10^(slope m)."""
    low, high = (10.0 ** (slope * limit) for limit in limits)
    return np.asarray(np.log10(rng.uniform(low, high, n)) / slope)


def locus_g_r(r_i: Float64) -> Float64:
    """Return g-r of main-sequence stars from r-i: Juric et al. (2008), ApJ 673, 864, eq. 4."""
    return np.asarray(1.39 * (1.0 - np.exp(-4.9 * r_i**3 - 2.45 * r_i**2 - 1.68 * r_i - 0.050)))


def draw_stars(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Draw n stars without positions: mag_g, mag_r, mag_i, pmra and pmdec [mas/yr], parallax [mas].

    The share of M dwarfs rises towards faint magnitudes. Transverse velocities are about 40 km/s;
    the parallax follows from the proper motion and the velocity (4.74 km/s = 1 au/yr).
    """
    mag_r = magnitudes_of_counts(rng, n, (BRIGHTEST_R, FAINTEST_R), _COUNT_SLOPE)
    red = rng.random(n) < np.clip(0.15 + 0.07 * (mag_r - BRIGHTEST_R), 0.0, 0.75)
    r_i = np.where(red, rng.uniform(0.3, 1.6, n), rng.normal(0.13, 0.05, n).clip(0.02))
    motion = np.exp(rng.normal(np.log(14.0), 0.8, n)) * np.where(red, 1.6, 1.0)
    direction = rng.normal(np.radians(235.0), 1.1, n)
    speed_km_s = 40.0 * np.exp(rng.normal(0.0, 0.4, n))
    return pd.DataFrame(
        {
            "mag_g": mag_r + locus_g_r(r_i) + rng.normal(0.0, _LOCUS_SCATTER, n),
            "mag_r": mag_r,
            "mag_i": mag_r - r_i + rng.normal(0.0, _LOCUS_SCATTER, n),
            "pmra": motion * np.sin(direction),
            "pmdec": motion * np.cos(direction),
            "parallax": 4.74 * motion / speed_km_s,
        }
    )


def gaia_magnitude(mag_g: Float64, mag_i: Float64) -> Float64:
    """Return Gaia's G from SDSS g and i: polynomial of the Gaia DR2 documentation, section 5.3.7."""
    g_i = mag_g - mag_i
    return np.asarray(mag_g - 0.074189 - 0.51409 * g_i - 0.080607 * g_i**2 + 0.0016001 * g_i**3)


def gaia_parallax_error_mas(phot_g_mean_mag: Float64) -> Float64:
    """Return the standard error of a Gaia parallax.

    It is sqrt(40 + 800 z + 30 z^2) microarcsec with z = 10^(0.4 (max(G, 13) - 15)), the DR3 curve of
    ESA's Gaia science performance page: 0.03 mas at G = 15, 0.6 mas at 20. Positions are 0.75 and
    proper motions (per year) 0.96 times as uncertain.
    """
    z = 10.0 ** (0.4 * (np.maximum(phot_g_mean_mag, 13.0) - 15.0))
    return np.asarray(np.sqrt(40.0 + 800.0 * z + 30.0 * z**2) / 1000.0)


def observe_reference(truth: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the Gaia-like rows of the stars brighter than r = 20.5: positions at 2016.0, with errors.

    Parameters
    ----------
    truth : DataFrame
        Rows of `truth.parquet`; stars and variables are used.
    rng : Generator

    Returns
    -------
    DataFrame
        source_id, ra, dec, ra_error, dec_error, pmra, pmdec, pmra_error, pmdec_error, parallax,
        parallax_error, ref_epoch, phot_g_mean_mag. Every value is the truth plus a Gaussian error
        of the stated size.
    """
    seen = truth["type"].isin(["star", "variable"]) & (truth["mag_r"] < REFERENCE_LIMIT_R)
    stars = truth[seen]
    g_mag = gaia_magnitude(stars["mag_g"].to_numpy(), stars["mag_i"].to_numpy())
    plx_error = gaia_parallax_error_mas(g_mag)
    errors = {"pos": 0.75 * plx_error, "pm": 0.96 * plx_error, "plx": plx_error}
    noise = rng.normal(size=(5, len(stars)))
    # One year of a motion of so many mas per year moves a position by so many mas.
    slip = noise[:2] * errors["pos"]
    ra, dec = propagate(stars["ra"], stars["dec"], slip[0], slip[1], 0.0, 1.0)
    cells = cells_at_order(ra, dec, _GAIA_ORDER)
    return pd.DataFrame(
        {
            "source_id": (cells << _GAIA_BITS) | (np.arange(1, len(stars) + 1, dtype=np.int64) << 7),
            "ra": ra,
            "dec": dec,
            "ra_error": errors["pos"],
            "dec_error": errors["pos"],
            "pmra": stars["pmra"].to_numpy() + noise[2] * errors["pm"],
            "pmdec": stars["pmdec"].to_numpy() + noise[3] * errors["pm"],
            "pmra_error": errors["pm"],
            "pmdec_error": errors["pm"],
            "parallax": stars["parallax"].to_numpy() + noise[4] * errors["plx"],
            "parallax_error": errors["plx"],
            "ref_epoch": np.full(len(stars), REF_EPOCH),
            "phot_g_mean_mag": g_mag + rng.normal(0.0, 0.003, len(stars)),
        }
    )
