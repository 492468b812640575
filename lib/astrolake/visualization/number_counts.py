"""How many objects there are at each magnitude, and how deep the images go."""

# ruff: noqa: S608 - SQL holds checked identifiers and numbers only

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from astrolake.errors import BadInput
from astrolake.visualization.footprints import Area, covered_area
from astrolake.visualization.picture import Drawing, add_legend, band_style, dress, new_figure
from astrolake.visualization.source import LakeSource

STEP_MAG = 0.5
#: Errors that belong to a signal-to-noise ratio of about 5: 2.5 / ln(10) / 5 = 0.217 mag.
_DEPTH_SNR = 5.0
_DEPTH_ERRORS = (0.19, 0.245)


@dataclass(frozen=True, eq=False)
class BandCounts:
    """Counts of one band.

    Parameters
    ----------
    band : str
    counts : DataFrame
        centre (mag), n.
    area : Area
    depth_mag : float
        Magnitude of objects measured at a signal-to-noise ratio of 5; NaN when none is near it.
    """

    band: str
    counts: pd.DataFrame
    area: Area
    depth_mag: float

    @property
    def peak_mag(self) -> float:
        """Centre of the fullest bin: beyond it objects are missing."""
        return float(self.counts["centre"].iloc[int(self.counts["n"].to_numpy().argmax())])


def count_magnitudes(source: LakeSource, band: str) -> BandCounts:
    """Return the counts of one band in bins of 0.5 mag.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When the objects have no magnitudes in the band.
    """
    magnitude, error = f"mag_auto_{band}", f"mag_auto_err_{band}"
    source.require("objects", (magnitude, error))
    counts = source.histogram("objects", magnitude, STEP_MAG)
    if counts.empty:
        raise BadInput(
            f"no object has a magnitude in {band}: nothing to count; ingest that band", "NoMagnitudes"
        )
    low, high = _DEPTH_ERRORS
    depth = source.row(
        f"SELECT CAST(approx_quantile({magnitude}, 0.5) AS DOUBLE) AS m "
        f"FROM objects WHERE {error} BETWEEN {low} AND {high} AND isfinite({magnitude})"
    )["m"]
    return BandCounts(band, counts, covered_area(source, band), float(depth) if pd.notna(depth) else np.nan)


def number_counts_picture(source: LakeSource) -> Drawing:
    """Draw the counts of every band per square degree, with the 5-sigma depths marked.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When the objects have no magnitudes.
    """
    bands = source.bands()
    if not bands:
        raise BadInput("objects has no magnitudes (mag_auto_<band>); run build_objects", "NoMagnitudes")
    found = [count_magnitudes(source, band) for band in bands]
    depths = ", ".join(f"{one.band} = {one.depth_mag:.1f}" for one in found if np.isfinite(one.depth_mag))
    title = f"The images reach {depths} mag at 5σ" if depths else "Number counts of the objects"
    figure = new_figure(4.9, title)
    axes = figure.add_subplot()
    for number, one in enumerate(found):
        _draw_band(axes, one)
        _mark_depth(axes, one, 0.03 + 0.1 * number)
    axes.set_yscale("log")
    dress(axes, "Kron magnitude (AB)", f"objects per deg² per {STEP_MAG:g} mag")
    add_legend(axes, "upper left")
    return Drawing(figure, title, _caption(found))


def _draw_band(axes: Axes, one: BandCounts) -> None:
    colour, marker = band_style(one.band)
    bins = np.rint(one.counts["centre"] / STEP_MAG - 0.5).astype(np.int64)
    full = pd.Series(one.counts["n"].to_numpy(dtype=np.float64), index=bins).reindex(
        range(bins.min(), bins.max() + 1)
    )
    n, density = full.to_numpy(), 1.0 / one.area.deg2
    # A Poisson error of n = 1 would reach zero, which a logarithmic axis cannot show.
    low = np.where(n > 1, np.sqrt(n), 0.7 * n)
    axes.errorbar(
        (full.index.to_numpy() + 0.5) * STEP_MAG,
        n * density,
        yerr=np.stack([low, np.sqrt(n)]) * density,
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.5,
        elinewidth=1.0,
        label=f"{one.band} (fullest bin {one.peak_mag:.2f})",
    )


def _mark_depth(axes: Axes, one: BandCounts, height: float) -> None:
    if not np.isfinite(one.depth_mag):
        return
    colour, _ = band_style(one.band)
    axes.axvline(one.depth_mag, color=colour, linewidth=1.1, linestyle=(0, (5, 3)))
    axes.annotate(
        f"5σ in {one.band}",
        (one.depth_mag, height),
        xycoords=("data", "axes fraction"),
        xytext=(-5, 0),
        textcoords="offset points",
        ha="right",
        fontsize=9.5,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0},
    )


def _caption(found: list[BandCounts]) -> str:
    areas = "; ".join(f"{one.band} {one.area.deg2:.4g} deg²" for one in found)
    methods = " and ".join(sorted({one.area.method for one in found}))
    total = ", ".join(f"{one.band} {int(one.counts['n'].sum()):,}" for one in found)
    return (
        f"Objects with a Kron magnitude: {total}. Error bars are Poisson's. Area from {methods}: {areas}. "
        f"Dashed: median magnitude of objects whose error is {_DEPTH_ERRORS[0]} to {_DEPTH_ERRORS[1]} mag, "
        f"a signal-to-noise ratio of about {_DEPTH_SNR:g}. Beyond the fullest bin objects are missing."
    )
