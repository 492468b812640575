"""Where an image lies on the sky, once its WCS has stood the checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photometry.astrometry import Astrometry
from astrolake.sky.healpix import cells_at_order, polygon_cells

Float64 = NDArray[np.float64]

#: Cells of 0.46 deg: an image of a survey touches a few.
COVERAGE_ORDER = 7
MAX_ROUNDTRIP_PX = 1e-3
_PLAUSIBLE_SCALE_ARCSEC = (1e-3, 3600.0)
_CHECK_POINTS, _EDGE_POINTS, _GUARD_POINTS = 5, 64, 33
#: From this radius on the outline may be no polygon smaller than a hemisphere.
_WIDE_DEG = 30.0
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class SkyFootprint:
    """Place, scale and outline of an image.

    Parameters
    ----------
    ra, dec : float
        Centre, ICRS, degrees.
    corners_ra, corners_dec : list of float
        Centres of the corner pixels, counted from the first pixel along the first row.
    pixel_scale_arcsec : float
        Square root of the area of the central pixel.
    roundtrip_px : float
        Largest error of pixel to sky to pixel on a 5 x 5 grid.
    coverage : list of int
        Cells of `COVERAGE_ORDER` (NESTED) that the image touches, sorted.
    """

    ra: float
    dec: float
    corners_ra: list[float]
    corners_dec: list[float]
    pixel_scale_arcsec: float
    roundtrip_px: float
    coverage: list[int]


def sky_footprint(astrometry: Astrometry, naxis1: int, naxis2: int) -> SkyFootprint:
    """Check the WCS of an image and return where the image lies.

    Parameters
    ----------
    astrometry : Astrometry
    naxis1, naxis2 : int
        Number of columns and rows.

    Raises
    ------
    BadInput
        When a corner has no place on the sky, the pixel scale is implausible, or pixel to sky to
        pixel misses by more than 0.001 px.
    """
    centre_x, centre_y = np.array([(naxis1 - 1) / 2]), np.array([(naxis2 - 1) / 2])
    corner_x = np.array([0.0, naxis1 - 1.0, naxis1 - 1.0, 0.0])
    corner_y = np.array([0.0, 0.0, naxis2 - 1.0, naxis2 - 1.0])
    centre = astrometry.pixel_to_sky(centre_x, centre_y)
    corners = astrometry.pixel_to_sky(corner_x, corner_y)
    if not np.isfinite([*centre, *(axis.sum(keepdims=True) for axis in corners)]).all():
        raise BadInput(
            "the centre or a corner of the image has no place on the sky; correct the WCS", "BadWcs"
        )
    scale = pixel_scale_arcsec(astrometry, float(centre_x[0]), float(centre_y[0]))
    low, high = _PLAUSIBLE_SCALE_ARCSEC
    if not low <= scale < high:
        raise BadInput(
            f"the pixel scale of {scale:.4g} arcsec is not within {low:g} to {high:g}; correct CD or CDELT",
            "BadWcs",
        )
    error = roundtrip_error_px(astrometry, naxis1, naxis2)
    if not error <= MAX_ROUNDTRIP_PX:
        raise BadInput(
            f"pixel to sky to pixel misses by {error:.3g} px, more than {MAX_ROUNDTRIP_PX:g}; "
            "its distortion cannot be inverted: refit the WCS",
            "BadWcs",
        )
    return SkyFootprint(
        ra=float(centre[0][0]),
        dec=float(centre[1][0]),
        corners_ra=corners[0].tolist(),
        corners_dec=corners[1].tolist(),
        pixel_scale_arcsec=scale,
        roundtrip_px=error,
        coverage=coverage_cells(astrometry, naxis1, naxis2),
    )


def pixel_scale_arcsec(astrometry: Astrometry, x_px: float, y_px: float) -> float:
    """Return the square root of the area of a pixel, from the vectors between its sides."""
    sides = astrometry.pixel_to_sky(
        x_px + np.array([-0.5, 0.5, 0.0, 0.0]), y_px + np.array([0.0, 0.0, -0.5, 0.5])
    )
    left, right, bottom, top = _unit_vectors(*sides)
    return float(np.degrees(np.sqrt(np.linalg.norm(np.cross(right - left, top - bottom)))) * 3600.0)


def roundtrip_error_px(astrometry: Astrometry, naxis1: int, naxis2: int) -> float:
    """Return the largest error of pixel to sky to pixel on a 5 x 5 grid; infinite where it fails."""
    x, y = _grid(naxis1, naxis2, _CHECK_POINTS, margin=0.0)
    x2, y2 = astrometry.sky_to_pixel(*astrometry.pixel_to_sky(x, y))
    error = float(np.hypot(x2 - x, y2 - y).max())
    return error if np.isfinite(error) else np.inf


def coverage_cells(astrometry: Astrometry, naxis1: int, naxis2: int) -> list[int]:
    """Return the cells of `COVERAGE_ORDER` that an image touches, sorted.

    The outline along the outer edges of the pixels gives them; the centres of all pixels at the
    edge and of a grid inside guard against a distorted edge. Images wider than 60 degrees, whose
    outline may enclose a pole or more than a hemisphere, give the cells of all their pixels.
    """
    x, y = _outline(naxis1, naxis2)
    ra, dec = astrometry.pixel_to_sky(x, y)
    centre = astrometry.pixel_to_sky(np.array([(naxis1 - 1) / 2]), np.array([(naxis2 - 1) / 2]))
    cosine = _unit_vectors(ra, dec) @ _unit_vectors(*centre)[0]
    if not np.all(cosine > np.cos(np.radians(_WIDE_DEG))):
        points = _all_pixels(naxis1, naxis2)
        cells = [_cells(*astrometry.pixel_to_sky(*block)) for block in points]
        return _sorted(cells)
    outline = polygon_cells(ra, dec, COVERAGE_ORDER)
    inside = _cells(*astrometry.pixel_to_sky(*_grid(naxis1, naxis2, _GUARD_POINTS, margin=0.5)))
    edge = _cells(*astrometry.pixel_to_sky(*_edge_pixels(naxis1, naxis2)))
    return _sorted([outline, inside, edge])


def _sorted(cells: list[NDArray[np.int64]]) -> list[int]:
    return [int(cell) for cell in np.unique(np.concatenate(cells))]


def _cells(ra: Float64, dec: Float64) -> NDArray[np.int64]:
    there = np.isfinite(ra) & np.isfinite(dec)
    return np.unique(cells_at_order(ra[there], dec[there], COVERAGE_ORDER))


def _grid(naxis1: int, naxis2: int, count: int, margin: float) -> tuple[Float64, Float64]:
    """Return count x count points between the first and last pixel, each side wider by a margin."""
    columns = np.linspace(-margin, naxis1 - 1 + margin, count)
    rows = np.linspace(-margin, naxis2 - 1 + margin, count)
    x, y = np.meshgrid(columns, rows)
    return x.ravel(), y.ravel()


def _outline(naxis1: int, naxis2: int) -> tuple[Float64, Float64]:
    """Return points along the outer edges of the pixels, once round, no point twice."""
    step = np.arange(_EDGE_POINTS) / _EDGE_POINTS
    low, high = np.zeros(_EDGE_POINTS), np.ones(_EDGE_POINTS)
    across = np.concatenate([step, high, 1.0 - step, low])
    along = np.concatenate([low, step, high, 1.0 - step])
    return across * naxis1 - 0.5, along * naxis2 - 0.5


def _edge_pixels(naxis1: int, naxis2: int) -> tuple[Float64, Float64]:
    columns, rows = np.arange(naxis1, dtype=np.float64), np.arange(naxis2, dtype=np.float64)
    x = np.concatenate([columns, columns, np.zeros(naxis2), np.full(naxis2, naxis1 - 1.0)])
    y = np.concatenate([np.zeros(naxis1), np.full(naxis1, naxis2 - 1.0), rows, rows])
    return x, y


def _all_pixels(naxis1: int, naxis2: int) -> Iterator[tuple[Float64, Float64]]:
    """Yield the pixel positions of some rows at a time."""
    columns = np.arange(naxis1, dtype=np.float64)
    for start in range(0, naxis2, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, naxis2), dtype=np.float64)
        x, y = np.meshgrid(columns, rows)
        yield x.ravel(), y.ravel()


def _unit_vectors(ra_deg: Float64, dec_deg: Float64) -> Float64:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
