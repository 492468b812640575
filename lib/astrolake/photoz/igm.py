"""Absorption by hydrogen between galaxies: mean transmission of the light of a source at a redshift."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments

Float64 = NDArray[np.float64]
IgmModel = Literal["inoue2014", "madau1995", "none"]

LYMAN_LIMIT = 911.8
LYMAN_ALPHA = 1215.67

#: Coefficients of Ly alpha to delta (Madau 1995, ApJ 441, 18, eqs. 12 and 15).
_MADAU_LINES = np.array([[1215.67, 0.0036], [1025.72, 0.0017], [972.537, 0.0012], [949.743, 0.00093]])

#: Strengths of the Lyman lines n = 2 to 40 (Inoue et al. 2014, MNRAS 442, 1805, Table 2): forest and damped
#: systems in units of 1e-5. Those at higher redshift are fixed multiples of the first.
# fmt: off
_FOREST = 1e-5 * np.array(
    [
        1690,
        469.2,
        223.9,
        131.9,
        87.07,
        61.78,
        46.09,
        35.69,
        28.43,
        23.18,
        19.23,
        16.22,
        13.85,
        11.96,
        10.43,
        9.174,
        8.128,
        7.251,
        6.505,
        5.868,
        5.319,
        4.843,
        4.427,
        4.063,
        3.738,
        3.454,
        3.199,
        2.971,
        2.766,
        2.582,
        2.415,
        2.263,
        2.126,
        2.000,
        1.885,
        1.779,
        1.682,
        1.593,
        1.510,
    ]
)
_DAMPED = 1e-5 * np.array(
    [
        16.17,
        15.45,
        14.98,
        14.60,
        14.29,
        14.02,
        13.77,
        13.55,
        13.35,
        13.16,
        12.98,
        12.81,
        12.65,
        12.50,
        12.36,
        12.22,
        12.09,
        11.97,
        11.85,
        11.73,
        11.62,
        11.51,
        11.40,
        11.30,
        11.20,
        11.10,
        11.01,
        10.91,
        10.82,
        10.73,
        10.65,
        10.56,
        10.48,
        10.40,
        10.32,
        10.24,
        10.17,
        10.09,
        10.02,
    ]
)
# fmt: on
_N = np.arange(2, 41)
_LINES = 911.7635 * _N**2 / (_N**2 - 1.0)
#: The forest steepens at these 1 + z, damped systems at the last; ratios of the coefficients there.
_FOREST_KNEES, _DAMPED_KNEE = (2.2, 5.7), 3.0
_FOREST_RATIOS, _DAMPED_RATIO = (0.13929, 6.0714e-3), 1 / 3


def transmission(model: IgmModel, wavelength_rest: ArrayLike, z: float) -> Float64:
    """Return the mean transmission at wavelengths in the frame of the source.

    Parameters
    ----------
    model : {"inoue2014", "madau1995", "none"}
    wavelength_rest : (n,) array
        Angstrom, ascending.
    z : float
        Redshift of the source.

    Returns
    -------
    (n,) float64
        1 from Ly alpha on.

    Raises
    ------
    BadArguments
        For another model.
    """
    rest = np.asarray(wavelength_rest, dtype=np.float64)
    if model not in get_args(IgmModel):
        raise BadArguments(f"IGM model {model!r}: give one of {', '.join(get_args(IgmModel))}")
    result = np.ones(rest.shape)
    below = (rest < LYMAN_ALPHA) & (rest > 0)
    if model != "none" and z > 0 and below.any():
        depth = _inoue if model == "inoue2014" else _madau
        result[below] = np.exp(-depth(rest[below] * (1 + z), z))
    result[rest <= 0] = 0.0 if model != "none" else 1.0
    return result


def _madau(observed: Float64, z: float) -> Float64:
    """Return the optical depth by Madau (1995): four lines, and the continuum (its footnote 3)."""
    depth = np.zeros(observed.shape)
    for line, strength in _MADAU_LINES:
        depth += np.where(observed < line * (1 + z), strength * (observed / line) ** 3.46, 0.0)
    xc, xe = observed / LYMAN_LIMIT, 1.0 + z
    with np.errstate(divide="ignore"):
        continuum = (
            0.25 * xc**3 * (xe**0.46 - xc**0.46)
            + 9.4 * xc**1.5 * (xe**0.18 - xc**0.18)
            - 0.7 * xc**3 * (xc**-1.32 - xe**-1.32)
            - 0.023 * (xe**1.68 - xc**1.68)
        )
    return np.asarray(depth + np.where(xc < xe, np.maximum(continuum, 0.0), 0.0))


def _inoue(observed: Float64, z: float) -> Float64:
    """Return the optical depth by Inoue et al. (2014): lines (eqs. 21, 22), continuum (eqs. 25 to 29)."""
    depth = np.zeros(observed.shape)
    low, high = _FOREST_KNEES
    powers = {k: observed**k for k in (1.2, 3.7, 5.5, 2.0, 3.0)}
    for line, forest, damped in zip(_LINES, _FOREST, _DAMPED, strict=True):
        n = int(np.searchsorted(observed, line * (1 + z)))
        first, second, third = (
            int(np.searchsorted(observed[:n], line * knee)) for knee in (low, _DAMPED_KNEE, high)
        )
        depth[:first] += forest * line**-1.2 * powers[1.2][:first]
        depth[first:third] += forest * _FOREST_RATIOS[0] * line**-3.7 * powers[3.7][first:third]
        depth[third:n] += forest * _FOREST_RATIOS[1] * line**-5.5 * powers[5.5][third:n]
        depth[:second] += damped * line**-2.0 * powers[2.0][:second]
        depth[second:n] += damped * _DAMPED_RATIO * line**-3.0 * powers[3.0][second:n]
    x = observed / LYMAN_LIMIT
    inside = x < 1 + z
    continuum = _forest_continuum(x, 1 + z) + _damped_continuum(x, 1 + z)
    return np.asarray(depth + np.where(inside, continuum, 0.0))


def _forest_continuum(x: Float64, s: float) -> Any:
    """Return the depth of the forest's Lyman continuum (eqs. 25 to 27); x = observed / limit, s = 1 + z."""
    if s < 2.2:
        return 0.325 * (x**1.2 - s**-0.9 * x**2.1)
    if s < 5.7:
        high = 2.55e-2 * (s**1.6 * x**2.1 - x**3.7)
        low = 2.55e-2 * s**1.6 * x**2.1 + 0.325 * x**1.2 - 0.250 * x**2.1
        return np.where(x < 2.2, low, high)
    far = s**3.4 * x**2.1
    return np.where(
        x < 2.2,
        5.22e-4 * far + 0.325 * x**1.2 - 3.14e-2 * x**2.1,
        np.where(x < 5.7, 5.22e-4 * far + 0.218 * x**2.1 - 2.55e-2 * x**3.7, 5.22e-4 * (far - x**5.5)),
    )


def _damped_continuum(x: Float64, s: float) -> Any:
    """Return the depth of the damped systems' Lyman continuum (eqs. 28 and 29)."""
    if s < 3.0:
        return 0.211 * s**2 - 7.66e-2 * s**2.3 * x**-0.3 - 0.135 * x**2
    low = 0.634 + 4.70e-2 * s**3 - 1.78e-2 * s**3.3 * x**-0.3 - 0.135 * x**2 - 0.291 * x**-0.3
    return np.where(x < 3.0, low, 4.70e-2 * s**3 - 1.78e-2 * s**3.3 * x**-0.3 - 2.92e-2 * x**3)
