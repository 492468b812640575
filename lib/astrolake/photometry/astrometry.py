"""From pixels to the sky and back: WCS cards, their check, and the transformation in ICRS."""

from __future__ import annotations

import math
import re
from functools import cached_property

import astropy.units as u
import numpy as np
from astropy.coordinates import (
    BarycentricMeanEcliptic,
    BaseCoordinateFrame,
    SkyCoord,
    Supergalactic,
)
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photometry.headers import HeaderCards, silence

Float64 = NDArray[np.float64]

#: What a WCS of an image is made of: linear terms, projection, frame, SIP, PV (TPV) and plate solutions.
_WCS_CARD = re.compile(
    r"(WCSAXES|CTYPE[12]|CUNIT[12]|CRVAL[12]|CRPIX[12]|CDELT[12]|CROTA[12]"
    r"|CD[12]_[12]|PC[12]_[12]|PC00[12]00[12]|P[VS][12]_\d+|LONPOLE|LATPOLE|RADE(CSY|SY)S|EQUINOX|EPOCH"
    r"|[AB]P?_(ORDER|\d_\d)|NAXIS[12]"
    r"|PLT(RA[HMS]|DEC(SN|D|M|S)|SCALE)|CNPIX[12]|[XY]PIXELSZ|PPO[1-6]|AMD[XY]\d+)$"
)
#: Of these cards the value must be a number.
_NUMBER_CARD = re.compile(
    r"(CRVAL[12]|CRPIX[12]|CDELT[12]|CROTA[12]|CD[12]_[12]|PC[12]_[12]|PC00[12]00[12]|PV[12]_\d+|LONPOLE|LATPOLE"
    r"|[AB]P?_(ORDER|\d_\d))$"
)
_REFERENCE = {"CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"}
_LOOKUP_CARD = re.compile(r"(CPDIS|CQDIS|D2IMDIS)[12]$|AXISCORR$")
#: Cards of which one must be there, or the pixel scale is astropy's default of 1 degree.
_SCALE_CARD = re.compile(r"CDELT[12]$|CD[12]_[12]$|PC[12]_[12]$|PC00[12]00[12]$|PPO3$")
_SIP_TOLERANCE_PX, _SIP_ITERATIONS = 1e-6, 50
#: A pixel whose way to the sky and back leads further than this belongs to no pixel of the image.
_SAME_PIXEL_PX = 0.01


def wcs_cards(cards: str) -> str:
    """Return the cards of a header (80 characters each) that make its WCS, newline separated.

    Axes beyond the second are left out, and so are lookup tables of distortions, which lie in
    other HDUs (see `has_lookup_tables`). Empty when the header has no celestial axes.

    Raises
    ------
    BadInput
        When a card holds no number where it should, or the reference position is missing.
    """
    lines = [cards[at : at + 80] for at in range(0, len(cards), 80)]
    chosen = [line for line in lines if _WCS_CARD.match(line[:8].rstrip())]
    kept = [_checked(line) for line in chosen]
    names = {line[:8].rstrip() for line in kept}
    if {"CTYPE1", "CTYPE2"} <= names and (lacking := sorted(_REFERENCE - names)):
        raise BadInput(f"its WCS lacks the cards {', '.join(lacking)}", "BadWcs")
    is_wcs = {"CTYPE1", "CTYPE2"} <= names or {"AMDX1", "PLTRAH", "CNPIX1"} <= names
    return "\n".join(line.ljust(80) for line in kept) if is_wcs else ""


def _checked(line: str) -> str:
    """Return a WCS card as wcslib reads it: two axes, numbers as numbers, exponents with E.

    wcslib takes what is no number for 0 and stops at the D of a double exponent.

    Raises
    ------
    BadInput
        When a card that should hold a finite number does not.
    """
    if line.startswith("WCSAXES "):
        return "WCSAXES =                    2"
    if not _NUMBER_CARD.match(line[:8].rstrip()):
        return line
    value = line[10:].split("/", maxsplit=1)[0].strip()
    try:
        number = float(value.upper().replace("D", "E"))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"its WCS card {line[:8].rstrip()} is {value or 'empty'!r}, not a number", "BadWcs")
    return str(fits.Card(line[:8].rstrip(), number)) if "D" in value.upper() else line


