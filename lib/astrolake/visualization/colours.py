"""Colour-magnitude and colour-colour diagrams, point-like and extended objects apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from astrolake.errors import BadInput
from astrolake.visualization.cloud import Cloud, Plane, count_cloud, draw_cloud, weighted_quantile
from astrolake.visualization.picture import BLUE, INK, ORANGE, Drawing, add_legend, counted, dress, new_figure
from astrolake.visualization.source import Float64, LakeSource

#: Largest error of the magnitudes used, and the flag of saturated objects.
_LARGEST_ERROR_MAG, _SATURATED = 0.1, 4
#: Point-like objects: those whose concentration mag_aper - mag_auto lies less than this above the fullest
#: bin of the concentrations of precisely measured objects.
_COMPACT_RANGE_MAG, _PRECISE_MAG, _STEP_MAG = 0.05, 0.02, 0.02
_COLOUR_RANGE, _MAGNITUDE_RANGE = (-1.0, 4.0), (8.0, 28.0)
_FEWEST = 10
#: Range of r-i in which the stellar locus is compared.
_LOCUS_R_I = (0.0, 1.6)


def colours_picture(source: LakeSource, bands: tuple[str, str, str] = ("g", "r", "i")) -> Drawing:
    """Draw colour against magnitude and against colour, for point-like and for extended objects.

    Parameters
    ----------
    source : LakeSource
    bands : (blue, middle, red)
        Neighbouring filters of the lake.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When the objects lack the bands, or fewer than 10 are measured well in all of them.
    """
    blue, middle, red = bands
    source.require("objects", ("flags", f"{blue}_{middle}", f"{middle}_{red}", *_magnitudes(bands)))
    border = compact_border(source, bands)
    magnitude = Plane(f"{blue}_{middle}", f"mag_auto_{middle}", _COLOUR_RANGE, _MAGNITUDE_RANGE)
    colour = Plane(f"{blue}_{middle}", f"{middle}_{red}", _COLOUR_RANGE, _COLOUR_RANGE)
    compact = f"mag_aper_{middle} - mag_auto_{middle} < {border!r}"
    rows = [
        [
            count_cloud(source, "objects", plane, f"{_measured(bands)} AND {kind}")
            for kind in (compact, f"NOT ({compact})")
        ]
        for plane in (magnitude, colour)
    ]
    n_points, n_extended = (cloud.total for cloud in rows[0])
    if n_points + n_extended < _FEWEST:
        raise BadInput(
            f"fewer than {_FEWEST} objects have errors below {_LARGEST_ERROR_MAG} mag in all of "
            f"{', '.join(bands)}; ingest deeper images of these bands",
            "TooFewObjects",
        )
    distance = locus_distance(rows[1][0]) if bands == ("g", "r", "i") else np.nan
    title = _title(n_points, n_extended, distance)
    figure = new_figure(7.2, title)
    _draw_panels(figure, rows, bands, np.isfinite(distance))
    return Drawing(figure, title, _caption(bands, border, np.isfinite(distance)))


def compact_border(source: LakeSource, bands: tuple[str, str, str]) -> float:
    """Return the concentration mag_aper - mag_auto below which objects are taken for point-like, mag.

    Precisely measured stars all have the same concentration, galaxies a larger one each: the fullest
    bin of the histogram is that of the stars.

    Raises
    ------
    BadInput
        When no object is measured precisely.
    """
    _, middle, _ = bands
    precise = f"{_measured(bands)} AND mag_auto_err_{middle} < {_PRECISE_MAG}"
    found = source.histogram("objects", f"mag_aper_{middle} - mag_auto_{middle}", _STEP_MAG, precise)
    if found.empty:
        raise BadInput(
            f"no object is measured to {_PRECISE_MAG} mag in {middle}: point-like ones cannot be told apart; "
            f"ingest deeper images in {', '.join(bands)}",
            "NoPreciseObjects",
        )
    return float(found["centre"].iloc[int(found["n"].to_numpy().argmax())]) + _COMPACT_RANGE_MAG


def stellar_locus(r_i: Float64) -> Float64:
    """Return g-r of main-sequence stars from r-i, SDSS filters: Juric et al. (2008), ApJ 673, 864, eq. 4."""
    return np.asarray(1.39 * (1.0 - np.exp(-4.9 * r_i**3 - 2.45 * r_i**2 - 1.68 * r_i - 0.050)))


def locus_distance(points: Cloud) -> float:
    """Return the distance from the stellar locus within which 68 % of the points lie, mag.

    Parameters
    ----------
    points : Cloud
        x is g-r, y is r-i; those beyond the ends of the locus are left out.

    Returns
    -------
    float
        NaN for fewer than 10 points.
    """
    r_i = np.linspace(*_LOCUS_R_I, 2000)
    near = points[(points.y >= r_i[0]) & (points.y < r_i[-1])]
    if near.total < _FEWEST:
        return float("nan")
    curve = cKDTree(np.stack([stellar_locus(r_i), r_i], axis=1))
    distance, _ = curve.query(np.stack([near.x, near.y], axis=1))
    return weighted_quantile(distance, near.n, 0.68)


def _magnitudes(bands: Sequence[str]) -> list[str]:
    return [f"mag_{name}_{band}" for band in bands for name in ("auto", "auto_err", "aper", "aper_err")]


def _measured(bands: Sequence[str]) -> str:
    """Return SQL that tells which objects enter: unsaturated, with small errors in all bands."""
    precise = " AND ".join(f"mag_aper_err_{band} < {_LARGEST_ERROR_MAG}" for band in bands)
    return f"(flags & {_SATURATED}) = 0 AND {precise}"


def _draw_panels(
    figure: Figure, rows: list[list[Cloud]], bands: tuple[str, str, str], with_locus: bool
) -> None:
    blue, middle, red = bands
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    names = (f"point-like ({rows[0][0].total:,})", f"extended ({rows[0][1].total:,})")
    y_labels = (f"{middle}, Kron magnitude (AB)", f"{middle} − {red} (mag)")
    x_limits = _limits([cloud.x for row in rows for cloud in row], [cloud.n for row in rows for cloud in row])
    for axes_row, clouds, y_label in zip(panels, rows, y_labels, strict=True):
        limits = (*x_limits, *_limits([cloud.y for cloud in clouds], [cloud.n for cloud in clouds]))
        drawn = [draw_cloud(*each, limits) for each in zip(axes_row, clouds, (BLUE, ORANGE), strict=True)]
        for axes, hexagons in zip(axes_row, drawn, strict=True):
            dress(axes)
            axes.set(xlim=limits[:2], ylim=limits[2:])
            if hexagons is not None:
                bar = figure.colorbar(hexagons, ax=axes, pad=0.01, fraction=0.05)
                bar.ax.tick_params(labelsize=8.5)
        axes_row[0].set_ylabel(y_label, fontsize=10.5, color=INK)
    for column in range(2):
        panels[0, column].set_title(names[column], fontsize=10.5, color=INK, loc="left")
        panels[1, column].set_xlabel(f"{blue} − {middle} (mag)", fontsize=10.5, color=INK)
    panels[0, 0].invert_yaxis()
    if with_locus:
        _draw_locus(panels[1])


def _draw_locus(panels: Sequence[Axes]) -> None:
    r_i = np.linspace(*_LOCUS_R_I, 200)
    for axes in panels:
        axes.plot(stellar_locus(r_i), r_i, color=INK, linewidth=1.2, label="stellar locus")
    add_legend(panels[0], "upper left")


def _limits(values: list[Float64], weights: list[Float64]) -> tuple[float, float]:
    """Return the range of the central 99 % of all values, with a margin."""
    joined, weight = np.concatenate(values), np.concatenate(weights)
    low, high = (weighted_quantile(joined, weight, q) for q in (0.005, 0.995))
    margin = 0.06 * (high - low) + 0.05
    return low - margin, high + margin


def _title(n_points: int, n_extended: int, distance: float) -> str:
    if np.isfinite(distance):
        points = counted(n_points, "point-like object")
        return f"{points}: 68 % lie within {distance:.3f} mag of the stellar locus"
    return f"{counted(n_points, 'point-like object')}, {n_extended:,} extended"


def _caption(bands: Sequence[str], border: float, with_locus: bool) -> str:
    middle = bands[1]
    locus = (
        " Line: stellar locus in SDSS filters (Jurić et al. 2008); distances are at right angles to it."
        if with_locus
        else ""
    )
    names = ", ".join(bands)
    return (
        f"Unsaturated objects with aperture errors below {_LARGEST_ERROR_MAG} mag in all of {names}; "
        f"colours from apertures, not dereddened. Point-like: mag_aper − mag_auto in {middle} below "
        f"{border:.2f} mag, {_COMPACT_RANGE_MAG} above where precisely measured stars gather.{locus}"
    )
