import math

import pytest
from fits_files import cards

from astrolake.photometry.psf_cards import psf_fwhm_arcsec


def test_arcsec_are_taken_as_they_are():
    assert psf_fwhm_arcsec(cards(PSFFWHM=(1.2, "[arcsec] FWHM of the PSF")), None) == 1.2


def test_pixels_are_turned_into_arcsec():
    assert psf_fwhm_arcsec(cards(FWHM=(4.0, "Median FWHM in pixels")), 0.25) == 1.0


def test_pixels_without_a_scale_say_nothing():
    assert psf_fwhm_arcsec(cards(FWHM=(4.0, "Median FWHM in pixels")), None) is None


def test_a_width_without_unit_says_nothing():
    assert psf_fwhm_arcsec(cards(SEEING=1.3), 0.25) is None


def mixture(*parts):
    """Return the cards of three concentric round Gaussians (amplitude, variance)."""
    values = dict.fromkeys((f"PSF_P{n}" for n in range(18)), 0.0)
    for n, (amplitude, variance) in enumerate(parts):
        values |= {f"PSF_P{n}": amplitude, f"PSF_P{9 + 3 * n}": variance, f"PSF_P{10 + 3 * n}": variance}
    return cards(**values)


def test_three_equal_gaussians_are_one():
    sigma_px = 1.5
    found = psf_fwhm_arcsec(mixture(*[(1 / 3, sigma_px**2)] * 3), 0.4)
    assert found == pytest.approx(0.4 * sigma_px * math.sqrt(8 * math.log(2)), rel=2e-3)


def test_wings_widen_a_mixture_little():
    core = psf_fwhm_arcsec(mixture(*[(1 / 3, 1.0)] * 3), 1.0)
    winged = psf_fwhm_arcsec(mixture((0.7, 1.0), (0.25, 4.0), (0.05, 40.0)), 1.0)
    assert core < winged < 1.2 * core


def test_a_mixture_without_width_says_nothing():
    assert psf_fwhm_arcsec(mixture((1.0, 0.0), (1.0, 0.0), (1.0, 0.0)), 0.4) is None
