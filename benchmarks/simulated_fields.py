"""Simulated fields with known truth, like an SDSS r frame: 0.396 arcsec/px, nanomaggies, Moffat PSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astrolake.demo.render import POINT_SOURCE, Scene, render_scene
from astrolake.demo.stars import magnitudes_of_counts

PIXEL_SCALE = 0.396
ZERO_POINT = 22.5
#: Electrons per nanomaggy and sky of an SDSS r frame: the noise of an empty pixel is 0.0232 nanomaggies.
GAIN, SKY = 969.0, 0.5
PSF_FWHM_PX = 3.2
BRIGHTEST, FAINTEST = 15.0, 25.0


@dataclass(frozen=True)
class Field:
    """What to simulate.

    Parameters
    ----------
    name : str
    shape : (ny, nx)
    density : float
        Sources with BRIGHTEST < r < FAINTEST for each pixel.
    star_fraction : float
    slope : float
        Counts rise as 10^(slope r).
    """

    name: str
    shape: tuple[int, int]
    density: float = 1.2e-3
    star_fraction: float = 0.25
    slope: float = 0.30


def crowded(name: str, shape: tuple[int, int]) -> Field:
    """Return a field with the stars of a low galactic latitude."""
    return Field(name, shape, density=7e-3, star_fraction=0.95, slope=0.22)


FIELDS = (
    Field("1024", (1024, 1024)),
    Field("2048x1489", (1489, 2048)),
    Field("4096", (4096, 4096)),
    crowded("1024 crowded", (1024, 1024)),
    crowded("2048x1489 crowded", (1489, 2048)),
    crowded("4096 crowded", (4096, 4096)),
)


def draw(field: Field, seed: int) -> tuple[Scene, np.ndarray]:
    """Return the sources of a field and their magnitudes; the same seed gives the same."""
    rng = np.random.default_rng([seed, *field.shape])
    ny, nx = field.shape
    n = rng.poisson(field.density * ny * nx)
    mag = magnitudes_of_counts(rng, n, (BRIGHTEST, FAINTEST), field.slope)
    star = rng.random(n) < field.star_fraction
    bulge = rng.random(n) < 0.25
    half_light = 10.0 ** (0.32 - 0.13 * (mag - 18.0) + rng.normal(0.0, 0.16, n))
    major = half_light.clip(0.3, 4.0) / PIXEL_SCALE
    minor, angle = major * rng.uniform(0.3, 1.0, n), rng.uniform(0, np.pi, n)
    cos, sin = np.cos(angle), np.sin(angle)
    scene = Scene(
        x_px=rng.uniform(-0.5, nx - 0.5, n),
        y_px=rng.uniform(-0.5, ny - 0.5, n),
        flux=10.0 ** (0.4 * (ZERO_POINT - mag)),
        cov_xx=(major * cos) ** 2 + (minor * sin) ** 2,
        cov_xy=(major**2 - minor**2) * cos * sin,
        cov_yy=(major * sin) ** 2 + (minor * cos) ** 2,
        sersic_n=np.where(star, POINT_SOURCE, np.where(bulge, 4.0, 1.0)),
    )
    return scene, mag


def simulate(field: Field, seed: int = 1) -> tuple[np.ndarray, Scene, np.ndarray]:
    """Return (image in nanomaggies without sky level, sources, magnitudes)."""
    scene, mag = draw(field, seed)
    rng = np.random.default_rng([seed, 7, *field.shape])
    light = render_scene(scene, field.shape, PSF_FWHM_PX)
    image = np.empty(field.shape, np.float32)
    for top in range(0, field.shape[0], 256):  # a large field's electrons need not be in memory at once
        part = slice(top, top + 256)
        image[part] = rng.poisson((light[part] + SKY) * GAIN) / GAIN - SKY
    return image, scene, mag
