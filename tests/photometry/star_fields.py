"""Star fields whose fluxes and positions are known by construction."""

from __future__ import annotations

import numpy as np
from scipy.special import erf


def gaussian_stars(shape, x, y, flux, sigma_px):
    """Return an image of round Gaussian stars, integrated over each pixel, so that fluxes are exact."""

    def integrals(size, centre):
        edges = (np.arange(size + 1) - 0.5 - np.asarray(centre)[:, None]) / (sigma_px * np.sqrt(2))
        return np.diff(erf(edges), axis=1) / 2

    along_y, along_x = integrals(shape[0], y), integrals(shape[1], x)
    return along_y.T @ (np.broadcast_to(flux, len(x))[:, None] * along_x)


def observed(image, *, background=100.0, noise=5.0, gain=None, seed=1):
    """Add sky, its noise and, with a gain in electrons per unit, photon noise; float32."""
    rng = np.random.default_rng(seed)
    light = image if gain is None else rng.poisson(image * gain) / gain
    return (light + background + rng.normal(0, noise, image.shape)).astype(np.float32)


def grid(size, step, seed=2):
    """Return x, y of stars on a grid, each shifted by a random part of a pixel."""
    ticks = np.arange(step // 2, size - step // 2, step)
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(ticks, ticks))
    shift = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, len(x)))
    return x + shift[0], y + shift[1]


def nearest(columns, x, y):
    """Return for each position the index of the nearest source and its distance in px."""
    distance = np.hypot(np.subtract.outer(y, columns["y"]), np.subtract.outer(x, columns["x"]))
    index = distance.argmin(axis=1)
    return index, distance[np.arange(len(index)), index]
