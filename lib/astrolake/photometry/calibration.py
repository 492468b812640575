"""Zero points, gains and units of images, by rules that each name their source.

A rule says only what the header or the survey's documentation says; what neither says is None.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from astrolake.photometry.headers import HeaderCards
from astrolake.photometry.psf_cards import psf_fwhm_arcsec
from astrolake.photometry.survey import is_significance
from astrolake.sky.ab_offsets import AB_MINUS_VEGA


@dataclass(frozen=True)
class Calibration:
    """What pixel values mean.

    Parameters
    ----------
    zero_point_ab : float or None
        m_AB = zero_point_ab - 2.5 log10(sum of pixel values).
    gain : float or None
        Electrons per unit of the pixel values.
    flux_unit : str or None
    saturation : float or None
        Pixel value from which on pixels are saturated.
    psf_fwhm_arcsec : float or None
    """

    zero_point_ab: float | None = None
    gain: float | None = None
    flux_unit: str | None = None
    saturation: float | None = None
    psf_fwhm_arcsec: float | None = None


@dataclass(frozen=True)
class _Image:
    """What the rules look at."""

    cards: HeaderCards
    band: str
    pixel_scale_arcsec: float | None
    exptime_s: float | None

    @property
    def unit(self) -> str | None:
        return self.cards.text("BUNIT") or None


#: Flux of m_AB = 0 (Oke & Gunn 1983, ApJ 266, 713).
_AB_JY = 3631.0
_NANOMAGGY_ZERO_POINT = 22.5

#: Electrons per count by camera column, u g r i z: SDSS data model of `frame`. Run 2583's photoField
#: gives 5.195 for column 2, i, but the noise of its frames rules that out and agrees with 6.565.
_SDSS_GAIN = (
    (1.62, 3.32, 4.71, 5.165, 4.745),
    (1.595, 3.855, 4.6, 6.565, 5.155),
    (1.59, 3.845, 4.72, 4.86, 4.885),
    (1.6, 3.995, 4.76, 4.885, 4.775),
    (1.47, 4.05, 4.725, 4.64, 3.48),
    (2.17, 4.035, 4.895, 4.76, 4.69),
)
#: Column 2, u, after run 1100 (same source).
_SDSS_LATE_U2_GAIN, _SDSS_LATE_RUN = 1.825, 1100

#: m_AB - m_Vega by filter.
_AB_MINUS_VEGA = AB_MINUS_VEGA["twomass"] | AB_MINUS_VEGA["wise"]

_ZERO_POINT_CARDS = ("MAGZERO", "MAGZPT", "MAGZP", "PHOTZP", "ZEROPNT", "ZP")
_PER_SECOND = re.compile(r"/\s*s(ec)?\b|per (1 )?s(ec(ond)?)?\b|1 sec")


def photometric_calibration(
    cards: HeaderCards,
    survey: str,
    band: str,
    pixel_scale_arcsec: float | None,
    *,
    exptime_s: float | None = None,
    name: str = "",
) -> Calibration:
    """Return the calibration of a science or difference image.

    Parameters
    ----------
    cards : HeaderCards
    survey : str
        As `recognise_survey` names it; others fall under the general rule.
    band : str
        As `band_name` names it.
    pixel_scale_arcsec : float or None
        Square root of the pixel area; turns surface brightness into flux and pixels into arcsec.
    exptime_s : float or None
    name : str
        Name of the file; maps of signal-to-noise have no zero point.

    Returns
    -------
    Calibration
        None for what neither the header nor the survey's documentation says.
    """
    if is_significance(name):
        return Calibration(flux_unit="sigma")
    image = _Image(cards, band, pixel_scale_arcsec, exptime_s)
    if _is_surface_brightness(image.unit):
        found = _surface_brightness(image)
    else:
        found = _RULES.get(survey, _general)(image)
    return replace(
        found,
        saturation=cards.number("SATURATE", "CELL.SATURATION"),
        psf_fwhm_arcsec=psf_fwhm_arcsec(cards, pixel_scale_arcsec),
    )


def _sdss(image: _Image) -> Calibration:
    """SDSS frames and stamps: nanomaggies; electrons per nanomaggy from gain and NMGY per count.

    Source: https://data.sdss.org/datamodel/files/BOSS_PHOTOOBJ/frames/RERUN/RUN/CAMCOL/frame.html
    """
    cards = image.cards
    per_count = cards.number("CALIB", "NMGY")
    column, run = cards.number("CAMCOL"), cards.number("RUN")
    gain = cards.number("GAIN")
    if gain is None and column is not None and 1 <= column <= 6 and image.band in "ugriz" and image.band:
        gain = _SDSS_GAIN[int(column) - 1]["ugriz".index(image.band)]
        if column == 2 and image.band == "u" and run is not None and run > _SDSS_LATE_RUN:
            gain = _SDSS_LATE_U2_GAIN
    per_nanomaggy = gain / per_count if gain is not None and per_count else None
    if per_count is None:
        # Raw fpC frames are counts, and their zero point lies in another file.
        return Calibration(None, gain, image.unit or "count")
    return Calibration(_NANOMAGGY_ZERO_POINT, per_nanomaggy, image.unit or "nanomaggy")


def _legacy(image: _Image) -> Calibration:
    """Legacy Surveys coadds: nanomaggies; many exposures of several cameras, so no one gain.

    Source: https://www.legacysurvey.org/dr9/files/ (image stacks)
    """
    return Calibration(_NANOMAGGY_ZERO_POINT, None, image.unit or "nanomaggy")


def _panstarrs(image: _Image) -> Calibration:
    """Pan-STARRS1 stacks and warps: counts over the exposure time, zero point 25 per second.

    Source: Waters et al. 2020, ApJS 251, 4; "PS1 Stack images", outerspace.stsci.edu
    """
    per_second = image.cards.number("FPA.ZP")
    zero_point = None
    if image.exptime_s:
        zero_point = (25.0 if per_second is None else per_second) + 2.5 * math.log10(image.exptime_s)
    return Calibration(zero_point, image.cards.number("CELL.GAIN"), image.unit or "count")


def _des(image: _Image) -> Calibration:
    """DES coadd tiles: scaled to MAGZERO whatever the exposure time; SWarp's equivalent gain.

    Source: Abbott et al. 2018, ApJS 239, 18 (zero point 30 for all coadds)
    """
    return Calibration(image.cards.number("MAGZERO"), image.cards.number("GAIN"), image.unit)


def _decam(image: _Image) -> Calibration:
    """DECam Community Pipeline: ADU; MAGZERO for the exposure, MAGZPT for one second.

    The pixels have been divided by the gain relative to the CCD's mean, so the mean of GAINA and
    GAINB serves both amplifiers (legacyzpts, DESCRIPTION_OF_OUTPUTS.md); ARAWGAIN is that of raw
    images.
    """
    cards = image.cards
    zero_point = cards.number("MAGZERO")
    per_second = cards.number("MAGZPT")
    if zero_point is None and per_second is not None and image.exptime_s:
        zero_point = per_second + 2.5 * math.log10(image.exptime_s)
    halves = [gain for key in ("GAINA", "GAINB") if (gain := cards.number(key)) is not None]
    gain = sum(halves) / len(halves) if halves else cards.number("ARAWGAIN", "GAIN")
    return Calibration(zero_point, gain, image.unit or "adu")


def _vega_survey(image: _Image) -> Calibration:
    """2MASS, WISE and unWISE: MAGZP is on the Vega scale; no gain of resampled images is published.

    Source: 2MASS Explanatory Supplement IV.8.a; WISE Explanatory Supplement IV.4.h; unWISE coadds are in
    "Vega nanomaggies", of MAGZP 22.5 (Lang 2014, AJ 147, 108, and unwise.me/data, "flat files")
    """
    unit = image.unit or ("Vega nanomaggy" if "UNW_VER" in image.cards else "dn")
    vega = image.cards.number("MAGZP")
    offset = _AB_MINUS_VEGA.get(image.band)
    return Calibration(vega + offset if vega is not None and offset is not None else None, None, unit)


def _hubble(image: _Image) -> Calibration:
    """HST: AB zero point from PHOTFLAM and PHOTPLAM, for electrons or counts with or without per second.

    -2.5 log10(PHOTFLAM) - 5 log10(PHOTPLAM) - 2.408 (ACS Data Handbook, section 5.1.1).
    """
    flam, plam = image.cards.number("PHOTFLAM"), image.cards.number("PHOTPLAM")
    gain, zero_point = _gain_by_unit(image), None
    if flam and plam and flam > 0 and plam > 0:
        zero_point = -2.5 * math.log10(flam) - 5.0 * math.log10(plam) - 2.408
        if not _is_rate(image.unit):
            zero_point = zero_point + 2.5 * math.log10(image.exptime_s) if image.exptime_s else None
    return Calibration(zero_point, gain, image.unit)


def _surface_brightness(image: _Image) -> Calibration:
    """Spitzer, JWST and others in MJy/sr: flux by the solid angle of a pixel; gains are not per MJy/sr."""
    scale, area_sr = image.pixel_scale_arcsec, image.cards.number("PIXAR_SR")
    if scale is not None:
        area_sr = math.radians(scale / 3600.0) ** 2
    zero_point = -2.5 * math.log10(1e6 * area_sr / _AB_JY) if area_sr else None
    return Calibration(zero_point, None, image.unit)


def _sample(image: _Image) -> Calibration:
    """Sample sky of astrolake: GAIN is electrons per image unit."""
    return Calibration(image.cards.number("MAGZERO"), image.cards.number("GAIN"), image.unit)


def _general(image: _Image) -> Calibration:
    """Any other image: nanomaggies by their unit, else a zero point that does not claim to be Vega's."""
    unit = (image.unit or "").lower()
    if unit in ("nanomaggy", "nanomaggies", "nmgy"):
        return Calibration(_NANOMAGGY_ZERO_POINT, None, image.unit)
    return Calibration(_general_zero_point(image), _gain_by_unit(image), image.unit)


