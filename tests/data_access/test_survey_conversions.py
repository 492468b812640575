"""Conversions of surveys against the published formulas, and their inverses."""

import math

import numpy as np
import pytest

from astrolake.data_access.surveys.conversions import RULES, convert, native_value
from astrolake.data_access.surveys.model import Conversion
from astrolake.photometry import calibration
from astrolake.sky.ab_offsets import AB_MINUS_VEGA

SOFTENING = {"u": 1.4e-10, "g": 0.9e-10, "r": 1.2e-10, "i": 1.8e-10, "z": 7.4e-10}
#: Zero-flux magnitudes and those at f/f0 = 10 b: https://classic.sdss.org/dr4/algorithms/edr.tb21.html
ZERO_FLUX = {"u": 24.63, "g": 25.11, "r": 24.80, "i": 24.36, "z": 22.83}
AT_TEN_B = {"u": 22.12, "g": 22.60, "r": 22.29, "i": 21.85, "z": 20.32}


def luptitude(flux, b):
    """Lupton, Gunn & Szalay (1999): the definition, from the flux in units of f0."""
    return -2.5 / math.log(10) * (np.arcsinh(flux / (2 * b)) + math.log(b))


@pytest.mark.parametrize("band", "ugriz")
def test_asinh_magnitudes_become_pogson_magnitudes(band):
    b = SOFTENING[band]
    flux = 10 ** np.linspace(-10.5, -4.5, 61)
    found = convert(Conversion("asinh_to_pogson", {"softening": b}), luptitude(flux, b))
    np.testing.assert_allclose(found, -2.5 * np.log10(flux), atol=1e-9)


@pytest.mark.parametrize("band", "ugriz")
def test_softening_gives_the_published_table(band):
    rule = Conversion("asinh_to_pogson", {"softening": SOFTENING[band]})
    # The table has two decimals: what the rule makes of its magnitudes is the flux to that precision.
    flux = 10 ** (-0.4 * convert(rule, np.array([AT_TEN_B[band]])))
    assert flux / (10 * SOFTENING[band]) == pytest.approx(1, abs=0.006)
    assert luptitude(0.0, SOFTENING[band]) == pytest.approx(ZERO_FLUX[band], abs=0.006)


def test_negative_flux_has_no_pogson_magnitude():
    b = SOFTENING["z"]
    magnitude = luptitude(np.array([1e-9, 0.0, -1e-9]), b)
    found = convert(Conversion("asinh_to_pogson", {"softening": b}), magnitude)
    assert np.isfinite(found).tolist() == [True, False, False]
    error = convert(Conversion("asinh_error_to_pogson", {"softening": b}), np.full(3, 0.3), magnitude)
    assert np.isfinite(error).tolist() == [True, False, False]


def test_errors_of_asinh_magnitudes_are_those_of_the_flux():
    b = SOFTENING["u"]
    flux, flux_error = np.array([1e-6, 1e-9, 2e-10]), np.array([1e-9, 5e-11, 9e-11])
    # Half the difference of the magnitudes at f +- sigma/1000, times 1000.
    step = flux_error / 1000
    native = (luptitude(flux - step, b) - luptitude(flux + step, b)) * 500
    found = convert(Conversion("asinh_error_to_pogson", {"softening": b}), native, luptitude(flux, b))
    np.testing.assert_allclose(found, 2.5 / math.log(10) * flux_error / flux, rtol=1e-6)


def test_an_offset_to_ab_is_added():
    rule = Conversion("asinh_to_pogson", {"softening": SOFTENING["u"], "offset": -0.04})
    flux = 1e-7
    found = convert(rule, np.array([luptitude(flux, SOFTENING["u"])]))
    assert found == pytest.approx(17.5 - 0.04, abs=1e-9)


