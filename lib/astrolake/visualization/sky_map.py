"""Where on the sky a lake has data: all of it, and the part with the most objects enlarged."""

from __future__ import annotations

from dataclasses import dataclass

import cdshealpix.nested as nested
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.visualization.wcsaxes import WCSAxes
from astropy.wcs import WCS
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.path import Path
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.sky.healpix import KEY_ORDER, cell_center, cells_at_order
from astrolake.sky.separation import lonlat, unit_vectors
from astrolake.visualization.footprints import MOST_IMAGES, Footprints, cell_area_deg2, image_footprints
from astrolake.visualization.picture import INK, MUTED, ORANGE, WIDTH_IN, Drawing, counted, new_figure
from astrolake.visualization.source import LakeSource

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

#: Order of the all-sky counts: 49152 cells of 0.84 deg².
_COARSE_ORDER = 6
_FINE_ORDERS = range(7, 16)
_MOST_CELLS, _FEWEST_PER_CELL = 20_000, 6.0
#: A lake within this radius is enlarged as a whole, of a larger one the surroundings of the fullest cell.
_WHOLE_RADIUS_DEG, _PART_RADIUS_DEG = 10.0, 2.5
_COLOURS = "YlGnBu"
#: Cells of which less is covered by images are not drawn: their density would be noise.
_LEAST_COVERED = 0.25


@dataclass(frozen=True)
class CellCounts:
    """Objects counted in HEALPix cells (NESTED) of one order; cells without objects are left out."""

    order: int
    cell: Int64
    n: Int64

    @property
    def per_arcmin2(self) -> Float64:
        """Objects per square arcminute in each cell."""
        return self.n / (cell_area_deg2(self.order) * 3600.0)


@dataclass(frozen=True)
class Region:
    """A cone of the sky, degrees."""

    ra: float
    dec: float
    radius: float

    def sql(self) -> str:
        """Return SQL that tells whether the columns ra and dec lie inside."""
        x, y, z = (float(value) for value in unit_vectors(np.float64(self.ra), np.float64(self.dec)))
        cosine = (
            f"cos(radians(dec)) * (cos(radians(ra)) * ({x!r}) + sin(radians(ra)) * ({y!r})) + sin(radians(dec)) * ({z!r})"
        )
        return f"{cosine} >= {float(np.cos(np.radians(self.radius)))!r}"


def sky_map_picture(source: LakeSource) -> Drawing:
    """Draw the density of the objects on the whole sky and, enlarged, with the outlines of the images.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When there are no objects.
    """
    source.require("objects", ("_healpix_29", "ra", "dec"))
    coarse = count_cells(source, _COARSE_ORDER)
    if not coarse.n.size:
        raise BadInput("objects is empty: nothing to map; run build_objects", "NoObjects")
    region = choose_region(coarse)
    fine = count_cells(source, _fine_order(source, region), region)
    outlines = image_footprints(source, where=region.sql())
    whole = int(fine.n.sum()) == int(coarse.n.sum())
    title = _title(coarse, outlines, whole)
    figure, wcs = new_figure(1.0, title), _tangent_wcs(fine)
    low, high = _extent(wcs, fine)
    above, below = _panels(figure, wcs, (high - low)[1] / (high - low)[0])
    above.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    density = _draw_region(above, wcs, fine, outlines)
    _add_bar(figure, above, density)
    _draw_sky(below, coarse, fine)
    return Drawing(figure, title, _caption(fine, outlines, whole))


def count_cells(source: LakeSource, order: int, region: Region | None = None) -> CellCounts:
    """Count the objects of each HEALPix cell, of a region or of the whole sky, in SQL."""
    where = "TRUE" if region is None else region.sql()
    found = source.query(
        f"SELECT _healpix_29 >> {2 * (KEY_ORDER - order)} AS cell, count(*) AS n "  # noqa: S608 - numbers only
        f"FROM objects WHERE {where} GROUP BY cell ORDER BY cell"
    )
    return CellCounts(order, found["cell"].to_numpy(dtype=np.int64), found["n"].to_numpy(dtype=np.int64))


def choose_region(coarse: CellCounts) -> Region:
    """Return the cone to enlarge: all cells when they lie together, else around the fullest one."""
    centres = unit_vectors(*cell_center(coarse.order, coarse.cell))
    mean = centres.mean(axis=0)
    radius = _distance_deg(centres, mean).max() + 1.0 if np.linalg.norm(mean) > 0.1 else np.inf
    middle = mean if radius <= _WHOLE_RADIUS_DEG else centres[int(np.argmax(coarse.n))]
    (ra,), (dec,) = lonlat(middle[np.newaxis])
    return Region(float(ra), float(dec), float(radius if radius <= _WHOLE_RADIUS_DEG else _PART_RADIUS_DEG))


