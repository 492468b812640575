"""Measures of detected sources: Kron, isophotal and aperture fluxes, centroids, shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.photometry.aperture_kernels import (
    circle_sums,
    kron_ellipses,
    variance_of_segments,
    windowed_centroids,
)
from astrolake.photometry.background import Sky
from astrolake.photometry.flags import Flag, where
from astrolake.photometry.mesh import NO_MASK
from astrolake.photometry.options import ExtractionOptions

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Objects = NDArray[np.void]
Columns = dict[str, NDArray[Any]]

#: SExtractor integrates the first radial moment out to six isophotal radii.
_KRON_LIMIT = 6.0
#: A Kron aperture with more masked pixels than this has neighbours (SExtractor's CROWD_THRESHOLD).
_CROWDED = 0.1
#: A windowed centroid further off than this many rms semi-major axes has run to a neighbour.
_MAX_SHIFT = 0.5
#: Standard deviation of a Gaussian in half-light radii, as SExtractor rounds it.
_SIGMA_PER_HALF_LIGHT = 2.0 / 2.35
_FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))
#: Subpixels per axis on the rim of circles, as SExtractor has them.
_SUBPIXELS = 5
#: The rms of a uniform pixel is the smallest axis.
_PIXEL_RMS = float(np.sqrt(1 / 12))


@dataclass(frozen=True)
class Scene:
    """Where sources are measured.

    Parameters
    ----------
    sky : Sky
        Image without background, and its noise.
    segments : (ny, nx) int32 or None
        Owner of each pixel. Pixels of other sources count as 0 in every aperture: filling them with the
        mean of the rest, as SEP does with a mask, spoils faint sources beside bright ones. None masks
        nothing.
    gain : float or None
        Electrons per image unit; None leaves photon noise out of the errors.
    """

    sky: Sky
    segments: Int32 | None
    gain: float | None

    def masking(self, ids: Int32) -> dict[str, Int32]:
        """Return SEP's arguments that leave out the pixels of all sources but the own."""
        return {} if self.segments is None else {"segmap": self.segments, "seg_id": ids}

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32], Int32]:
        """Return image, noise and segments as `aperture_kernels` takes them."""
        noise = self.sky.noise
        return (
            self.sky.residual,
            noise if isinstance(noise, np.ndarray) else np.full((1, 1), noise, np.float32),
            _NOTHING_MASKED if self.segments is None else self.segments,
        )

    def error(self, flux: Float64, variance: Float64, area_px: Float64 | float) -> Float64:
        """Return the error of sums of pixels, from their variance by independent noise and their photons.

        Where the noise is correlated, its variance is that of a circle of this area.
        """
        photons = 0.0 if self.gain is None else np.fmax(flux, 0) / self.gain
        if self.sky.correlation is not None:
            variance = variance * self.sky.correlation.in_circle(area_px)
        total: Float64 = np.sqrt(variance + photons)
        return total


_NOTHING_MASKED: Int32 = np.zeros((0, 0), np.int32)


def ellipses(objects: Objects) -> tuple[Float64, Float64, Float64]:
    """Return a, b (rms, px) and theta (radians, within +-pi/2) that SEP accepts for any detection."""
    a, b = (np.nan_to_num(objects[name], nan=_PIXEL_RMS).clip(min=_PIXEL_RMS) for name in ("a", "b"))
    return a, np.minimum(a, b), np.nan_to_num(objects["theta"]).clip(-np.pi / 2, np.pi / 2)


