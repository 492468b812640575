"""The colour picture of one field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.wcs import WCS
from matplotlib.axes import Axes
from numpy.typing import NDArray

from astrolake.visualization.field import FieldImage, ReadFrame, find_field
from astrolake.visualization.marks import add_compass, add_scale_bar
from astrolake.visualization.picture import WIDTH_IN, Drawing, new_figure
from astrolake.visualization.rgb import balance_channels, noise_level, rgb_image, subtract_sky
from astrolake.visualization.source import LakeSource
from astrolake.visualization.wcs_grid import block_mean, central_box, parse_wcs, resample

Float32 = NDArray[np.float32]
#: Pixels read at most along a side, and pixels drawn along a side.
_LARGEST_PX, _DRAWN_PX = 4096, 1024
_WHITE_SIGMA, _BLACK_SIGMA, _SOFTENING = 60.0, -0.7, 12.0


def composite_picture(
    source: LakeSource, read_frame: ReadFrame, bands: tuple[str, str, str] = ("i", "r", "g")
) -> Drawing:
    """Draw a field in colour, `bands` as red, green and blue, on the pixels of the green one.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When no field has the three bands.
    """
    red, green, blue = bands
    anchor, *others = find_field(source, (green, red, blue))
    images = {image.band.lower(): image for image in (anchor, *others)}
    channels = aligned_channels([images[band] for band in bands], anchor, read_frame)
    factor = max(1, -(-max(channels[0].shape) // _DRAWN_PX))
    balanced = balance_channels(*(block_mean(channel, factor) for channel in channels))
    noise = noise_level(np.mean(balanced, axis=0))
    picture = rgb_image(*balanced, stretch=_WHITE_SIGMA * noise, q=_SOFTENING, black=_BLACK_SIGMA * noise)
    names = ", ".join(bands[:2]) + f" and {bands[2]}"
    title = f"A field of {_size(channels[0].shape, anchor)} at {anchor.place}"
    figure = new_figure(0.5 + WIDTH_IN * picture.shape[0] / picture.shape[1], title)
    _show(figure.add_subplot(), picture, anchor, factor)
    scale = "fluxes on one AB scale" if _calibrated(list(images.values())) else "in units of the noise"
    caption = (
        f"{names} as red, green and blue (Lupton et al. 2004, asinh stretch) on the pixels of {anchor.band}; "
        f"the other two were resampled by their astrometry. Sky subtracted, {scale}, then balanced "
        "so that the median bright pixel is grey. What moved between the exposures shows as dots of "
        f"pure colour side by side, a cosmic ray as a streak of one colour. {_pixels(factor)}"
        f"Image {anchor.image_id}, visit {anchor.visit or 'unknown'}."
    )
    return Drawing(figure, title, caption)


def aligned_channels(
    images: Sequence[FieldImage], anchor: FieldImage, read_frame: ReadFrame
) -> tuple[Float32, Float32, Float32]:
    """Return sky-subtracted images in nanomaggies on the pixels of the anchor (its central part if large).

    Where zero points are missing, all are in units of their noise instead.
    """
    box = central_box((anchor.naxis2, anchor.naxis1), _LARGEST_PX)
    target = parse_wcs(anchor.wcs_header, anchor.uri)
    calibrated = _calibrated(images)
    red, green, blue = (_on_grid(image, anchor, target, box, read_frame, calibrated) for image in images)
    return red, green, blue


def _calibrated(images: Sequence[FieldImage]) -> bool:
    return all(np.isfinite(image.zero_point_ab) for image in images)


def _on_grid(
    image: FieldImage,
    anchor: FieldImage,
    target: WCS,
    box: tuple[slice, slice],
    read_frame: ReadFrame,
    calibrated: bool,
) -> Float32:
    pixels = subtract_sky(read_frame(image.uri, image.hdu))
    unit = 10.0 ** (0.4 * (22.5 - image.zero_point_ab)) if calibrated else 1.0 / noise_level(pixels)
    pixels *= np.float32(unit)
    if image.image_id == anchor.image_id:
        return pixels[box]
    return resample(pixels, parse_wcs(image.wcs_header, image.uri), target, box)


def _show(axes: Axes, picture: NDArray[np.uint8], anchor: FieldImage, factor: int) -> None:
    axes.imshow(picture, origin="lower", interpolation="nearest" if factor > 1 else "antialiased")
    axes.set_axis_off()
    add_compass(axes, parse_wcs(anchor.wcs_header, anchor.uri), picture.shape[:2], "white")
    add_scale_bar(axes, anchor.pixel_scale_arcsec * factor, picture.shape[:2], "white")


def _size(shape: tuple[int, ...], image: FieldImage) -> str:
    height, width = (side * image.pixel_scale_arcsec / 60.0 for side in shape)
    return f"{width:.1f}′ × {height:.1f}′"


def _pixels(factor: int) -> str:
    return f"One pixel drawn is the mean of {factor} × {factor}. " if factor > 1 else ""
