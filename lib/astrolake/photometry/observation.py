"""When, for how long and in which visit an image was taken, by its header."""

from __future__ import annotations

import re
from dataclasses import dataclass

from astropy.time import Time

from astrolake.photometry.headers import HeaderCards

_SECONDS_PER_DAY = 86400.0
_MJD_CARDS = ("MJD-OBS", "MJD_OBS", "MJD-BEG", "OBSMJD", "EXPSTART", "TEXPSTRT", "MJD", "MJDMIN")
_DATE_CARDS = ("DATE-OBS", "DATE-BEG", "DATE_OBS", "DATEOBS1", "UTC-OBS")
_TIME_CARDS = ("TAIHMS", "TIME-OBS", "UTC-OBS", "UT", "UTSTART")
_EXPTIME_CARDS = ("EXPTIME", "EXPOSURE", "TEXPTIME", "XPOSURE", "AEXPTIME", "EXPDUR", "ITIME")
_VISIT_CARDS = ("RUN", "EXPNUM", "VISIT_ID", "VISIT", "EXPID", "OBSID", "EXPNAME")
#: Coadds of a release tile the sky once, whatever the dates of their exposures.
_RELEASE_CARDS = {
    "legacy": ("DECALSDR", "DRVERSIO", "VERSION"),
    "panstarrs": ("TESS_ID",),
    "des": ("EUPSVER", "REQNUM"),
    "wise": ("WRELEASE",),
}

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_OLD_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{2})")
_PACKED_DATE = re.compile(r"(\d{2})(\d{2})(\d{2})")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2}(?:\.\d*)?)")


@dataclass(frozen=True)
class Observation:
    """Time of an image.

    Parameters
    ----------
    mjd : float or None
        Start of the exposure, in `time_scale`; None when the header has no date.
    time_scale : str or None
        TIMESYS of the header, UTC when it has none (FITS standard 4.0, section 9.2.1); TAI of Pan-STARRS.
    exptime_s : float or None
    visit : str or None
        Images of one visit tile the sky once: survey run, exposure number, release of a coadd, or
        the night (UTC date at the noon before).
    """

    mjd: float | None
    time_scale: str | None
    exptime_s: float | None
    visit: str | None


def read_observation(cards: HeaderCards, survey: str) -> Observation:
    """Return time, exposure time and visit of an image; None for what the header does not say."""
    mjd, scale = _start(cards, survey)
    return Observation(mjd, scale, _exptime_s(cards), _visit(cards, survey, mjd))


def _start(cards: HeaderCards, survey: str) -> tuple[float | None, str | None]:
    # The archive's cutouts of Pan-STARRS say TIMESYS = TAI, whole files say nothing.
    scale = cards.text("TIMESYS").upper() or ("TAI" if survey == "panstarrs" else "UTC")
    tai_s = cards.number("TAI")
    if survey == "sdss" and tai_s is not None:
        # SDSS counts seconds from MJD 0 in TAI.
        return tai_s / _SECONDS_PER_DAY, "TAI"
    mjd = cards.number(*_MJD_CARDS)
    if mjd is not None and mjd > 0:
        return mjd, scale
    julian = cards.number("JD", "OBSJD")
    if julian is not None and julian > 2_400_000.5:
        return julian - 2_400_000.5, scale
    stamp = _timestamp(cards, survey)
    if stamp is None:
        return None, None
    try:
        # Days of 86400 s are meant also where the scale is UTC.
        days = Time(stamp.removesuffix("Z"), scale="tai").mjd
    except ValueError:
        return None, None
    return float(days), "UTC" if stamp.endswith("Z") else scale


def _timestamp(cards: HeaderCards, survey: str) -> str | None:
    """Return the ISO date and time of the start, from whichever cards hold them."""
    date = cards.text("UT_DATE") if survey == "twomass" else cards.text(*_DATE_CARDS)
    if "T" in date and _ISO_DATE.match(date):
        return date
    iso = _iso_date(date)
    if iso is None:
        return None
    clock = next((found for key in _TIME_CARDS if (found := _CLOCK.match(cards.text(key)))), None)
    return iso if clock is None else f"{iso}T{int(clock[1]):02d}:{clock[2]}:{clock[3]}"


def _iso_date(date: str) -> str | None:
    if _ISO_DATE.match(date):
        return date[:10]
    if old := _OLD_DATE.match(date):
        # DD/MM/YY is of the 20th century by the FITS standard.
        return f"19{old[3]}-{old[2]}-{old[1]}"
    if packed := _PACKED_DATE.fullmatch(date):
        century = "19" if packed[1] > "50" else "20"
        return f"{century}{packed[1]}-{packed[2]}-{packed[3]}"
    return None


def _exptime_s(cards: HeaderCards) -> float | None:
    key = cards.first(*_EXPTIME_CARDS)
    if key is None:
        return None
    value, comment = cards.number(key), cards.comment(key)
    if value is None or value < 0:
        return None
    if comment.startswith("[d]"):
        return value * _SECONDS_PER_DAY
    return value * 60.0 if "minutes" in comment or comment.startswith("[min]") else value


def _visit(cards: HeaderCards, survey: str, mjd: float | None) -> str | None:
    if survey == "wise" and "UNW_VER" in cards:
        return f"unwise {cards.text('EPOCH')}".rstrip()
    # A warp of Pan-STARRS is an exposure, resampled to the tessellation of the stacks.
    if survey == "panstarrs" and mjd is not None and "STK_TYPE" not in cards and "NINPUTS" not in cards:
        return f"{mjd:.5f}"
    if release := cards.text(*_RELEASE_CARDS.get(survey, ())):
        return release
    if found := cards.text(*_VISIT_CARDS):
        return found
    return None if mjd is None else str(Time(mjd - 0.5, format="mjd", scale="tai").isot[:10])
