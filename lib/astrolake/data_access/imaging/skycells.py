"""The skycells of Pan-STARRS1: the sky in projection cells of 4 degrees, each of 10 x 10 images.

Tessellation RINGS.V3: https://outerspace.stsci.edu/display/PANSTARRS/PS1+Sky+tessellation+patterns, where
ps1grid.fits holds the table below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astrolake.data_access.imaging.footprints import enclosing_cones, from_tangent_plane, touching
from astrolake.sky.region import Cone, Polygon, Region
from astrolake.sky.separation import Bool, Float64, Int64, separation_arcsec

PIXEL_ARCSEC = 0.25
_PIXEL_RAD = float(np.radians(PIXEL_ARCSEC / 3600))
#: By how many pixels images of a projection cell overlap.
_OVERLAP = 480
#: Points along each side of a skycell, at which it is told whether it is the best one.
_SAMPLES = 17
_PROJECTION_REACH_DEG = 3.3
_DIAGONAL_DEG = 0.65

#: First projection cell of a zone, number of them, declination of their centres, upper border of the zone,
#: size of images in pixels, and reference pixel of the image right of and above the middle.
_GRID = np.array(
    [
        (487, 72, -38.0, -35.98748871852416, 6305, 6279, 239.5, 238.0),
        (559, 76, -34.0, -31.988947843740302, 6265, 6274, 237.5, 237.5),
        (635, 79, -30.0, -27.990585819085737, 6274, 6269, 239.5, 241.5),
        (714, 82, -26.0, -23.991856317278298, 6255, 6265, 241.5, 240.5),
        (796, 84, -22.0, -19.99333106003115, 6279, 6261, 241.0, 242.0),
        (880, 86, -18.0, -15.994464100667857, 6274, 6258, 241.5, 238.0),
        (966, 88, -14.0, -11.995671545879146, 6242, 6254, 240.5, 239.5),
        (1054, 89, -10.0, -7.997014822849273, 6248, 6250, 240.0, 242.0),
        (1143, 89, -6.0, -3.998086931795508, 6291, 6247, 237.5, 240.0),
        (1232, 90, -2.0, 0.0, 6240, 6243, 240.0, 242.0),
        (1322, 90, 2.0, 3.998086931795508, 6240, 6243, 240.0, 242.0),
        (1412, 89, 6.0, 7.997014822849273, 6291, 6247, 237.5, 240.0),
        (1501, 89, 10.0, 11.995671545879146, 6248, 6250, 240.0, 242.0),
        (1590, 88, 14.0, 15.994464100667857, 6242, 6254, 240.5, 239.5),
        (1678, 86, 18.0, 19.99333106003115, 6274, 6258, 241.5, 238.0),
        (1764, 84, 22.0, 23.991856317278298, 6279, 6261, 241.0, 242.0),
        (1848, 82, 26.0, 27.990585819085737, 6255, 6265, 241.5, 240.5),
        (1930, 79, 30.0, 31.988947843740302, 6274, 6269, 239.5, 241.5),
        (2009, 76, 34.0, 35.98748871852416, 6265, 6274, 237.5, 237.5),
        (2085, 72, 38.0, 39.98569922229713, 6305, 6279, 239.5, 238.0),
        (2157, 68, 42.0, 43.98384988850235, 6320, 6284, 239.5, 240.0),
        (2225, 64, 46.0, 47.98179099058205, 6307, 6289, 238.0, 242.0),
        (2289, 60, 50.0, 51.97972846465295, 6261, 6295, 241.0, 239.5),
        (2349, 55, 54.0, 55.97676677254534, 6283, 6302, 239.0, 242.0),
        (2404, 50, 58.0, 59.97411834356914, 6278, 6311, 238.5, 237.5),
        (2454, 45, 62.0, 63.97005521318337, 6240, 6319, 240.0, 241.0),
        (2499, 39, 66.0, 67.96475284198297, 6307, 6333, 239.5, 240.0),
        (2538, 33, 70.0, 71.95817764373305, 6365, 6350, 238.5, 240.0),
        (2571, 27, 74.0, 75.94974140116577, 6413, 6371, 240.5, 242.0),
        (2598, 21, 78.0, 79.93968190571101, 6452, 6398, 240.0, 242.0),
        (2619, 15, 82.0, 83.93610604798963, 6481, 6429, 241.0, 242.0),
        (2634, 9, 86.0, 87.96940975734594, 6501, 6419, 239.0, 239.5),
        (2643, 1, 90.0, 90.1, 6240, 6240, 239.5, 240.0),
    ]
)
_FIRST, _COUNT = _GRID[:, 0].astype(np.int64), _GRID[:, 1].astype(np.int64)
_DEC, _DEC_MAX = _GRID[:, 2], _GRID[:, 3]
_SOUTH_DEG = -39.98569922229713


@dataclass(frozen=True)
class Skycell:
    """A skycell, and a position of which it is the best skycell.

    Parameters
    ----------
    projection, cell : int
        Of the names of its files: projection cell, and 10 times the row and the column in it.
    ra, dec : float
        Degrees.
    """

    projection: int
    cell: int
    ra: float
    dec: float


def skycells_of(region: Region) -> list[Skycell]:
    """Return the skycells whose images touch a region, in order.

    Projection cells overlap, the more the nearer to the pole; a skycell that is at no place the best one is
    left out.
    """
    ranges = region.ranges()
    found: dict[tuple[int, int], Skycell] = {}
    for cone in enclosing_cones(region):
        for projection in _projections(cone):
            found.update({(one.projection, one.cell): one for one in _skycells(ranges, cone, projection)})
    return [found[key] for key in sorted(found)]


def holding(cells: list[Skycell], cone: Cone) -> list[Skycell]:
    """Return the first skycell that holds all of a cone, or else those that hold some of it."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    away = np.tan(np.radians(cone.radius)) * np.repeat([0.0, 0.5, 1.0], 64)
    xi, eta = away * np.tile(np.sin(angle), 3), away * np.tile(np.cos(angle), 3)
    ra, dec = from_tangent_plane(np.array(cone.ra), np.array(cone.dec), xi, eta)
    held = [_outline(cell).contains(ra, dec) for cell in cells]
    whole = [cell for cell, places in zip(cells, held, strict=True) if places.all()]
    return whole[:1] or [cell for cell, places in zip(cells, held, strict=True) if places.any()]


