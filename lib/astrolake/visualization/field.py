"""Which images show one field in three bands."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from numpy.typing import ArrayLike

from astrolake.errors import BadInput
from astrolake.visualization.source import LakeSource, check_identifier

#: (uri, hdu) -> 2-D array; raises OSError or BadInput when the image cannot be read.
ReadFrame = Callable[[str, int], ArrayLike]

_COLUMNS = (
    *("image_id", "survey", "band", "visit", "uri", "hdu", "naxis1", "naxis2", "pixel_scale_arcsec"),
    *("zero_point_ab", "psf_fwhm_arcsec", "wcs_header", "ra", "dec"),
)
_NEEDED = (*_COLUMNS, "image_type", "bad_fraction")
#: Images tried as the one that gives the pixel grid.
_ANCHORS = 200
#: Largest distance of the centres, in units of the image's shorter side.
_LARGEST_OFFSET = 0.3


@dataclass(frozen=True)
class FieldImage:
    """One image of a field, with what is needed to read and place it; columns of `images`."""

    image_id: int
    survey: str
    band: str
    visit: str
    uri: str
    hdu: int
    naxis1: int
    naxis2: int
    pixel_scale_arcsec: float
    zero_point_ab: float
    psf_fwhm_arcsec: float
    wcs_header: str
    ra: float
    dec: float

    @property
    def place(self) -> str:
        """Position of the centre, as a reader writes it."""
        return f"RA\u00a0{self.ra:.3f}°, Dec\u00a0{self.dec:+.3f}°"


def find_field(source: LakeSource, bands: Sequence[str]) -> list[FieldImage]:
    """Return one image per band, all of one field; the first band's gives the field.

    Among fields that have all bands, one whose images belong to one visit is preferred, then the one
    with the fewest bad pixels, then the smallest image_id.

    Raises
    ------
    TableNotFound, MissingColumns
        When `images` cannot answer.
    BadInput
        When no field has all bands.
    """
    source.require("images", _NEEDED)
    found = source.query(_sql([check_identifier(band.lower()) for band in bands]))
    complete = found.groupby("anchor_id").filter(lambda group: len(group) == len(bands))
    if complete.empty:
        raise BadInput(
            f"no field has science images with a WCS in all of {', '.join(bands)}; ingest those bands",
            "NoField",
        )
    rank = complete.groupby("anchor_id").agg(same=("same_visit", "sum"), bad=("bad", "sum"))
    anchor = rank.reset_index().sort_values(["same", "bad", "anchor_id"], ascending=[False, True, True])
    chosen = complete[complete["anchor_id"] == anchor["anchor_id"].iloc[0]]
    by_band = {str(row["band"]).lower(): _image(row) for _, row in chosen.iterrows()}
    return [by_band[band.lower()] for band in bands]


def _image(row: pd.Series) -> FieldImage:
    """Return a row of `images`: missing texts are empty, missing numbers NaN."""

    def text(name: str) -> str:
        return "" if pd.isna(row[name]) else str(row[name])

    def number(name: str) -> float:
        return float("nan") if pd.isna(row[name]) else float(row[name])

    return FieldImage(
        image_id=int(row["image_id"]),
        survey=text("survey"),
        band=text("band"),
        visit=text("visit"),
        uri=text("uri"),
        hdu=int(row["hdu"]),
        naxis1=int(row["naxis1"]),
        naxis2=int(row["naxis2"]),
        pixel_scale_arcsec=number("pixel_scale_arcsec"),
        zero_point_ab=number("zero_point_ab"),
        psf_fwhm_arcsec=number("psf_fwhm_arcsec"),
        wcs_header=text("wcs_header"),
        ra=number("ra"),
        dec=number("dec"),
    )


def _sql(bands: Sequence[str]) -> str:
    names = ", ".join(f"'{band}'" for band in bands)
    listed = ", ".join(f"other.{name}" for name in _COLUMNS)
    turn = "(((other.ra - anchor.ra + 540) % 360) - 180) * cos(radians(anchor.dec))"
    offset = f"sqrt(pow({turn}, 2) + pow(other.dec - anchor.dec, 2))"
    reach = f"{_LARGEST_OFFSET} * least(anchor.naxis1, anchor.naxis2) * anchor.pixel_scale_arcsec / 3600"
    same_visit = "other.image_id = anchor.image_id OR coalesce(other.visit = anchor.visit, FALSE)"
    return f"""
        WITH science AS (
            SELECT *, lower(band) AS b, coalesce(bad_fraction, 1) AS bad FROM images
            WHERE image_type = 'science' AND lower(band) IN ({names})
              AND wcs_header IS NOT NULL AND ra IS NOT NULL AND pixel_scale_arcsec IS NOT NULL
        ), anchor AS (
            SELECT * FROM science WHERE b = '{bands[0]}' ORDER BY bad, image_id LIMIT {_ANCHORS}
        )
        SELECT anchor.image_id AS anchor_id, {listed}, other.bad,
               CAST({same_visit} AS INTEGER) AS same_visit
        FROM anchor JOIN science AS other
          ON abs(other.dec - anchor.dec) < {reach} AND {offset} < {reach}
         AND (other.b <> '{bands[0]}' OR other.image_id = anchor.image_id)
        QUALIFY row_number() OVER (
            PARTITION BY anchor.image_id, other.b
            ORDER BY same_visit DESC, {offset}, other.image_id
        ) = 1
        ORDER BY anchor_id, other.image_id
    """
