"""Where on the sky a lake has data: all of it, and the part with the most objects enlarged."""

from __future__ import annotations

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.visualization.wcsaxes import WCSAxes
from astropy.wcs import WCS
from cdshealpix import nested
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.path import Path

from astrolake.errors import BadInput
from astrolake.sky.healpix import cell_center, cells_at_order
from astrolake.visualization.cell_counts import (
    COARSE_ORDER,
    CellCounts,
    choose_order,
    choose_region,
    count_cells,
    covered_fraction,
    mean_position,
)
from astrolake.visualization.footprints import MOST_IMAGES, Footprints, image_footprints
from astrolake.visualization.picture import INK, MUTED, ORANGE, WIDTH_IN, Drawing, counted, new_figure
from astrolake.visualization.source import Float64, LakeSource

_COLOURS = "YlGnBu"
#: Cells of which less is covered by images are not drawn: their density would be noise.
_LEAST_COVERED = 0.25
#: Height over width of the region from which on the two maps stand side by side.
_TALL = 1.1


def sky_map_picture(source: LakeSource) -> Drawing:
    """Draw the density of the objects with the outlines of the images, and the place on the whole sky.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When there are no objects or no table of images.
    """
    source.require("objects", ("_healpix_29", "ra", "dec"))
    coarse = count_cells(source, COARSE_ORDER)
    if not coarse.n.size:
        raise BadInput("objects is empty: nothing to map; run build_objects", "NoObjects")
    region = choose_region(coarse)
    fine = count_cells(source, choose_order(source, region), region)
    outlines = image_footprints(source, where=region.sql())
    whole = int(fine.n.sum()) == int(coarse.n.sum())
    title = _title(coarse, outlines, whole)
    figure, wcs = new_figure(1.0, title), _tangent_wcs(fine)
    low, high = _extent(wcs, fine)
    close, sky = _panels(figure, wcs, float((high - low)[1] / (high - low)[0]))
    close.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    _add_bar(figure, close, _draw_region(close, wcs, fine, outlines))
    _dress_map(close)
    _draw_sky(sky, coarse, fine)
    return Drawing(figure, title, _caption(fine, outlines, whole))