def kron_photometry(scene: Scene, objects: Objects, ids: Int32, options: ExtractionOptions) -> Columns:
    """Measure fluxes in Kron ellipses, SExtractor's FLUX_AUTO (Kron 1980, ApJS 43, 305).

    `kron_radius` is SExtractor's KRON_RADIUS: the scale of the ellipse (a, b) that was summed, factor and
    minimum included.
    """
    n, bad = len(objects), scene.sky.bad
    places = np.stack([objects["x"], objects["y"], *ellipses(objects)])
    sums, cut = np.empty((7, n)), np.empty(n, bool)
    kron_ellipses(
        scene.arrays(),
        NO_MASK if bad is None else bad,
        ids,
        places,
        (_KRON_LIMIT, float(options.kron_factor), float(options.kron_min_radius)),
        sums,
        cut,
    )
    moment, scale, flux, variance, whole, good, own = sums
    flags = where(cut, Flag.APERTURE_INCOMPLETE) | where(moment <= 0, Flag.NO_KRON_RADIUS)
    flags |= where(own < (1 - _CROWDED) * whole, Flag.NEIGHBOURS) | where(good < whole, Flag.BAD_PIXELS)
    return {
        "flux_auto": flux,
        "flux_auto_err": scene.error(flux, variance, np.pi * places[2] * places[3] * scale**2),
        "kron_radius": scale,
        "flags": flags,
    }


def isophotal_photometry(scene: Scene, objects: Objects, segments: Int32) -> Columns:
    """Sum the pixels of each source above the threshold, SExtractor's FLUX_ISO."""
    flux, noise = objects["flux"].astype(np.float64), scene.sky.noise
    if isinstance(noise, np.ndarray):
        boxes = np.stack([objects[name] for name in ("ymin", "ymax", "xmin", "xmax")], axis=1)
        variance = variance_of_segments(noise, segments, boxes.astype(np.int64))
    else:
        variance = np.asarray(objects["npix"] * noise**2, dtype=np.float64)
    return {
        "flux_iso": flux,
        "flux_iso_err": scene.error(flux, variance, objects["npix"].astype(np.float64)),
        "n_pixels": objects["npix"].astype(np.int32),
    }


def centroids(scene: Scene, objects: Objects, half_light_px: Float64, flux: Float64) -> Columns:
    """Return windowed centroids, SExtractor's XWIN_IMAGE with the first pixel centre at 0.

    The window knows no neighbours. Where it moved by more than half of the semi-major axis, or had no
    half-light radius to start from, the isophotal centroid stays and is flagged.

    Errors of windowed centroids are those of `windowed_error`. Those of isophotal ones are
    sqrt(sum(s_i^2 (x_i - x)^2)) / sum(I_i), with the pixel variances s_i^2 from sky and, with a gain, photon
    noise (ERRX2_IMAGE, SExtractor user's manual, "Position and shape parameters"); they leave out that noise
    decides which pixels are above the threshold, and faint sources scatter by twice as much.

    Parameters
    ----------
    scene, objects
    half_light_px, flux : (n,) float64
        Half-light radius and the flux it belongs to.
    """
    x, y = objects["x"], objects["y"]
    sigma = _SIGMA_PER_HALF_LIGHT * np.nan_to_num(half_light_px)
    x_win, y_win = centres = np.empty((2, len(x)))
    windowed_centroids(scene.sky.residual, np.stack([x, y, sigma]), centres)
    shift = np.hypot(x_win - x, y_win - y)
    # A NaN on either side compares false: it stays with the isophote.
    settled = (shift <= _MAX_SHIFT * objects["a"]) & np.isfinite(half_light_px)
    error = windowed_error(scene, (x, y), sigma, flux)
    windowed = settled & np.isfinite(error)
    return {
        "x": np.where(settled, x_win, x),
        "y": np.where(settled, y_win, y),
        "x_err": np.where(windowed, error, np.sqrt(objects["errx2"])),
        "y_err": np.where(windowed, error, np.sqrt(objects["erry2"])),
        "flags": where(~settled, Flag.ISOPHOTAL_CENTROID),
    }


