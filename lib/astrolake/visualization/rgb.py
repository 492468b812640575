"""Colour composites of three images: Lupton et al. (2004), PASP 116, 133."""

from __future__ import annotations

import numpy as np
import sep
from astropy.stats import mad_std
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments, BadInput

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

_BRIGHT_SIGMA = 20.0


def rgb_image(
    red: ArrayLike,
    green: ArrayLike,
    blue: ArrayLike,
    stretch: float = 1.0,
    q: float = 8.0,
    black: float = 0.0,
) -> UInt8:
    """Return a colour picture whose hue depends on the flux ratios only, at any brightness.

    Lupton et al. (2004), eq. 2: with the mean intensity I, every channel is multiplied by f(I) / I
    where f(I) = asinh(q I / stretch) / asinh(q). A pixel with a channel above 1 is divided by that
    channel, so that bright cores keep their hue.

    Parameters
    ----------
    red, green, blue : (ny, nx) arrays
        Flux per pixel in one unit, background subtracted. NaN counts as no flux.
    stretch : float
        Intensity above `black` that becomes full brightness, in the unit of the images; positive.
    q : float
        Softening: larger shows fainter things; positive.
    black : float
        Intensity that becomes black.

    Returns
    -------
    (ny, nx, 3) uint8

    Raises
    ------
    BadArguments
        When stretch or q is not positive, or the shapes differ.
    """
    if not (stretch > 0 and q > 0):
        raise BadArguments(f"stretch={stretch}, q={q}: both must be positive")
    bands = [np.asarray(band, dtype=np.float32) for band in (red, green, blue)]
    if len({band.shape for band in bands}) != 1 or bands[0].ndim != 2:
        raise BadArguments(f"red, green and blue must be images of one shape, got {[b.shape for b in bands]}")
    channels = np.nan_to_num(np.stack(bands, axis=-1), nan=black) - np.float32(black)
    intensity = channels.mean(axis=-1)
    lit = intensity > 0
    scale = np.zeros_like(intensity)
    scale[lit] = np.arcsinh(q * intensity[lit] / stretch) / (np.arcsinh(q) * intensity[lit])
    channels = np.maximum(channels * scale[..., np.newaxis], 0.0)
    channels /= np.maximum(channels.max(axis=-1, keepdims=True), 1.0)
    picture: UInt8 = np.rint(channels * 255.0).astype(np.uint8)
    return picture


def subtract_sky(image: ArrayLike, box_px: int = 256) -> Float32:
    """Return an image minus its smooth background.

    Parameters
    ----------
    image : (ny, nx) array
        NaN marks pixels without data; they stay NaN.
    box_px : int
        Mesh of the background map: wide, so that the halos of large galaxies are not taken for sky.

    Raises
    ------
    BadInput
        When no pixel is finite.
    """
    pixels = np.array(image, dtype=np.float32, order="C")
    bad = ~np.isfinite(pixels)
    if bad.all():
        raise BadInput("the image has no finite pixel; choose another one", "NoPixels")
    pixels[bad] = 0.0
    sep.Background(pixels, mask=bad, bw=box_px, bh=box_px).subfrom(pixels)
    pixels[bad] = np.nan
    return pixels


def noise_level(image: Float32) -> float:
    """Return the standard deviation of empty sky by the median absolute deviation, NaN left out."""
    return float(mad_std(image, ignore_nan=True))


def balance_channels(red: Float32, green: Float32, blue: Float32) -> tuple[Float32, Float32, Float32]:
    """Return the bands scaled so that the median colour of the bright pixels is grey.

    Bright is above 20 times the noise in green. Bands with no such pixel come back unchanged, as does
    one that is not positive there.

    Parameters
    ----------
    red, green, blue : (ny, nx) float32
        Background subtracted.
    """
    bright = green > _BRIGHT_SIGMA * noise_level(green)
    if not bright.any():
        return red, green, blue
    reference = float(np.nanmedian(green[bright]))

    def scaled(band: Float32) -> Float32:
        ratio = float(np.nanmedian(band[bright] / green[bright])) if reference > 0 else np.nan
        return band / np.float32(ratio) if ratio > 0 else band

    return scaled(red), green, scaled(blue)