def _fine_order(source: LakeSource, region: Region) -> int:
    """Return the highest order that has enough objects in a cell and few enough cells to draw."""
    counts = ", ".join(
        f"approx_count_distinct(_healpix_29 >> {2 * (KEY_ORDER - order)}) AS o{order}" for order in _FINE_ORDERS
    )
    row = source.row(f"SELECT count(*) AS n, {counts} FROM objects WHERE {region.sql()}")  # noqa: S608 - numbers only
    good = [
        order
        for order in _FINE_ORDERS
        if row[f"o{order}"] <= _MOST_CELLS and row["n"] >= _FEWEST_PER_CELL * row[f"o{order}"]
    ]
    return max(good, default=_FINE_ORDERS[0])


def _tangent_wcs(fine: CellCounts) -> WCS:
    """Return a projection about the mean position of the cells; one pixel is one arcminute, east to the left."""
    centres = unit_vectors(*cell_center(fine.order, fine.cell))
    (ra,), (dec,) = lonlat(np.average(centres, axis=0, weights=fine.n)[np.newaxis])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cdelt = [-1.0 / 60.0, 1.0 / 60.0]
    return wcs


def _extent(wcs: WCS, fine: CellCounts) -> tuple[Float64, Float64]:
    """Return the lower left and upper right corner of the map, in its pixels."""
    xy = np.stack(wcs.wcs_world2pix(*cell_center(fine.order, fine.cell), 0), axis=-1)
    low, high = xy.min(axis=0), xy.max(axis=0)
    pad = 0.02 * (high - low).max() + 30.0 * np.sqrt(cell_area_deg2(fine.order))
    return low - pad, high + pad


def _panels(figure: Figure, wcs: WCS, aspect: float) -> tuple[WCSAxes, Axes]:
    """Return axes for the region and the whole sky: side by side when the region is tall."""
    if aspect > 1.1:
        figure.set_size_inches(WIDTH_IN, 0.9 + 0.46 * WIDTH_IN * min(aspect, 1.8))
        grid = figure.add_gridspec(1, 2, width_ratios=[1.25, 1.0])
    else:
        figure.set_size_inches(WIDTH_IN, 3.3 + 0.75 * WIDTH_IN * max(aspect, 0.4))
        grid = figure.add_gridspec(2, 1, height_ratios=[0.75 * WIDTH_IN * max(aspect, 0.4), 2.4])
    return figure.add_subplot(grid[0], projection=wcs), figure.add_subplot(grid[1], projection="mollweide")


def _draw_region(axes: WCSAxes, wcs: WCS, fine: CellCounts, outlines: Footprints) -> PolyCollection:
    """Draw the cells and the outlines of the images; return the cells."""
    known = 0 < len(outlines) <= MOST_IMAGES
    fraction = covered_fraction(fine, outlines) if known else np.ones(fine.n.size)
    lon, lat = nested.vertices(fine.cell.astype(np.uint64), fine.order)
    corners = _on_map(wcs, lon.deg, lat.deg)
    values = np.where(fraction >= _LEAST_COVERED, fine.per_arcmin2 / np.maximum(fraction, _LEAST_COVERED), np.nan)
    # Edges of the colour of their cell close the hairlines between neighbours.
    cells = PolyCollection(corners, array=values, cmap=_COLOURS, edgecolors="face", linewidths=0.3)
    cells.set_norm(Normalize(0.0, float(np.nanmax(values))))
    axes.add_collection(cells)
    if len(outlines):
        frames = _on_map(wcs, outlines.ra, outlines.dec)
        axes.add_collection(PolyCollection(frames, facecolors="none", edgecolors=ORANGE, linewidths=1.0, alpha=0.8))
        if known:
            closed = [Path(np.vstack([frame, frame[:1]]), closed=True) for frame in frames]
            cells.set_clip_path(Path.make_compound_path(*closed), axes.transData)
    _dress_map(axes)
    return cells


