"""What a header says an image is: its survey, its band, and the role of its pixels."""

from __future__ import annotations

import re
from collections.abc import Callable

from astrolake.photometry.fits_structure import Hdu
from astrolake.photometry.headers import HeaderCards

Test = Callable[[HeaderCards, str], bool]

#: Survey of images whose header and name do not tell.
UNKNOWN = "unknown"


def recognise_survey(cards: HeaderCards, name: str) -> str:
    """Return the survey that took or made an image, by its header, else by the file's name.

    Parameters
    ----------
    cards : HeaderCards
    name : str
        Name of the file, without directory.

    Returns
    -------
    str
        sdss, legacy, des, decam, panstarrs, twomass, wise, spitzer, jwst, hst, tess, ztf, ptf or dss;
        else what the SURVEY card says, in lower case; ``unknown`` when nothing does.
    """
    for survey, test in _SURVEYS:
        if test(cards, name):
            return survey
    return re.sub(r"[^a-z0-9]+", "_", cards.text("SURVEY").lower()).strip("_") or UNKNOWN


def _card(key: str, *starts: str) -> Test:
    """Return a test that a card's value starts with one of some texts, in any case."""

    def test(cards: HeaderCards, _: str) -> bool:
        return cards.text(key).upper().startswith(starts)

    return test


def _has(*keys: str) -> Test:
    """Return a test that all of some cards are there."""

    def test(cards: HeaderCards, _: str) -> bool:
        return all(key in cards for key in keys)

    return test


def _named(pattern: str) -> Test:
    """Return a test of the file's name, for files whose header does not name a survey."""
    compiled = re.compile(pattern)

    def test(cards: HeaderCards, name: str) -> bool:
        return not cards.text("SURVEY") and compiled.match(name) is not None

    return test


_HST_CAMERAS = ("WFC3", "ACS", "WFPC2", "STIS", "NICMOS")
_JWST_CAMERAS = ("NIRCAM", "MIRI", "NIRISS", "NIRSPEC")

#: Tried in order: a coadd of one survey carries cards of the camera it was taken with.
_SURVEYS: tuple[tuple[str, Test], ...] = (
    ("legacy", _has("LEGPIPEV")),
    # Cutouts of the viewer.
    ("legacy", _card("SURVEY", "LEGACYSURVEY", "LEGACY SURVEY", "DECALS")),
    ("sdss", _card("ORIGIN", "SDSS")),
    ("sdss", _has("RUN", "CAMCOL", "NMGY")),
    ("panstarrs", _card("FPA.TELESCOPE", "PS1")),
    ("panstarrs", _card("PSCAMERA", "GPC1")),
    ("des", _card("TILENAME", "DES")),
    ("des", _has("DESFNAME")),
    ("decam", _card("INSTRUME", "DECAM")),
    ("twomass", _card("ORIGIN", "2MASS")),
    ("twomass", _card("DATASET", "2MASS")),
    ("wise", _card("TELESCOP", "WISE")),
    ("wise", _has("UNW_VER")),
    ("spitzer", _card("TELESCOP", "SPITZER")),
    ("jwst", _card("TELESCOP", "JWST")),
    ("jwst", _card("INSTRUME", *_JWST_CAMERAS)),
    ("hst", _card("TELESCOP", "HST")),
    ("hst", _card("INSTRUME", *_HST_CAMERAS)),
    ("tess", _card("TELESCOP", "TESS")),
    ("ztf", _card("INSTRUME", "ZTF")),
    ("ptf", _card("ORIGIN", "PALOMAR TRANSIENT FACTORY")),
    ("dss", _has("PLTLABEL", "AMDX1")),
    ("legacy", _named(r"legacysurvey-")),
    ("sdss", _named(r"frame-[ugriz]-\d{6}-[1-6]-\d{4}\.")),
)

_FILTER_CARDS = (
    *("FILTER", "BAND", "FPA.FILTER", "FPA.FILTERID", "FILTNAM", "FILTNAM1", "FILTER1", "FILTER2"),
    "BANDS",
)
_ONE_LETTER = re.compile(r"([A-Za-z])(?:[\s.].*)?$", re.DOTALL)
_NO_FILTER = ("CLEAR", "NONE", "N/A", "OPEN")
_CHANNELS = {"spitzer": "IRAC", "wise": "W"}
_TWOMASS_BANDS = {"j": "J", "h": "H", "k": "Ks", "ks": "Ks"}


def band_name(cards: HeaderCards, survey: str) -> str:
    """Return the filter of an image under its usual name; empty when the header names none.

    Long filter names that start with the letter of a band give the letter ("r DECam SDSS c0002" and
    "r.00000" are r); 2MASS bands are J, H and Ks; numbered channels carry their instrument (IRAC2, W1).
    """
    channel = cards.number("CHNLNUM" if survey == "spitzer" else "BAND")
    if survey in _CHANNELS and channel is not None:
        return f"{_CHANNELS[survey]}{channel:.0f}"
    if survey == "tess":
        return "TESS"
    names = [text for key in _FILTER_CARDS if (text := cards.text(key))]
    # Wheels without a filter count only when no other wheel has one.
    names.sort(key=lambda text: text.upper().startswith(_NO_FILTER))
    if not names:
        return ""
    if survey == "twomass":
        return _TWOMASS_BANDS.get(names[0].lower(), names[0])
    letter = _ONE_LETTER.match(names[0])
    return letter[1] if letter else names[0]


