"""How residuals of photometric redshifts change with redshift and magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from astrolake.visualization.completeness import wilson_interval
from astrolake.visualization.photoz_sample import OUTLIER, PhotozSample, draw_density
from astrolake.visualization.picture import INK, ORANGE, Drawing, counted, dress, new_figure
from astrolake.visualization.source import Float64

_BINS = 12
_FEWEST_IN_BIN = 20
_CELLS = 110


def residuals_picture(sample: PhotozSample) -> Drawing:
    """Draw residuals and outliers against photometric redshift and, where given, magnitude."""
    axes_of = [("photometric redshift", sample.z_phot)]
    if sample.mag is not None:
        axes_of.append((sample.mag_name, sample.mag))
    worst = [_worst_bin(values, sample.residual) for _, values in axes_of]
    title = _title(sample, worst, len(axes_of) == 2)
    figure = new_figure(5.6, title)
    panels = figure.subplots(
        2, len(axes_of), squeeze=False, sharex="col", sharey="row", height_ratios=(2.2, 1.0)
    )
    reach = float(np.clip(8.0 * sample.scatter, 0.05, 0.6))
    for column, (label, values) in enumerate(axes_of):
        upper, lower = panels[0, column], panels[1, column]
        _draw_residuals(upper, values, sample.residual, reach)
        _draw_outliers(lower, values, sample.residual)
        dress(upper, "", "Δz / (1 + z)" if column == 0 else "")
        dress(lower, label, "outliers (%)" if column == 0 else "")
    panels[1, 0].set_ylim(0.0, None)
    outside = 100 * np.mean(np.abs(sample.known) > reach)
    galaxies = counted(sample.known.size, "galaxy", "galaxies")
    caption = (
        f"{galaxies}, photometric less spectroscopic redshift. Above, the density of galaxies (logarithmic; "
        f"{outside:.1f} % lie outside), with the median and the central 68 % of bins of equal numbers. "
        f"Below, the part with |Δz| > {OUTLIER} (1 + z), with Wilson's intervals at 1σ."
    )
    return Drawing(figure, title, caption)


def _bins(values: Float64, residual: Float64) -> list[Float64]:
    """Return the numbers of the galaxies of each bin, of about equal numbers, in the order of the values."""
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(residual))
    order = known[np.argsort(values[known], kind="stable")]
    n = max(1, min(_BINS, order.size // _FEWEST_IN_BIN))
    return list(np.array_split(order, n))


def _draw_residuals(axes: Axes, values: Float64, residual: Float64, reach: float) -> None:
    known = np.isfinite(values) & np.isfinite(residual)
    low, high = np.quantile(values[known], [0.002, 0.998])
    draw_density(axes, values[known], residual[known], (float(low), float(high), -reach, reach), _CELLS)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    groups = _bins(values, residual)
    x = np.array([np.median(values[rows]) for rows in groups])
    quantiles = np.array([np.quantile(residual[rows], [0.16, 0.5, 0.84]) for rows in groups])
    axes.plot(x, quantiles[:, 1], color=ORANGE, linewidth=1.8, marker="o", markersize=4)
    for side in (0, 2):
        axes.plot(x, quantiles[:, side], color=ORANGE, linewidth=1.3, linestyle=(0, (5, 3)))


def _draw_outliers(axes: Axes, values: Float64, residual: Float64) -> None:
    groups = _bins(values, residual)
    x = np.array([np.median(values[rows]) for rows in groups])
    out = np.array([np.sum(np.abs(residual[rows]) > OUTLIER) for rows in groups])
    total = np.array([rows.size for rows in groups])
    fraction = out / total
    low, high = wilson_interval(out, total)
    error = 100.0 * np.stack([fraction - low, high - fraction])
    style: dict[str, Any] = {
        "color": ORANGE,
        "linewidth": 1.5,
        "elinewidth": 1.0,
        "marker": "o",
        "markersize": 4,
    }
    axes.errorbar(x, 100.0 * fraction, yerr=np.maximum(error, 0.0), **style)


def _worst_bin(values: Float64, residual: Float64) -> tuple[float, float]:
    """Return the median value and the fraction of outliers of the bin with most outliers."""
    groups = _bins(values, residual)
    fractions = [float(np.mean(np.abs(residual[rows]) > OUTLIER)) for rows in groups]
    worst = int(np.argmax(fractions))
    return float(np.median(values[groups[worst]])), fractions[worst]


def _title(sample: PhotozSample, worst: list[tuple[float, float]], with_mag: bool) -> str:
    place, fraction = worst[-1]
    where = f"magnitude {place:.1f}" if with_mag else f"redshift {place:.2f}"
    outliers = 100 * sample.outlier_fraction
    return f"{outliers:.1f} % outliers, at most {100 * fraction:.1f} % at {where}"
