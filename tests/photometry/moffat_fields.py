"""Star fields of Moffat profiles, integrated over pixels by a fine sum of their own, with known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ZERO_POINT = 22.5
#: Electrons per unit and noise of a pixel, as SDSS frames in r have them.
GAIN, NOISE, SKY = 940.0, 0.024, 0.2
_NODES, _WEIGHTS = (values / 2 for values in np.polynomial.legendre.leggauss(6))


@dataclass(frozen=True)
class Field:
    """An image and the stars on it."""

    image: np.ndarray
    x: np.ndarray
    y: np.ndarray
    mag: np.ndarray

    @property
    def flux(self):
        return 10 ** (-0.4 * (self.mag - ZERO_POINT))


def moffat(dx, dy, fwhm, beta, e1=0.0, e2=0.0):
    """Return the flux of an elliptical Moffat star per square pixel; e1, e2: ln(axis ratio) x cos, sin."""
    size = np.hypot(e1, e2)
    stretch = np.sinh(size) / size if size else 1.0
    form = (np.cosh(size) - stretch * e1, np.cosh(size) + stretch * e1, -2 * stretch * e2)
    core = (2 ** (1 / beta) - 1) / (fwhm / 2) ** 2
    radius2 = form[0] * dx * dx + form[1] * dy * dy + form[2] * dx * dy
    return (beta - 1) * core / np.pi * (1 + core * radius2) ** -beta


def pixel_moffat(dx, dy, *shape):
    """Return the flux of a Moffat star in pixels centred at offsets dx, dy."""
    return sum(
        w * v * moffat(dx + a, dy + b, *shape)
        for a, w in zip(_NODES, _WEIGHTS, strict=True)
        for b, v in zip(_NODES, _WEIGHTS, strict=True)
    )


def draw(shape, x, y, flux, fwhm=3.3, beta=3.0, e1=0.05, e2=-0.03, half=24):
    """Return an image of stars without noise; `fwhm` may be an array, one for each star."""
    image = np.zeros((shape[0] + 2 * half + 8, shape[1] + 2 * half + 8))
    pad, axis = half + 4, np.arange(-half, half + 1)
    for xi, yi, fi, wi in zip(x, y, flux, np.broadcast_to(fwhm, len(x)), strict=True):
        column, row = round(xi), round(yi)
        stamp = pixel_moffat((column + axis - xi)[None, :], (row + axis - yi)[:, None], wi, beta, e1, e2)
        corner = (row - half + pad, column - half + pad)
        image[corner[0] : corner[0] + len(axis), corner[1] : corner[1] + len(axis)] += fi * stamp
    return image[pad:-pad, pad:-pad]


def noisy(image, seed):
    """Add sky, photon noise and sky noise; float32."""
    rng = np.random.default_rng(seed)
    light = rng.poisson(image * GAIN) / GAIN
    return (light + SKY + rng.normal(0, NOISE, image.shape)).astype(np.float32)


def star_field(n, seed, shape=(512, 512), mags=(15.5, 22.5), slope=0.15, **profile):
    """Return stars at random places with counts that grow as 10^(slope mag)."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(2, shape[1] - 3, n), rng.uniform(2, shape[0] - 3, n)
    low, high = (10 ** (slope * mag) for mag in mags)
    mag = np.log10(low + rng.uniform(0, 1, n) * (high - low)) / slope
    fwhm = profile.pop("fwhm", 3.3)
    image = draw(
        shape, x, y, 10 ** (-0.4 * (mag - ZERO_POINT)), fwhm(x, y) if callable(fwhm) else fwhm, **profile
    )
    return Field(noisy(image, seed + 1000), x, y, mag)


def matched(field, columns, radius_px=1.5, isolation_px=0.0):
    """Return rows of the field and of the columns that belong together, stars with near neighbours left out."""
    distance = np.hypot(
        np.subtract.outer(field.x, columns["x_psf"]), np.subtract.outer(field.y, columns["y_psf"])
    )
    row = np.nan_to_num(distance, nan=np.inf).argmin(axis=1)
    near = distance[np.arange(len(row)), row] < radius_px
    apart = np.hypot(np.subtract.outer(field.x, field.x), np.subtract.outer(field.y, field.y))
    np.fill_diagonal(apart, np.inf)
    chosen = np.flatnonzero(near & (apart.min(axis=1) > isolation_px))
    return chosen, row[chosen]
