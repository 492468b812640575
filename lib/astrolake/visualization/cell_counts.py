"""Objects counted in HEALPix cells, and which part of the sky to look at closely."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrolake.sky.healpix import KEY_ORDER, cell_center
from astrolake.sky.separation import lonlat, unit_vectors
from astrolake.visualization.footprints import Footprints, cell_area_deg2
from astrolake.visualization.source import Float64, LakeSource

Int64 = NDArray[np.int64]

#: Order of the all-sky counts: 49152 cells of 0.84 deg².
COARSE_ORDER = 6
_FINE_ORDERS = range(7, 16)
_MOST_CELLS, _FEWEST_PER_CELL = 20_000, 6.0
#: A lake within this radius is enlarged as a whole, of a larger one the surroundings of the fullest cell.
_WHOLE_RADIUS_DEG, _PART_RADIUS_DEG = 10.0, 2.5


@dataclass(frozen=True, eq=False)
class CellCounts:
    """Objects counted in HEALPix cells (NESTED) of one order; cells without objects are left out.

    Parameters
    ----------
    order : int
    cell, n : (N,) int64
        Cells, ascending, and the objects in each.
    """

    order: int
    cell: Int64
    n: Int64

    @property
    def per_arcmin2(self) -> Float64:
        """Objects per square arcminute in each cell."""
        return self.n / (cell_area_deg2(self.order) * 3600.0)

    @property
    def side_arcmin(self) -> float:
        """Square root of the area of a cell."""
        return float(np.sqrt(cell_area_deg2(self.order)) * 60.0)


@dataclass(frozen=True)
class Region:
    """A cone of the sky, degrees."""

    ra: float
    dec: float
    radius: float

    def sql(self) -> str:
        """Return SQL that tells whether the columns ra and dec lie inside."""
        x, y, z = unit_vectors(np.array([self.ra]), np.array([self.dec]))[0].tolist()
        equatorial = f"cos(radians(dec)) * (cos(radians(ra)) * ({x!r}) + sin(radians(ra)) * ({y!r}))"
        return f"{equatorial} + sin(radians(dec)) * ({z!r}) >= {float(np.cos(np.radians(self.radius)))!r}"


def count_cells(source: LakeSource, order: int, region: Region | None = None) -> CellCounts:
    """Count the objects of each HEALPix cell, of a region or of the whole sky, in SQL."""
    where = "TRUE" if region is None else region.sql()
    found = source.query(
        f"SELECT _healpix_29 >> {2 * (KEY_ORDER - order)} AS cell, count(*) AS n "
        f"FROM objects WHERE {where} GROUP BY cell ORDER BY cell"
    )
    return CellCounts(order, found["cell"].to_numpy(dtype=np.int64), found["n"].to_numpy(dtype=np.int64))


def choose_region(coarse: CellCounts) -> Region:
    """Return the cone to enlarge: all cells when they lie within 10 degrees, else around the fullest one."""
    centres = unit_vectors(*cell_center(coarse.order, coarse.cell))
    mean = centres.mean(axis=0)
    # A cell's corners lie up to a degree from its centre.
    reach = float(_distances_deg(centres, mean).max()) + 1.0
    if reach <= _WHOLE_RADIUS_DEG:
        return _cone(mean, reach)
    return _cone(centres[int(np.argmax(coarse.n))], _PART_RADIUS_DEG)


def choose_order(source: LakeSource, region: Region) -> int:
    """Return the highest order whose cells hold enough objects and are few enough to draw."""
    counts = ", ".join(
        f"approx_count_distinct(_healpix_29 >> {2 * (KEY_ORDER - order)}) AS o{order}"
        for order in _FINE_ORDERS
    )
    row = source.row(f"SELECT count(*) AS n, {counts} FROM objects WHERE {region.sql()}")
    good = [
        order
        for order in _FINE_ORDERS
        if row[f"o{order}"] <= _MOST_CELLS and row["n"] >= _FEWEST_PER_CELL * row[f"o{order}"]
    ]
    return max(good, default=_FINE_ORDERS[0])


def covered_fraction(counts: CellCounts, outlines: Footprints) -> Float64:
    """Return the part of each cell inside the outlines, by its 64 descendants three orders down."""
    children = (counts.cell[:, np.newaxis] << 6) + np.arange(64)
    inside = outlines.cover(*cell_center(counts.order + 3, children.ravel()))
    return np.asarray(inside.reshape(children.shape).mean(axis=1))


def mean_position(counts: CellCounts) -> tuple[float, float]:
    """Return the mean position of the objects, ra and dec in degrees."""
    centres = unit_vectors(*cell_center(counts.order, counts.cell))
    ra, dec = lonlat(np.average(centres, axis=0, weights=counts.n)[np.newaxis])
    return float(ra[0]), float(dec[0])


def _cone(vector: Float64, radius_deg: float) -> Region:
    ra, dec = lonlat(vector[np.newaxis])
    return Region(float(ra[0]), float(dec[0]), radius_deg)


def _distances_deg(vectors: Float64, centre: Float64) -> Float64:
    """Return the angles between unit vectors and a vector of any length; 180 when it has none."""
    length = float(np.linalg.norm(centre))
    if length < 1e-6:
        return np.full(len(vectors), 180.0)
    return np.asarray(np.degrees(np.arccos(np.clip(vectors @ centre / length, -1.0, 1.0))))
