"""Attenuation by dust in galaxies: laws of starbursts, the Milky Way and the Small Magellanic Cloud."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments
from astrolake.sky.extinction import fitzpatrick99

Float64 = NDArray[np.float64]
DustLaw = Literal["calzetti", "smc", "milky_way"]

#: Amplitude, wavelength (um), b and n of the terms of the SMC's law (Pei 1992, ApJ 395, 130, Table 4).
_PEI_SMC = np.array(
    [
        [185.0, 0.042, 90.0, 2.0],
        [27.0, 0.08, 5.50, 4.0],
        [0.005, 0.22, -1.95, 2.0],
        [0.010, 9.7, -1.95, 2.0],
        [0.012, 18.0, -1.80, 2.0],
        [0.030, 25.0, 0.00, 2.0],
    ]
)
_R_V_CALZETTI = 4.05
#: Laws end here; shorter light is attenuated as there (hydrogen takes it anyway).
_SHORTEST = 912.0


def attenuation(law: DustLaw, wavelength_angstrom: ArrayLike) -> Float64:
    """Return k = A(lambda) / E(B-V) of a law at wavelengths at rest; 0 where it would be negative.

    Parameters
    ----------
    law : {"calzetti", "smc", "milky_way"}
        Calzetti et al. (2000, ApJ 533, 682, eq. 4) from 0.12 to 2.2 um, straight beyond; Pei (1992);
        Fitzpatrick (1999) with R_V = 3.1.
    wavelength_angstrom : array

    Raises
    ------
    BadArguments
        For another law.
    """
    laws: dict[str, Callable[[Float64], Float64]] = {
        "calzetti": _calzetti,
        "smc": _smc,
        "milky_way": fitzpatrick99,
    }
    if law not in laws:
        raise BadArguments(f"dust law {law!r}: give one of {', '.join(get_args(DustLaw))}")
    wavelength = np.maximum(np.asarray(wavelength_angstrom, dtype=np.float64), _SHORTEST)
    return np.maximum(laws[law](wavelength), 0.0)


def transmission(law: DustLaw, ebv: float, wavelength_angstrom: ArrayLike) -> Float64:
    """Return the part of the light that a colour excess `ebv` lets through."""
    result: Float64 = 10.0 ** (-0.4 * ebv * attenuation(law, wavelength_angstrom))
    return result


def _calzetti(wavelength: Float64) -> Float64:
    um = wavelength / 1e4
    inside = np.clip(um, 0.12, 2.2)
    value = _calzetti_inside(inside)
    ends = np.where(um < 0.12, 0.12, 2.2)
    slope = (_calzetti_inside(ends * 1.001) - _calzetti_inside(ends * 0.999)) / (0.002 * ends)
    return np.asarray(value + np.where(um == inside, 0.0, slope * (um - inside)))


def _calzetti_inside(um: Float64) -> Float64:
    red = -1.857 + 1.040 / um
    blue = -2.156 + 1.509 / um - 0.198 / um**2 + 0.011 / um**3
    return np.asarray(2.659 * np.where(um >= 0.63, red, blue) + _R_V_CALZETTI)


def _smc(wavelength: Float64) -> Float64:
    blue, visual = _pei(np.array([4400.0, 5500.0]))
    return np.asarray(_pei(wavelength) / (blue - visual))


def _pei(wavelength: Float64) -> Float64:
    """Return A(lambda) / A(B) by the sum of terms of Pei (1992), eq. 20."""
    amplitude, at, b, n = _PEI_SMC.T[:, :, np.newaxis]
    ratio = np.ravel(wavelength)[np.newaxis] / 1e4 / at
    terms = amplitude / (ratio**n + ratio**-n + b)
    return np.asarray(terms.sum(axis=0).reshape(np.shape(wavelength)))