def _general_zero_point(image: _Image) -> float | None:
    cards = image.cards
    key = cards.first(*_ZERO_POINT_CARDS)
    if key is None:
        return None
    comment, value = cards.comment(key), cards.number(key)
    systems = (cards.text("MAGSYS", "PHOTSYS", "MAGSYSTM"), comment)
    if value is None or any("vega" in text.lower() for text in systems):
        return None
    if not _PER_SECOND.search(comment) or _is_rate(image.unit):
        return value
    return value + 2.5 * math.log10(image.exptime_s) if image.exptime_s else None


def _gain_by_unit(image: _Image) -> float | None:
    """Return electrons per image unit; GAIN is electrons per count and serves counts only."""
    unit = (image.unit or "adu").lower().strip()
    rate = _is_rate(image.unit)
    if re.match(r"e(lectrons?|-)?($|[\s/*])", unit):
        return image.exptime_s if rate else 1.0
    if not re.match(r"(adus?|dn|counts?|cts?)($|[\s/*])", unit):
        return None
    gain = image.cards.number("GAIN", "EGAIN", "CCDGAIN")
    if gain is None or gain <= 0:
        return None
    if rate:
        return gain * image.exptime_s if image.exptime_s else None
    return gain


def _is_rate(unit: str | None) -> bool:
    return unit is not None and re.search(r"/\s*s(ec)?|s(ec)?\s*(-1|\^-1|\*\*-1)", unit.lower()) is not None


def _is_surface_brightness(unit: str | None) -> bool:
    return unit is not None and unit.replace(" ", "").lower() in ("mjy/sr", "mjysr-1", "mjy.sr-1")


_RULES: dict[str, Callable[[_Image], Calibration]] = {
    "sdss": _sdss,
    "legacy": _legacy,
    "panstarrs": _panstarrs,
    "des": _des,
    "decam": _decam,
    "twomass": _vega_survey,
    "wise": _vega_survey,
    "hst": _hubble,
    "demo": _sample,
}
