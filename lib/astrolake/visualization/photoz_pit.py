"""Whether densities of redshift are true: their probability integral transforms."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import binom

from astrolake.errors import BadInput
from astrolake.visualization.photoz_sample import PhotozSample
from astrolake.visualization.picture import BLUE, INK, MUTED, Drawing, counted, dress, new_figure
from astrolake.visualization.source import Float64

_BINS = 25
_LEVELS = np.linspace(0.0, 1.0, 201)


def pit_picture(sample: PhotozSample) -> Drawing:
    """Draw the histogram of the probability integral transforms and their quantiles.

    Raises
    ------
    BadInput
        When the sample has none.
    """
    if sample.pit is None or not np.isfinite(sample.pit).any():
        raise BadInput("the sample has no probability integral transforms: give `pit`")
    pit = np.sort(sample.pit[np.isfinite(sample.pit)])
    distance = _ks(pit)
    inside = float(np.mean((pit >= 0.16) & (pit <= 0.84)))
    title = (
        f"The 68 % interval holds {100 * inside:.1f} % of the redshifts; largest error of a probability "
        f"{distance:.3f}"
    )
    figure = new_figure(4.3, title)
    left, right = figure.subplots(1, 2)
    _draw_histogram(left, pit)
    _draw_quantiles(right, pit)
    galaxies = counted(pit.size, "galaxy", "galaxies")
    caption = (
        f"Probability that each density puts below the spectroscopic redshift (PIT), {galaxies}. Left: "
        "uniform where densities are true; the band then holds 95 % of the bins; a hump says that densities "
        "are too wide, horns that they are too narrow, a slope that they are shifted. Right: the part of the "
        "galaxies below each probability, less that probability; the largest distance from 0 is the "
        "statistic of Kolmogorov and Smirnov."
    )
    return Drawing(figure, title, caption)


def _draw_histogram(axes: Axes, pit: Float64) -> None:
    counts, edges = np.histogram(pit, _BINS, (0.0, 1.0))
    expected = pit.size / _BINS
    low, high = binom.ppf([0.025, 0.975], pit.size, 1.0 / _BINS) / expected
    axes.axhspan(low, high, color=MUTED, alpha=0.25, linewidth=0)
    axes.axhline(1.0, color=INK, linewidth=0.8)
    axes.stairs(counts / expected, edges, fill=True, color=BLUE, alpha=0.35)
    axes.stairs(counts / expected, edges, color=BLUE, linewidth=1.3, baseline=None)
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, max(1.6, 1.1 * float(counts.max() / expected))))
    dress(axes, "PIT", "galaxies over expected")


def _draw_quantiles(axes: Axes, pit: Float64) -> None:
    below = np.searchsorted(pit, _LEVELS, side="right") / pit.size
    band = 1.96 * np.sqrt(_LEVELS * (1.0 - _LEVELS) / pit.size)
    axes.fill_between(_LEVELS, -band, band, color=MUTED, alpha=0.25, linewidth=0)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.plot(_LEVELS, below - _LEVELS, color=BLUE, linewidth=2.0)
    reach = max(0.05, 1.25 * float(np.abs(below - _LEVELS).max()))
    axes.set(xlim=(0.0, 1.0), ylim=(-reach, reach))
    dress(axes, "probability", "part of galaxies below − probability")


def _ks(ordered: Float64) -> float:
    rank = np.arange(1, ordered.size + 1) / ordered.size
    return float(max(np.max(rank - ordered), np.max(ordered - rank + 1.0 / ordered.size)))
