"""Regions of the sky: cone, box, polygon and MOC, as ranges that prune files and as exact tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import astropy.units as u
import numpy as np
from astropy.coordinates import Latitude, Longitude
from cdshealpix import nested

from astrolake.errors import BadArguments
from astrolake.sky.healpix import N_BASE, cell_center, cone_cells, healpix29, largest_radius_deg
from astrolake.sky.moc_file import read_moc
from astrolake.sky.ranges import EVERYWHERE, cell_ranges, inside, merge_ranges
from astrolake.sky.separation import Bool, Float64, Int64, separation_arcsec, unit_vectors

#: Ranges follow the border of a region to within a cell of this order (50 arcsec).
_ORDER = 12
#: A border this long (degrees) is followed with coarser cells.
_LONG_DEG = 30.0
_COARSE_ORDER = 8
#: cdshealpix misses cells of wider cones.
_HALF_SKY_DEG = 90.0
#: cdshealpix misses cells of polygons that reach farther than some 50 deg from their centre.
_LARGE_POLYGON_DEG = 30.0
FORMS = (
    "cone:RA,DEC,RADIUS, box:RA_MIN,RA_MAX,DEC_MIN,DEC_MAX, polygon:RA1,DEC1,RA2,DEC2,RA3,DEC3,... "
    "(degrees), or moc:FILE"
)


class Region(Protocol):
    """A part of the sky."""

    def ranges(self) -> Int64:
        """Return (M, 2) half-open ranges of order-29 indices that hold the region, and little more."""

    def contains(self, ra_deg: Float64, dec_deg: Float64) -> Bool:
        """Tell which positions (N,) lie in the region; cones and boxes include their borders."""


@dataclass(frozen=True)
class Cone:
    """All positions within `radius` degrees of (ra, dec)."""

    ra: float
    dec: float
    radius: float

    def __post_init__(self) -> None:
        _check_dec("cone", self.dec)
        if not 0 <= self.radius <= 180:
            raise BadArguments(f"cone of radius {self.radius}: give one within [0, 180] degrees")

    def ranges(self) -> Int64:
        """Return the ranges of the cells that the cone touches."""
        if self.radius >= _HALF_SKY_DEG:
            return EVERYWHERE
        order = _order(2 * np.pi * self.radius)
        return cell_ranges(order, cone_cells(self.ra, self.dec, self.radius * (1 + 1e-12) + 1e-9, order))

    def contains(self, ra_deg: Float64, dec_deg: Float64) -> Bool:
        """Tell which positions are at most the radius away."""
        return np.asarray(separation_arcsec(self.ra, self.dec, ra_deg, dec_deg) <= self.radius * 3600)


@dataclass(frozen=True)
class Box:
    """All positions between two right ascensions (eastward from the first) and two declinations."""

    ra_min: float
    ra_max: float
    dec_min: float
    dec_max: float

    def __post_init__(self) -> None:
        _check_dec("box", self.dec_min, self.dec_max)
        if self.dec_min > self.dec_max:
            raise BadArguments(f"box: dec_min {self.dec_min} lies above dec_max {self.dec_max}")

    @property
    def _width(self) -> float:
        span = self.ra_max - self.ra_min
        return 360.0 if abs(span) >= 360.0 else span % 360.0

    def ranges(self) -> Int64:
        """Return the ranges of the cells that the box touches: found from the coarsest cells down."""
        finest = _order(2 * self._width + 2 * (self.dec_max - self.dec_min))
        cells, found = np.arange(N_BASE), [np.empty((0, 2), np.int64)]
        for order in range(finest + 1):
            touched, held = self._relation(*cell_center(order, cells), largest_radius_deg(order))
            done = held if order < finest else touched
            found.append(cell_ranges(order, cells[done]))
            cells = (4 * cells[touched & ~done][:, np.newaxis] + np.arange(4)).ravel()
            if not cells.size:
                break
        return merge_ranges(np.concatenate(found))

    def _relation(self, ra: Float64, dec: Float64, radius: float) -> tuple[Bool, Bool]:
        """Tell which circles may touch the box, and which lie in it."""
        # A circle spans asin(sin r / cos dec) in right ascension, all of it around a pole.
        polar = np.abs(dec) + radius >= 90.0
        with np.errstate(divide="ignore"):
            sine = np.sin(np.radians(radius)) / np.cos(np.radians(dec))
        span = np.where(polar, 180.0, np.degrees(np.arcsin(np.minimum(sine, 1.0)))) + 1e-9
        east = np.mod(ra - self.ra_min, 360.0)
        beside = (east <= self._width + span) | (east >= 360.0 - span)
        touched = beside & (dec + radius >= self.dec_min) & (dec - radius <= self.dec_max)
        within = (east >= span) & (east + span <= self._width) | (self._width >= 360.0)
        return touched, within & (dec - radius >= self.dec_min) & (dec + radius <= self.dec_max)

    def contains(self, ra_deg: Float64, dec_deg: Float64) -> Bool:
        """Tell which positions lie between the borders."""
        dec = np.asarray(dec_deg)
        east = np.mod(np.asarray(ra_deg) - self.ra_min, 360.0)
        return np.asarray((east <= self._width) & (dec >= self.dec_min) & (dec <= self.dec_max))


@dataclass(frozen=True)
class Polygon:
    """All positions inside a polygon of great circles, smaller than a hemisphere; it may be concave.

    Parameters
    ----------
    ra, dec : tuple of float
        Corners in order, three or more; the last is joined to the first.
    """

    ra: tuple[float, ...]
    dec: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_dec("polygon", *self.dec)
        if len(self.ra) < 3 or len(self.ra) != len(self.dec):
            raise BadArguments("polygon: give ra and dec of three corners or more")
        if not (self._corners @ self._center > 1e-3).all():
            raise BadArguments("polygon: its corners must lie within a hemisphere")
        # Corners in one plane through the centre of the sphere: a polygon thinner than 1e-9 of its length.
        size = np.linalg.norm(self._corners - self._center, axis=1).max()
        if np.linalg.svd(self._corners, compute_uv=False)[2] <= max(1e-9 * size, 1e-15):
            raise BadArguments("polygon: its corners lie on one great circle; it holds nothing")

    @property
    def _corners(self) -> Float64:
        return unit_vectors(np.array(self.ra), np.array(self.dec))

    @property
    def _center(self) -> Float64:
        center = self._corners.sum(axis=0)
        return np.asarray(center / max(np.linalg.norm(center), 1e-300))

    def ranges(self) -> Int64:
        """Return the ranges of the cells that the polygon touches; of a large one, of the cone around it."""
        corners, center = self._corners, self._center
        cone = float(np.degrees(np.arccos(np.clip((corners @ center).min(), -1, 1)))) + 1e-6
        order = _order(float(np.degrees(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).sum())))
        lon, lat = Longitude(np.array(self.ra), u.deg), Latitude(np.array(self.dec), u.deg)
        if cone <= _LARGE_POLYGON_DEG:
            cells, _, _ = nested.polygon_search(lon, lat, order, flat=True)
            # Corners in the other direction may mean the complement.
            if len(cells) < 6 << (2 * order):
                return cell_ranges(order, np.asarray(cells, dtype=np.int64))
        ra = np.degrees(np.arctan2(center[1], center[0])) % 360.0
        return Cone(float(ra), float(np.degrees(np.arcsin(np.clip(center[2], -1, 1)))), cone).ranges()

    def contains(self, ra_deg: Float64, dec_deg: Float64) -> Bool:
        """Tell which positions lie inside, by the even-odd rule in the gnomonic projection about the centre.

        There great circles are straight lines.
        """
        center = self._center
        helper = np.eye(3)[np.argmin(np.abs(center))]
        x_axis = np.cross(center, helper)
        y_axis = np.cross(center, x_axis)
        vectors, corners = unit_vectors(np.asarray(ra_deg), np.asarray(dec_deg)), self._corners
        depth = vectors @ center
        ahead = depth > 1e-6
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = vectors @ x_axis / depth, vectors @ y_axis / depth
        cx, cy = corners @ x_axis / (corners @ center), corners @ y_axis / (corners @ center)
        odd = np.zeros(len(depth), dtype=bool)
        for i in range(len(cx)):
            x1, y1, x2, y2 = cx[i - 1], cy[i - 1], cx[i], cy[i]
            crosses = (y1 > y) != (y2 > y)
            with np.errstate(divide="ignore", invalid="ignore"):
                odd ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
        return np.asarray(odd & ahead)


@dataclass(frozen=True)
class Moc:
    """A multi-order coverage map (IVOA MOC 2.0).

    Parameters
    ----------
    cells : (M, 2) int64
        Half-open ranges of order-29 indices.
    """

    cells: Int64

    @classmethod
    def load(cls, path: str) -> Moc:
        """Read a MOC file: FITS, JSON or ASCII.

        Raises
        ------
        BadInput
            See `astrolake.sky.moc_file.read_moc`.
        """
        return cls(read_moc(path))

    def ranges(self) -> Int64:
        """Return the ranges of the map."""
        return merge_ranges(self.cells)

    def contains(self, ra_deg: Float64, dec_deg: Float64) -> Bool:
        """Tell which positions lie in cells of the map."""
        return inside(self.ranges(), healpix29(ra_deg, dec_deg))


def parse_region(text: str) -> Region:
    """Return the region that a text describes; see `FORMS`.

    Raises
    ------
    BadArguments
        When it describes none.
    """
    kind, _, values = text.partition(":")
    if kind == "moc" and values:
        return Moc.load(values)
    try:
        numbers = [float(part) for part in values.split(",")]
    except ValueError:
        numbers = []
    finite = bool(numbers) and bool(np.isfinite(numbers).all())
    if finite and kind == "cone" and len(numbers) == 3:
        return Cone(*numbers)
    if finite and kind == "box" and len(numbers) == 4:
        return Box(*numbers)
    if finite and kind == "polygon" and len(numbers) >= 6 and len(numbers) % 2 == 0:
        return Polygon(tuple(numbers[::2]), tuple(numbers[1::2]))
    raise BadArguments(f"region {text!r} is none; give {FORMS}")


def _order(border_deg: float) -> int:
    return _ORDER if border_deg <= _LONG_DEG else _COARSE_ORDER


def _check_dec(kind: str, *values: float) -> None:
    for dec in values:
        if not -90 <= dec <= 90:
            raise BadArguments(f"{kind}: declination {dec} lies outside [-90, 90] degrees")