_ROLES_BY_EXTNAME = {
    **dict.fromkeys(("WGT", "WHT", "WEIGHT", "IVAR", "INVVAR"), "weight"),
    **dict.fromkeys(("MSK", "MASK", "DQ", "BPM", "FLAGS"), "mask"),
    **dict.fromkeys(
        ("ERR", "VAR", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "CON", "D2IMARR", "WCSDVARR"), "other"
    ),
}
_ROLES_BY_IMTYPE = {"image": "science", "invvar": "weight", "maskbits": "mask"}
_ROLES_BY_PRODTYPE = {"wtmap": "weight", "dqmask": "mask", "expmap": "other", "difference": "difference"}
_ROLES_BY_WORD = (
    (re.compile(r"(webb)?psf(ex)?$"), "psf"),
    (re.compile(r"(sfft)?diff\d*(check)?$|difference$|\w+diffimg$"), "difference"),
    (re.compile(r"(weights?|wt|wht|invvar|ivar|weightmap|wtmap)$"), "weight"),
    (re.compile(r"(mask|dqmask|maskbits|bpm|msk|flags?)$"), "mask"),
    (
        re.compile(r"(nexp|depth|galdepth|psfsize|expmap|blobmodel|chi2|rms|unc|cov|err|bkg|background)$"),
        "other",
    ),
)
#: Planes whose names tell little by themselves: numbers of exposures, exposure times, scatter.
_PLANE = re.compile(r"rings\.v3\.skycell\..*\.(num|exp|expwt)\.fits|unwise-.*-(n|std)-[mu]\.fits")
_ROLES_BY_IMAGETYP = {"INVVAR": "weight", "MASKBITS": "mask"}
_NOAO_PRODUCT = re.compile(r"\w{3}_\d{6}_\d{6}_[a-z]{2}([iwd])_")
_NOAO_ROLES = {"i": "science", "w": "weight", "d": "mask"}
_NOT_SKY = ("BIAS", "ZERO", "DARK", "FLAT", "DOME FLAT", "SKY FLAT", "TWILIGHT", "ARC", "SPECTROSCOPIC")


def image_type(cards: HeaderCards, name: str) -> str:
    """Return the role of an image: science, weight, mask, difference, psf or other.

    The name of the extension decides first, then IMTYPE, IMAGETYP of cutouts, the name of the file
    (NOIRLab's ooi/oow/ood, words such as invvar, mask, psf, diff), what subtraction codes leave in the
    header, PRODTYPE, and the kind of observation; what is left is science.
    """
    stamp = "NMGY" in cards and "CALIB" in cards and {"NMGY", "CALIB"}.isdisjoint(cards.own)
    imtype = cards.text("IMTYPE")
    product = _NOAO_PRODUCT.match(name)
    kinds = [cards.text(key).upper() for key in ("OBSTYPE", "IMAGETYP", "OBS_TYPE", "EXP_TYPE")]
    roles = (
        _ROLES_BY_EXTNAME.get(HeaderCards(cards.own).text("EXTNAME").upper()),
        # Stripe 82 stamps: an inverse variance has no cards but those of its stamp.
        "weight" if stamp else None,
        _ROLES_BY_IMTYPE.get(imtype, "other") if imtype else None,
        "other" if _PLANE.match(name) else None,
        _ROLES_BY_IMAGETYP.get(cards.text("IMAGETYP").upper()),
        _NOAO_ROLES[product[1]] if product else _role_by_words(name),
        "difference" if "NAME_REF" in cards and "NAME_SCI" in cards else None,
        _ROLES_BY_PRODTYPE.get(cards.text("PRODTYPE").lower()),
        "other" if any(kind.startswith(_NOT_SKY) for kind in kinds) else None,
    )
    return next((role for role in roles if role), "science")


def _role_by_words(name: str) -> str | None:
    """Return the role that the first telling word of a file's name stands for."""
    words = re.split(r"[._-]", name.lower())
    return next((role for word in words for pattern, role in _ROLES_BY_WORD if pattern.match(word)), None)


def is_stamp_weight(before: Hdu, hdu: Hdu) -> bool:
    """Whether an HDU is the inverse variance of the SDSS stamp before it: same axes, no cards of its own."""
    return (
        before.axes == hdu.axes
        and {"NMGY", "CALIB"} <= set(before.header)
        and {"NMGY", "CTYPE1", "EXTNAME"}.isdisjoint(hdu.header)
    )


def is_significance(name: str) -> bool:
    """Whether a file's name says that its pixels are signal-to-noise ratios, not fluxes."""
    return not {"snr", "sn", "significance"}.isdisjoint(re.split(r"[._-]", name.lower()))
