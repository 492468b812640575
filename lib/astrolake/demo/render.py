"""Images of stars and galaxies from sums of Gaussians, in arrays of equal stamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrolake.demo.profiles import Mixture, moffat_alpha, moffat_mixture, sersic_mixture

Float64 = NDArray[np.float64]

#: Sersic index that stands for a point source.
POINT_SOURCE = 0.0

#: Each Gaussian is cut where what lies outside is this fraction of its source's flux.
_LOST_FRACTION = 2e-5
#: Half sizes of stamps are rounded up to this ladder, to render many of one size at once.
_HALF_SIZES = np.array([4, 6, 8, 11, 15, 20, 27, 36, 48, 64, 90, 128, 180, 256, 360, 512])
#: Small enough for the processor's cache: four times more pixels take 1.5 times as long.
_PIXELS_AT_ONCE = 1 << 16
#: Variance of a square pixel of side 1.
_PIXEL_VARIANCE = 1.0 / 12.0


@dataclass(frozen=True, eq=False)
class Scene:
    """Sources on an image plane, all arrays (N,) float64.

    Attributes
    ----------
    x_px, y_px
        Centres, 0 in the middle of the first pixel.
    flux
        Total flux, in the unit of the image.
    cov_xx, cov_xy, cov_yy
        Covariance in px^2 of the ellipse whose semi-axes are the half-light radii; ignored for
        point sources.
    sersic_n
        Sersic index, `POINT_SOURCE` for stars.
    """

    x_px: Float64
    y_px: Float64
    flux: Float64
    cov_xx: Float64
    cov_xy: Float64
    cov_yy: Float64
    sersic_n: Float64


@dataclass(frozen=True, eq=False)
class _Gaussians:
    """Gaussians of flux `flux`, each with its `cut` flux; all arrays (M,)."""

    x: Float64
    y: Float64
    flux: Float64
    cut: Float64
    xx: Float64
    xy: Float64
    yy: Float64

    def __getitem__(self, rows: NDArray[np.bool_] | slice) -> _Gaussians:
        return _Gaussians(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def render_scene(
    scene: Scene, shape: tuple[int, int], psf_fwhm_px: float, psf_beta: float = 3.0
) -> NDArray[np.float32]:
    """Return the noiseless image of a scene seen through a Moffat PSF.

    Profile and PSF are Gaussian mixtures, so their convolution is exact. The pixel is taken as a
    Gaussian of its own variance (1/12 px^2): exact in flux, centroid and second moments, while the
    brightest pixel of a star is 0.2 % too high at a FWHM of 2.8 px. Sources may lie outside
    the image; their wings then reach into it. A source whose
    flux is not positive, or with NaN for flux, position or shape, contributes nothing.

    Parameters
    ----------
    scene : Scene
    shape : (ny, nx)
    psf_fwhm_px, psf_beta : float
        Full width at half maximum in pixels, exponent of the Moffat profile.

    Returns
    -------
    (ny, nx) float32, in the unit of `scene.flux` per pixel
    """
    psf = moffat_mixture(psf_beta)
    psf_px = Mixture(psf.weights, psf.variances * moffat_alpha(psf_fwhm_px, psf_beta) ** 2 + _PIXEL_VARIANCE)
    image = np.zeros(shape[0] * shape[1], dtype=np.float32)
    for n in np.unique(scene.sersic_n):
        profile = Mixture(np.ones(1), np.zeros(1)) if n == POINT_SOURCE else sersic_mixture(float(n))
        _add_gaussians(image, shape, _convolve(scene, scene.sersic_n == n, profile, psf_px))
    return image.reshape(shape)


def _convolve(scene: Scene, rows: NDArray[np.bool_], profile: Mixture, psf: Mixture) -> _Gaussians:
    """Return every product of a profile Gaussian and a PSF Gaussian of the given sources."""

    def spread(values: Float64) -> Float64:
        return np.broadcast_to(values[rows, np.newaxis, np.newaxis], full).ravel()

    def covariance(values: Float64, psf_variances: Float64) -> Float64:
        sums = values[rows, np.newaxis, np.newaxis] * profile.variances[:, np.newaxis] + psf_variances
        return np.broadcast_to(sums, full).ravel()

    weights = profile.weights[:, np.newaxis] * psf.weights
    full = (int(rows.sum()), *weights.shape)
    return _Gaussians(
        x=spread(scene.x_px),
        y=spread(scene.y_px),
        flux=(scene.flux[rows, np.newaxis, np.newaxis] * weights).ravel(),
        cut=spread(scene.flux) * _LOST_FRACTION,
        xx=covariance(scene.cov_xx, psf.variances),
        xy=covariance(scene.cov_xy, np.zeros_like(psf.variances)),
        yy=covariance(scene.cov_yy, psf.variances),
    )


def _add_gaussians(image: NDArray[np.float32], shape: tuple[int, int], gaussians: _Gaussians) -> None:
    """Add Gaussians to a flat image in place, those of one stamp size at a time."""
    gaussians = gaussians[gaussians.flux > gaussians.cut]
    widest = np.sqrt(np.maximum(gaussians.xx, gaussians.yy))
    half = np.ceil(widest * np.sqrt(2.0 * np.log(gaussians.flux / gaussians.cut)))
    rung = np.searchsorted(_HALF_SIZES[:-1], half)
    near = (
        (gaussians.x > -half - 1)
        & (gaussians.x < shape[1] + half)
        & (gaussians.y > -half - 1)
        & (gaussians.y < shape[0] + half)
    )
    for step in np.unique(rung[near]):
        group = gaussians[near & (rung == step)]
        size = 2 * int(_HALF_SIZES[step]) + 1
        chunk = max(1, _PIXELS_AT_ONCE // size**2)
        for start in range(0, group.x.size, chunk):
            _add_stamps(image, shape, group[start : start + chunk], int(_HALF_SIZES[step]))


def _add_stamps(image: NDArray[np.float32], shape: tuple[int, int], group: _Gaussians, half: int) -> None:
    """Add stamps of (2 half + 1)^2 pixels to a flat image in place."""
    offsets = np.arange(-half, half + 1, dtype=np.int64)
    x0, y0 = np.rint(group.x).astype(np.int64), np.rint(group.y).astype(np.int64)
    dx = (offsets + (x0 - group.x)[:, np.newaxis]).astype(np.float32)[:, np.newaxis, :]
    dy = (offsets + (y0 - group.y)[:, np.newaxis]).astype(np.float32)[:, :, np.newaxis]
    determinant = group.xx * group.yy - group.xy**2

    def column(values: Float64) -> NDArray[np.float32]:
        return values.astype(np.float32)[:, np.newaxis, np.newaxis]

    stamps = column(group.xy / determinant) * dx * dy
    stamps -= column(0.5 * group.yy / determinant) * dx * dx
    stamps -= column(0.5 * group.xx / determinant) * dy * dy
    np.exp(stamps, out=stamps)
    stamps *= column(group.flux / (2.0 * np.pi * np.sqrt(determinant)))

    x, y = x0[:, np.newaxis] + offsets, y0[:, np.newaxis] + offsets
    pixels = y[:, :, np.newaxis] * shape[1] + x[:, np.newaxis, :]
    inside_x, inside_y = (x >= 0) & (x < shape[1]), (y >= 0) & (y < shape[0])
    if inside_x.all() and inside_y.all():
        np.add.at(image, pixels.ravel(), stamps.ravel())
    else:
        inside = inside_y[:, :, np.newaxis] & inside_x[:, np.newaxis, :]
        np.add.at(image, pixels[inside], stamps[inside])
