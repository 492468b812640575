"""Images made fit for SEP, their background and their noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from astrolake.errors import BadInput
from astrolake.photometry.mesh import (
    MIN_GOOD_PIXELS,
    Box,
    Float64,
    Image,
    Mask,
    Spline,
    measure_meshes,
    smooth_meshes,
)
from astrolake.photometry.noise_correlation import NoiseCorrelation, noise_correlation
from astrolake.photometry.options import ExtractionOptions

#: Pixels, bad pixels and, where it is given, the noise of each pixel.
Piece = tuple[Image, Mask | None, Image | None]
#: Cuts a box out of the frame.
Cut = Callable[[Box], Piece]

#: SEP takes values of this size for "no data".
_HUGE = 1e30
#: Squares of exact zeros of this size are sky that was never observed.
_BLANK_BOX_PX = 11
#: Fraction of exact zeros from which on such squares are looked for.
_BLANK_FRACTION = 0.01
#: The local noise is never less than this fraction of the global noise: constant patches have none.
_NOISE_FLOOR = 0.01
#: A level of the whole frame is taken from about this many pixels.
_MOST_PIXELS = 8_000_000


@dataclass(frozen=True)
class LevelMap:
    """The background of an image, evaluated where it is asked for: `level[rows, columns]`.

    `numpy.asarray` gives all of it.

    Parameters
    ----------
    spline : Spline
        Of the frame.
    mesh_px : int
    box : (top, bottom, left, right)
        Where the image lies in the frame.
    """

    spline: Spline
    mesh_px: int
    box: Box

    def __getitem__(self, pixel: tuple[Any, Any]) -> Image:
        row, column = (np.asarray(axis, np.intp) for axis in pixel)
        return self.spline.at(row + self.box[0], column + self.box[2], self.mesh_px)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Image:
        return self.spline.evaluate(self.box, self.mesh_px).astype(dtype or np.float32, copy=False)


@dataclass(frozen=True)
class Sky:
    """An image without its background.

    Parameters
    ----------
    residual : (ny, nx) float32
        Image minus background; 0 where the image is bad.
    level : LevelMap or (ny, nx) float32
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
        How the noise of neighbouring pixels goes together; None where it is independent or was not looked at.
    """

    residual: Image
    level: LevelMap | Image
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
    if good < MIN_GOOD_PIXELS:
        raise BadInput(
            f"only {good} of {image.size} pixels can be used: check the mask, or the image is empty",
            "NoGoodPixels",
        )

    def cut(box: Box) -> Piece:
        part = np.s_[box[0] : box[1], box[2] : box[3]]
        return image[part], None if bad is None else bad[part], None if noise is None else noise[part]

    ny, nx = image.shape
    frame = frame_sky(
        cut, (ny, nx), options.background_box_px, options.background_filter, options.noise == "local"
    )
    return frame.sky((0, ny, 0, nx))


@dataclass(frozen=True)
class FrameSky:
    """Background and noise of a frame, and how to cut it.

    Parameters
    ----------
    cut : callable
    shape : (ny, nx)
    mesh_px : int
    level, rms : Spline
    global_level, global_rms : float
        Medians over the meshes.
    local_noise : bool
        Whether the noise of a pixel is that of the map at the pixel, where the frame gives no variance.
    """

    cut: Cut
    shape: tuple[int, int]
    mesh_px: int
    level: Spline
    rms: Spline
    global_level: float
    global_rms: float
    local_noise: bool

    def sky(self, box: Box) -> Sky:
        """Return a part of the frame without its background."""
        image, bad, given = self.cut(box)
        rms = self.rms if given is None and self.local_noise else None
        residual, local = self.level.subtract(
            image, bad, rms, _NOISE_FLOOR * self.global_rms, box, self.mesh_px
        )
        noise = given if local is None else local
        return Sky(
            residual,
            LevelMap(self.level, self.mesh_px, box),
            self.global_rms if noise is None else noise,
            bad,
            self.global_level,
            self.global_rms,
            given is not None,
        )


def with_correlation(sky: Sky, segments: NDArray[np.int32] | None) -> Sky:
    """Return the same sky with the correlation of its noise, measured where `segments` has no source."""
    found = noise_correlation(sky.residual, sky.noise, sky.bad, segments, noise_is_given=sky.noise_is_given)
    return sky if found is None else replace(sky, correlation=found)


def frame_sky(
    cut: Cut, shape: tuple[int, int], mesh_px: int, filter_size: int, local_noise: bool
) -> FrameSky:
    """Map background and noise of a frame, one row of meshes in memory at a time.

    Equivalent to: `sep.Background` of the whole frame, within the rounding of 32-bit numbers.

    Parameters
    ----------
    cut : callable
        Cuts a box out of the frame.
    shape : (ny, nx)
    mesh_px, filter_size : int
        Size of a mesh, and of the median filter in meshes.
    local_noise : bool
        See `FrameSky`.

    Raises
    ------
    BadInput
        When too few pixels are good, or the frame has no noise.
    """
    ny, nx = shape
    rows = []
    for top in range(0, ny, mesh_px):
        image, bad, _ = cut((top, min(top + mesh_px, ny), 0, nx))
        rows.append(measure_meshes(image, bad, mesh_px))
    level, rms = (np.stack(nodes) for nodes in zip(*rows, strict=True))
    if np.isnan(level).all():
        # Bad pixels all over: too few are good in any mesh, but together they have a level.
        level, rms = (nodes[np.newaxis] for nodes in _flat(cut, shape, mesh_px))
        local_noise = False
    if not np.nanmax(rms) > 0:
        raise BadInput(
            "the image has no noise: a constant image holds no sources, and constant fill values must be"
            " marked in the mask",
            "NoNoise",
        )
    level, rms = (smooth_meshes(nodes, filter_size) for nodes in (level, rms))
    return FrameSky(
        cut,
        shape,
        mesh_px,
        Spline.through(level),
        Spline.through(rms),
        float(np.median(level)),
        float(np.median(rms) or np.median(rms[rms > 0])),
        local_noise,
    )


def _flat(cut: Cut, shape: tuple[int, int], mesh_px: int) -> tuple[Float64, Float64]:
    """Return background and noise of all good pixels of a frame, or of every n-th of very many; (1,) each."""
    step = 1 + shape[0] * shape[1] // _MOST_PIXELS
    parts = []
    for top in range(0, shape[0], mesh_px):
        image, bad, _ = cut((top, min(top + mesh_px, shape[0]), 0, shape[1]))
        parts.append((image.ravel() if bad is None else image[~bad])[::step])
    pixels = np.concatenate(parts)
    if len(pixels) < MIN_GOOD_PIXELS:
        raise BadInput(
            f"only {len(pixels)} pixels can be used: check the mask, or the image is empty", "NoGoodPixels"
        )
    return measure_meshes(pixels[np.newaxis], None, len(pixels))


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
