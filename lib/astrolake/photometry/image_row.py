"""The row of `images` of one HDU."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from astrolake.errors import BadInput
from astrolake.photometry.astrometry import astrometric_rms_arcsec, build_wcs, has_lookup_tables, wcs_cards
from astrolake.photometry.calibration import Calibration, photometric_calibration
from astrolake.photometry.companions import Companions
from astrolake.photometry.fits_pixels import Float32
from astrolake.photometry.fits_structure import Hdu
from astrolake.photometry.headers import HeaderCards
from astrolake.photometry.observation import read_observation
from astrolake.photometry.sky_footprint import COVERAGE_ORDER, sky_footprint
from astrolake.photometry.survey import UNKNOWN, band_name, image_type, recognise_survey

_MEASURED_TYPES = ("science", "difference")
#: Extensions that hold the inverse variance of the science extension before them.
_INVERSE_VARIANCES = ("WGT", "IVAR", "INVVAR")
_MASKS = ("MSK", "MASK")
_SKY_COLUMNS = (
    *("pixel_scale_arcsec", "wcs_kind", "wcs_problem", "wcs_roundtrip_px", "wcs_header", "ra", "dec"),
    *("corners_ra", "corners_dec", "coverage_order", "coverage"),
)

Row = dict[str, object]


@dataclass(frozen=True)
class FileFacts:
    """What all images of a file share.

    Parameters
    ----------
    uri : str
    survey : str
        Name to give the images; empty to recognise it.
    file_bytes : int
    checksum : str
        SHA-256 of the bytes as they lie.
    companions : Companions
        Files beside it.
    """

    uri: str
    survey: str
    file_bytes: int
    checksum: str
    companions: Companions


def image_id(uri: str, hdu: int) -> int:
    """Return the identifier of an image: the first 63 bits of the SHA-256 of ``uri#hdu``."""
    digest = hashlib.sha256(f"{uri}#{hdu}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def image_row(hdu: Hdu, pixels: Float32, cards: HeaderCards, facts: FileFacts) -> Row:
    """Return the columns of `images`, but run_id, of one HDU.

    Parameters
    ----------
    hdu : Hdu
        Its own cards give the WCS.
    pixels : (rows, columns) float32
    cards : HeaderCards
        Cards of the HDU and those it inherits.
    facts : FileFacts

    Raises
    ------
    BadInput
        When no pixel is finite.
    """
    bad_fraction = 1.0 - float(np.isfinite(pixels).mean())
    if bad_fraction == 1.0:
        raise BadInput(f"{facts.uri}: HDU {hdu.index}: no pixel is finite; leave it out", "NoPixels")
    name = posixpath.basename(facts.uri)
    rows, columns = pixels.shape
    recognised = recognise_survey(cards, name)
    survey = recognised if recognised != UNKNOWN else facts.survey.lower() or UNKNOWN
    role = image_type(cards, name)
    band = band_name(cards, survey)
    observation = read_observation(cards, survey)
    sky = _sky_columns(hdu, columns, rows)
    calibration = Calibration(flux_unit=cards.text("BUNIT") or None)
    if role in _MEASURED_TYPES:
        scale, exptime = sky["pixel_scale_arcsec"], observation.exptime_s
        calibration = photometric_calibration(cards, survey, band, scale, exptime_s=exptime, name=name)
    return {
        "image_id": image_id(facts.uri, hdu.index),
        "survey": facts.survey or survey,
        "band": band,
        "image_type": role,
        **asdict(observation),
        "uri": facts.uri,
        "hdu": hdu.index,
        "extname": hdu.extname or None,
        "naxis1": columns,
        "naxis2": rows,
        **asdict(calibration),
        **sky,
        "wcs_rms_arcsec": astrometric_rms_arcsec(cards),
        **_companion_columns(facts, hdu.index, role),
        "bad_fraction": bad_fraction,
        "file_bytes": facts.file_bytes,
        "checksum": facts.checksum,
    }


def pair_extensions(rows: Sequence[Row]) -> None:
    """Fill in, in place, the weight and mask of science images whose companions follow in the same file.

    Extensions WGT, IVAR or INVVAR (and the nameless ones of SDSS stamps) are inverse variances,
    MSK and MASK masks, of the science image before them when their shapes agree.
    """
    science: Row | None = None
    for row in rows:
        if row["image_type"] == "science":
            science = row
        elif science is not None and all(row[axis] == science[axis] for axis in ("naxis1", "naxis2")):
            stamp = row["extname"] is None and row["survey"] == science["survey"]
            if row["image_type"] == "weight" and (stamp or row["extname"] in _INVERSE_VARIANCES):
                science |= {"weight_uri": row["uri"], "weight_hdu": row["hdu"], "weight_kind": "invvar"}
            elif row["image_type"] == "mask" and row["extname"] in _MASKS:
                science |= {"mask_uri": row["uri"], "mask_hdu": row["hdu"]}


def _companion_columns(facts: FileFacts, hdu: int, role: str) -> Row:
    found = facts.companions if role == "science" else Companions()
    folder = posixpath.dirname(facts.uri)
    return {
        "weight_uri": f"{folder}/{found.weight}" if found.weight else None,
        "weight_hdu": hdu if found.weight else None,
        "weight_kind": found.weight_kind if found.weight else None,
        "mask_uri": f"{folder}/{found.mask}" if found.mask else None,
        "mask_hdu": hdu if found.mask else None,
    }


def _sky_columns(hdu: Hdu, columns: int, rows: int) -> dict[str, Any]:
    """Return the astrometry of an image, or the reason why it has none."""
    try:
        if has_lookup_tables(hdu.cards):
            raise BadInput(
                "its distortion is a lookup table (CPDIS or D2IM) in other HDUs, which is not supported; "
                "ingest the image resampled (drizzled)",
                "BadWcs",
            )
        if 1 in hdu.axes[:2]:
            raise BadInput("the image does not lie along its first two axes; reorder the axes", "BadWcs")
        header = wcs_cards(hdu.cards)
        astrometry = build_wcs(header)
        footprint = sky_footprint(astrometry, columns, rows)
    except BadInput as error:
        return dict.fromkeys(_SKY_COLUMNS) | {"wcs_kind": "none", "wcs_problem": error.message}
    found = asdict(footprint)
    found["wcs_roundtrip_px"] = found.pop("roundtrip_px")
    return {
        "wcs_kind": astrometry.kind,
        "wcs_problem": None,
        "wcs_header": header,
        "coverage_order": COVERAGE_ORDER,
        **found,
    }