def has_lookup_tables(cards: str) -> bool:
    """Whether a header's WCS needs distortion tables of other HDUs (CPDIS, D2IM)."""
    return any(_LOOKUP_CARD.match(cards[at : at + 8].rstrip()) for at in range(0, len(cards), 80))


def build_wcs(wcs_header: str) -> Astrometry:
    """Return the astrometry that WCS cards describe.

    Parameters
    ----------
    wcs_header : str
        Newline-separated cards, as in column `wcs_header` of `images`.

    Raises
    ------
    BadInput
        When the cards do not make a celestial WCS.
    """
    astrometry = Astrometry(wcs_header)
    astrometry.wcs  # noqa: B018 - bad cards must surface here, not at first use
    return astrometry


class Astrometry:
    """Transformation between pixels and ICRS; pickles as its cards.

    Pixel coordinates count from 0 at the centre of the first pixel.

    Parameters
    ----------
    wcs_header : str
        Newline-separated cards; see `wcs_cards`.
    """

    def __init__(self, wcs_header: str) -> None:
        self.wcs_header = wcs_header

    def __reduce__(self) -> tuple[type[Astrometry], tuple[str]]:
        return type(self), (self.wcs_header,)

    @cached_property
    def wcs(self) -> WCS:
        """The astropy WCS, in the frame of the header."""
        if not self.wcs_header:
            raise BadInput("the header has no celestial WCS; add one and ingest the image again", "NoWcs")
        header = fits.Header.fromstring(self.wcs_header, sep="\n")
        keys = list(header)
        if not any(_SCALE_CARD.match(key) for key in keys):
            raise BadInput("the WCS has no pixel scale (CDELT, CD or PC cards); add one", "BadWcs")
        try:
            with silence():
                wcs = WCS(header, naxis=2)
                celestial = wcs.has_celestial
        except Exception as error:  # wcslib's complaints come as a dozen exception types without a base
            raise BadInput(
                f"the WCS cards are invalid ({_one_line(error)}); correct them", "BadWcs"
            ) from error
        if not celestial:
            types = " and ".join(str(name) or "none" for name in wcs.wcs.ctype)
            raise BadInput(f"the axes are {types}, not celestial; positions need RA and Dec", "NoWcs")
        return wcs

    @property
    def kind(self) -> str:
        """Projection: TAN, TAN-SIP, TPV, SIN, DSS, ...; with the axis when it is not RA (GLON-CAR)."""
        header = fits.Header.fromstring(self.wcs_header, sep="\n")
        ctype = str(header.get("CTYPE1", "")).strip()
        if not ctype:
            return "DSS"
        axis, _, projection = ctype.partition("-")
        projection = projection.lstrip("-") or "linear"
        if projection == "TAN" and any(re.match(r"PV[12]_", key) for key in header):
            projection = "TPV"
        return projection if axis in ("RA", "DEC") else f"{axis}-{projection}"

    @cached_property
    def _frame(self) -> BaseCoordinateFrame:
        """The celestial frame of the header."""
        axis = str(self.wcs.wcs.lngtyp)
        if axis == "ELON":
            equinox = self.wcs.wcs.equinox
            return BarycentricMeanEcliptic(
                equinox=Time(equinox if np.isfinite(equinox) else 2000.0, format="jyear")
            )
        if axis == "SLON":
            return Supergalactic()
        try:
            return wcs_to_celestial_frame(self.wcs)
        except ValueError as error:
            raise BadInput(
                f"the celestial frame of axis {axis} is unknown; use RA/Dec axes", "BadWcs"
            ) from error

    def pixel_to_sky(self, x_px: Float64, y_px: Float64) -> tuple[Float64, Float64]:
        """Return ra in [0, 360) and dec of pixel positions.

        Parameters
        ----------
        x_px, y_px : (N,) float64

        Returns
        -------
        ra, dec : (N,) float64
            ICRS, degrees; NaN where the projection has no sky.
        """
        x, y = (np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in (x_px, y_px))
        with silence(), np.errstate(all="ignore"):
            world = self.wcs.all_pix2world(x, y, 0)
            lon, lat = world[self.wcs.wcs.lng], world[self.wcs.wcs.lat]
            bad = ~(np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90.0))
            lon, lat = np.where(bad, 0.0, lon), np.where(bad, 0.0, lat)
            if self._frame.name != "icrs":
                icrs = SkyCoord(lon * u.deg, lat * u.deg, frame=self._frame).icrs
                lon, lat = icrs.ra.deg, icrs.dec.deg
        lon = np.mod(lon, 360.0)
        # The remainder of a tiny negative angle rounds to 360.
        return np.where(bad, np.nan, np.where(lon == 360.0, 0.0, lon)), np.where(bad, np.nan, lat)

    def sky_to_pixel(self, ra_deg: Float64, dec_deg: Float64) -> tuple[Float64, Float64]:
        """Return pixel positions of places on the sky.

        Parameters
        ----------
        ra_deg, dec_deg : (N,) float64
            ICRS.

        Returns
        -------
        x, y : (N,) float64
            NaN where the projection has no pixel for the place, or the distortion cannot be
            inverted there to 0.01 px.
        """
        ra, dec = (np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in (ra_deg, dec_deg))
        finite = np.isfinite(ra) & np.isfinite(dec)
        lon, lat = np.where(finite, ra, 0.0), np.where(finite, dec, 0.0)
        with silence(), np.errstate(all="ignore"):
            if self._frame.name != "icrs":
                own = SkyCoord(lon * u.deg, lat * u.deg, frame="icrs").transform_to(self._frame)
                lon, lat = own.spherical.lon.deg, own.spherical.lat.deg
            x, y = self._invert(lon, lat)
        return np.where(finite, x, np.nan), np.where(finite, y, np.nan)

    def _invert(self, lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
        """Return pixels of places in the header's own frame."""
        ordered = (lon, lat) if self.wcs.wcs.lng == 0 else (lat, lon)
        x, y = (np.array(value) for value in self.wcs.wcs_world2pix(*ordered, 0))
        there = np.isfinite(x) & np.isfinite(y)
        if self.wcs.sip is not None and there.any():
            x[there], y[there] = self.wcs.all_world2pix(
                *(axis[there] for axis in ordered),
                0,
                tolerance=_SIP_TOLERANCE_PX,
                maxiter=_SIP_ITERATIONS,
                adaptive=True,
                quiet=True,
            )
        # Far from the image polynomials lead to some pixel or other: only those that lead back count.
        back = self.wcs.all_pix2world(np.where(there, x, 0.0), np.where(there, y, 0.0), 0)
        x2, y2 = self.wcs.wcs_world2pix(*back, 0)
        x1, y1 = self.wcs.wcs_world2pix(*ordered, 0)
        good = there & (np.hypot(x2 - x1, y2 - y1) < _SAME_PIXEL_PX)
        return np.where(good, x, np.nan), np.where(good, y, np.nan)


def astrometric_rms_arcsec(cards: HeaderCards) -> float | None:
    """Return the astrometric scatter that a header states, both axes together, or None.

    ASTRRMS1/2 are SCAMP's scatter against the reference, CRDER1/2 the random errors of the FITS
    standard; both in degrees.
    """
    for names in (("ASTRRMS1", "ASTRRMS2"), ("CRDER1", "CRDER2")):
        axes = [found for name in names if (found := cards.number(name)) is not None]
        if len(axes) == 2 and any(axes):
            return math.hypot(*axes) * 3600.0
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
