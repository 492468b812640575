"""Images made fit for SEP, their background and their noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sep
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from astrolake.errors import BadInput
from astrolake.photometry.noise_correlation import NoiseCorrelation, noise_correlation
from astrolake.photometry.options import ExtractionOptions

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: SEP takes values of this size for "no data".
_HUGE = 1e30
#: Fewer good pixels than this make no background.
_MIN_GOOD_PIXELS = 25
#: Squares of exact zeros of this size are sky that was never observed.
_BLANK_BOX_PX = 11
#: Fraction of exact zeros from which on such squares are looked for.
_BLANK_FRACTION = 0.01
#: Level and noise that SEP returns when no mesh has half of its pixels.
_NO_MESH = (0.0, 1.0)
#: The local noise is never less than this fraction of the global noise: constant patches have none.
_NOISE_FLOOR = 0.01


@dataclass(frozen=True)
class Sky:
    """An image without its background.

    Parameters
    ----------
    residual : (ny, nx) float32
        Image minus background; 0 where the image is bad.
    level : (ny, nx) float32
        Background.
    noise : (ny, nx) float32 or float
        Standard deviation of a pixel without source light.
    bad : (ny, nx) bool or None
        Pixels without a usable value; None when there are none.
    global_level, global_rms : float
        Median of the background map and of its noise.
    noise_is_given : bool
        Whether the noise is that of a variance image.
    correlation : NoiseCorrelation or None
        How the noise of neighbouring pixels goes together; None where it is independent or not known.
    """

    residual: Image
    level: Image
    noise: Image | float
    bad: Mask | None
    global_level: float
    global_rms: float
    noise_is_given: bool = False
    correlation: NoiseCorrelation | None = None


def native_image(
    data: ArrayLike, bad: ArrayLike | None = None, *, blank: bool | None = None
) -> tuple[Image, Mask | None]:
    """Convert any 2-D array to native, contiguous float32 and collect its bad pixels.

    Bad are the pixels of `bad`, the masked ones of a masked array, NaN, infinite and absurd
    (1e30 and more) values, and squares of exact zeros, which mosaics hold where nothing was observed.

    Parameters
    ----------
    data : (ny, nx) array of any number type, byte order and stride
        An array that is float32, native and contiguous already is not copied.
    bad : (ny, nx) bool, optional
        True where a pixel must not be used.
    blank : bool, optional
        Whether to look for squares of zeros; by default where `has_blank` says so.

    Returns
    -------
    image : (ny, nx) float32
    bad : (ny, nx) bool, or None when every pixel is good

    Raises
    ------
    BadInput
        When the image is not 2-D, not numeric, empty, or of another shape than `bad`.
    """
    values = np.asarray(data.data if isinstance(data, np.ma.MaskedArray) else data)
    if values.ndim != 2 or values.size == 0:
        raise BadInput(
            f"an image has two axes with pixels, this one has the shape {values.shape}", "BadShape"
        )
    if values.dtype.kind not in "uif":
        raise BadInput(f"pixels of type {values.dtype} are no real numbers", "BadType")
    with np.errstate(over="ignore"):
        image = np.ascontiguousarray(values, dtype=np.float32)
    # NaN carries through both: most images need no look at single pixels.
    finite = image.max() < _HUGE and image.min() > -_HUGE
    unusable = None if finite else ~(np.abs(image) < _HUGE)
    if isinstance(data, np.ma.MaskedArray):
        unusable = _joined(unusable, np.broadcast_to(data.mask, image.shape))
    if bad is not None:
        unusable = _joined(unusable, _same_shape(bad, image, "the mask").astype(bool))
    if has_blank(image) if blank is None else blank:
        unusable = _joined(unusable, _blank(image))
    return image, (unusable if unusable is not None and unusable.any() else None)


def _joined(mask: Mask | None, other: Mask) -> Mask:
    return other if mask is None else mask | other


def native_variance(variance: ArrayLike, image: Image, bad: Mask | None) -> tuple[Image, Mask | None]:
    """Return the noise of each pixel and add those without a positive, finite variance to the bad ones."""
    values = _same_shape(variance, image, "the variance").astype(np.float32)
    usable = np.isfinite(values) & (values > 0)
    if isinstance(variance, np.ma.MaskedArray):
        usable &= np.logical_not(variance.mask)
    noise = np.sqrt(np.where(usable, values, np.float32(0)))
    if usable.all():
        return noise, bad
    return noise, (~usable if bad is None else bad | ~usable)


def subtract_background(
    image: Image, bad: Mask | None, options: ExtractionOptions, noise: Image | None = None
) -> Sky:
    """Map the background and the noise of an image and subtract the background.

    The estimate is SExtractor's (Bertin & Arnouts 1996, A&AS 117, 393, section 3): the clipped mode
    of each mesh, median filtered over neighbouring meshes, interpolated with bicubic splines.

    Parameters
    ----------
    image, bad
        As `native_image` returns them.
    options : ExtractionOptions
        Mesh and filter size, and which noise to use when `noise` is None.
    noise : (ny, nx) float32, optional
        Standard deviation of each pixel, where the survey gives it.

    Raises
    ------
    BadInput
        When too few pixels are good, or the image has no noise.
    """
    good = image.size if bad is None else image.size - int(np.count_nonzero(bad))
    if good < _MIN_GOOD_PIXELS:
        raise BadInput(
            f"only {good} of {image.size} pixels can be used: check the mask, or the image is empty",
            "NoGoodPixels",
        )
    box, smooth = options.background_box_px, options.background_filter
    model = sep.Background(image, mask=bad, bw=box, bh=box, fw=smooth, fh=smooth)
    flat = bad is not None and good < image.size / 2 and (model.globalback, model.globalrms) == _NO_MESH
    if bad is not None and flat:
        pixels = image[~bad]
        model = sep.Background(pixels[np.newaxis, :], bw=pixels.size, bh=1)
    global_level, global_rms = float(model.globalback), _checked_rms(model)
    level = np.full_like(image, global_level) if flat else model.back(dtype=np.float32)
    given = noise is not None
    if noise is None and options.noise == "local" and not flat:
        noise = model.rms(dtype=np.float32)
        np.maximum(noise, np.float32(_NOISE_FLOOR * global_rms), out=noise)
    residual = image - level
    if bad is not None:
        residual[bad] = 0
    whole = global_rms if noise is None else noise
    return Sky(residual, level, whole, bad, global_level, global_rms, given)


def with_correlation(sky: Sky, segments: NDArray[np.int32] | None) -> Sky:
    """Return the same sky with the correlation of its noise, measured where `segments` has no source."""
    found = noise_correlation(sky.residual, sky.noise, sky.bad, segments, noise_is_given=sky.noise_is_given)
    return sky if found is None else replace(sky, correlation=found)


def _checked_rms(model: Any) -> float:
    """Return the global noise; SEP says 1 for an image without any."""
    if model.globalrms == 1.0 and not model.rms().any():
        raise BadInput(
            "the image has no noise: a constant image holds no sources, and constant fill values must be"
            " marked in the mask",
            "NoNoise",
        )
    return float(model.globalrms)


def has_blank(data: ArrayLike) -> bool:
    """Return whether an image holds so many exact zeros that squares of them may be unobserved sky."""
    image = np.asarray(data)
    # Every such square holds one of these pixels.
    if (image[::_BLANK_BOX_PX, ::_BLANK_BOX_PX] != 0).all():
        return False
    return bool(image.size - np.count_nonzero(image) >= _BLANK_FRACTION * image.size)


def _blank(image: Image) -> Mask:
    """Return which pixels lie in squares of exact zeros."""
    box = _BLANK_BOX_PX
    blank = (image == 0).view(np.uint8)
    for axis in (0, 1):
        blank = minimum_filter1d(blank, box, axis=axis, mode="constant", cval=1)
    for axis in (0, 1):
        blank = maximum_filter1d(blank, box, axis=axis, mode="constant", cval=0)
    return np.asarray(blank.view(bool))


def _same_shape(array: ArrayLike, image: Image, what: str) -> NDArray[np.generic]:
    out = np.asarray(array)
    if out.shape != image.shape:
        raise BadInput(f"{what} has the shape {out.shape}, the image {image.shape}", "BadShape")
    return out
