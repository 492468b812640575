"""Extraction of a large frame in parts: each source once, from a part that holds it whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import label

from astrolake.errors import BadInput
from astrolake.photometry.background import (
    FrameSky,
    Piece,
    Sky,
    frame_sky,
    has_blank,
    native_image,
    native_variance,
)
from astrolake.photometry.detection import Detections
from astrolake.photometry.flags import Flag
from astrolake.photometry.growth_kernels import N_RADII
from astrolake.photometry.measure import Columns
from astrolake.photometry.mesh import Box
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.psf_frame import PsfInfo
from astrolake.photometry.stellar_locus import StarLocus

Float64 = NDArray[np.float64]

#: Images from this many pixels on are extracted in parts of this size, unless told otherwise.
_LARGE_PIXELS, _DEFAULT_PX = 40_000_000, 3072
#: Margins are doubled up to this many times.
_GROWTHS = 2
#: Rows that are looked through for blank squares at a time.
_BAND_ROWS = 1024
#: More than the square of zeros that makes a pixel bad.
_BLANK_MARGIN_PX = 16


@dataclass(frozen=True)
class Measured:
    """What was found on an image, or on a part of one.

    Parameters
    ----------
    columns : dict of (n,) arrays
        Of the detections, in their order, then of sources found by other means.
    found : Detections
    stars : StarLocus
    noise : (m,) float64
        Of some pixels.
    psf : PsfInfo
    """

    columns: Columns
    found: Detections
    stars: StarLocus
    noise: Float64
    psf: PsfInfo = field(default_factory=PsfInfo)


@dataclass(frozen=True)
class _Seen:
    """What a part says of itself."""

    attempts: int
    flags: int
    stars: StarLocus
    noise: Float64
    psf: PsfInfo


#: Detects and measures the sources of a part, which is this box of the frame.
Measure = Callable[[Sky, Box], Measured]


@dataclass(frozen=True)
class Parts:
    """The sources of all parts of a frame.

    Parameters
    ----------
    columns : dict of (n,) arrays
        As `extract_frame` returns them, by rows of parts, in a part as SEP completes them.
    sky : FrameSky
    bad_fraction : float
    attempts : int
        The most detection runs that a part took.
    deblended : bool
        False when a part was too crowded for deblending.
    stars, noise, psf : list
        Of the parts, see `Measured`.
    """

    columns: Columns
    sky: FrameSky
    bad_fraction: float
    attempts: int
    deblended: bool
    stars: list[StarLocus]
    noise: list[Float64]
    psf: list[PsfInfo]


def subtile_size(shape: tuple[int, int], options: ExtractionOptions) -> int:
    """Return the size of the parts an image is extracted in, 0 for one piece."""
    if options.subtile_px is not None:
        return options.subtile_px if options.subtile_px < max(shape) else 0
    return _DEFAULT_PX if shape[0] * shape[1] >= _LARGE_PIXELS else 0


def extract_parts(
    data: ArrayLike,
    bad: ArrayLike | None,
    variance: ArrayLike | None,
    options: ExtractionOptions,
    measure: Measure,
) -> Parts:
    """Extract a frame part by part.

    Background and noise are mapped once for the frame, so that a pixel is the same in every part. A part
    owns the sources whose centroid lies in its inner region, half-open, and reaches beyond it by a margin.
    Where sources that it owns, or the group of touching sources they belong to, or their apertures reach
    the end of the part, it is extracted again with its margin doubled, up to four times; what is cut even
    then is flagged.

    Parameters
    ----------
    data : (ny, nx) array
        Also a memory map, or any array-like that can be sliced: only parts are converted and copied.
    bad, variance
        As for `extract_frame`.
    options : ExtractionOptions
    measure : callable
        Detects and measures the sources of a part.

    Raises
    ------
    BadInput
        As for `extract_frame`.
    """
    frame, bad_fraction = _frame(data, bad, variance, options)
    found = [
        _part(frame, inner, options, measure)
        for inner in inner_regions(frame.shape, subtile_size(frame.shape, options))
    ]
    columns = {name: np.concatenate([part[name] for part, _ in found]) for name in found[0][0]}
    seen = [of_part for _, of_part in found]
    return Parts(
        columns,
        frame,
        bad_fraction,
        max(of_part.attempts for of_part in seen),
        not any(of_part.flags & Flag.NOT_DEBLENDED for of_part in seen),
        [of_part.stars for of_part in seen],
        [of_part.noise for of_part in seen],
        [of_part.psf for of_part in seen],
    )


def inner_regions(shape: tuple[int, int], size: int) -> Iterator[Box]:
    """Yield the inner regions of the parts, (top, bottom, left, right), of nearly equal sizes."""
    rows, columns = (
        np.linspace(0, length, -(-length // size) + 1).astype(np.intp).tolist() for length in shape
    )
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield top, bottom, left, right


def _frame(
    data: ArrayLike, bad: ArrayLike | None, variance: ArrayLike | None, options: ExtractionOptions
) -> tuple[FrameSky, float]:
    """Return the sky of a frame and the fraction of its pixels that are bad."""
    pixels, mask, noise_squared = (_sliceable(array) for array in (data, bad, variance))
    for what, array in (("mask", mask), ("variance", noise_squared)):
        if array is not None and array.shape != pixels.shape:
            raise BadInput(f"the {what} has the shape {array.shape}, the image {pixels.shape}", "BadShape")
    ny, nx = pixels.shape
    bands = range(0, ny, _BAND_ROWS)
    blank = any(has_blank(pixels[top : top + _BAND_ROWS]) for top in bands)

    def cut(box: Box) -> Piece:
        top, bottom, left, right = box
        low, high = max(top - _BLANK_MARGIN_PX, 0), max(left - _BLANK_MARGIN_PX, 0)
        part = np.s_[low : bottom + _BLANK_MARGIN_PX, high : right + _BLANK_MARGIN_PX]
        image, unusable = native_image(pixels[part], None if mask is None else mask[part], blank=blank)
        noise = None
        if noise_squared is not None:
            noise, unusable = native_variance(noise_squared[part], image, unusable)
        inner = np.s_[top - low : bottom - low, left - high : right - high]
        return (
            np.ascontiguousarray(image[inner]),
            None if unusable is None else np.ascontiguousarray(unusable[inner]),
            None if noise is None else np.ascontiguousarray(noise[inner]),
        )

    n_bad = sum(_count_bad(cut((top, min(top + _BAND_ROWS, ny), 0, nx))) for top in bands)
    sky = frame_sky(
        cut, (ny, nx), options.background_box_px, options.background_filter, options.noise == "local"
    )
    return sky, n_bad / (ny * nx)


def _sliceable(array: Any) -> Any:
    """Return an array-like that has a shape as it is: what cuts itself need not be in memory."""
    return array if array is None or hasattr(array, "shape") else np.asarray(array)


def _count_bad(piece: Piece) -> int:
    return 0 if piece[1] is None else int(np.count_nonzero(piece[1]))


def _part(frame: FrameSky, inner: Box, options: ExtractionOptions, measure: Measure) -> tuple[Columns, _Seen]:
    """Return the sources that a part owns, in pixels of the frame, and what the part says of itself."""
    margin = options.subtile_margin_px
    for growth in range(_GROWTHS + 1):
        box = _grown(inner, margin << growth, frame.shape)
        measured = measure(frame.sky(box), box)
        columns = measured.columns
        own = _owned(columns, box, inner, frame.shape)
        cut = _is_cut(columns, measured.found, box, frame.shape) & own
        if not cut.any():
            break
    columns["flags"][cut] |= np.int32(Flag.CUT_BY_SUBTILE)
    mine = {name: values[own] for name, values in columns.items()}
    # Its segments are as large as the part: they must not stay.
    # Stars of the margins are those of other parts, too.
    share = (inner[1] - inner[0]) * (inner[3] - inner[2]) / ((box[1] - box[0]) * (box[3] - box[2]))
    stars = replace(measured.stars, n_stars=round(measured.stars.n_stars * share))
    from_residual = int(np.count_nonzero(mine["flags"] & Flag.FROM_RESIDUAL))
    psf = replace(measured.psf, n_stars=round(measured.psf.n_stars * share), n_from_residual=from_residual)
    seen = _Seen(measured.found.attempts, measured.found.flags, stars, measured.noise, psf)
    return _in_frame(mine, box, frame.shape), seen


def _grown(inner: Box, margin: int, shape: tuple[int, int]) -> Box:
    top, bottom, left, right = inner
    return (
        max(top - margin, 0),
        min(bottom + margin, shape[0]),
        max(left - margin, 0),
        min(right + margin, shape[1]),
    )


def _owned(columns: Columns, box: Box, inner: Box, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which sources have their centroid in the inner region; it is open where the frame ends."""
    own = np.ones(len(columns["x"]), dtype=bool)
    for name, first, (low, high), length in (
        ("y", box[0], inner[:2], shape[0]),
        ("x", box[2], inner[2:], shape[1]),
    ):
        place = columns[name] + first
        own &= (place >= low - 0.5) if low > 0 else True
        own &= (place < high - 0.5) if high < length else True
    return own


