"""The sources found on an image, drawn over it."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from astropy.visualization import AsinhStretch, ImageNormalize, ZScaleInterval
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.visualization.field import FieldImage, ReadFrame, find_field
from astrolake.visualization.marks import add_compass, add_scale_bar
from astrolake.visualization.picture import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    WIDTH_IN,
    Drawing,
    counted,
    new_figure,
)
from astrolake.visualization.rgb import subtract_sky
from astrolake.visualization.source import Float64, LakeSource, floats
from astrolake.visualization.wcs_grid import parse_wcs

#: SExtractor's bits: neighbours and blends; saturation, truncation, incomplete apertures, bad pixels (512).
_BLENDED_BITS, _DAMAGED_BITS = 1 | 2, 4 | 8 | 16 | 512
_GEOMETRY = ("x", "y", "a", "b", "theta", "kron_radius", "flags", "is_primary")
#: Brightest sources read of an image, and the part of it that is drawn, px.
_MOST_SOURCES = 50_000
_WINDOW_PX = (640, 480)
_STYLE: dict[str, tuple[str, Literal["solid", "dashed"]]] = {
    "clean": (BLUE, "solid"),
    "blended": (ORANGE, "solid"),
    "damaged": (PURPLE, "solid"),
    "not primary": (MUTED, "dashed"),
}
_MEANING = {
    "clean": "clean",
    "blended": "blended or near a neighbour",
    "damaged": "saturated, cut off or bad pixels",
    "not primary": "owned by an overlapping image",
}


def detections_picture(source: LakeSource, read_frame: ReadFrame, band: str = "r") -> Drawing:
    """Draw a telling part of an image with the Kron apertures of its sources.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When there is no image in the band, or no source on it.
    """
    source.require("detections", (*_GEOMETRY, "image_id", "flux_auto"))
    (image,) = find_field(source, (band,))
    found = _sources(source, image)
    kinds = source_kinds(found)
    window = telling_window(floats(found, "x"), floats(found, "y"), kinds, (image.naxis2, image.naxis1))
    inside = _inside(found, window)
    shown, share = found[inside], float((kinds == "clean").mean())
    title = f"{counted(len(found), 'source')} on one {image.band} image, {100.0 * share:.0f} % of them clean"
    height, width = (part.stop - part.start for part in window)
    figure = new_figure(1.05 + WIDTH_IN * height / width, title)
    axes = figure.add_subplot()
    _show_pixels(axes, read_frame, image, window)
    _add_ellipses(axes, shown, kinds[inside], window)
    _add_key(figure, kinds[inside])
    caption = (
        f"A part of {width} × {height} px with {len(shown)} of the sources, asinh scale, dark is bright. "
        "Ellipses are the Kron apertures in which mag_auto is summed; a source that an overlapping "
        f"image of the visit owns is drawn dashed and counts there. Image {image.image_id} at {image.place}."
    )
    return Drawing(figure, title, caption)


def source_kinds(sources: pd.DataFrame) -> NDArray[np.str_]:
    """Return what each source is drawn as: not primary, else damaged, else blended, else clean."""
    flags = np.nan_to_num(floats(sources, "flags")).astype(np.int64)
    primary = sources["is_primary"].ne(False).to_numpy(dtype=np.bool_)
    conditions = [~primary, (flags & _DAMAGED_BITS) != 0, (flags & _BLENDED_BITS) != 0]
    return np.select(conditions, ["not primary", "damaged", "blended"], default="clean")


def telling_window(
    x_px: Float64,
    y_px: Float64,
    kinds: NDArray[np.str_],
    shape: tuple[int, int],
    size: tuple[int, int] = _WINDOW_PX,
) -> tuple[slice, slice]:
    """Return the window (rows, columns) of an image that shows many sources of many kinds.

    The sum over the kinds of log(1 + number of sources) is largest there. Windows are tried at steps of
    a quarter of their size and flush with the far edges; ties go to the lower left.

    Parameters
    ----------
    x_px, y_px : (N,) float64
    kinds : (N,) str
    shape : (ny, nx)
    size : (width, height)
        Of the window, px; cut to the image.
    """
    height, width = min(size[1], shape[0]), min(size[0], shape[1])
    bottoms, lefts = _starts(shape[0], height), _starts(shape[1], width)
    score = np.zeros((bottoms.size, lefts.size))
    for kind in np.unique(kinds):
        x, y = x_px[kinds == kind], y_px[kinds == kind]
        in_rows = (y >= bottoms[:, np.newaxis] - 0.5) & (y < bottoms[:, np.newaxis] + height - 0.5)
        in_columns = (x >= lefts[:, np.newaxis] - 0.5) & (x < lefts[:, np.newaxis] + width - 0.5)
        score += np.log1p(in_rows.astype(np.float64) @ in_columns.T.astype(np.float64))
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    bottom, left = int(bottoms[row]), int(lefts[column])
    return slice(bottom, bottom + height), slice(left, left + width)


def _starts(side: int, span: int) -> NDArray[np.int64]:
    last = side - span
    return np.unique([*range(0, last, max(span // 4, 1)), last])


def _sources(source: LakeSource, image: FieldImage) -> pd.DataFrame:
    columns = ", ".join(_GEOMETRY)
    found = source.query(
        f"SELECT {columns} FROM detections WHERE image_id = {image.image_id} "
        f"ORDER BY flux_auto DESC NULLS LAST, x, y LIMIT {_MOST_SOURCES}"
    )
    if found.empty:
        raise BadInput(
            f"no detections on image {image.image_id} ({image.uri}); run extract_sources", "NoSources"
        )
    return found


def _inside(sources: pd.DataFrame, window: tuple[slice, slice]) -> NDArray[np.bool_]:
    rows, columns = window
    x, y = floats(sources, "x"), floats(sources, "y")
    return np.asarray((x >= columns.start) & (x < columns.stop) & (y >= rows.start) & (y < rows.stop))


def _show_pixels(axes: Axes, read_frame: ReadFrame, image: FieldImage, window: tuple[slice, slice]) -> None:
    pixels = subtract_sky(read_frame(image.uri, image.hdu))[window]
    low, high = ZScaleInterval().get_limits(pixels[np.isfinite(pixels)])
    # Beyond the range of zscale, which shows the sky, asinh leaves room for the sources.
    norm = ImageNormalize(vmin=low, vmax=high + 8.0 * (high - low), stretch=AsinhStretch(0.08), clip=True)
    axes.imshow(pixels, origin="lower", cmap="Greys", norm=norm, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(MUTED)
    add_compass(axes, parse_wcs(image.wcs_header, image.uri), pixels.shape, INK)
    add_scale_bar(axes, image.pixel_scale_arcsec, pixels.shape, INK)


def _add_ellipses(
    axes: Axes, sources: pd.DataFrame, kinds: NDArray[np.str_], window: tuple[slice, slice]
) -> None:
    rows, columns = window
    scale = 2.0 * floats(sources, "kron_radius")
    offsets = np.stack([floats(sources, "x") - columns.start, floats(sources, "y") - rows.start], axis=1)
    for kind, (colour, dashes) in _STYLE.items():
        of = kinds == kind
        ellipses = EllipseCollection(
            (scale * floats(sources, "a"))[of],
            (scale * floats(sources, "b"))[of],
            floats(sources, "theta")[of],
            units="xy",
            offsets=offsets[of],
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=colour,
            linestyles=dashes,
            linewidths=1.2,
        )
        axes.add_collection(ellipses)


def _add_key(figure: Figure, kinds: NDArray[np.str_]) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            linestyle=dashes,
            linewidth=1.6,
            label=f"{_MEANING[kind]} ({(kinds == kind).sum()})",
        )
        for kind, (colour, dashes) in _STYLE.items()
        if (kinds == kind).any()
    ]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=2, fontsize=9.5, frameon=False, labelcolor=INK
    )
