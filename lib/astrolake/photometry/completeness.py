"""How deep an image is complete: stars put into it, and counted when they are found again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.spatial import cKDTree

from astrolake.errors import BadArguments
from astrolake.photometry.extraction import Extraction
from astrolake.photometry.stellar_locus import StarLocus

Float64 = NDArray[np.float64]
#: Extracts the sources of an image of the shape of the first.
Extractor = Callable[[NDArray[np.float32]], Extraction]

#: Stars lie at least this many FWHM apart, so that they do not crowd each other.
_SPACING_FWHM = 10.0
#: A star is found by a source this near, in FWHM (and at least so many px), and this like in brightness, mag.
_SAME_FWHM, _SAME_PX, _SAME_MAG = 0.5, 1.0, 1.0
_BIN_MAG = 0.25
#: Magnitudes tried, about the 5 sigma depth.
_BRIGHTER, _FAINTER = 3.0, 1.25
_GAUSSIAN_BETA, _WIDEST_BETA = 50.0, 1.6
_REACH_FWHM = 5.0
_STARS_AT_ONCE = 256


@dataclass(frozen=True)
class Completeness:
    """Fraction of stars found, by magnitude.

    Parameters
    ----------
    mag : (n,) float64
        Centres of bins of 0.25 mag.
    fraction : (n,) float64
    n_stars : int
        Stars injected into good pixels.
    """

    mag: Float64
    fraction: Float64
    n_stars: int

    def magnitude_at(self, level: float) -> float:
        """Return the magnitude at which the fraction falls below a level for good; NaN when it never does.

        Interpolated between the bins, smoothed over three.
        """
        if self.mag.size < 3:
            return math.nan
        padded = np.pad(self.fraction, 1, mode="edge")
        smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3.0
        above = np.flatnonzero(smooth >= level)
        if not above.size or above[-1] == len(smooth) - 1:
            return math.nan
        last = int(above[-1])
        part = (smooth[last] - level) / (smooth[last] - smooth[last + 1])
        return float(self.mag[last] + part * (self.mag[last + 1] - self.mag[last]))


@dataclass(frozen=True)
class Injection:
    """What stars are put into an image.

    Parameters
    ----------
    zero_point_ab, depth : float
        Of the image; the depth as `point_source_depth` gives it.
    n_stars : int
        Wanted; fewer when the image has no room.
    gain : float, optional
        Electrons per image unit, for the photon noise of the stars.
    seed : int
        Same seed, same stars.
    """

    zero_point_ab: float
    depth: float
    n_stars: int = 500
    gain: float | None = None
    seed: int = 0


def inject_and_recover(
    data: NDArray[np.float32],
    bad: NDArray[np.bool_] | None,
    stars: StarLocus,
    extract: Extractor,
    injection: Injection,
) -> Completeness:
    """Put stars into an image, extract it again, and count those that are found.

    The stars have the width of the image's own (`moffat_of`), lie on a grid with random shifts, and have
    magnitudes from 3 brighter to 1.25 fainter than the depth. One is found when the nearest source within
    half a FWHM is as bright within a magnitude: a star that drowns in a brighter source is lost.

    Parameters
    ----------
    data, bad : (ny, nx) arrays
        The image, which stays as it is, and its unusable pixels.
    stars : StarLocus
    extract : callable
        As the image's own sources were extracted.
    injection : Injection

    Raises
    ------
    BadArguments
        When the width of the stars, the zero point or the depth is unknown.
    """
    zero_point_ab, depth = injection.zero_point_ab, injection.depth
    if not all(map(math.isfinite, (stars.fwhm_px, stars.noise_area_px, zero_point_ab, depth))):
        raise BadArguments("stars cannot be injected: width of the stars, zero point or depth is unknown")
    rng = np.random.default_rng(injection.seed)
    x, y = _places(data.shape, _SPACING_FWHM * stars.fwhm_px, injection.n_stars, rng)
    mag = rng.permutation(np.linspace(depth - _BRIGHTER, depth + _FAINTER, len(x)))
    if bad is not None and len(x):
        good = ~bad[np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)]
        x, y, mag = x[good], y[good], mag[good]
    flux = 10 ** (0.4 * (zero_point_ab - mag))
    crowded = np.array(data, dtype=np.float32)
    add_stars(crowded, x, y, flux, stars, injection.gain, rng)
    found = extract(crowded).columns
    radius = max(_SAME_FWHM * stars.fwhm_px, _SAME_PX)
    recovered = _recovered(x, y, flux, found["x"], found["y"], found["flux_auto"], radius)
    edges = np.arange(depth - _BRIGHTER, depth + _FAINTER + _BIN_MAG / 2, _BIN_MAG)
    count = np.histogram(mag, edges)[0]
    seen = np.histogram(mag[recovered], edges)[0]
    known = count > 0
    return Completeness(0.5 * (edges[1:] + edges[:-1])[known], seen[known] / count[known], len(x))


def _places(
    shape: tuple[int, ...], spacing: float, n: int, rng: np.random.Generator
) -> tuple[Float64, Float64]:
    """Return at most n places on a jittered grid, spread over the image."""
    counts = [int(size // spacing) for size in shape]
    if min(counts) < 1:
        return np.empty(0), np.empty(0)
    rows, columns = (
        (np.arange(count) + 0.5) * size / count for count, size in zip(counts, shape, strict=True)
    )
    x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
    chosen = rng.permutation(len(x))[:n]
    shift = rng.uniform(-0.25, 0.25, (2, len(chosen))) * spacing
    ny, nx = shape
    return (x[chosen] + shift[0]).clip(0, nx - 1), (y[chosen] + shift[1]).clip(0, ny - 1)


def _recovered(
    x: Float64,
    y: Float64,
    flux: Float64,
    x_found: Float64,
    y_found: Float64,
    flux_found: Float64,
    radius: float,
) -> NDArray[np.bool_]:
    if not len(x_found) or not len(x):
        return np.zeros(len(x), dtype=bool)
    distance, index = cKDTree(np.stack([x_found, y_found], axis=1)).query(np.stack([x, y], axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(2.5 * np.log10(flux_found[index] / flux))
    return np.asarray((distance <= radius) & (difference <= _SAME_MAG))


def moffat_of(stars: StarLocus) -> tuple[float, float]:
    """Return alpha (px) and beta of the Moffat profile with the FWHM and the noise area of an image's stars.

    noise area / FWHM^2 = pi (2 beta - 1) / (4 (beta - 1)^2 (2^(1/beta) - 1)) falls with beta (Moffat 1969,
    A&A 3, 455, for the profile); beyond the range of beta the nearest is taken, 50 is a Gaussian.
    """

    def ratio(beta: float) -> float:
        return math.pi * (2 * beta - 1) / (4 * (beta - 1) ** 2 * (2 ** (1 / beta) - 1))

    wanted = stars.noise_area_px / stars.fwhm_px**2
    if wanted <= ratio(_GAUSSIAN_BETA):
        beta = _GAUSSIAN_BETA
    elif wanted >= ratio(_WIDEST_BETA):
        beta = _WIDEST_BETA
    else:
        beta = float(brentq(lambda b: ratio(b) - wanted, _WIDEST_BETA, _GAUSSIAN_BETA))
    return stars.fwhm_px / (2 * math.sqrt(2 ** (1 / beta) - 1)), beta


def add_stars(
    image: NDArray[np.float32],
    x: Float64,
    y: Float64,
    flux: Float64,
    stars: StarLocus,
    gain: float | None,
    rng: np.random.Generator,
) -> None:
    """Add stars to an image in place, with photon noise when there is a gain.

    The measured profile holds the pixel's width already: it is sampled, not integrated.
    """
    alpha, beta = moffat_of(stars)
    reach = math.ceil(_REACH_FWHM * stars.fwhm_px)
    step = np.arange(-reach, reach + 1)
    ny, nx = image.shape
    for some in np.array_split(np.arange(len(x)), max(1, -(-len(x) // _STARS_AT_ONCE))):
        row = np.rint(y[some]).astype(np.intp)[:, np.newaxis, np.newaxis] + step[:, np.newaxis]
        column = np.rint(x[some]).astype(np.intp)[:, np.newaxis, np.newaxis] + step
        square = (row - _cube(y[some])) ** 2 + (column - _cube(x[some])) ** 2
        light = (1 + square / alpha**2) ** -beta * _cube(flux[some]) * (beta - 1) / (math.pi * alpha**2)
        if gain is not None:
            light = rng.poisson(light * gain) / gain
        inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
        at = np.broadcast_to(row * nx + column, light.shape)[inside]
        np.add.at(image.reshape(-1), at, light[inside].astype(np.float32))


def _cube(values: Float64) -> Float64:
    return values[:, np.newaxis, np.newaxis]