def _is_cut(columns: Columns, found: Detections, box: Box, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which sources reach the end of a part that is not the end of the frame."""
    ny, nx = found.segments.shape
    sides = {
        "top": (box[0] > 0, np.s_[0, :], columns["y"] + 0.5),
        "bottom": (box[1] < shape[0], np.s_[-1, :], ny - 0.5 - columns["y"]),
        "left": (box[2] > 0, np.s_[:, 0], columns["x"] + 0.5),
        "right": (box[3] < shape[1], np.s_[:, -1], nx - 0.5 - columns["x"]),
    }
    groups, n_groups = label(found.segments > 0, np.ones((3, 3)))
    touched = np.zeros(n_groups + 1, dtype=bool)
    room = np.full(len(columns["x"]), np.inf)
    for open_end, edge, distance in sides.values():
        if open_end:
            touched[groups[edge]] = True
            room = np.minimum(room, distance)
    touched[0] = False
    extent = np.fmax(columns["kron_radius"] * columns["a"], N_RADII * columns["petro_radius"])
    peaks = groups[found.objects["ypeak"], found.objects["xpeak"]]
    # Sources found by other means stand behind the detections and may have no pixels of their own.
    peaks = np.append(peaks, np.zeros(len(room) - len(peaks), peaks.dtype))
    cut: NDArray[np.bool_] = touched[peaks] | (room < extent)
    return cut


def _in_frame(columns: Columns, box: Box, shape: tuple[int, int]) -> Columns:
    """Return columns with positions of the frame."""
    x, y = columns["x"] + box[2], columns["y"] + box[0]
    edge = np.minimum.reduce([x + 0.5, y + 0.5, shape[1] - 0.5 - x, shape[0] - 0.5 - y])
    fitted = {
        name: columns[name] + box[first] for name, first in (("x_psf", 2), ("y_psf", 0)) if name in columns
    }
    return columns | {"x": x, "y": y, "edge_distance_px": edge} | fitted
