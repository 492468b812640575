"""The bricks of the Legacy Surveys: the sky in rows of a quarter of a degree."""

from __future__ import annotations

import numpy as np

from astrolake.data_access.imaging.footprints import enclosing_cones, rectangles, touching
from astrolake.sky.region import Region
from astrolake.sky.separation import Float64, Int64

_SIZE_DEG = 0.25
_N_ROWS = 721
#: Coadds are 3600 pixels of 0.262 arcsec wide: they overlap.
_HALF_IMAGE_DEG = 1800 * 0.262 / 3600


def bricks_of(region: Region) -> list[str]:
    """Return the names of the bricks whose coadds touch a region, sorted.

    Rows of equal declination, each of the fewest bricks, an even number, that are no wider than 0.25 deg:
    tables survey-bricks of https://www.legacysurvey.org/dr10/files/ and class Bricks of desiutil.
    """
    found: set[str] = set()
    for cone in enclosing_cones(region):
        row, column, count = _near(cone.ra, cone.dec, cone.radius + 2 * _HALF_IMAGE_DEG)
        ra, dec = np.asarray((column + 0.5) * 360.0 / count), row * _SIZE_DEG - 90.0
        kept = touching(region, *rectangles(ra, dec, _HALF_IMAGE_DEG, _HALF_IMAGE_DEG))
        found.update(brick_name(a, d) for a, d in zip(ra[kept], dec[kept], strict=True))
    return sorted(found)


def brick_name(ra_deg: float, dec_deg: float) -> str:
    """Return the name of the brick with a centre, such as 0959p805."""
    return f"{int(ra_deg * 10):04d}{'p' if dec_deg >= 0 else 'm'}{int(abs(dec_deg) * 10):03d}"


def _near(ra: float, dec: float, radius: float) -> tuple[Int64, Int64, Int64]:
    """Return row, column and bricks in the row of the bricks whose centres may be within a radius."""
    rows = np.arange(_N_ROWS)
    rows = rows[np.abs(rows * _SIZE_DEG - 90.0 - dec) <= radius]
    counts = _columns(rows * _SIZE_DEG - 90.0)
    span = 180.0
    if abs(dec) + radius < 90:
        ratio = np.sin(np.radians(radius)) / np.cos(np.radians(dec))
        span = float(np.degrees(np.arcsin(min(1.0, ratio))))
    found = []
    for row, count in zip(rows, counts, strict=True):
        first, last = np.floor(np.array([ra - span, ra + span]) * count / 360.0).astype(int)
        columns = np.arange(count) if last - first + 1 >= count else np.arange(first, last + 1) % count
        found.append(np.stack([np.full_like(columns, row), columns, np.full_like(columns, count)]))
    row, column, count = np.concatenate(found, axis=1).astype(np.int64)
    return row, column, count


def _columns(dec_deg: Float64) -> Int64:
    """Return the number of bricks in the rows of declinations."""
    lowest = np.abs(dec_deg) - _SIZE_DEG / 2
    count = 2 * np.ceil(360.0 / _SIZE_DEG * np.cos(np.radians(lowest)) / 2)
    return np.where(np.abs(dec_deg) > 90.0 - _SIZE_DEG / 2, 1, count).astype(np.int64)