def covered_fraction(fine: CellCounts, outlines: Footprints) -> Float64:
    """Return the part of each cell that lies inside the outlines, by its 64 descendants three orders down."""
    children = (fine.cell[:, np.newaxis] << 6) + np.arange(64)
    inside = outlines.cover(*cell_center(fine.order + 3, children.ravel()))
    return np.asarray(inside.reshape(children.shape).mean(axis=1))


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
    ra, dec = axes.coords
    for coordinate, label in ((ra, "right ascension (deg)"), (dec, "declination (deg)")):
        coordinate.set_format_unit("deg", decimal=True)
        coordinate.set_axislabel(label, fontsize=10.5, color=INK)
        coordinate.set_ticklabel(size=9.5, color=INK, exclude_overlapping=True)
        coordinate.set_ticks(number=5)
    axes.coords.grid(color=MUTED, alpha=0.35, linewidth=0.6)


def _draw_sky(axes: Axes, coarse: CellCounts, fine: CellCounts) -> None:
    x, y = np.linspace(-180.0, 180.0, 721), np.linspace(-90.0, 90.0, 361)
    mid_x, mid_y = np.meshgrid(0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1]))
    # The map's longitude runs to the right, right ascension to the left.
    cells = cells_at_order(-mid_x.ravel(), mid_y.ravel(), coarse.order)
    place = np.minimum(np.searchsorted(coarse.cell, cells), coarse.cell.size - 1)
    density = np.where(coarse.cell[place] == cells, coarse.per_arcmin2[place], np.nan).reshape(mid_x.shape)
    norm = LogNorm(coarse.per_arcmin2.min() * 0.5, coarse.per_arcmin2.max())
    axes.pcolormesh(np.radians(x), np.radians(y), density, cmap=_COLOURS, norm=norm, rasterized=True)
    plane = SkyCoord(l=np.linspace(0.0, 360.0, 721), b=np.zeros(721), unit="deg", frame="galactic").icrs
    turn = _to_map(plane.ra.deg)
    jumps = np.abs(np.diff(turn, prepend=turn[0])) > np.pi
    axes.plot(np.where(jumps, np.nan, turn), plane.dec.radian, color=MUTED, linewidth=1.0, linestyle="dashed")
    (ra,), (dec,) = cell_center(fine.order, fine.cell[[int(np.argmax(fine.n))]])
    axes.plot(_to_map(np.array([ra])), np.radians([dec]), "o", ms=13, mfc="none", mec=ORANGE, mew=2.0)
    axes.set_xticks(np.radians([120, 60, 0, -60, -120]), ["16h", "20h", "0h", "4h", "8h"], fontsize=9.5, color=INK)
    axes.set_yticks(np.radians([-30, 0, 30]), ["−30°", "0°", "+30°"], fontsize=9.5, color=INK)
    axes.grid(True, color=MUTED, alpha=0.35, linewidth=0.6)
    axes.set_title("on the whole sky (circle);\ndashed: plane of the Milky Way", fontsize=9.5, color=MUTED)


def _to_map(ra_deg: Float64) -> Float64:
    """Return map longitudes in radians, in [-pi, pi], rising to the west."""
    return np.asarray(-np.radians((ra_deg + 180.0) % 360.0 - 180.0))


def _distance_deg(vectors: Float64, centre: Float64) -> Float64:
    unit = centre / np.linalg.norm(centre)
    return np.asarray(np.degrees(np.arccos(np.clip(vectors @ unit, -1.0, 1.0))))


def _title(coarse: CellCounts, outlines: Footprints, whole: bool) -> str:
    total = counted(int(coarse.n.sum()), "object")
    if whole and 0 < len(outlines) <= MOST_IMAGES:
        area = outlines.area_deg2()
        return f"{total} in {area:.3g} deg²: {coarse.n.sum() / area / 3600.0:.2g} per arcmin²"
    return f"{total} in {counted(coarse.n.size, 'cell')} of 0.84 deg²"


def _caption(fine: CellCounts, outlines: Footprints, whole: bool) -> str:
    side_arcmin = np.sqrt(cell_area_deg2(fine.order)) * 60.0
    images = f"the first {MOST_IMAGES} images" if len(outlines) > MOST_IMAGES else counted(len(outlines), "image")
    part = "All of the lake" if whole else f"The surroundings of the fullest cell ({counted(fine.n.sum(), 'object')})"
    return (
        f"{part}: objects counted in HEALPix cells of order {fine.order} ({side_arcmin:.2g}′ a side), outlines of "
        f"{images} in orange. Cells on the border count for their covered part. East is to the left."
    )
