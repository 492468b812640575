"""Images of one field brought onto one pixel grid."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from astrolake.errors import BadInput

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
#: Pixels between the nodes at which the astrometry is evaluated.
_NODE_PX = 32


def parse_wcs(header_text: str, name: str) -> WCS:
    """Return the celestial WCS of newline-separated header cards, as `images.wcs_header` holds them.

    Raises
    ------
    BadInput
        When the cards describe no celestial coordinates; the message names the image.
    """
    wcs = WCS(fits.Header.fromstring(header_text, sep="\n"), naxis=2)
    if not wcs.has_celestial:
        raise BadInput(f"{name}: its wcs_header has no celestial axes; ingest the image again", "NoWcs")
    return wcs


def resample(
    image: Float32, wcs: WCS, target: WCS, box: tuple[slice, slice], node_px: int = _NODE_PX
) -> Float32:
    """Return an image on the pixels of another one, by linear interpolation.

    Pixel positions are computed exactly on a grid of nodes and interpolated between them. Over 32
    pixels a survey's distortion is linear to far below a hundredth of a pixel. Flux per pixel is kept
    as it is: for a picture, not for photometry where the pixel sizes differ.

    Parameters
    ----------
    image : (ny, nx) float32
        NaN marks pixels without data.
    wcs, target : WCS
        Of `image` and of the wanted grid.
    box : (rows, columns)
        Slices with start and stop: the part of the wanted grid that is returned.
    node_px : int
        Distance of the nodes, px.

    Returns
    -------
    (rows, columns) float32
        NaN outside the image, and wherever one of the four pixels used is NaN.
    """
    rows, columns = (np.arange(part.start, part.stop, dtype=np.float64) for part in box)
    node_y, node_x = _nodes(rows, node_px), _nodes(columns, node_px)
    grid_x, grid_y = np.meshgrid(node_x, node_y)
    x, y = wcs.world_to_pixel_values(*target.pixel_to_world_values(grid_x, grid_y))
    at_y = (rows - node_y[0]) / (node_y[1] - node_y[0])
    at_x = (columns - node_x[0]) / (node_x[1] - node_x[0])
    where = np.meshgrid(at_y, at_x, indexing="ij")
    pixel = [
        _within(map_coordinates(part, where, order=1, mode="nearest"), side)
        for part, side in zip((y, x), image.shape, strict=True)
    ]
    sampled: Float32 = map_coordinates(image, pixel, order=1, mode="constant", cval=np.nan, prefilter=False)
    return sampled


def central_box(shape: tuple[int, int], largest_px: int) -> tuple[slice, slice]:
    """Return the central part of an image, at most `largest_px` a side."""
    sides = [min(side, largest_px) for side in shape]
    starts = [(side - kept) // 2 for side, kept in zip(shape, sides, strict=True)]
    first, second = (slice(start, start + kept) for start, kept in zip(starts, sides, strict=True))
    return first, second


def block_mean(image: Float32, factor: int) -> Float32:
    """Return means of factor x factor pixels, NaN left out; rows and columns that remain are cut off.

    NaN where a block has no data.
    """
    ny, nx = (side // factor for side in image.shape)
    blocks = image[: ny * factor, : nx * factor].reshape(ny, factor, nx, factor)
    good = np.isfinite(blocks)
    total = np.where(good, blocks, 0.0).sum(axis=(1, 3), dtype=np.float64)
    count = good.sum(axis=(1, 3))
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    reduced: Float32 = mean.astype(np.float32)
    return reduced


def _within(position: Float64, side: int) -> Float64:
    """Return positions, with those on the outer half of an edge pixel moved to its centre."""
    on_image = (position >= -0.5) & (position <= side - 0.5)
    return np.where(on_image, np.clip(position, 0.0, side - 1.0), position)


def _nodes(positions: Float64, step: int) -> Float64:
    """Return evenly spaced nodes that enclose the positions, two at least."""
    count = max(2, int(np.ceil((positions[-1] - positions[0]) / step)) + 1)
    return np.asarray(positions[0] + step * np.arange(count, dtype=np.float64))
