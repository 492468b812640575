"""Compiled loops of the background: statistics of meshes, their median filter, splines at pixels.

They follow SExtractor's definitions step by step (Bertin & Arnouts 1996, A&AS 117, 393, section 3), so that
backgrounds agree with those of SExtractor and SEP.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: The histogram of a mesh spans this many standard deviations to each side, in so many levels at most.
_HISTOGRAM_SIGMA, _MOST_LEVELS = 5.0, 4096
#: Levels for each pixel: a level at the mode holds about four pixels.
_LEVELS_PER_PIXEL = float(np.sqrt(2 / np.pi) * _HISTOGRAM_SIGMA / 4)
_FIRST_CLIP, _CLIP, _MOST_ROUNDS = 2.0, 3.0, 100
#: Median and mean nearer than this, in standard deviations, make a mode.
_SKEW = 0.3
_BIG = np.float32(1e30)


@njit(cache=True, nogil=True)
def mesh_row(image: Float32, bad: Mask, mesh_px: int, least: Ints, level: Float64, noise: Float64) -> None:
    """Measure background and noise of a row of meshes.

    Parameters
    ----------
    image : (height, nx) float32
    bad : (height, nx) bool, or (0, 0) for none
    mesh_px : int
        Width of a mesh.
    least : (n_meshes,) int
        A mesh with fewer good pixels gets NaN.
    level, noise : (n_meshes,) float64
        Output.
    """
    histogram = np.zeros(_MOST_LEVELS + 1, np.int32)
    # Sums of 1, i and i^2 over the bins before each.
    sums = np.zeros((3, _MOST_LEVELS + 1), np.int64)
    pixels = np.empty(image.shape[0] * min(mesh_px, image.shape[1]), np.float32)
    bins = np.empty(len(pixels), np.int32)
    for mesh in range(len(level)):
        n = _gather(image, bad, mesh * mesh_px, min((mesh + 1) * mesh_px, image.shape[1]), pixels)
        if n == 0 or n < least[mesh]:
            level[mesh] = noise[mesh] = np.nan
            continue
        count, mean, sigma = _moments(pixels[:n], -_BIG, _BIG)
        low, high = np.float32(mean - _FIRST_CLIP * sigma), np.float32(mean + _FIRST_CLIP * sigma)
        count, mean, sigma = _moments(pixels[:n], low, high)
        n_levels = min(int(_LEVELS_PER_PIXEL * count + 1), _MOST_LEVELS)
        step = np.float32(2 * _HISTOGRAM_SIGMA * sigma / n_levels) if sigma > 0 else np.float32(1)
        zero = np.float32(mean - _HISTOGRAM_SIGMA * sigma)
        offset = np.float32(0.499999 - np.float64(zero / step))
        _fill_histogram(pixels[:n], step, offset, bins, histogram[: n_levels + 1])
        level[mesh], noise[mesh] = _mode(histogram[: n_levels + 1], sums, mean, zero, step)


@njit(cache=True, nogil=True)
def _gather(image: Float32, bad: Mask, left: int, right: int, pixels: Float32) -> int:
    """Copy the good pixels of a mesh one after the other; return how many."""
    n, width = 0, right - left
    for y in range(image.shape[0]):
        if bad.size == 0:
            pixels[n : n + width] = image[y, left:right]
            n += width
        else:
            for x in range(left, right):
                pixels[n] = image[y, x]
                n += not bad[y, x]
    return n


# Sums may be taken in any order: vector units add several numbers at a time.
@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _moments(pixels: Float32, low: np.float32, high: np.float32) -> tuple[float, float, float]:
    """Return number, mean and standard deviation of the pixels from low to high."""
    count, total, square = 0.0, 0.0, 0.0
    for i in range(len(pixels)):
        inside = (pixels[i] >= low) & (pixels[i] <= high)
        value = np.float64(pixels[i]) if inside else 0.0
        count += 1.0 if inside else 0.0
        total += value
        square += value * value
    n = max(count, 1.0)
    variance = square / n - (total / n) ** 2
    return count, total / n, np.sqrt(variance) if variance > 0 else 0.0


@njit(cache=True, nogil=True)
def _fill_histogram(
    pixels: Float32, step: np.float32, offset: np.float32, bins: Int32, histogram: Int32
) -> None:
    """Count the pixels of each level; the last bin takes those beyond all levels."""
    histogram[:] = 0
    beyond = np.int32(len(histogram) - 1)
    for i in range(len(pixels)):
        place = pixels[i] / step + offset
        # As a truncating conversion does: what lies less than one below is in the first.
        inside = (place > np.float32(-1)) & (place < np.float32(beyond))
        bins[i] = np.int32(place) if inside else beyond
    for i in range(len(pixels)):
        histogram[bins[i]] += 1


@njit(cache=True, nogil=True)
def _mode(
    histogram: Int32, sums: NDArray[np.int64], mean_before: float, zero: np.float32, step: np.float32
) -> tuple[float, float]:
    """Return the clipped mode and standard deviation of a histogram.

    Clipped at three standard deviations around the median until they settle; the mode is
    2.5 median - 1.5 mean, or the median where they differ by more.
    """
    n_levels = len(histogram) - 1
    counts, moments, squares = sums
    count, moment, square = np.int64(0), np.int64(0), np.int64(0)
    for i in range(n_levels):
        pixels = np.int64(histogram[i])
        count += pixels
        moment += pixels * i
        square += pixels * i * i
        counts[i + 1], moments[i + 1], squares[i + 1] = count, moment, square
    first, last = 0, n_levels - 1
    mean = median = mean_before
    sigma, before = 10.0 * last, 1.0
    for _ in range(_MOST_ROUNDS):
        if sigma < 0.1 or np.abs(sigma / before - 1) <= 1e-4:
            break
        before = sigma
        total = counts[last + 1] - counts[first]
        mean = float(moments[last + 1] - moments[first])
        sigma = float(squares[last + 1] - squares[first])
        median = _median(histogram, counts, first, last)
        if total > 0:
            mean /= total
            sigma = sigma / total - mean * mean
        sigma = np.sqrt(sigma) if sigma > 0 else 0.0
        low, high = median - _CLIP * sigma, median + _CLIP * sigma
        first = int(low + 0.5) if low > 0 else 0
        last = int(high + 0.5) if high < n_levels - 1 else n_levels - 1
    if sigma > 0 and np.abs((mean - median) / sigma) < _SKEW:
        mode = 2.5 * median - 1.5 * mean
    else:
        mode = median if sigma > 0 else mean
    return float(zero + mode * step), float(sigma * step)


@njit(cache=True, nogil=True)
def _median(histogram: Int32, below: NDArray[np.int64], first: int, last: int) -> float:
    """Return where the pixels below and above are as many, interpolated within the bins that meet there."""
    total = below[last + 1] - below[first]
    low, high = first, last + 1
    while low < high:
        middle = (low + high + 1) // 2
        if below[middle - 1] + below[middle] - 2 * below[first] < total:
            low = middle
        else:
            high = middle - 1
    meets = low
    if meets == 0:
        return 0.0
    fullest = max(histogram[min(meets, len(histogram) - 2)], histogram[meets - 1])
    excess = float(below[last + 1] - below[meets]) - float(below[meets] - below[first])
    return meets - 0.5 + (excess / (2.0 * fullest) if fullest > 0 else 0.0)


@njit(cache=True, nogil=True)
def median_filter(nodes: Float64, size: int) -> Float64:
    """Return the median of the meshes around each; near a border the window shrinks on both sides alike."""
    n_rows, n_columns = nodes.shape
    out = np.empty_like(nodes)
    for i in range(n_rows):
        up = min(size // 2, i, n_rows - 1 - i)
        for j in range(n_columns):
            side = min(size // 2, j, n_columns - 1 - j)
            out[i, j] = np.median(nodes[i - up : i + up + 1, j - side : j + side + 1].copy())
    return out


@njit(cache=True, nogil=True)
def evaluate_spline(
    nodes: Float64, grid: tuple[tuple[Ints, Float64], tuple[Ints, Float64]], out: Float32
) -> None:
    """Fill `out` with a spline; `grid` as `subtract_splines` takes it."""
    rows, columns = grid
    value, bend = np.empty(nodes.shape[2]), np.empty(nodes.shape[2])
    for i in range(out.shape[0]):
        _nodes_of_row(nodes, rows, i, value, bend)
        _line(value, bend, columns, out[i])


@njit(cache=True, nogil=True)
def subtract_splines(
    image: Float32,
    bad: Mask,
    level_nodes: Float64,
    noise_nodes: Float64,
    grid: tuple[tuple[Ints, Float64], tuple[Ints, Float64]],
    floor: np.float32,
    residual: Float32,
    noise: Float32,
) -> None:
    """Subtract a spline from an image and evaluate another one, line by line.

    Parameters
    ----------
    image : (ny, nx) float32
    bad : (ny, nx) bool, or (0, 0) for none
        Where `residual` is 0.
    level_nodes, noise_nodes : (4, my, mx) float64
        Values and second derivatives along x, y and both.
    grid : (rows, columns), (cell, factors) each
        Node before each pixel, (n,), and the factors of both nodes' values and second derivatives, (4, n).
    floor : float32
        The least noise.
    residual : (ny, nx) float32
        Output.
    noise : (ny, nx) float32, or (0, 0) where it is not wanted
        Output.
    """
    rows, columns = grid
    value, bend = np.empty(level_nodes.shape[2]), np.empty(level_nodes.shape[2])
    line = np.empty(image.shape[1], np.float32)
    for i in range(image.shape[0]):
        _nodes_of_row(level_nodes, rows, i, value, bend)
        _line(value, bend, columns, line)
        for j in range(image.shape[1]):
            residual[i, j] = image[i, j] - line[j]
        if bad.size > 0:
            for j in range(image.shape[1]):
                if bad[i, j]:
                    residual[i, j] = 0
        if noise.size > 0:
            _nodes_of_row(noise_nodes, rows, i, value, bend)
            _line(value, bend, columns, line)
            for j in range(image.shape[1]):
                noise[i, j] = max(line[j], floor)


@njit(cache=True, nogil=True)
def _nodes_of_row(nodes: Float64, rows: tuple[Ints, Float64], i: int, value: Float64, bend: Float64) -> None:
    """Interpolate values and second derivatives along x at the nodes of one row of pixels."""
    cell, factors = rows
    low, high = cell[i], min(cell[i] + 1, nodes.shape[1] - 1)
    a, b, c, d = factors[0, i], factors[1, i], factors[2, i], factors[3, i]
    for k in range(nodes.shape[2]):
        value[k] = a * nodes[0, low, k] + b * nodes[0, high, k] + c * nodes[2, low, k] + d * nodes[2, high, k]
        bend[k] = a * nodes[1, low, k] + b * nodes[1, high, k] + c * nodes[3, low, k] + d * nodes[3, high, k]


@njit(cache=True, nogil=True)
def _line(value: Float64, bend: Float64, columns: tuple[Ints, Float64], out: Float32) -> None:
    """Interpolate along one row of pixels, run by run of pixels between the same nodes."""
    cell, factors = columns
    first = 0
    while first < len(out):
        node = cell[first]
        after = min(node + 1, len(value) - 1)
        end = np.searchsorted(cell, node + 1)
        v0, v1, b0, b1 = value[node], value[after], bend[node], bend[after]
        a, b, c, d = (
            factors[0, first:end],
            factors[1, first:end],
            factors[2, first:end],
            factors[3, first:end],
        )
        run = out[first:end]
        for j in range(len(run)):
            run[j] = v0 * a[j] + v1 * b[j] + b0 * c[j] + b1 * d[j]
        first = end
