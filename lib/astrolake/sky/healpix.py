"""HEALPix indices: the one place where positions become cells.

All indices are NESTED. The order-29 index comes from cdshealpix, as in HATS; other
libraries disagree with it on cell vertices and on about one point in a million.
"""

from __future__ import annotations

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle, Latitude, Longitude
from cdshealpix import nested
from numpy.typing import NDArray

#: Order of the row key.
KEY_ORDER = 29
#: Number of cells at order 0.
N_BASE = 12

#: cdshealpix 0.9 gives wrong external neighbours at order 25 and beyond.
_FINEST_NEIGHBOURS = 24

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


def healpix29(ra_deg: Float64, dec_deg: Float64) -> Int64:
    """Return the NESTED order-29 index of each position.

    Parameters
    ----------
    ra_deg, dec_deg : (N,) float64
        ICRS, finite, dec within [-90, 90]; any ra is wrapped into [0, 360).

    Returns
    -------
    (N,) int64

    Raises
    ------
    ValueError
        When a position is not finite or a declination lies outside [-90, 90].
    """
    return cells_at_order(ra_deg, dec_deg, KEY_ORDER)


def cells_at_order(ra_deg: Float64, dec_deg: Float64, order: int) -> Int64:
    """Return the NESTED cell of each position at an order; see `healpix29`."""
    ra = np.asarray(ra_deg, dtype=np.float64)
    dec = np.asarray(dec_deg, dtype=np.float64)
    if not (np.isfinite(ra).all() and np.isfinite(dec).all()):
        raise ValueError("positions must be finite: reject NaN and infinite ra/dec first")
    lon = Longitude(ra, u.deg, copy=False)
    lat = Latitude(dec, u.deg, copy=False)
    return np.asarray(nested.lonlat_to_healpix(lon, lat, order), dtype=np.int64)


def parent(index: Int64, order: int, from_order: int = KEY_ORDER) -> Int64:
    """Return the cells at `order` that contain the given cells of `from_order` >= order."""
    return np.asarray(index, dtype=np.int64) >> np.int64(2 * (from_order - order))


def cell_range(order: int, cell: int) -> tuple[int, int]:
    """Return the half-open range of order-29 indices inside one cell."""
    shift = 2 * (KEY_ORDER - order)
    return cell << shift, (cell + 1) << shift


def cell_center(order: int, cell: Int64) -> tuple[Float64, Float64]:
    """Return the centres of cells: ra, dec in degrees."""
    lon, lat = nested.healpix_to_lonlat(np.atleast_1d(cell).astype(np.uint64), order)
    return lon.to_value(u.deg), lat.to_value(u.deg)


def cone_cells(ra_deg: float, dec_deg: float, radius_deg: float, order: int) -> Int64:
    """Return all cells of an order that a cone touches (a few more may be returned, never fewer)."""
    if radius_deg >= 180.0:
        return np.arange(N_BASE << (2 * order), dtype=np.int64)
    cells, _, _ = nested.cone_search(
        Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg), Angle(radius_deg, u.deg), order, flat=True
    )
    return np.asarray(cells, dtype=np.int64)


def cells_around(order: int, cell: int, margin_deg: float, finest: int) -> tuple[int, Int64] | None:
    """Return cells of a finer order that, with the cell itself, hold all that lies within a margin of it.

    Parameters
    ----------
    finest : int
        The finest order wanted; a coarser one is used where its cells are not wide enough.

    Returns
    -------
    order, cells
        None when the margin is wider than the cells beside it.
    """
    # Opposite edges of a cell are nowhere closer than its mean size / 1.6 (HATS takes the same); 2 is safe.
    width_deg = np.degrees(np.sqrt(4 * np.pi / N_BASE)) / 2
    finest = min(finest, _FINEST_NEIGHBOURS)
    while finest > order and width_deg / (1 << finest) < margin_deg:
        finest -= 1
    if finest <= order:
        return None
    ipix = np.array([cell], dtype=np.uint64)
    edges, corners = nested.external_neighbours(ipix, order, finest - order)
    found = np.concatenate([np.ravel(edges), np.ravel(corners)]).astype(np.int64)
    return finest, np.unique(found[found >= 0])


def polygon_cells(ra_deg: Float64, dec_deg: Float64, order: int) -> Int64:
    """Return all cells of an order that a spherical polygon (smaller than a hemisphere) touches."""
    cells, _, _ = nested.polygon_search(Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg), order, flat=True)
    return np.asarray(cells, dtype=np.int64)


def cell_radius_deg(order: int, cell: int) -> float:
    """Return a radius around the cell's centre that is sure to contain the whole cell."""
    lon, lat = nested.vertices(np.array([cell], dtype=np.uint64), order)
    lon0, lat0 = nested.healpix_to_lonlat(np.array([cell], dtype=np.uint64), order)
    a, b = lat.radian, lat0.radian
    hav = np.sin((a - b) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin((lon.radian - lon0.radian) / 2) ** 2
    # Cell edges bulge outwards by less than this between the vertices.
    return float(np.degrees(2 * np.arcsin(np.sqrt(hav.max())))) * 1.02


def largest_radius_deg(order: int) -> float:
    """Return a radius that, around its centre, contains any cell of an order.

    The distance of centre and corner of the largest cell: Gorski et al. (2005), ApJ 622, 759, as
    ``max_pixrad`` of their library computes it.
    """
    nside = 1 << order
    z1, z2 = 2.0 / 3.0, 1.0 - (1.0 - 1.0 / nside) ** 2 / 3.0
    across = np.sqrt((1 - z1 * z1) * (1 - z2 * z2)) * np.cos(np.pi / (4 * nside))
    return float(np.degrees(np.arccos(np.clip(across + z1 * z2, -1, 1)))) * 1.001 + 1e-9
