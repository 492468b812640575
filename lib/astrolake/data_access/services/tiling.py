"""A region of the sky as boxes in right ascension and declination, small enough for one query each.

The boxes are half-open, [ra_min, ra_max) x [dec_min, dec_max), and never cross right ascension 0: two that
meet share a border, not a source. Only the ends of the coordinates, ra 360 and dec 90, belong to the box
below them. A box that holds too many sources is split in four, again and again; its path, the number of its
root and a digit for each split, tells which it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from astrolake.sky.healpix import KEY_ORDER, Float64, Int64, cell_center, largest_radius_deg
from astrolake.sky.region import Box, Cone, Region
from astrolake.sky.separation import separation_arcsec

#: Sides of a box are never shorter (degrees; 1 arcsec).
SMALLEST_DEG = 1.0 / 3600.0
#: What a root reaches beyond a region whose borders belong to it (degrees; 4 microarcsec).
_MARGIN_DEG = 1e-9
#: A side this much longer than the other is cut in four, else both in two.
_LONG = 2.0
#: Circles wider than this prune nothing (degrees).
_WIDEST_DEG = 60.0
_CIRCLE_MARGIN_DEG = 1e-5
_FINEST_ORDER, _MOST_CELLS = 12, 200_000


@dataclass(frozen=True)
class Circle:
    """Centre and radius in degrees."""

    ra: float
    dec: float
    radius: float


@dataclass(frozen=True)
class Tile:
    """A half-open box in degrees, 0 <= ra_min < ra_max <= 360.

    Parameters
    ----------
    path : str
        Number of the root and a digit, 0 to 3, for each split, such as ``1-032``.
    ra_min, ra_max, dec_min, dec_max : float
    """

    path: str
    ra_min: float
    ra_max: float
    dec_min: float
    dec_max: float

    @property
    def width_deg(self) -> float:
        """Length of the side in right ascension where it is longest."""
        nearest = min(abs(self.dec_min), abs(self.dec_max)) if self.dec_min * self.dec_max > 0 else 0.0
        return (self.ra_max - self.ra_min) * float(np.cos(np.radians(nearest)))

    @property
    def height_deg(self) -> float:
        """Length of the side in declination."""
        return self.dec_max - self.dec_min

    @property
    def area_deg2(self) -> float:
        """Solid angle in square degrees."""
        sines = np.sin(np.radians([self.dec_min, self.dec_max]))
        return (self.ra_max - self.ra_min) * float(np.degrees(sines[1] - sines[0]))

    @property
    def may_split(self) -> bool:
        """Whether its quarters would not be smaller than `SMALLEST_DEG`."""
        return max(self.width_deg, self.height_deg) >= 2 * SMALLEST_DEG

    def split(self) -> tuple[Tile, ...]:
        """Return its quarters: of a long box four in a row."""
        if self.width_deg > _LONG * self.height_deg:
            n_ra, n_dec = 4, 1
        elif self.height_deg > _LONG * self.width_deg:
            n_ra, n_dec = 1, 4
        else:
            n_ra, n_dec = 2, 2
        ra = _cuts(self.ra_min, self.ra_max, n_ra)
        dec = _cuts(self.dec_min, self.dec_max, n_dec)
        return tuple(
            Tile(f"{self.path}{n_ra * j + i}", ra[i], ra[i + 1], dec[j], dec[j + 1])
            for j in range(n_dec)
            for i in range(n_ra)
        )

    def circle(self) -> Circle | None:
        """Return a circle that holds the box; None when it would be too wide to be of use."""
        found = [Circle(0.0, 90.0, 90.0 - self.dec_min), Circle(0.0, -90.0, self.dec_max + 90.0)]
        if self.ra_max - self.ra_min <= 180.0:
            ra, dec = (self.ra_min + self.ra_max) / 2, (self.dec_min + self.dec_max) / 2
            # Distance grows with the difference in ra, and along a meridian has its maximum at an end.
            corners = separation_arcsec(ra, dec, self.ra_min, np.array([self.dec_min, self.dec_max]))
            found.append(Circle(ra, dec, float(np.max(corners)) / 3600.0))
        best = min(found, key=lambda circle: circle.radius)
        if best.radius > _WIDEST_DEG:
            return None
        return Circle(best.ra, best.dec, best.radius * (1 + 1e-9) + _CIRCLE_MARGIN_DEG)


def _cuts(low: float, high: float, parts: int) -> list[float]:
    return [low, *(low + (high - low) * i / parts for i in range(1, parts)), high]


def roots(region: Region) -> tuple[Tile, ...]:
    """Return the boxes around a region: one, two where it spans right ascension 0, none where it is empty."""
    if isinstance(region, Box):
        whole = abs(region.ra_max - region.ra_min) >= 360.0
        width = 360.0 if whole else (region.ra_max - region.ra_min) % 360.0
        return _wrapped(region.ra_min, width, region.dec_min, region.dec_max)
    if isinstance(region, Cone):
        return _Circles.around(np.array([region.ra]), np.array([region.dec]), region.radius).bounds()
    return _Circles.of(region).bounds()


def cover(
    region: Region, rows_per_deg2: float, most_rows: float, most_deg: float, bounds: tuple[Tile, ...]
) -> Iterator[Tile]:
    """Yield the boxes that hold a region, and few more, in order of their paths.

    Parameters
    ----------
    region : Region
    rows_per_deg2 : float
        Density from which the size of the boxes follows.
    most_rows : float
        What a box should hold.
    most_deg : float
        Longest side.
    bounds : tuple of Tile
        What `roots` returned.
    """

    def parts(tile: Tile, pieces: _Circles | None) -> Iterator[Tile]:
        if pieces is not None:
            pieces = pieces.near(tile)
            if not len(pieces.ra):
                return
        large = tile.area_deg2 * rows_per_deg2 > most_rows or max(tile.width_deg, tile.height_deg) > most_deg
        if not (large and tile.may_split):
            yield tile
            return
        for part in tile.split():
            yield from parts(part, pieces)

    # Of a box all of its root is wanted.
    pieces = None if isinstance(region, Box) else _Circles.of(region)
    for root in bounds:
        yield from parts(root, pieces)


def tile_at(bounds: tuple[Tile, ...], path: str) -> Tile:
    """Return the box of a path."""
    root, _, digits = path.partition("-")
    tile = bounds[int(root)]
    for digit in digits:
        tile = tile.split()[int(digit)]
    return tile


def _wrapped(ra_min: float, width: float, dec_min: float, dec_max: float) -> tuple[Tile, ...]:
    """Return the roots of a closed box that may span right ascension 0."""
    low, high = dec_min, min(dec_max + _MARGIN_DEG, 90.0)
    if width + _MARGIN_DEG >= 360.0:
        return (Tile("0-", 0.0, 360.0, low, high),)
    start = ra_min % 360.0
    # A tiny negative angle rounds to 360.
    start = 0.0 if start >= 360.0 else start
    end = start + width + _MARGIN_DEG
    if end <= 360.0:
        return (Tile("0-", start, end, low, high),)
    return (Tile("0-", start, 360.0, low, high), Tile("1-", 0.0, end - 360.0, low, high))


@dataclass(frozen=True)
class _Circles:
    """Circles of one radius that together hold a region.

    Parameters
    ----------
    ra, dec : (N,) float64
    span : (N,) float64
        What each reaches in right ascension to both sides, 180 around a pole.
    radius : float
    """

    ra: Float64
    dec: Float64
    span: Float64
    radius: float

    @classmethod
    def of(cls, region: Region) -> _Circles:
        """Return the circles around cells of the region."""
        order, cells = _cells(region.ranges())
        return cls.around(*cell_center(order, cells), largest_radius_deg(order))

    @classmethod
    def around(cls, ra: Float64, dec: Float64, radius: float) -> _Circles:
        """Return circles around positions."""
        radius += _MARGIN_DEG
        polar = np.abs(dec) + radius >= 90.0
        with np.errstate(divide="ignore"):
            sine = np.sin(np.radians(min(radius, 90.0))) / np.cos(np.radians(dec))
        span = np.degrees(np.arcsin(np.minimum(sine, 1.0))) + _MARGIN_DEG
        return cls(ra, dec, np.where(polar, 180.0, span), radius)

    def near(self, tile: Tile) -> _Circles:
        """Return those that may touch a box."""
        east = np.mod(self.ra - tile.ra_min, 360.0)
        kept = (east <= tile.ra_max - tile.ra_min + self.span) | (east >= 360.0 - self.span)
        kept &= (self.dec >= tile.dec_min - self.radius) & (self.dec <= tile.dec_max + self.radius)
        return _Circles(self.ra[kept], self.dec[kept], self.span[kept], self.radius)

    def bounds(self) -> tuple[Tile, ...]:
        """Return the roots around all of them."""
        if not len(self.ra):
            return ()
        low = max(float(self.dec.min()) - self.radius, -90.0)
        high = min(float(self.dec.max()) + self.radius, 90.0)
        starts = np.mod(self.ra - self.span, 360.0)
        order = np.argsort(starts)
        starts, ends = starts[order], (starts + 2 * self.span)[order]
        reach = np.maximum(np.maximum.accumulate(ends), ends.max() - 360.0)
        gaps = np.append(starts[1:], starts[0] + 360.0) - reach
        widest = int(np.argmax(gaps))
        if gaps[widest] <= 0:
            return _wrapped(0.0, 360.0, low, high)
        return _wrapped(float(starts[(widest + 1) % len(starts)]), 360.0 - float(gaps[widest]), low, high)


def _cells(ranges: Int64) -> tuple[int, Int64]:
    """Return the cells that ranges touch, of the finest order that has not too many."""
    order, cells = 0, np.empty(0, np.int64)
    for finer in range(_FINEST_ORDER + 1):
        shift = 2 * (KEY_ORDER - finer)
        first, last = ranges[:, 0] >> shift, (ranges[:, 1] - 1) >> shift
        counts = last - first + 1
        if finer and counts.sum() > _MOST_CELLS:
            break
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        order, cells = finer, np.unique(np.repeat(first, counts) + steps)
    return order, cells
