"""Colour-magnitude and colour-colour diagrams, point-like and extended objects apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm

from astrolake.errors import BadInput
from astrolake.visualization.picture import Drawing, counted, dress, new_figure
from astrolake.visualization.source import Float64, LakeSource, floats

#: Largest error of the magnitudes used, and the bit of saturated objects.
_LARGEST_ERROR, _SATURATED = 0.1, 4
#: Errors at which point-like objects are found, and how far above theirs their concentration may lie.
_PRECISE, _CONCENTRATION_STEP, _COMPACT_RANGE = 0.02, 0.02, 0.1
#: Width in mag of the cells counted in SQL; the hexagons gather them.
_CELL_MAG = 0.02
_FEWEST, _MANY = 10, 20_000


@dataclass(frozen=True)
class Bands:
    """Three neighbouring filters, from blue to red; the diagrams use blue - middle and middle - red."""

    blue: str = "g"
    middle: str = "r"
    red: str = "i"

    @property
    def colours(self) -> tuple[str, str]:
        """Columns of `objects` with the two colours."""
        return f"{self.blue}_{self.middle}", f"{self.middle}_{self.red}"


@dataclass(frozen=True, eq=False)
class Cloud:
    """Objects counted in small cells of two quantities.

    Parameters
    ----------
    x, y : (N,) float64
        Centres of the cells that hold objects.
    n : (N,) float64
        Objects in each.
    """

    x: Float64
    y: Float64
    n: Float64

    @property
    def total(self) -> int:
        """Number of objects."""
        return int(self.n.sum())


def colours_picture(source: LakeSource, bands: Bands | None = None) -> Drawing:
    """Draw colour against magnitude and against colour, for point-like and for extended objects.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When the objects lack the bands, or fewer than 10 are measured well in all of them.
    """
    bands = bands or Bands()
    source.require("objects", (*_needed(bands), "flags"))
    peak = compact_concentration(source, bands)
    blue_colour, red_colour = bands.colours
    magnitude = f"mag_auto_{bands.middle}"
    clouds = [
        [count_cloud(source, bands, blue_colour, vertical, kind, peak) for kind in (True, False)]
        for vertical in (magnitude, red_colour)
    ]
    points, extended = clouds[0]
    if points.total + extended.total < _FEWEST:
        raise BadInput(
            f"fewer than {_FEWEST} objects have errors below {_LARGEST_ERROR} mag in {blue_colour} and {red_colour}; "
            "ingest deeper images or more bands",
            "TooFewObjects",
        )
    title = f"{counted(points.total, 'point-like object')} on the stellar locus, {extended.total:,} extended"
    figure = new_figure(7.6, title)
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    names = ("point-like", "extended")
    x_label = _colour_label(blue_colour)
    for row, y_label in enumerate((f"{bands.middle} Kron (AB mag)", _colour_label(red_colour))):
        limits = _limits(clouds[row])
        for column in range(2):
            cloud = clouds[row][column]
            drawn = _draw_cloud(panels[row, column], cloud, limits)
            name = f"{names[column]} ({cloud.total:,})" if row == 0 else ""
            dress(panels[row, column], x_label if row else "", "" if column else y_label, name)
        if drawn is not None:
            bar = figure.colorbar(drawn, ax=panels[row], pad=0.01, fraction=0.04)
            bar.set_label("objects per hexagon", fontsize=9.5)
            bar.ax.tick_params(labelsize=9.0)
            bar.outline.set_visible(False)
    panels[0, 0].invert_yaxis()
    return Drawing(figure, title, _caption(bands, peak))
