"""Rules that turn native values into those of the lake, and back for conditions in a query."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.data_access.surveys.model import Conversion
from astrolake.sky.ab_offsets import AB_MINUS_VEGA

Floats = NDArray[np.float64]
Parameters = Mapping[str, Any]

#: 2.5 / ln 10, magnitudes in one unit of ln(flux).
POGSON = 2.5 / math.log(10.0)
#: AB magnitude of one nanomaggy.
NANOMAGGY_ZERO_POINT = 22.5


@dataclass(frozen=True)
class Rule:
    """A conversion.

    Parameters
    ----------
    forward : callable
        Native arrays (the column, then its inputs), all (N,) float64, and parameters -> (N,) float64; NaN
        where the value does not exist.
    inverse : callable, optional
        A value of the lake and parameters -> the native one, monotone; None where a condition cannot be
        written in native values.
    required, optional : frozenset of str
        Names of the parameters.
    inputs : int
        Number of other native columns.
    exact : bool
        Whether it computes in whole numbers: `forward` takes and returns int64.
    """

    forward: Callable[[tuple[NDArray[Any], ...], Parameters], NDArray[Any]]
    inverse: Callable[[float, Parameters], float] | None = None
    required: frozenset[str] = field(default_factory=frozenset)
    optional: frozenset[str] = field(default_factory=frozenset)
    inputs: int = 0
    exact: bool = False


def convert(conversion: Conversion, *native: NDArray[Any]) -> NDArray[Any]:
    """Return the values of the lake.

    Parameters
    ----------
    conversion : Conversion
    *native : (N,) float64, or int64 for an exact rule
        The column, then the other native columns that the rule needs.

    Returns
    -------
    (N,) float64 or int64
        NaN where there is no value.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return RULES[conversion.kind].forward(native, conversion.parameters)


def native_value(conversion: Conversion, value: float) -> float | None:
    """Return the native value that a value of the lake comes from, None where the rule has no inverse."""
    inverse = RULES[conversion.kind].inverse
    return None if inverse is None else inverse(value, conversion.parameters)


def _scale(native: tuple[Floats, ...], p: Parameters) -> Floats:
    return np.asarray(native[0] * p.get("factor", 1.0) + p.get("offset", 0.0))


def _unscale(value: float, p: Parameters) -> float:
    return float((value - p.get("offset", 0.0)) / p.get("factor", 1.0))


def _vega_to_ab(native: tuple[Floats, ...], p: Parameters) -> Floats:
    """Return m_Vega + (m_AB - m_Vega) of the filter."""
    return native[0] + ab_minus_vega(p)


def _ab_to_vega(value: float, p: Parameters) -> float:
    return value - ab_minus_vega(p)


def ab_minus_vega(p: Parameters) -> float:
    """Return the difference that the parameters give as a number, or by system and filter."""
    if "ab_minus_vega" in p:
        return float(p["ab_minus_vega"])
    return AB_MINUS_VEGA[p["system"]][p["filter"]]


def _asinh_angle(magnitude: Floats, p: Parameters) -> Floats:
    return np.asarray(-magnitude / POGSON - math.log(p["softening"]))


def _asinh_to_pogson(native: tuple[Floats, ...], p: Parameters) -> Floats:
    """Return -2.5 log10(f/f0) + offset for m = -2.5/ln 10 [asinh((f/f0) / 2b) + ln b].

    Lupton, Gunn & Szalay 1999, AJ 118, 1406, section 2; b is the softening. No value where f <= 0.
    """
    flux = 2.0 * p["softening"] * np.sinh(_asinh_angle(native[0], p))
    return _positive(p.get("offset", 0.0) - 2.5 * np.log10(flux), flux)


def _pogson_to_asinh(value: float, p: Parameters) -> float:
    flux = 10.0 ** (-0.4 * (value - p.get("offset", 0.0)))
    return -POGSON * (math.asinh(flux / (2.0 * p["softening"])) + math.log(p["softening"]))


