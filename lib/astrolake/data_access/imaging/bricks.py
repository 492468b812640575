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


def bricks_of(region: Region) -> list[tuple[str, ...]]:
    """Return the names of the bricks whose coadds touch a region, sorted; see `brick_names`.

    Rows of equal declination, each of the fewest bricks, an even number, that are no wider than 0.25 deg:
    tables survey-bricks of https://www.legacysurvey.org/dr10/files/ and class Bricks of desiutil.
    """
    near = [_near(cone.ra, cone.dec, cone.radius + 2 * _HALF_IMAGE_DEG) for cone in enclosing_cones(region)]
    if not near:
        return []
    row, column, count = np.unique(np.concatenate(near, axis=1), axis=1)
    # As desiutil rounds: the middle of two borders.
    ra = 0.5 * (column * (360.0 / count) + (column + 1) * (360.0 / count))
    dec = row * _SIZE_DEG - 90.0
    kept = touching(region.ranges(), *rectangles(ra, dec, _HALF_IMAGE_DEG, _HALF_IMAGE_DEG))
    return sorted({brick_names(a, d) for a, d in zip(ra[kept], dec[kept], strict=True)})


def brick_names(ra_deg: float, dec_deg: float) -> tuple[str, ...]:
    """Return the name of the brick with a centre, such as 0959p805.

    Tenths of a degree are cut off. Of a centre at a whole tenth, rounding errors decide what the name is:
    the other name comes second.
    """
    tenths = dict.fromkeys((int(ra_deg * 10), int(ra_deg * 10 - 1e-6), int(ra_deg * 10 + 1e-6)))
    suffix = f"{'p' if dec_deg >= 0 else 'm'}{int(abs(dec_deg) * 10):03d}"
    return tuple(f"{tenth:04d}{suffix}" for tenth in tenths)


def _near(ra: float, dec: float, radius: float) -> Int64:
    """Return row, column and bricks in the row, (3, N), of bricks whose centres may be within a radius."""
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
    return np.asarray(np.concatenate(found, axis=1), dtype=np.int64)


def _columns(dec_deg: Float64) -> Int64:
    """Return the number of bricks in the rows of declinations."""
    lowest = np.abs(dec_deg) - _SIZE_DEG / 2
    count = 2 * np.ceil(360.0 / _SIZE_DEG * np.cos(np.radians(lowest)) / 2)
    return np.where(np.abs(dec_deg) > 90.0 - _SIZE_DEG / 2, 1, count).astype(np.int64)
