"""Galaxies of the sample sky: counts, redshifts, two colour populations, shapes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astrolake.demo.stars import magnitudes_of_counts

Float64 = NDArray[np.float64]

BRIGHTEST_R, FAINTEST_R = 16.0, 23.0
#: Faintest galaxy with a spectrum.
SPECTROSCOPIC_LIMIT_R = 21.0
SMALLEST_ARCSEC, LARGEST_ARCSEC = 0.3, 4.0
DISK_N, BULGE_N = 1.0, 4.0
#: Euclidean counts.
_COUNT_SLOPE = 0.4
#: Observed colours against redshift, rounded from the tracks of an old population (Eisenstein et
#: al. 2001, AJ 122, 2267: the 4000 A break crosses from g to r at z = 0.4) and of a late spiral.
_TRACK_Z = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0])
_RED_G_R = np.array([0.75, 0.95, 1.20, 1.45, 1.62, 1.68, 1.70, 1.68, 1.60])
_RED_R_I = np.array([0.36, 0.40, 0.44, 0.50, 0.60, 0.78, 0.95, 1.10, 1.15])
_BLUE_G_R = np.array([0.40, 0.48, 0.60, 0.72, 0.80, 0.78, 0.70, 0.55, 0.45])
_BLUE_R_I = np.array([0.20, 0.22, 0.25, 0.28, 0.34, 0.42, 0.46, 0.48, 0.45])


def draw_galaxies(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Draw n galaxies without positions.

    Returns
    -------
    DataFrame
        mag_g, mag_r, mag_i (total), z, re_arcsec (half-light radius on the major axis, log-normal
        about a median that falls with magnitude), n_sersic (red galaxies mostly 4, blue mostly 1),
        axis_ratio, angle_deg (position angle of the major axis, north through east, in [0, 180)).
    """
    mag_r = magnitudes_of_counts(rng, n, (BRIGHTEST_R, FAINTEST_R), _COUNT_SLOPE)
    median_z = 0.08 * 10.0 ** (0.14 * (mag_r - 17.0))
    z = (median_z * np.exp(rng.normal(0.0, 0.35, n))).clip(0.01, 1.0)
    red = rng.random(n) < np.clip(0.5 - 0.05 * (mag_r - 17.0), 0.2, 0.55)
    bulge = rng.random(n) < np.where(red, 0.85, 0.1)
    g_r, r_i = _colours(z, red)
    size = 10.0 ** (0.32 - 0.13 * (mag_r - 18.0) + rng.normal(0.0, 0.16, n))
    return pd.DataFrame(
        {
            "mag_g": mag_r + g_r + rng.normal(0.0, 0.06, n),
            "mag_r": mag_r,
            "mag_i": mag_r - r_i + rng.normal(0.0, 0.04, n),
            "z": z,
            "re_arcsec": size.clip(SMALLEST_ARCSEC, LARGEST_ARCSEC),
            "n_sersic": np.where(bulge, BULGE_N, DISK_N),
            "axis_ratio": np.where(bulge, rng.uniform(0.5, 1.0, n), rng.uniform(0.2, 1.0, n)),
            "angle_deg": rng.uniform(0.0, 180.0, n),
        }
    )


def observe_redshifts(truth: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the spectroscopic table of the galaxies brighter than r = 21.

    Columns specobjid, ra, dec (of the fibre, within 0.05 arcsec rms), z, z_err, class.
    """
    galaxies = truth[(truth["type"] == "galaxy") & (truth["mag_r"] < SPECTROSCOPIC_LIMIT_R)]
    count = len(galaxies)
    z_err = 10.0 ** rng.normal(-4.5, 0.15, count)
    offset_deg = rng.normal(0.0, 0.05 / 3600.0, (2, count))
    dec = galaxies["dec"].to_numpy() + offset_deg[1]
    return pd.DataFrame(
        {
            "specobjid": 299_489_677_444_933_632 + 2048 * np.arange(count, dtype=np.int64),
            "ra": galaxies["ra"].to_numpy() + offset_deg[0] / np.cos(np.radians(dec)),
            "dec": dec,
            "z": galaxies["z"].to_numpy() + rng.normal(size=count) * z_err,
            "z_err": z_err,
            "class": "GALAXY",
        }
    )


def _colours(z: Float64, red: NDArray[np.bool_]) -> tuple[Float64, Float64]:
    g_r = np.where(red, np.interp(z, _TRACK_Z, _RED_G_R), np.interp(z, _TRACK_Z, _BLUE_G_R))
    r_i = np.where(red, np.interp(z, _TRACK_Z, _RED_R_I), np.interp(z, _TRACK_Z, _BLUE_R_I))
    return g_r, r_i