#: m_AB - m_Vega as published: Jarrett et al. 2011, Blanton & Roweis 2007, Riello et al. 2021, Evans et al. 2018.
PUBLISHED = {
    ("wise", "W1"): 2.699,
    ("wise", "W2"): 3.339,
    ("wise", "W3"): 5.174,
    ("wise", "W4"): 6.620,
    ("twomass", "J"): 0.91,
    ("twomass", "H"): 1.39,
    ("twomass", "Ks"): 1.85,
    ("gaia_dr3", "G"): 0.1136,
    ("gaia_dr3", "BP"): 0.0155,
    ("gaia_dr3", "RP"): 0.3561,
    ("gaia_dr2", "G"): 0.1050,
    ("gaia_dr2", "BP"): 0.0292,
    ("gaia_dr2", "RP"): 0.3542,
}


@pytest.mark.parametrize(("system", "band"), PUBLISHED)
def test_vega_magnitudes_become_ab_magnitudes(system, band):
    rule = Conversion("vega_to_ab", {"system": system, "filter": band})
    assert convert(rule, np.array([12.5])) == pytest.approx(12.5 + PUBLISHED[system, band], abs=1e-6)


def test_images_and_catalogs_share_one_table_of_offsets():
    of_images = calibration._AB_MINUS_VEGA
    assert of_images == AB_MINUS_VEGA["twomass"] | AB_MINUS_VEGA["wise"]


def test_nanomaggies_become_ab_magnitudes_with_errors():
    flux, ivar = np.array([1.0, 100.0, 0.0, -3.0, 4.0]), np.array([25.0, 4.0, 1.0, 1.0, 0.0])
    magnitude = convert(Conversion("nanomaggy_to_ab"), flux)
    np.testing.assert_allclose(magnitude[[0, 1, 4]], [22.5, 17.5, 22.5 - 2.5 * math.log10(4)], atol=1e-12)
    assert np.isnan(magnitude[2:4]).all()
    error = convert(Conversion("nanomaggy_ivar_to_ab_error"), ivar, flux)
    np.testing.assert_allclose(error[:2], [1.0857362048 / 5, 1.0857362048 / 200], rtol=1e-9)
    assert np.isnan(error[2:]).all()


def test_errors_from_inverse_variances():
    ivar, dec = np.array([1e12, 4e12, 0.0]), np.array([0.0, 60.0, 0.0])
    in_arcsec = {"factor": 3600.0}
    found = convert(Conversion("ivar_to_error", in_arcsec), ivar)
    np.testing.assert_allclose(found[:2], [0.0036, 0.0018])
    assert np.isnan(found[2])
    of_ra = convert(Conversion("ra_ivar_to_error", in_arcsec), ivar, dec)
    np.testing.assert_allclose(of_ra[:2], [0.0036, 0.0009])


def test_packed_integers():
    rule = Conversion("packed_integer", {"shifts": [0, 16, 40]})
    found = convert(rule, np.array([3]), np.array([330368]), np.array([10000]))
    assert found.tolist() == [(10000 << 40) | (330368 << 16) | 3]


INVERTIBLE = {
    "scale": {"factor": 0.001, "offset": 3.0},
    "vega_to_ab": {"ab_minus_vega": 1.5},
    "asinh_to_pogson": {"softening": 7.4e-10, "offset": 0.02},
    "nanomaggy_to_ab": {},
    "snr_to_magnitude_error": {},
}


def test_every_inverse_is_tested():
    assert {kind for kind, rule in RULES.items() if rule.inverse} == set(INVERTIBLE)


@pytest.mark.parametrize("kind", INVERTIBLE)
def test_inverses(kind):
    rule = Conversion(kind, INVERTIBLE[kind])
    lake = np.array([0.01, 14.0, 19.5, 22.3])
    native = np.array([native_value(rule, value) for value in lake])
    np.testing.assert_allclose(convert(rule, native), lake, rtol=1e-9)
    assert (np.diff(native) > 0).all() or (np.diff(native) < 0).all()
