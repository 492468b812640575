"""What a detector makes of a noiseless image: sky, noise, cosmic rays, hot pixels, saturation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrolake.demo.layout import Exposure

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

FULL_WELL_E = 100_000.0
_COSMIC_RAYS_PER_MPX, _HOT_PIXELS_PER_MPX = 4.0, 3.0
_LONGEST_TRACK_PX = 10


def saturation_level(exposure: Exposure) -> float:
    """Return the pixel value in nanomaggies at which the exposure saturates."""
    return FULL_WELL_E / exposure.band.gain


def sky_background(exposure: Exposure) -> Float32:
    """Return the sky in nanomaggies per pixel: a mean level with a smooth gradient of a few per cent."""
    ny, nx = exposure.shape
    y, x = np.linspace(-1.0, 1.0, ny)[:, np.newaxis], np.linspace(-1.0, 1.0, nx)
    shape = 1.0 + 0.02 * x + 0.015 * y + 0.006 * x * y + 0.008 * (x**2 - 1.0 / 3.0)
    return np.asarray(exposure.sky_level * shape, dtype=np.float32)


def pixel_noise(exposure: Exposure) -> float:
    """Return the standard deviation of empty sky in nanomaggies: photon noise and read noise."""
    gain = exposure.band.gain
    return float(np.sqrt(exposure.sky_level / gain + (exposure.band.read_noise_e / gain) ** 2))


def expose(image: Float32, exposure: Exposure, seed: int) -> Float32:
    """Return the exposure of a noiseless image, in nanomaggies with the sky left in.

    Parameters
    ----------
    image : (ny, nx) float32
        Nanomaggies per pixel, without sky.
    exposure : Exposure
    seed : int
        Every exposure draws from a stream of its own, so that the order does not matter.

    Returns
    -------
    (ny, nx) float32
        Poisson noise of source and sky, Gaussian read noise, cosmic rays, the hot pixels of the
        band's detector; charge above the full well has run along the columns.
    """
    column = exposure.layout.bands.index(exposure.band)
    rng = np.random.default_rng([seed, 3, exposure.epoch.run, exposure.field, column])
    electrons = rng.poisson((image + sky_background(exposure)) * exposure.band.gain).astype(np.float32)
    electrons += exposure.band.read_noise_e * rng.standard_normal(electrons.shape, dtype=np.float32)
    _add_cosmic_rays(electrons, rng)
    _add_hot_pixels(electrons, np.random.default_rng([seed, 4, column]))
    bleed(electrons, FULL_WELL_E)
    return np.asarray(electrons / np.float32(exposure.band.gain))


def bleed(electrons: Float32, full_well: float) -> None:
    """Let charge above the full well run along its column, half of it each way, in place.

    Charge is conserved but for what runs off the first and last row. Pixels end within 0.1 % of
    the full well and are then cut there. Pixels that are NaN do not take part.
    """
    columns = np.flatnonzero((electrons > full_well).any(axis=0))
    strip = electrons[:, columns].astype(np.float64)
    excess = np.maximum(strip - full_well, 0.0)
    while excess.size and excess.max() > 1e-3 * full_well:
        strip -= excess
        strip[1:] += 0.5 * excess[:-1]
        strip[:-1] += 0.5 * excess[1:]
        excess = np.maximum(strip - full_well, 0.0)
    electrons[:, columns] = np.minimum(strip, full_well)


def _add_cosmic_rays(electrons: Float32, rng: np.random.Generator) -> None:
    """Add straight tracks of up to ten pixels, in place."""
    ny, nx = electrons.shape
    n = rng.poisson(_COSMIC_RAYS_PER_MPX * electrons.size / 1e6)
    angle, length = rng.uniform(0.0, np.pi, n), rng.uniform(1.0, _LONGEST_TRACK_PX, n)
    charge_e = np.exp(rng.normal(np.log(1500.0), 0.8, n))
    steps = np.arange(_LONGEST_TRACK_PX)
    x = np.rint(rng.uniform(0, nx, n)[:, np.newaxis] + np.cos(angle)[:, np.newaxis] * steps).astype(np.int64)
    y = np.rint(rng.uniform(0, ny, n)[:, np.newaxis] + np.sin(angle)[:, np.newaxis] * steps).astype(np.int64)
    hit = (steps < length[:, np.newaxis]) & (x >= 0) & (x < nx) & (y < ny)
    charge_e = np.broadcast_to(charge_e[:, np.newaxis], hit.shape)[hit]
    np.add.at(electrons, (y[hit], x[hit]), charge_e.astype(np.float32))


def _add_hot_pixels(electrons: Float32, rng: np.random.Generator) -> None:
    """Add single bright pixels, in place."""
    n = rng.poisson(_HOT_PIXELS_PER_MPX * electrons.size / 1e6)
    pixels = rng.integers(0, electrons.size, n)
    np.add.at(electrons.reshape(-1), pixels, rng.uniform(2000.0, 15000.0, n).astype(np.float32))