def _asinh_error(native: tuple[Floats, ...], p: Parameters) -> Floats:
    """Return 2.5/ln 10 * sigma_f / f for the error of an asinh magnitude; its input is that magnitude.

    The derivative of the asinh magnitude gives sigma_m = 2.5/ln 10 * sigma_f / sqrt(f^2 + (2b f0)^2), so the
    ratio of the errors is coth(asinh((f/f0) / 2b)). No value where f <= 0.
    """
    error, magnitude = native
    angle = _asinh_angle(magnitude, p)
    return _positive(error / np.tanh(angle), angle)


def _nanomaggy_to_ab(native: tuple[Floats, ...], p: Parameters) -> Floats:
    """Return 22.5 - 2.5 log10(flux in nanomaggies); no value where the flux is not positive."""
    return _positive(NANOMAGGY_ZERO_POINT - 2.5 * np.log10(native[0]), native[0])


def _ab_to_nanomaggy(value: float, p: Parameters) -> float:
    return float(10.0 ** (0.4 * (NANOMAGGY_ZERO_POINT - value)))


def _nanomaggy_ivar(native: tuple[Floats, ...], p: Parameters) -> Floats:
    """Return 2.5/ln 10 / (f sqrt(ivar)), the error of the magnitude, from ivar; its input is the flux f."""
    ivar, flux = native
    return _positive(POGSON / (flux * np.sqrt(ivar)), np.minimum(ivar, flux))


def _ivar_to_error(native: tuple[Floats, ...], p: Parameters) -> Floats:
    """Return factor / sqrt(ivar); no value where the inverse variance is not positive."""
    return _positive(p.get("factor", 1.0) / np.sqrt(native[0]), native[0])


def _ra_ivar_to_error(native: tuple[Floats, ...], p: Parameters) -> Floats:
    """Return factor * cos(dec) / sqrt(ivar); its input is the declination in degrees."""
    return np.asarray(_ivar_to_error(native, p) * np.cos(np.radians(native[1])))


def _snr_to_magnitude_error(native: tuple[Floats, ...], p: Parameters) -> Floats:
    """Return 2.5/ln 10 / (flux / error of flux)."""
    return _positive(POGSON / native[0], native[0])


def _magnitude_error_to_snr(value: float, p: Parameters) -> float:
    return POGSON / value if value > 0 else math.inf


def _packed(native: tuple[NDArray[np.int64], ...], p: Parameters) -> NDArray[np.int64]:
    """Return the sum of the columns, each shifted left by its number of bits, and a constant."""
    total = np.full(len(native[0]), p.get("constant", 0), dtype=np.int64)
    for values, shift in zip(native, p["shifts"], strict=True):
        total += values << np.int64(shift)
    return total


def _positive(values: Floats, condition: Floats) -> Floats:
    return np.where(condition > 0, values, np.nan)


_FACTOR = frozenset({"factor"})
#: The rules by the names that a survey's file uses.
RULES: dict[str, Rule] = {
    "scale": Rule(_scale, _unscale, optional=frozenset({"factor", "offset"})),
    "vega_to_ab": Rule(_vega_to_ab, _ab_to_vega, optional=frozenset({"ab_minus_vega", "system", "filter"})),
    "asinh_to_pogson": Rule(
        _asinh_to_pogson, _pogson_to_asinh, frozenset({"softening"}), frozenset({"offset"})
    ),
    "asinh_error_to_pogson": Rule(_asinh_error, None, frozenset({"softening"}), inputs=1),
    "nanomaggy_to_ab": Rule(_nanomaggy_to_ab, _ab_to_nanomaggy),
    "nanomaggy_ivar_to_ab_error": Rule(_nanomaggy_ivar, inputs=1),
    "ivar_to_error": Rule(_ivar_to_error, optional=_FACTOR),
    "ra_ivar_to_error": Rule(_ra_ivar_to_error, optional=_FACTOR, inputs=1),
    "snr_to_magnitude_error": Rule(_snr_to_magnitude_error, _magnitude_error_to_snr),
    "packed_integer": Rule(_packed, None, frozenset({"shifts"}), frozenset({"constant"}), -1, True),
}
