"""Extinction by Galactic dust: the law of Fitzpatrick (1999) and coefficients of the surveys' bands."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from astrolake.errors import BadArguments
from astrolake.sky.separation import Float64

#: Mean of the diffuse interstellar medium.
R_V = 3.1
#: True reddening of one magnitude on the scale of Schlegel, Finkbeiner & Davis (SF11, section 5.2).
SFD_SCALE = 0.86
#: A(1 um) for E(B-V) = 1 on the scale of SFD: 1.32 by O'Donnell's law, times 0.78 (SF11, appendix).
_A_1UM_PER_SFD = 0.78 * 1.32

_SDSS = {"u": 4.239, "g": 3.303, "r": 2.285, "i": 1.698, "z": 1.263}
_PS1 = {"g": 3.172, "r": 2.271, "i": 1.682, "z": 1.322, "y": 1.087, "w": 2.341}
_DES = {"g": 3.237, "r": 2.176, "i": 1.595, "z": 1.217, "Y": 1.058}
_LSST = {"u": 4.145, "g": 3.237, "r": 2.273, "i": 1.684, "z": 1.323, "y": 1.088}
_DECAM = {"u": 3.995, "g": 3.214, "r": 2.165, "i": 1.592, "z": 1.211, "Y": 1.064}
_TWOMASS = {"J": 0.723, "H": 0.460, "Ks": 0.310}
_WISE = {"W1": 0.184, "W2": 0.113, "W3": 0.0241, "W4": 0.00910}
_LANDOLT = {"U": 4.334, "B": 3.626, "V": 2.742, "R": 2.169, "I": 1.505}
#: Casagrande & VandenBerg 2018, MNRAS 479, L102, on the true scale of E(B-V).
_GAIA = {band: SFD_SCALE * value for band, value in (("G", 2.740), ("BP", 3.374), ("RP", 2.035))}

#: A_b / E(B-V) by survey and band for R_V = 3.1 and E(B-V) as SFD have it: Schlafly & Finkbeiner 2011,
#: ApJ 737, 103, Table 6 (SDSS, PS1, DES, LSST, Landolt; 2MASS by its recipe, as IRSA gives it); DECam and
#: WISE by the same recipe (legacysurvey.org/dr9/catalogs, "Galactic extinction coefficients").
COEFFICIENTS: dict[str, dict[str, float]] = {
    "sdss": _SDSS,
    "panstarrs": _PS1,
    "des": _DES,
    "lsst": _LSST,
    "decam": _DECAM,
    "legacy": _DECAM | _WISE,
    "twomass": _TWOMASS,
    "wise": _WISE,
    "gaia": _GAIA,
}
#: Bands of other surveys and cameras, by their usual meaning.
_USUAL = _LANDOLT | _SDSS | {"y": _PS1["y"], "Y": _DES["Y"], "K": _TWOMASS["Ks"]} | _TWOMASS | _WISE

#: Anchors of the spline (Fitzpatrick 1999, PASP 111, 63, Tables 3 and 4), in 1/um.
_INFRARED_ANCHORS = 1e4 / np.array([np.inf, 26500.0, 12200.0])
_OPTICAL_ANCHORS = 1e4 / np.array([6000.0, 5470.0, 4670.0, 4110.0])
_UV_ANCHORS = 1e4 / np.array([2700.0, 2600.0])
_SHORTEST_ANGSTROM = 912.0


def fitzpatrick99(wavelength_angstrom: ArrayLike, r_v: float = R_V) -> Float64:
    """Return A(lambda) / E(B-V) by the law of Fitzpatrick (1999, PASP 111, 63).

    From 2700 A on a cubic spline through the anchors of the paper's Tables 3 and 4, below the function of
    Fitzpatrick & Massa (1990) with the paper's mean parameters. Divide by `r_v` for A(lambda) / A(V).

    Parameters
    ----------
    wavelength_angstrom : array
        From 912 A on; in vacuum or air, the law does not tell them apart.
    r_v : float
        A(V) / E(B-V).

    Returns
    -------
    array of that shape
        NaN below 912 A and for NaN.

    Raises
    ------
    BadArguments
        When `r_v` is outside [1, 10].
    """
    if not 1.0 <= r_v <= 10.0:
        raise BadArguments(f"r_v={r_v}: give A(V)/E(B-V) within [1, 10]; the mean of the Galaxy is 3.1")
    wavelength = np.asarray(wavelength_angstrom, dtype=np.float64)
    known = wavelength >= _SHORTEST_ANGSTROM
    x = 1e4 / np.where(known, wavelength, np.inf)
    optical = np.array(
        [
            -0.426 + 1.0044 * r_v,
            -0.050 + 1.0016 * r_v,
            0.701 + 1.0016 * r_v,
            1.208 + 1.0032 * r_v - 0.00033 * r_v**2,
        ]
    )
    infrared = np.array([0.0, 0.265, 0.829]) * r_v / 3.1
    spline = CubicSpline(
        np.concatenate([_INFRARED_ANCHORS, _OPTICAL_ANCHORS, _UV_ANCHORS]),
        np.concatenate([infrared, optical, _ultraviolet(_UV_ANCHORS, r_v)]),
        bc_type="natural",
    )
    return np.where(known, np.where(x < _UV_ANCHORS[0], spline(x), _ultraviolet(x, r_v)), np.nan)


def _ultraviolet(x: Float64, r_v: float) -> Float64:
    """Return A / E(B-V) at x = 1/lambda in 1/um: a line, the 2175 A bump, and the far-UV rise above 5.9."""
    c2 = -0.824 + 4.717 / r_v
    c1 = 2.030 - 3.007 * c2
    bump = x**2 / ((x**2 - 4.596**2) ** 2 + (0.99 * x) ** 2)
    above = np.maximum(x - 5.9, 0.0)
    rise = 0.5392 * above**2 + 0.05644 * above**3
    return np.asarray(c1 + c2 * x + 3.23 * bump + 0.41 * rise + r_v)


def extinction_per_sfd(wavelength_angstrom: ArrayLike, r_v: float = R_V) -> Float64:
    """Return A(lambda) per E(B-V) of SFD: the law normalised at 1 um as Schlafly & Finkbeiner (2011) do.

    For narrow bands, and those that `COEFFICIENTS` lacks, at their effective wavelength.
    """
    law = fitzpatrick99(wavelength_angstrom, r_v)
    return np.asarray(_A_1UM_PER_SFD * law / fitzpatrick99(1e4, r_v))


def extinction_coefficient(survey: str, band: str) -> float:
    """Return A_b / E(B-V) of a survey's band, for E(B-V) on the scale of SFD and R_V = 3.1.

    Bands of surveys that `COEFFICIENTS` lacks count as those of SDSS, Landolt, 2MASS or WISE of their
    name; NaN for a name that says nothing.
    """
    return COEFFICIENTS.get(survey, {}).get(band, _USUAL.get(band, np.nan))


def dereddened(mag: ArrayLike, ebv: ArrayLike, coefficient: ArrayLike) -> Float64:
    """Return magnitudes without the extinction: mag - coefficient E(B-V); NaN where one is NaN.

    Parameters
    ----------
    mag, ebv, coefficient : arrays that broadcast
        `coefficient` as `extinction_coefficient` gives it, E(B-V) on the scale of SFD.
    """
    values, reddening = np.asarray(mag, dtype=np.float64), np.asarray(ebv, dtype=np.float64)
    return np.asarray(values - np.asarray(coefficient, dtype=np.float64) * reddening)
