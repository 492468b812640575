"""Footprints of images against a region, and the cones that hold a region."""

from __future__ import annotations

import numpy as np

from astrolake.sky.healpix import (
    KEY_ORDER,
    N_BASE,
    cell_center,
    healpix29,
    largest_radius_deg,
    parent,
    polygon_cells,
)
from astrolake.sky.ranges import cell_ranges, inside, overlap
from astrolake.sky.region import Cone, Region
from astrolake.sky.separation import Bool, Float64, Int64, unit_vectors

#: Cells of 51 arcsec.
_ORDER = 12
#: A region that no cone of this radius holds is asked for in parts, one for each cell of `_PART_ORDER`.
_LARGEST_CONE_DEG = 5.0
_PART_ORDER = 3
#: Cells from which on cones are not made tighter.
_ENOUGH_CELLS = 4096


def touching(ranges: Int64, ra_deg: Float64, dec_deg: Float64) -> Bool:
    """Tell which footprints touch a region of these ranges.

    One that is beside it by less than the cells by which its ranges follow its border (an arcmin, or 14
    for a border of more than 30 degrees) may be among them; none that touches is missing.

    Parameters
    ----------
    ranges : (M, 2) int64
        As `Region.ranges` gives them.
    ra_deg, dec_deg : (N, K) float64
        Corners of N polygons, in order.

    Returns
    -------
    (N,) bool
    """
    corners = inside(ranges, healpix29(np.ravel(ra_deg), np.ravel(dec_deg)))
    found = np.asarray(corners.reshape(np.shape(ra_deg)).any(axis=1))
    # Most images of a large region have a corner in it; the others take longer.
    for i in np.flatnonzero(~found):
        cells = cell_ranges(_ORDER, polygon_cells(ra_deg[i], dec_deg[i], _ORDER))
        found[i] = overlap(ranges, cells[:, 0], cells[:, 1]).any()
    return found


def enclosing_cones(region: Region) -> list[Cone]:
    """Return cones that together hold a region: one if it is small, else one for each part; 768 at most.

    A small region is one that a cone of 5 degrees holds; parts are its shares of cells of 7 degrees.
    """
    if isinstance(region, Cone) and region.radius <= _LARGEST_CONE_DEG:
        return [region]
    ranges = region.ranges()
    order, cells = 0, np.arange(N_BASE, dtype=np.int64)
    cells = touched_cells(ranges, order, cells)
    while order < _ORDER and 0 < cells.size < _ENOUGH_CELLS:
        order += 1
        cells = touched_cells(ranges, order, (4 * cells[:, np.newaxis] + np.arange(4)).ravel())
    if not cells.size:
        return []
    whole = _cone_of(order, cells)
    if whole.radius <= _LARGEST_CONE_DEG:
        return [whole]
    parts = parent(cells, _PART_ORDER, order)
    return [_cone_of(order, cells[parts == part]) for part in np.unique(parts)]


def touched_cells(ranges: Int64, order: int, cells: Int64) -> Int64:
    """Return those of the cells of an order that ranges of order-29 indices touch."""
    spans = np.stack([cells, cells + 1]) << (2 * (KEY_ORDER - order))
    return np.asarray(cells[overlap(ranges, spans[0], spans[1])])


def _cone_of(order: int, cells: Int64) -> Cone:
    """Return a cone that holds cells."""
    vectors = unit_vectors(*cell_center(order, cells))
    middle = vectors.mean(axis=0)
    middle /= max(float(np.linalg.norm(middle)), 1e-300)
    reach = np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(vectors - middle, axis=1).max() / 2, 0, 1)))
    ra = float(np.degrees(np.arctan2(middle[1], middle[0]))) % 360.0
    dec = float(np.degrees(np.arcsin(np.clip(middle[2], -1, 1))))
    return Cone(ra, dec, min(float(reach) + largest_radius_deg(order), 180.0))


def cutout_pixels(region: Region, pixel_arcsec: float) -> int:
    """Return the width, in pixels, of the square image that holds a region; 0 when no one cone holds it."""
    cones = enclosing_cones(region)
    return max(int(np.ceil(2 * cones[0].radius * 3600 / pixel_arcsec)), 1) if len(cones) == 1 else 0


def rectangles(
    ra_deg: Float64, dec_deg: Float64, half_width_deg: float, half_height_deg: float
) -> tuple[Float64, Float64]:
    """Return the corners of images that are centred on positions (N,), north up: ra and dec, (N, 4) each."""
    x = np.tan(np.radians(half_width_deg)) * np.array([1.0, -1.0, -1.0, 1.0])
    y = np.tan(np.radians(half_height_deg)) * np.array([-1.0, -1.0, 1.0, 1.0])
    return from_tangent_plane(np.asarray(ra_deg)[:, np.newaxis], np.asarray(dec_deg)[:, np.newaxis], x, y)


def from_tangent_plane(
    ra0_deg: Float64, dec0_deg: Float64, xi: Float64, eta: Float64
) -> tuple[Float64, Float64]:
    """Return the positions, degrees, of points of a gnomonic projection; arrays are broadcast.

    Parameters
    ----------
    ra0_deg, dec0_deg : float64
        Where the plane touches the sphere.
    xi, eta : float64
        Radians, towards east and north (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3).
    """
    dec0 = np.radians(dec0_deg)
    across = np.cos(dec0) - eta * np.sin(dec0)
    ra = (ra0_deg + np.degrees(np.arctan2(xi, across))) % 360.0
    dec = np.degrees(np.arctan2(eta * np.cos(dec0) + np.sin(dec0), np.hypot(xi, across)))
    return ra, np.broadcast_to(dec, np.shape(ra))
