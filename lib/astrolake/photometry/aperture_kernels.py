"""Compiled loops over the pixels around each source: Kron ellipses, circles, windowed centroids.

All follow SExtractor's definitions as SEP has them. Pixels of other sources count as 0 and so does what lies
off the image. Sums may be taken in any order (`reassoc`): vector units add several numbers at a time.

Arguments of all of them: `pixels`, three arrays: the image (ny, nx) float32; the noise, the standard
deviation of each pixel, (ny, nx) or (1, 1) float32 where it is the same everywhere; the segments, the owner
of each pixel, (ny, nx) int32, or (0, 0) where nothing is masked. `ids` (n,) int32, the number of each source
in them. Numba's cache watches single files: who changes a function here removes the cached code of
`growth_kernels` too (`__pycache__/*.nb*`).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Mask = NDArray[np.bool_]
Pixels = tuple[Float32, Float32, Int32]

#: Windowed centroids: radius of the window in its standard deviations, most steps, and the last one (px).
_WINDOW_SIGMA, _MOST_STEPS, _LAST_STEP_PX = 4.0, 16, 1e-4
#: Steps are doubled: the window halves the shift of a Gaussian of its own width.
_STEP_FACTOR = 2.0
#: Half the diagonal of a pixel, rounded up.
_HALF_DIAGONAL = 0.7072


@njit(cache=True, nogil=True)
def _extent(centre: float, reach: float, length: int) -> tuple[int, int, bool]:
    """Return the first pixel of a box, the one behind its last, and whether the image cuts the box."""
    first, end = int(centre - reach + 0.5), int(centre + reach + 1.4999999)
    return max(first, 0), max(min(end, length), 0), first < 0 or end > length


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def kron_ellipses(
    pixels: Pixels,
    bad: Mask,
    ids: Int32,
    places: Float64,
    limits: tuple[float, float, float],
    sums: Float64,
    cut: Mask,
) -> None:
    """Measure first radial moments and fluxes in Kron ellipses.

    Parameters
    ----------
    bad : (ny, nx) bool, or (0, 0) for none
    places : (5, n) float64
        x, y, a, b, theta (radians).
    limits : (reach, factor, least)
        The moment is taken within `reach` times (a, b), the flux within the larger of `factor` times the
        moment and `least`.
    sums : (7, n) float64
        Output: moment (0 where it is not positive), scale of the ellipse, flux, variance by the noise,
        pixels of the ellipse, those that are good, and those that are good and no other source's.
    cut : (n,) bool
        Output: whether the image cuts an ellipse, or no pixel is free.
    """
    image, noise, segments = pixels
    reach, factor, least = limits
    for i in range(len(ids)):
        x, y, a, b, theta = places[0, i], places[1, i], places[2, i], places[3, i], places[4, i]
        cos, sin = np.cos(theta), np.sin(theta)
        xx = cos * cos / (a * a) + sin * sin / (b * b)
        yy = sin * sin / (a * a) + cos * cos / (b * b)
        xy = 2.0 * cos * sin * (1.0 / (a * a) - 1.0 / (b * b))
        # Half the height and width of the ellipse of scale 1.
        half_x, half_y = np.sqrt(1 / (xx - xy * xy / (4 * yy))), np.sqrt(1 / (yy - xy * xy / (4 * xx)))
        first, end, cut_x = _extent(x, reach * half_x, image.shape[1])
        low, high, cut_y = _extent(y, reach * half_y, image.shape[0])
        moment, total, free = 0.0, 0.0, 0
        for iy in range(low, high):
            dy, row = iy - y, image[iy, first:end]
            owner = segments[iy, first:end] if segments.size else segments[0:0, 0]
            for j in range(len(row)):
                dx = first + j - x
                square = xx * dx * dx + yy * dy * dy + xy * dx * dy
                mine = True
                if segments.size:
                    mine = (owner[j] <= 0) | (owner[j] == ids[i])
                inside = (square <= reach * reach) & mine
                value = np.float64(row[j]) if inside else 0.0
                free += inside
                total += value
                moment += np.sqrt(square) * value
        moment = moment / total if moment > 0 and total > 0 else 0.0
        scale = max(factor * moment, least)
        cut[i] = cut_x | cut_y | (free == 0)
        first, end, cut_x = _extent(x, scale * half_x, image.shape[1])
        low, high, cut_y = _extent(y, scale * half_y, image.shape[0])
        cut[i] |= cut_x | cut_y
        flux, variance, whole, good, own = 0.0, 0.0, 0, 0, 0
        for iy in range(low, high):
            dy, row = iy - y, image[iy, first:end]
            owner = segments[iy, first:end] if segments.size else segments[0:0, 0]
            sigma = noise[iy, first:end] if noise.size > 1 else noise[0, 0:1]
            spoilt = bad[iy, first:end] if bad.size else bad[0:0, 0]
            for j in range(len(row)):
                dx = first + j - x
                inside = xx * dx * dx + yy * dy * dy + xy * dx * dy < scale * scale
                mine = inside
                if segments.size:
                    mine &= (owner[j] <= 0) | (owner[j] == ids[i])
                usable = inside
                if bad.size:
                    usable &= not spoilt[j]
                error = np.float64(sigma[j] if noise.size > 1 else sigma[0])
                flux += np.float64(row[j]) if mine else 0.0
                variance += error * error if mine else 0.0
                whole += inside
                good += usable
                own += usable & mine
        sums[0, i], sums[1, i], sums[2, i], sums[3, i], sums[4, i], sums[5, i], sums[6, i] = (
            moment,
            scale,
            flux,
            variance,
            whole,
            good,
            own,
        )


@njit(cache=True, nogil=True)
def _covered(dx: float, dy: float, square: float, subpixels: int) -> float:
    """Return the fraction of the subpixels of a pixel whose centres lie in a circle around the origin."""
    inside, step = 0, 1.0 / subpixels
    for sy in range(subpixels):
        at_y = dy + (sy + 0.5) * step - 0.5
        room = square - at_y * at_y
        for sx in range(subpixels):
            at_x = dx + (sx + 0.5) * step - 0.5
            inside += at_x * at_x < room
    return inside * step * step


@njit(cache=True, nogil=True)
def circle_sum(
    pixels: Pixels,
    place: tuple[float, float, int],
    radius: float,
    subpixels: int,
) -> tuple[float, float, bool]:
    """Return flux and variance by the noise within a circle, and whether the image cuts it.

    Parameters
    ----------
    place : (x, y, id)
    radius : float
    subpixels : int
        Parts along each axis that pixels on the rim are divided into.
    """
    image, noise, segments = pixels
    x, y, own = place
    first, end, cut_x = _extent(x, radius, image.shape[1])
    low, high, cut_y = _extent(y, radius, image.shape[0])
    inner, outer = max(radius - _HALF_DIAGONAL, 0.0) ** 2, (radius + _HALF_DIAGONAL) ** 2
    flux, variance = 0.0, 0.0
    for iy in range(low, high):
        dy, row = iy - y, image[iy, first:end]
        owner = segments[iy, first:end] if segments.size else segments[0:0, 0]
        sigma = noise[iy, first:end] if noise.size > 1 else noise[0, 0:1]
        for j in range(len(row)):
            dx = first + j - x
            square = dx * dx + dy * dy
            if square >= outer or (segments.size and owner[j] > 0 and owner[j] != own):
                continue
            share = 1.0 if square <= inner else _covered(dx, dy, radius * radius, subpixels)
            error = np.float64(sigma[j] if noise.size > 1 else sigma[0])
            flux += share * row[j]
            variance += share * error * error
    return flux, variance, cut_x | cut_y


@njit(cache=True, nogil=True)
def circle_sums(
    pixels: Pixels,
    ids: Int32,
    places: Float64,
    subpixels: int,
    sums: Float64,
    cut: Mask,
) -> None:
    """Sum circles, see `circle_sum`.

    Parameters
    ----------
    places : (3, n) float64
        x, y, radius.
    sums : (2, n) float64
        Output: flux, variance by the noise.
    cut : (n,) bool
        Output: whether the image cuts the circle.
    """
    for i in range(len(ids)):
        place = (places[0, i], places[1, i], ids[i])
        sums[0, i], sums[1, i], cut[i] = circle_sum(pixels, place, places[2, i], subpixels)


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def windowed_centroids(image: Float32, places: Float64, centres: Float64) -> None:
    """Iterate Gaussian-windowed centroids, SExtractor's XWIN_IMAGE, with 2 x 2 subpixels on the rim.

    Parameters
    ----------
    places : (3, n) float64
        x, y and standard deviation of the window; without a positive one a place stays.
    centres : (2, n) float64
        Output: x, y.
    """
    for i in range(places.shape[1]):
        x, y, sigma = places[0, i], places[1, i], places[2, i]
        reach = _WINDOW_SIGMA * sigma
        # Weights of the columns, and squares of their distances from the left and the right subpixels.
        columns = np.empty((3, int(2 * reach) + 4))
        for _ in range(_MOST_STEPS if sigma > 0 else 0):
            first, end, _cut = _extent(x, reach, image.shape[1])
            low, high, _cut = _extent(y, reach, image.shape[0])
            weight, left, right = columns[:, : end - first] if end > first else columns[:, :0]
            for j in range(len(weight)):
                dx = first + j - x
                weight[j] = np.exp(-dx * dx / (2 * sigma * sigma))
                left[j], right[j] = (dx - 0.25) ** 2, (dx + 0.25) ** 2
            total, total_x, total_y = 0.0, 0.0, 0.0
            for iy in range(low, high):
                dy, row = iy - y, image[iy, first : first + len(weight)]
                near, far = reach * reach - (dy - 0.25) ** 2, reach * reach - (dy + 0.25) ** 2
                line, line_x = 0.0, 0.0
                for j in range(len(row)):
                    share = 1.0 if left[j] < near else 0.0
                    share += 1.0 if left[j] < far else 0.0
                    share += 1.0 if right[j] < near else 0.0
                    share += 1.0 if right[j] < far else 0.0
                    value = 0.25 * share * weight[j] * row[j]
                    line += value
                    line_x += value * (first + j - x)
                vertical = np.exp(-dy * dy / (2 * sigma * sigma))
                total += vertical * line
                total_x += vertical * line_x
                total_y += vertical * line * dy
            if not total > 0:
                break
            step_x, step_y = total_x / total, total_y / total
            x += _STEP_FACTOR * step_x
            y += _STEP_FACTOR * step_y
            if step_x * step_x + step_y * step_y < _LAST_STEP_PX**2:
                break
        centres[0, i], centres[1, i] = x, y


@njit(cache=True, nogil=True)
def variance_of_segments(noise: Float32, segments: Int32, boxes: NDArray[np.int64]) -> Float64:
    """Sum the variances of the pixels of each source.

    Parameters
    ----------
    boxes : (n, 4) int64
        First and last row, first and last column of each source; source 1 is the first.
    """
    out = np.zeros(len(boxes))
    for i in range(len(boxes)):
        for iy in range(boxes[i, 0], boxes[i, 1] + 1):
            owner, sigma = (
                segments[iy, boxes[i, 2] : boxes[i, 3] + 1],
                noise[iy, boxes[i, 2] : boxes[i, 3] + 1],
            )
            for j in range(len(owner)):
                if owner[j] == i + 1:
                    out[i] += np.float64(sigma[j]) ** 2
    return out
