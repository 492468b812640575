"""The width of the point-spread function, where a header tells it."""

from __future__ import annotations

import math

import numpy as np

from astrolake.photometry.headers import HeaderCards

_CARDS = ("PSFFWHM", "PSF_FWHM", "FWHM", "SEEING", "CHIP.SEEING", "AVSEE")
#: SDSS stamps give a sum of three Gaussians: amplitudes, then means, then variances, all in pixels.
_N_GAUSSIANS, _FIRST_VARIANCE = 3, 9


def psf_fwhm_arcsec(cards: HeaderCards, pixel_scale_arcsec: float | None) -> float | None:
    """Return the FWHM of the point-spread function by the header, or None.

    Parameters
    ----------
    cards : HeaderCards
        Read are cards whose comment gives their unit (arcsec or pixels), and the three Gaussians
        of SDSS stamps (PSF_P0 to PSF_P17).
    pixel_scale_arcsec : float or None
        Without it widths in pixels are None.
    """
    key = cards.first(*_CARDS)
    if key is not None:
        width, comment = cards.number(key), cards.comment(key)
        if width is not None and width > 0 and "arcsec" in comment:
            return width
        if width is not None and width > 0 and "pix" in comment and pixel_scale_arcsec is not None:
            return width * pixel_scale_arcsec
    width_px = _mixture_fwhm_px(cards)
    return None if width_px is None or pixel_scale_arcsec is None else width_px * pixel_scale_arcsec


def _mixture_fwhm_px(cards: HeaderCards) -> float | None:
    """Return the FWHM of concentric round Gaussians with the amplitudes and mean variances of the cards."""
    amplitudes = [cards.number(f"PSF_P{n}") for n in range(_N_GAUSSIANS)]
    variances = [
        (cards.number(f"PSF_P{_FIRST_VARIANCE + 3 * n}"), cards.number(f"PSF_P{_FIRST_VARIANCE + 3 * n + 1}"))
        for n in range(_N_GAUSSIANS)
    ]
    parts = [
        (amplitude, 0.5 * (xx + yy))
        for amplitude, (xx, yy) in zip(amplitudes, variances, strict=True)
        if amplitude is not None and xx is not None and yy is not None
    ]
    if len(parts) < _N_GAUSSIANS or any(variance <= 0 for _, variance in parts):
        return None
    radius = np.linspace(0.0, 3.0 * math.sqrt(max(variance for _, variance in parts)), 4096)
    profile = np.sum([a / v * np.exp(-0.5 * radius**2 / v) for a, v in parts], axis=0)
    below = np.flatnonzero(profile < 0.5 * profile[0])
    return None if len(below) == 0 else float(2.0 * radius[below[0]])
