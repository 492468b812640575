"""Clouds of points: counted in cells by SQL, drawn as points when few, as hexagons when many."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from astrolake.visualization.source import Float64, LakeSource, floats

Bool = NDArray[np.bool_]
#: Up to so many rows are drawn one by one.
AS_POINTS = 5000
_POINT_CELLS, _HEXAGON_CELLS = 2000, 800
_FEWEST_HEXAGONS, _MOST_HEXAGONS = 25, 50


@dataclass(frozen=True)
class Plane:
    """Two quantities, as SQL, and the ranges within which they are looked at."""

    x: str
    y: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Cloud:
    """Rows counted in small cells of a plane.

    Parameters
    ----------
    x, y, n : (N,) float64
        Centres of the cells that hold rows, and the rows in each.
    """

    x: Float64
    y: Float64
    n: Float64

    def __getitem__(self, keep: Bool) -> Cloud:
        return Cloud(self.x[keep], self.y[keep], self.n[keep])

    @property
    def total(self) -> int:
        """Number of rows."""
        return int(self.n.sum())


def count_cloud(source: LakeSource, table: str, plane: Plane, where: str = "TRUE") -> Cloud:
    """Count the rows of a table in the cells of a plane: 800 x 800, or smaller ones for few rows.

    Rows outside the ranges, NULL and NaN are not counted.
    """
    (x0, x1), (y0, y1) = plane.x_range, plane.y_range
    rows = (
        f"(SELECT CAST({plane.x} AS DOUBLE) AS x, CAST({plane.y} AS DOUBLE) AS y FROM {table} WHERE {where})"
    )
    inside = f"x >= {x0!r} AND x < {x1!r} AND y >= {y0!r} AND y < {y1!r}"
    total = source.row(f"SELECT count(*) AS n FROM {rows} WHERE {inside}")["n"]
    cells = _POINT_CELLS if total <= AS_POINTS else _HEXAGON_CELLS
    dx, dy = (x1 - x0) / cells, (y1 - y0) / cells
    found = source.query(
        f"SELECT floor((x - {x0!r}) / {dx!r}) AS i, floor((y - {y0!r}) / {dy!r}) AS j, count(*) AS n "
        f"FROM {rows} WHERE {inside} GROUP BY i, j ORDER BY i, j"
    )
    return Cloud(
        x0 + (floats(found, "i") + 0.5) * dx, y0 + (floats(found, "j") + 0.5) * dy, floats(found, "n")
    )


def draw_cloud(
    axes: Axes, cloud: Cloud, colour: str, limits: tuple[float, float, float, float]
) -> Collection | None:
    """Draw a cloud; return the hexagons, None when it was drawn as points.

    Parameters
    ----------
    limits : (x_low, x_high, y_low, y_high)
        Part of the plane that is drawn.
    """
    if cloud.total <= AS_POINTS:
        axes.scatter(cloud.x, cloud.y, s=7, color=colour, alpha=0.55, linewidths=0, rasterized=True)
        return None
    size = int(np.clip(0.5 * np.sqrt(cloud.total), _FEWEST_HEXAGONS, _MOST_HEXAGONS))
    hexagons: Collection = axes.hexbin(
        cloud.x,
        cloud.y,
        C=cloud.n,
        reduce_C_function=np.sum,
        gridsize=size,
        extent=limits,
        cmap="viridis_r",
        norm=LogNorm(),
        linewidths=0.2,
    )
    return hexagons


def weighted_quantile(values: Float64, weights: Float64, q: float) -> float:
    """Return the smallest value that has at least the part q of the weight at or below it; NaN when empty."""
    if not values.size:
        return float("nan")
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    place = int(np.searchsorted(reached, q * reached[-1]))
    return float(values[order][min(place, values.size - 1)])