def _tangent_wcs(fine: CellCounts) -> WCS:
    """Return a gnomonic projection about the mean position: one pixel is one arcminute, east to the left."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = list(mean_position(fine))
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cdelt = [-1.0 / 60.0, 1.0 / 60.0]
    return wcs


def _extent(wcs: WCS, fine: CellCounts) -> tuple[Float64, Float64]:
    """Return the lower left and upper right corner of the map, in its pixels."""
    xy = np.stack(wcs.wcs_world2pix(*cell_center(fine.order, fine.cell), 0), axis=-1)
    low, high = xy.min(axis=0), xy.max(axis=0)
    pad = 0.02 * (high - low).max() + 0.5 * fine.side_arcmin
    return low - pad, high + pad


def _panels(figure: Figure, wcs: WCS, aspect: float) -> tuple[WCSAxes, Axes]:
    """Return axes for the region and the whole sky: side by side when the region is tall."""
    if aspect > _TALL:
        figure.set_size_inches(WIDTH_IN, 0.9 + 0.46 * WIDTH_IN * min(aspect, 1.8))
        grid = figure.add_gridspec(1, 2, width_ratios=[1.25, 1.0])
    else:
        height_in = 0.75 * WIDTH_IN * max(aspect, 0.2)
        figure.set_size_inches(WIDTH_IN, 4.0 + height_in)
        grid = figure.add_gridspec(2, 1, height_ratios=[height_in + 0.9, 2.4])
    return figure.add_subplot(grid[0], projection=wcs), figure.add_subplot(grid[1], projection="mollweide")


def _draw_region(axes: WCSAxes, wcs: WCS, fine: CellCounts, outlines: Footprints) -> PolyCollection:
    """Draw the cells and the outlines of the images; return the cells."""
    known = 0 < len(outlines) <= MOST_IMAGES
    fraction = covered_fraction(fine, outlines) if known else np.ones(fine.n.size)
    drawn = fraction >= min(_LEAST_COVERED, float(fraction.max()))
    lon, lat = nested.vertices(fine.cell[drawn].astype(np.uint64), fine.order)
    density = fine.per_arcmin2[drawn] / np.maximum(fraction[drawn], _LEAST_COVERED)
    # Edges of the colour of their cell close the hairlines between neighbours.
    cells = PolyCollection(
        list(_on_map(wcs, lon.deg, lat.deg)), array=density, cmap=_COLOURS, edgecolors="face", linewidths=0.3
    )
    cells.set_norm(Normalize(0.0, float(density.max())))
    axes.add_collection(cells)
    if len(outlines):
        frames = _on_map(wcs, outlines.ra, outlines.dec)
        edges = PolyCollection(list(frames), facecolors="none", edgecolors=ORANGE, linewidths=1.0, alpha=0.8)
        axes.add_collection(edges)
        if known:
            closed = [Path(np.vstack([frame, frame[:1]]), closed=True) for frame in frames]
            cells.set_clip_path(Path.make_compound_path(*closed), axes.transData)
    return cells


def _on_map(wcs: WCS, ra_deg: Float64, dec_deg: Float64) -> Float64:
    """Return (N, 4) positions as (N, 4, 2) map pixels."""
    x, y = wcs.wcs_world2pix(ra_deg.ravel(), dec_deg.ravel(), 0)
    return np.stack([x, y], axis=-1).reshape(-1, 4, 2)


def _add_bar(figure: Figure, axes: WCSAxes, density: PolyCollection) -> None:
    bar = figure.colorbar(density, ax=axes, location="bottom", pad=0.02, fraction=0.04, aspect=30)
    bar.set_label("objects per arcmin²", fontsize=10.5, color=INK)
    bar.ax.tick_params(labelsize=9.5, colors=INK)
    bar.outline.set_visible(False)


def _dress_map(axes: WCSAxes) -> None:
    for coordinate, label in zip(axes.coords, ("right ascension", "declination"), strict=True):
        coordinate.set_format_unit("deg", decimal=True)
        coordinate.set_axislabel(f"{label} (deg)", fontsize=10.5, color=INK)
        coordinate.set_ticklabel(size=9.5, color=INK, exclude_overlapping=True)
        coordinate.set_ticks(number=4)
    axes.coords.grid(color=MUTED, alpha=0.35, linewidth=0.6)


def _draw_sky(axes: Axes, coarse: CellCounts, fine: CellCounts) -> None:
    x, y = np.linspace(-180.0, 180.0, 721), np.linspace(-90.0, 90.0, 361)
    mid_x, mid_y = np.meshgrid(0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1]))
    # The map's longitude runs to the right, right ascension to the left.
    cells = cells_at_order(-mid_x.ravel(), mid_y.ravel(), coarse.order)
    place = np.minimum(np.searchsorted(coarse.cell, cells), coarse.cell.size - 1)
    density = np.where(coarse.cell[place] == cells, coarse.per_arcmin2[place], np.nan).reshape(mid_x.shape)
    norm = LogNorm(0.5 * float(coarse.per_arcmin2.min()), float(coarse.per_arcmin2.max()))
    axes.pcolormesh(np.radians(x), np.radians(y), density, cmap=_COLOURS, norm=norm, rasterized=True)
    _draw_milky_way(axes)
    ra, dec = cell_center(fine.order, fine.cell[[int(np.argmax(fine.n))]])
    axes.plot(_to_map(ra), np.radians(dec), "o", ms=13, mfc="none", mec=ORANGE, mew=2.0)
    hours = ["16h", "20h", "0h", "4h", "8h"]
    axes.set_xticks(np.radians([120, 60, 0, -60, -120]), hours, fontsize=9.5, color=INK)
    axes.set_yticks(np.radians([-30, 0, 30]), ["−30°", "0°", "+30°"], fontsize=9.5, color=INK)
    axes.grid(True, color=MUTED, alpha=0.35, linewidth=0.6)
    axes.set_title("on the whole sky (circle);\ndashed: plane of the Milky Way", fontsize=9.5, color=MUTED)


def _draw_milky_way(axes: Axes) -> None:
    plane = SkyCoord(l=np.linspace(0.0, 360.0, 721), b=np.zeros(721), unit="deg", frame="galactic").icrs
    x = _to_map(plane.ra.deg)
    jumps = np.abs(np.diff(x, prepend=x[0])) > np.pi
    axes.plot(np.where(jumps, np.nan, x), plane.dec.radian, color=MUTED, linewidth=1.0, linestyle="dashed")


def _to_map(ra_deg: Float64) -> Float64:
    """Return map longitudes in radians, in [-pi, pi], rising to the west."""
    return np.asarray(-np.radians((ra_deg + 180.0) % 360.0 - 180.0))


def _title(coarse: CellCounts, outlines: Footprints, whole: bool) -> str:
    n = int(coarse.n.sum())
    if whole and 0 < len(outlines) <= MOST_IMAGES:
        area = outlines.area_deg2()
        return f"{counted(n, 'object')} in {area:.3g} deg²: {n / area / 3600.0:.2g} per arcmin²"
    return f"{counted(n, 'object')} in {counted(coarse.n.size, 'cell')} of 0.84 deg²"


def _caption(fine: CellCounts, outlines: Footprints, whole: bool) -> str:
    images = f"the first {MOST_IMAGES}" if len(outlines) > MOST_IMAGES else f"{len(outlines)}"
    part = "All of the lake" if whole else f"Around the fullest cell ({counted(fine.n.sum(), 'object')})"
    border = " Cells on the border count for their covered part." if 0 < len(outlines) <= MOST_IMAGES else ""
    return (
        f"{part}: objects counted in HEALPix cells of order {fine.order} ({fine.side_arcmin:.2g}′ a side), "
        f"outlines of {images} images in orange.{border} East is to the left."
    )