def windowed_error(
    scene: Scene, position: tuple[Float64, Float64], sigma_px: Float64, flux: Float64
) -> Float64:
    """Return the error of a windowed centroid along one axis, px.

    The square is SExtractor's ERRX2WIN, 4 sum(w_i^2 s_i^2 (x_i - x)^2) / sum(w_i I_i)^2 (user's manual,
    "Windowed positional parameters"), for a round Gaussian of the window's width: the window w holds half of
    the flux F, which makes it 8 pi sigma^4 s^2 / F^2 for the noise s of the sky, and 16 sigma^2 / 9 F for the
    photon noise of F electrons.

    Parameters
    ----------
    scene : Scene
    position : (x, y), (n,) float64 each
    sigma_px, flux : (n,) float64
        Standard deviation of the window, and flux of the source.

    Returns
    -------
    (n,) float64
        NaN where the flux or the width is not positive.
    """
    noise = surroundings(scene.sky, *position)["background_rms"]
    area = 4 * np.pi * sigma_px**2
    known = (flux > 0) & (sigma_px > 0)
    light = np.where(known, flux, np.nan)
    sky = 2 * area * np.square(sigma_px * noise / light)
    if scene.sky.correlation is not None:
        sky = sky * scene.sky.correlation.in_circle(area)
    photons = 0.0 if scene.gain is None else 16 / 9 * sigma_px**2 / (light * scene.gain)
    return np.asarray(np.sqrt(sky + photons))


def circular_photometry(
    scene: Scene, x: Float64, y: Float64, ids: Int32, radii_px: tuple[float, ...]
) -> Columns:
    """Sum circular apertures: `flux_aper` and `flux_aper_err` have the shape (n, len(radii_px))."""
    flux = np.empty((len(x), len(radii_px)))
    error = np.empty_like(flux)
    flags = np.zeros(len(x), dtype=np.int32)
    for i, radius in enumerate(radii_px):
        flux[:, i], error[:, i], cut = sum_circles(scene, x, y, ids, radius)
        flags |= where(cut, Flag.APERTURE_INCOMPLETE)
    return {"flux_aper": flux, "flux_aper_err": error, "flags": flags}


def sum_circles(
    scene: Scene, x: Float64, y: Float64, ids: Int32, radius_px: float
) -> tuple[Float64, Float64, NDArray[np.bool_]]:
    """Return flux, error and whether the image cuts them of circles of one radius."""
    sums, cut = np.empty((2, len(x))), np.empty(len(x), bool)
    places = np.stack([x, y, np.full(len(x), radius_px)])
    circle_sums(scene.arrays(), ids, places, _SUBPIXELS, sums, cut)
    return sums[0], scene.error(sums[0], sums[1], np.pi * radius_px**2), cut


def shapes(objects: Objects) -> Columns:
    """Return the isophotal shape: a, b, theta (degrees) and the FWHM of a Gaussian of the same moments."""
    a, b, theta = ellipses(objects)
    fwhm = _FWHM_PER_SIGMA * np.sqrt((a**2 + b**2) / 2)
    return {
        "a": a,
        "b": b,
        "theta": np.degrees(theta),
        "fwhm": fwhm,
        "peak": objects["peak"].astype(np.float64),
    }


def surroundings(sky: Sky, x: Float64, y: Float64) -> Columns:
    """Return background and noise at each position, and its distance to the image border."""
    ny, nx = sky.residual.shape
    row, column = np.rint(y).astype(np.intp).clip(0, ny - 1), np.rint(x).astype(np.intp).clip(0, nx - 1)
    noise = sky.noise[row, column] if isinstance(sky.noise, np.ndarray) else np.full(len(x), sky.noise)
    return {
        "background": sky.level[row, column].astype(np.float64),
        "background_rms": np.where(noise > 0, noise, np.nan).astype(np.float64),
        "edge_distance_px": np.minimum.reduce([x + 0.5, y + 0.5, nx - 0.5 - x, ny - 0.5 - y]),
    }


def reaches(sky: Sky, objects: Objects, saturation: float) -> NDArray[np.bool_]:
    """Return whether the highest pixel of each source, its background included, reaches a level."""
    peak = objects["peak"] + sky.level[objects["ypeak"], objects["xpeak"]]
    return np.asarray(peak >= saturation)
