"""Reads the pixels of an image and what belongs to them: weight, mask, bad pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photometry.fits_bytes import Options, open_stream
from astrolake.photometry.fits_pixels import Float32, decode_pixels
from astrolake.photometry.fits_structure import walk_hdus
from astrolake.photometry.headers import silence
from astrolake.photometry.sdss_masks import is_span_mask, read_span_mask

#: Where an image lies: file and HDU.
Place = tuple[str, int]


@dataclass(frozen=True)
class Frame:
    """The pixels of an image, ready to be measured.

    Parameters
    ----------
    data : (rows, columns) float32
        Finite everywhere: pixels that were not are 0.
    bad : (rows, columns) bool or None
        Pixels not to be used; None when all are good.
    variance : (rows, columns) float32 or None
        Variance of each pixel in units of the image squared, 0 at bad pixels; None when unknown.
    flags : (rows, columns) int32 or None
        Bits of `Flag` for the sources that hold a pixel, where the mask says more than good and bad.
    """

    data: Float32
    bad: NDArray[np.bool_] | None = None
    variance: Float32 | None = None
    flags: NDArray[np.int32] | None = None


#: How a companion's pixels become variances, by its kind.
_VARIANCES: Mapping[str, Callable[..., Float32]] = {
    "invvar": np.reciprocal,
    "variance": np.positive,
    "sigma": np.square,
}


def read_pixels(uri: str, hdu: int, *, storage_options: Options = None) -> Float32:
    """Return the pixels of one HDU; see `decode_pixels`.

    Parameters
    ----------
    uri : str
        Path, ``file://`` or ``s3://``; gzip, bzip2 and tile compression are undone.
    hdu : int
        0 is the primary HDU.
    storage_options : dict
        Object-store options.

    Returns
    -------
    (rows, columns) float32

    Raises
    ------
    BadInput
        When the file or the HDU cannot be read.
    """
    return _read_places([(uri, hdu)], storage_options)[uri, hdu]


def read_frame(
    image: Mapping[str, Any], *, storage_options: Options = None, mask_saturated: bool = False
) -> Frame:
    """Return the pixels of an image with its bad pixels and variance.

    Bad are pixels that are NaN or infinite, have a weight of 0 or less (also the uncovered parts of
    a coadd), or are not 0 in the mask; for the planes of an SDSS mask see `read_span_mask`.

    Parameters
    ----------
    image : mapping
        Row of `images`; read are uri, hdu, weight_uri, weight_hdu, weight_kind, mask_uri, mask_hdu,
        saturation.
    storage_options : dict
        Object-store options.
    mask_saturated : bool
        Whether pixels from `saturation` on are bad, too.

    Raises
    ------
    BadInput
        When a file cannot be read, or weight or mask differ in shape from the image.
    """
    science: Place = (image["uri"], image["hdu"])
    kind = image["weight_kind"]
    weight = _place(image, "weight") if kind in _VARIANCES else None
    mask = _place(image, "mask")
    spans = mask[0] if mask and is_span_mask(mask[0]) else None
    mask = None if spans else mask
    pixels = _read_places([place for place in (science, weight, mask) if place], storage_options)
    data = pixels[science]
    for place in (weight, mask):
        if place:
            _require_shape(place, pixels[place].shape, science, data.shape)
    bad = ~np.isfinite(data)
    if mask:
        bad |= pixels[mask] != 0
    if mask_saturated and image["saturation"] is not None:
        bad |= data >= image["saturation"]
    flags = None
    if spans:
        unusable, flags = _read_spans(spans, storage_options)
        _require_shape((spans, 0), unusable.shape, science, data.shape)
        bad |= unusable
    variance = None
    if weight:
        covered = np.isfinite(pixels[weight]) & (pixels[weight] > 0)
        bad |= ~covered
        variance = _VARIANCES[kind](pixels[weight], out=np.zeros_like(data), where=covered)
    data[~np.isfinite(data)] = 0
    return Frame(data, bad if bad.any() else None, variance, flags)


def _read_spans(uri: str, storage_options: Options) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    with silence(), open_stream(uri, storage_options) as stream:
        return read_span_mask(stream, uri)


def _require_shape(
    place: Place, shape: tuple[int, ...], science: Place, science_shape: tuple[int, ...]
) -> None:
    if shape != science_shape:
        raise BadInput(
            f"{place[0]}#{place[1]} has shape {shape}, its image {science[0]}#{science[1]} "
            f"{science_shape}; give companions of the same image or move them away",
            "ShapeMismatch",
        )


def _place(image: Mapping[str, Any], role: str) -> Place | None:
    uri = image[f"{role}_uri"]
    return (uri, image[f"{role}_hdu"]) if uri else None


def _read_places(places: list[Place], storage_options: Options) -> dict[Place, Float32]:
    """Return the pixels of several HDUs, each file opened once."""
    found: dict[Place, Float32] = {}
    for uri in dict.fromkeys(uri for uri, _ in places):
        wanted = {hdu for other, hdu in places if other == uri}
        with silence(), open_stream(uri, storage_options) as stream:
            for hdu in walk_hdus(stream, uri):
                if hdu.index in wanted:
                    found[uri, hdu.index] = decode_pixels(stream, hdu, uri)
                    wanted.discard(hdu.index)
                if not wanted:
                    break
        if wanted:
            raise BadInput(f"{uri} has no HDU {min(wanted)}; it was replaced: ingest it again", "NoSuchHdu")
    return found