def _outline(cell: Skycell) -> Polygon:
    ra, dec = skycell_corners(cell.projection, np.array([cell.cell]))
    return Polygon(tuple(ra[0]), tuple(dec[0]))


def _projections(cone: Cone) -> list[int]:
    """Return the projection cells that may touch a cone."""
    numbers = np.concatenate([np.arange(count) + first for first, count in zip(_FIRST, _COUNT, strict=True)])
    zone = np.searchsorted(_FIRST, numbers, side="right") - 1
    ra = (numbers - _FIRST[zone]) * 360.0 / _COUNT[zone]
    near = (
        separation_arcsec(cone.ra, cone.dec, ra, _DEC[zone]) <= (cone.radius + _PROJECTION_REACH_DEG) * 3600
    )
    return [int(number) for number in numbers[near]]


def _skycells(ranges: Int64, cone: Cone, projection: int) -> list[Skycell]:
    """Return the skycells of a projection cell whose images touch a region and are somewhere the best."""
    zone = int(np.searchsorted(_FIRST, projection, side="right") - 1)
    ra, dec = skycell_corners(projection, np.arange(100))
    # A corner of an image that the cone touches is at most its diagonal away from the cone.
    near = (separation_arcsec(cone.ra, cone.dec, ra, dec) <= (cone.radius + _DIAGONAL_DEG) * 3600).all(axis=1)
    touched = np.flatnonzero(near)
    touched = touched[touching(ranges, ra[near], dec[near])]
    if not touched.size:
        return []
    low, high = _OVERLAP / 2, _GRID[zone, 4:6] - _OVERLAP / 2
    x, y = np.meshgrid(np.linspace(low, high[0], _SAMPLES), np.linspace(low, high[1], _SAMPLES))
    ra, dec = _positions(projection, touched, x.ravel() + 0.5, y.ravel() + 0.5)
    best = _is_best(projection, touched, ra, dec)
    # The position in the middle of those of which it is the best one.
    rank = np.cumsum(best, axis=1)
    middle = np.argmax(rank >= (rank[:, -1:] + 1) // 2, axis=1)
    return [
        Skycell(projection, int(touched[i]), float(ra[i, middle[i]]), float(dec[i, middle[i]]))
        for i in np.flatnonzero(best.any(axis=1))
    ]


def skycell_corners(projection: int, cells: Int64) -> tuple[Float64, Float64]:
    """Return the corners of the images of skycells of one projection cell: ra and dec, (N, 4) each."""
    zone = int(np.searchsorted(_FIRST, projection, side="right") - 1)
    width, height = _GRID[zone, 4:6]
    x, y = np.array([0.0, width, width, 0.0]), np.array([0.0, 0.0, height, height])
    return _positions(projection, cells, x + 0.5, y + 0.5)


def _positions(projection: int, cells: Int64, x_px: Float64, y_px: Float64) -> tuple[Float64, Float64]:
    """Return the positions of pixels (K,), counted from 1, of skycells (N,): ra and dec, (N, K) each."""
    zone = int(np.searchsorted(_FIRST, projection, side="right") - 1)
    step = _GRID[zone, 4:6] - _OVERLAP
    crpix1 = (_GRID[zone, 6] + step[0] * (5 - cells % 10))[:, np.newaxis]
    crpix2 = (_GRID[zone, 7] + step[1] * (5 - cells // 10))[:, np.newaxis]
    xi, eta = -_PIXEL_RAD * (x_px - crpix1), _PIXEL_RAD * (y_px - crpix2)
    centre = (projection - _FIRST[zone]) * 360.0 / _COUNT[zone]
    return from_tangent_plane(np.array(centre), _DEC[zone : zone + 1], xi, eta)


def _is_best(projection: int, cells: Int64, ra: Float64, dec: Float64) -> Bool:
    """Tell at which positions (N, K) a skycell (N,) is the best: the projection cell is that of the position.

    That is the cell of its zone of declination that is nearest in right ascension; around the pole, where
    images of the last two zones overlap, both are taken.
    """
    zone = np.searchsorted(_DEC_MAX, dec)
    own = int(np.searchsorted(_FIRST, projection, side="right") - 1)
    last = len(_GRID) - 1
    polar = (zone >= last - 1) & (own >= last - 1)
    number = np.rint(ra * _COUNT[own] / 360.0).astype(np.int64) % _COUNT[own]
    nearest = number == projection - _FIRST[own]
    return np.asarray(((zone == own) | polar) & nearest & (dec >= _SOUTH_DEG))
