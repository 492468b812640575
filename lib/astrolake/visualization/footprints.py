"""The sky that images cover: which positions lie inside, and how many square degrees it is."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astrolake.errors import BadInput, TableNotFound
from astrolake.sky.healpix import KEY_ORDER, N_BASE, cell_center, polygon_cells
from astrolake.sky.separation import ARCSEC_PER_RAD, unit_vectors
from astrolake.visualization.source import Float64, LakeSource, check_identifier

Bool = NDArray[np.bool_]

WHOLE_SKY_DEG2 = 4.0 * np.pi * (180.0 / np.pi) ** 2
#: Orders of the HEALPix cells that are counted where images are not, and objects wanted in a cell.
_CELL_ORDERS, _FEWEST_PER_CELL = range(4, 13), 6.0
#: Images whose outlines are worked with one by one, and HEALPix cells held for their area.
MOST_IMAGES, _MOST_CELLS = 500, 1_000_000
_FINEST_ORDER = 20


@dataclass(frozen=True)
class Area:
    """A solid angle and how it was estimated."""

    deg2: float
    method: str


@dataclass(frozen=True, eq=False)
class Footprints:
    """The outlines of images: convex quadrilaterals of great circles.

    Parameters
    ----------
    ra, dec : (N, 4) float64
        Corners in degrees, in order around each image.
    """

    ra: Float64
    dec: Float64

    def __len__(self) -> int:
        return len(self.ra)

    def cover(self, ra_deg: Float64, dec_deg: Float64, margin_arcsec: float = 0.0) -> Bool:
        """Return whether each (N,) position lies inside any image, at least a margin from its edges."""
        points = unit_vectors(ra_deg, dec_deg)
        inside = np.zeros(len(points), dtype=np.bool_)
        for sides in _inward_sides(self):
            inside |= (points @ sides.T >= np.sin(margin_arcsec / ARCSEC_PER_RAD)).all(axis=1)
        return inside

    def area_deg2(self) -> float:
        """Return the solid angle of the union, by counting HEALPix cells whose centre is covered.

        With up to a million cells the error is about 0.1 %.
        """
        outlines = _inward_sides(self)
        order = _order_for(
            sum(_polygon_area_deg2(ra, dec) for ra, dec in zip(self.ra, self.dec, strict=True))
        )
        cells = []
        for ra, dec, sides in zip(self.ra, self.dec, outlines, strict=True):
            touched = polygon_cells(ra, dec, order)
            centres = unit_vectors(*cell_center(order, touched))
            cells.append(touched[(centres @ sides.T >= 0.0).all(axis=1)])
        count = np.unique(np.concatenate(cells)).size if cells else 0
        return float(count * cell_area_deg2(order))


def cell_area_deg2(order: int) -> float:
    """Return the solid angle of one HEALPix cell of an order."""
    return float(WHOLE_SKY_DEG2 / (N_BASE << (2 * order)))


def image_footprints(source: LakeSource, band: str | None = None, where: str = "TRUE") -> Footprints:
    """Return the outlines of the science images of a band, or of all; `MOST_IMAGES` + 1 at most.

    None in a lake without the table `images`.

    Parameters
    ----------
    source : LakeSource
    band : str, optional
    where : str
        SQL that the images must fulfil.

    Raises
    ------
    MissingColumns
        When `images` lacks a column.
    """
    try:
        source.require("images", ("image_id", "band", "image_type", "ra", "dec", "corners_ra", "corners_dec"))
    except TableNotFound:
        return Footprints(np.empty((0, 4)), np.empty((0, 4)))
    of_band = "TRUE" if band is None else f"lower(band) = '{check_identifier(band.lower())}'"
    found = source.query(
        "SELECT corners_ra, corners_dec FROM images "
        f"WHERE image_type = 'science' AND {of_band} AND ({where}) "
        f"AND len(corners_ra) = 4 AND len(corners_dec) = 4 ORDER BY image_id LIMIT {MOST_IMAGES + 1}"
    )
    return Footprints(_corners(found["corners_ra"]), _corners(found["corners_dec"]))


def covered_area(source: LakeSource, band: str) -> Area:
    """Return the area that one band of a lake covers.

    Counted from the outlines of its images; where there are more than `MOST_IMAGES` of them or none,
    from the HEALPix cells that hold objects with a magnitude in the band. Their order is the highest
    up to 12 (0.74 arcmin²) at which such a cell holds 6 objects on average: few empty cells are sky.

    Raises
    ------
    MissingColumns, TableNotFound, BadInput
        When neither can be had.
    """
    outlines = image_footprints(source, band)
    if 0 < len(outlines) <= MOST_IMAGES:
        return Area(outlines.area_deg2(), "outlines of the images, overlaps counted once")
    source.require("objects", ("_healpix_29", f"mag_auto_{band}"))
    measured = f"FROM objects WHERE mag_auto_{band} IS NOT NULL"
    listed = ", ".join(f"approx_count_distinct({_cell_sql(order)}) AS o{order}" for order in _CELL_ORDERS)
    row = source.row(f"SELECT count(*) AS n, {listed} {measured}")
    if not row["n"]:
        raise BadInput(f"no object has a magnitude in {band}: no area to count; ingest that band", "NoArea")
    full = [order for order in _CELL_ORDERS if row["n"] >= _FEWEST_PER_CELL * row[f"o{order}"]]
    order = max(full, default=_CELL_ORDERS[0])
    cells = source.row(f"SELECT count(DISTINCT {_cell_sql(order)}) AS n {measured}")["n"]
    return Area(float(cells) * cell_area_deg2(order), f"HEALPix cells of order {order} that hold objects")


def _cell_sql(order: int) -> str:
    return f"_healpix_29 >> {2 * (KEY_ORDER - order)}"


def _corners(column: pd.Series) -> Float64:
    return np.array([np.asarray(row, dtype=np.float64) for row in column], dtype=np.float64).reshape(-1, 4)


def _inward_sides(outlines: Footprints) -> list[Float64]:
    """Return the (4, 3) unit normals of the sides of each outline; positive towards the inside."""
    corners = unit_vectors(outlines.ra, outlines.dec)
    normals = np.cross(corners, np.roll(corners, -1, axis=1))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    centre = corners.sum(axis=1)
    turn = np.sign(np.einsum("nki,ni->nk", normals, centre))
    return list(normals * turn[..., np.newaxis])


def _polygon_area_deg2(ra_deg: Float64, dec_deg: Float64) -> float:
    """Return the area of a small quadrilateral in the plane of its corners, by half the cross product."""
    corners = unit_vectors(ra_deg, dec_deg)
    vector = 0.5 * np.cross(corners[2] - corners[0], corners[3] - corners[1])
    return float(np.linalg.norm(vector) * (180.0 / np.pi) ** 2)


def _order_for(area_deg2: float) -> int:
    """Return the highest order at which an area has at most `_MOST_CELLS` cells."""
    cells_at_order_0 = max(area_deg2, 1e-9) / cell_area_deg2(0)
    return int(np.clip(np.floor(0.5 * np.log2(_MOST_CELLS / cells_at_order_0)), 0, _FINEST_ORDER))
