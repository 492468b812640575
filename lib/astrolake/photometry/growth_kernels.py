"""Compiled loops over curves of growth: the curve of a source, and the radii that are read off it."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from astrolake.photometry.aperture_kernels import Float32, Int32, Mask, Pixels, circle_sum

Float64 = NDArray[np.float64]

#: Radii are multiples of this, px; it divides half a pixel.
STEP_PX = 0.25
#: Petrosian ratio at the Petrosian radius (SDSS).
ETA = 0.2
#: The ratio compares the ring between these multiples of a radius with the circle inside it (SDSS).
_RING = (0.8, 1.25)
#: Within a smaller radius a pixel is too coarse for a ring.
_SMALLEST_PX = 1.0
#: Pixels no further than this from the central one are cut into quarters.
_INNER = 2
_PER_PIXEL = round(1 / STEP_PX)
#: Radius of the Petrosian aperture in Petrosian radii (SDSS); no light is left on its rim to be divided.
N_RADII, _SUBPIXELS = 2.0, 1
#: Shares of the Kron flux and of the Petrosian flux whose radii are measured.
AUTO_SHARES, PETRO_SHARES = (0.2, 0.5, 0.8), (0.5, 0.9)


@njit(cache=True, nogil=True)
def radial_measures(
    pixels: Pixels,
    ids: Int32,
    places: Float64,
    reaches: NDArray[np.intp],
    measures: Float64,
    cut: Mask,
) -> None:
    """Measure curves of growth, and what is read off them.

    Parameters
    ----------
    pixels, ids
        As of `aperture_kernels`.
    places : (3, n) float64
        x, y, Kron flux.
    reaches : (m, n) int
        How far curves reach, px: the second where the first is too short, and so on.
    measures : (8, n) float64
        Output: radii that hold AUTO_SHARES of the Kron flux, Petrosian radius, radii that hold
        PETRO_SHARES of the Petrosian flux, Petrosian flux and its variance by the noise.
    cut : (n,) bool
        Output: whether the image cuts the Petrosian aperture.
    """
    image, _, segments = pixels
    for i in range(len(ids)):
        place = (places[0, i], places[1, i], ids[i])
        for k in range(len(reaches)):
            if k > 0 and reaches[k - 1, i] >= max(image.shape):
                # Beyond the image a curve does not grow.
                break
            curve = np.empty(reaches[k, i] * _PER_PIXEL + 1)
            growth_curve(image, segments, place, reaches[k, i], curve)
            for j in range(3):
                measures[j, i] = radius_holding(curve, AUTO_SHARES[j] * places[2, i])
            radius = petrosian_radius(curve)
            flux, variance = np.nan, np.nan
            if np.isfinite(radius):
                flux, variance, cut[i] = circle_sum(pixels, place, N_RADII * radius, _SUBPIXELS)
            measures[3, i], measures[6, i], measures[7, i] = radius, flux, variance
            for j in range(2):
                measures[4 + j, i] = radius_holding(curve, PETRO_SHARES[j] * flux)
            if not (np.isnan(measures[2, i]) or np.isnan(measures[5, i])):
                break


@njit(cache=True, nogil=True)
def growth_curve(
    image: Float32,
    segments: Int32,
    place: tuple[float, float, int],
    reach: int,
    curve: Float64,
) -> None:
    """Measure the flux inside circles around one source.

    A square of side s at the distance d enters a circle of radius r with the share (r - d') / s + 1/2, cut to
    [0, 1], with d' = sqrt(d^2 + s^2 / 12) the mean distance of its points: mean and spread of the points are
    those of the square. Pixels are such squares, the 25 around the centre four of half the side each.
    Pixels of other sources and off the image count as 0.

    Parameters
    ----------
    image : (ny, nx) float32
    segments : (ny, nx) int32, or (0, 0) where nothing is masked
    place : (x, y, id)
        Centre, px, and number of the source in the segmentation.
    reach : int
        Largest radius, px.
    curve : (reach / STEP_PX + 1,) float64
        Output: flux inside the radii 0, STEP_PX, 2 STEP_PX, ...
    """
    x, y, own = place
    column, row = int(np.rint(x)), int(np.rint(y))
    # Flux and flux times distance of the squares in each ring, whole pixels and quarters of pixels.
    rings = np.zeros((4, len(curve) + _PER_PIXEL))
    half = reach + 1
    first, end = max(column - half, 0), min(column + half + 1, image.shape[1])
    for iy in range(max(row - half, 0), min(row + half + 1, image.shape[0])):
        line = image[iy, first:end]
        owner = segments[iy, first:end] if segments.size else segments[0:0, 0]
        dy, is_inner = iy - y, abs(iy - row) <= _INNER
        for j in range(len(line)):
            if segments.size and owner[j] != 0 and owner[j] != own:
                continue
            dx = first + j - x
            if is_inner and abs(first + j - column) <= _INNER:
                for quarter in range(4):
                    at_x, at_y = dx - 0.25 + 0.5 * (quarter % 2), dy - 0.25 + 0.5 * (quarter // 2)
                    _add(rings[2], rings[3], at_x * at_x + at_y * at_y + 0.25 / 12, 0.25 * line[j])
            else:
                _add(rings[0], rings[1], dx * dx + dy * dy + 1 / 12, np.float64(line[j]))
    curve[:] = 0
    _enter(rings[0], rings[1], _PER_PIXEL // 2, curve)
    _enter(rings[2], rings[3], _PER_PIXEL // 4, curve)
    curve[0] = 0


@njit(cache=True, nogil=True)
def _add(flux: Float64, moment: Float64, square: float, value: float) -> None:
    distance = np.sqrt(square)
    ring = int(distance * _PER_PIXEL)
    if ring < len(flux):
        flux[ring] += value
        moment[ring] += value * distance


@njit(cache=True, nogil=True)
def _enter(flux: Float64, moment: Float64, half: int, curve: Float64) -> None:
    """Let squares with a side of 2 half steps enter gradually, while the radius grows by their side."""
    side = 2 * half * STEP_PX
    # Sums over the rings below low, and over those from low to high.
    inside, entering, moments, low, high = 0.0, 0.0, 0.0, 0, 0
    for k in range(len(curve)):
        while high < k + half:
            entering += flux[high]
            moments += moment[high]
            high += 1
        while low < k - half:
            inside += flux[low]
            entering -= flux[low]
            moments -= moment[low]
            low += 1
        curve[k] += inside + ((k * STEP_PX + side / 2) * entering - moments) / side


@njit(cache=True, nogil=True)
def petrosian_radius(curve: Float64) -> float:
    """Return the radius at which the Petrosian ratio of one curve first falls to ETA, or NaN."""
    before = np.inf
    first, last = round(_SMALLEST_PX / STEP_PX), int((len(curve) - 1) / _RING[1])
    area = _RING[1] ** 2 - _RING[0] ** 2
    for k in range(first, last + 1):
        # A circle without light has no ratio, and no crossing either.
        eta = np.inf
        if curve[k] > 0:
            eta = (_between(curve, k * _RING[1]) - _between(curve, k * _RING[0])) / (area * curve[k])
        if eta <= ETA:
            falls = k > first and np.isfinite(before) and before > eta
            return float(STEP_PX * (k - 1 + ((before - ETA) / (before - eta) if falls else 1.0)))
        before = eta
    return np.nan


@njit(cache=True, nogil=True)
def _between(curve: Float64, step: float) -> float:
    low = min(int(step), len(curve) - 2)
    return float(curve[low] + (curve[low + 1] - curve[low]) * (step - low))


@njit(cache=True, nogil=True)
def radius_holding(curve: Float64, flux: float) -> float:
    """Return the smallest radius of one curve inside which lies a flux, or NaN."""
    if not flux > 0:
        return np.nan
    for k in range(1, len(curve)):
        if curve[k] >= flux:
            # In between, the flux grows as the area of the circle.
            share = (flux - curve[k - 1]) / (curve[k] - curve[k - 1])
            return float(STEP_PX * np.sqrt((k - 1) ** 2 + share * (2 * k - 1)))
    return np.nan
