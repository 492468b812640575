"""Photometric against spectroscopic redshifts, and how many galaxies there are at each."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from astrolake.errors import BadInput
from astrolake.visualization.photoz_sample import DENSITY, OUTLIER, PhotozSample, draw_density
from astrolake.visualization.picture import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    Drawing,
    counted,
    dress,
    new_figure,
)

_CELLS = 150
_BINS = 45


def redshifts_picture(sample: PhotozSample) -> Drawing:
    """Draw the density of galaxies over both redshifts, and the limits of outliers."""
    title = (
        f"σ = {sample.scatter:.4f}, {100 * sample.outlier_fraction:.1f} % outliers, bias {sample.bias:+.4f}"
    )
    figure = new_figure(5.6, title)
    axes = figure.subplots()
    axes.set_box_aspect(1)
    limit = sample.z_limit
    draw_density(axes, sample.z_spec, sample.z_phot, (0.0, limit, 0.0, limit), _CELLS)
    z = np.array([0.0, limit])
    axes.plot(z, z, color=ORANGE, linewidth=1.0)
    for side in (-OUTLIER, OUTLIER):
        axes.plot(z, z + side * (1.0 + z), color=ORANGE, linewidth=1.0, linestyle=(0, (5, 3)))
    dress(axes, "spectroscopic redshift", "photometric redshift")
    _colour_bar(axes)
    galaxies = counted(sample.known.size, "galaxy", "galaxies")
    caption = (
        f"{galaxies} in cells of {limit / _CELLS:.3f}. Dashed: |Δz| = {OUTLIER} (1 + z), beyond which an "
        "estimate is an outlier. σ is 1.4826 times the median absolute deviation of Δz / (1 + z) from its "
        f"median, the bias. {_outside(sample)}"
    )
    return Drawing(figure, title, caption.strip())


def number_picture(sample: PhotozSample) -> Drawing:
    """Draw the stacked densities against the histogram of spectroscopic redshifts.

    Raises
    ------
    BadInput
        When the sample has no stacked densities.
    """
    if sample.stacked is None:
        raise BadInput("the sample has no stacked densities: give `stacked`")
    z, density = sample.stacked
    mean = float(np.average(z, weights=density))
    shift = mean - float(np.nanmean(sample.z_spec))
    title = f"Stacked densities have the mean redshift {mean:.3f}, {shift:+.4f} from the spectroscopic one"
    figure = new_figure(4.4, title)
    axes = figure.subplots()
    edges = np.linspace(0.0, sample.z_limit, _BINS + 1)
    n = sample.known.size
    for values, colour, label in (
        (sample.z_spec, MUTED, "spectroscopic"),
        (sample.z_phot, BLUE, "photometric, points"),
    ):
        counts = np.histogram(values, edges)[0] / (n * np.diff(edges))
        filled = label == "spectroscopic"
        style: dict[str, Any] = (
            {"color": colour, "alpha": 0.35} if filled else {"color": colour, "linewidth": 1.3}
        )
        axes.stairs(counts, edges, fill=filled, label=label, **style)
    axes.plot(z, density, color=ORANGE, linewidth=2.0, label="photometric, densities stacked")
    axes.set(xlim=(0.0, sample.z_limit), ylim=(0.0, None))
    dress(axes, "redshift", "galaxies per unit redshift, normalised")
    axes.legend(loc="upper right", fontsize=9.5, labelcolor=INK, framealpha=0.9, edgecolor="none")
    caption = (
        f"{counted(n, 'galaxy', 'galaxies')}. Grey: histogram of spectroscopic redshifts; blue: of point "
        "estimates, which pile up where densities are wide; orange: mean of the densities."
    )
    return Drawing(figure, title, caption)


def _colour_bar(axes: Axes) -> None:
    mesh = axes.collections[0]
    mesh.set_cmap(DENSITY)
    bar = axes.figure.colorbar(mesh, ax=axes, shrink=0.92, aspect=28, pad=0.02)
    bar.set_label("galaxies per cell", fontsize=10.5, color=INK)
    bar.ax.tick_params(labelsize=9.5, colors=INK, which="both")
    bar.outline.set_visible(False)


def _outside(sample: PhotozSample) -> str:
    limit = sample.z_limit
    out = int(((sample.z_spec > limit) | (sample.z_phot > limit)).sum())
    return f"{counted(out, 'galaxy', 'galaxies')} beyond redshift {limit:g} not shown." if out else ""
