"""Which part of the true sources was found, and how true their magnitudes are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from astrolake.visualization.picture import BLUE, INK, ORANGE, Drawing, add_legend, counted, dress, new_figure
from astrolake.visualization.source import Float64, LakeSource
from astrolake.visualization.truth import (
    EDGE_ARCSEC,
    KINDS,
    RADIUS_ARCSEC,
    TruthMatch,
    match_truth,
    read_truth,
)

STEP_MAG = 0.5
_STYLE = {"star": ("stars", BLUE, "o", -0.06), "galaxy": ("galaxies", ORANGE, "s", 0.06)}
_FEWEST_IN_BIN = 5
_MOST_POINTS = 20_000
_LEVEL = 0.9


def completeness_picture(source: LakeSource, truth: Path, band: str = "r") -> Drawing:
    """Draw completeness and photometric error against the true magnitude, stars and galaxies apart.

    Parameters
    ----------
    source : LakeSource
    truth : Path
        See `read_truth`.
    band : str

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When lake or truth cannot answer.
    """
    matched = match_truth(source, read_truth(truth, band), band)
    kinds = {kind: matched.of(kind) for kind in KINDS if (matched.kind == kind).any()}
    title = _title(kinds, band)
    figure = new_figure(7.2, title)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for kind, sources in kinds.items():
        _draw_completeness(upper, sources, kind)
        _draw_errors(lower, sources, kind)
    for level in (_LEVEL, 0.5):
        upper.axhline(level, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    lower.axhline(0.0, color=INK, linewidth=0.8)
    upper.set_ylim(-0.03, 1.06)
    lower.set_ylim(*_error_limits(matched))
    dress(upper, "", "fraction found")
    dress(lower, f"true {band} (AB mag)", "mag_auto − true (mag)")
    add_legend(upper, "lower left")
    return Drawing(figure, title, _caption(matched, band))


def completeness(sources: TruthMatch) -> tuple[Float64, Float64, Float64]:
    """Return the fraction of the sources found in bins of 0.5 mag.

    Bins of fewer than 5 sources are left out.

    Returns
    -------
    centre, fraction : (B,) float64
    interval : (2, B) float64
        Lower and upper end at one standard deviation.
    """
    bins = np.floor(sources.true_mag / STEP_MAG)
    values, place = np.unique(bins, return_inverse=True)
    total = np.bincount(place, minlength=values.size)
    found = np.bincount(place, sources.found, minlength=values.size)
    full = total >= _FEWEST_IN_BIN
    centre = (values[full] + 0.5) * STEP_MAG
    return centre, found[full] / total[full], wilson_interval(found[full], total[full])


def wilson_interval(successes: ArrayLike, trials: ArrayLike, z: float = 1.0) -> Float64:
    """Return the score interval of a binomial fraction: Wilson (1927), JASA 22, 209.

    Parameters
    ----------
    successes, trials : (N,) arrays
        Trials must be positive.
    z : float
        Half-width in standard deviations.

    Returns
    -------
    (2, N) float64
        Lower and upper end, within [0, 1].
    """
    n = np.asarray(trials, dtype=np.float64)
    p = np.asarray(successes, dtype=np.float64) / n
    centre = (p + z**2 / (2.0 * n)) / (1.0 + z**2 / n)
    half = z / (1.0 + z**2 / n) * np.sqrt(p * (1.0 - p) / n + z**2 / (4.0 * n**2))
    return np.clip(np.stack([centre - half, centre + half]), 0.0, 1.0)


def limiting_magnitude(centre: Float64, fraction: Float64, level: float) -> float:
    """Return the faintest magnitude at which the fraction found falls through a level.

    Interpolated between the centres of bins. NaN when the level is never reached, or still is in the
    faintest bin.
    """
    above = np.flatnonzero(fraction >= level)
    if not above.size or above[-1] == fraction.size - 1:
        return float("nan")
    one = above[-1]
    part = (fraction[one] - level) / (fraction[one] - fraction[one + 1])
    return float(centre[one] + part * (centre[one + 1] - centre[one]))


def _draw_completeness(axes: Axes, sources: TruthMatch, kind: str) -> None:
    name, colour, marker, _ = _STYLE[kind]
    centre, fraction, interval = completeness(sources)
    error = np.abs(interval - fraction)
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.5}
    axes.errorbar(centre, fraction, yerr=error, elinewidth=1.0, label=name, **style)


def _draw_errors(axes: Axes, sources: TruthMatch, kind: str) -> None:
    """Draw measured minus true magnitudes, with medians and central 68 % of bins of 5 sources or more."""
    _, colour, marker, shift = _STYLE[kind]
    found = sources.found
    true, error = sources.true_mag[found], (sources.measured_mag - sources.true_mag)[found]
    shown = slice(_MOST_POINTS)
    axes.scatter(true[shown], error[shown], s=5, color=colour, alpha=0.25, linewidths=0, rasterized=True)
    groups = pd.Series(error).groupby(np.floor(true / STEP_MAG))
    low, middle, high = (groups.quantile(q)[groups.size() >= _FEWEST_IN_BIN] for q in (0.16, 0.5, 0.84))
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.3}
    centre = (middle.index.to_numpy(dtype=np.float64) + 0.5) * STEP_MAG
    axes.errorbar(centre + shift, middle, yerr=np.stack([middle - low, high - middle]), capsize=2.5, **style)


def _error_limits(matched: TruthMatch) -> tuple[float, float]:
    error = np.abs(matched.measured_mag - matched.true_mag)[matched.found]
    reach = 1.1 * max(float(np.quantile(error, 0.98)), 0.05) if error.size else 0.5
    return -reach, reach


def _title(kinds: dict[str, TruthMatch], band: str) -> str:
    limits = {kind: limiting_magnitude(*completeness(sources)[:2], _LEVEL) for kind, sources in kinds.items()}
    known = [
        f"{_STYLE[kind][0]} to {band} = {limit:.1f}" for kind, limit in limits.items() if np.isfinite(limit)
    ]
    return f"{100.0 * _LEVEL:.0f} % complete: {', '.join(known)}" if known else f"Completeness in {band}"


def _caption(matched: TruthMatch, band: str) -> str:
    sources = counted(matched.found.size, "true source")
    return (
        f"{sources} at least {EDGE_ARCSEC:g}″ inside the images in {band}, "
        f"{int(matched.found.sum()):,} found, with an object measured in {band} within {RADIUS_ARCSEC:g}″; "
        f"of sources that share an object only the brightest counts. Bins of {STEP_MAG:g} mag; above, error "
        "bars are Wilson's binomial intervals at 1σ; below, medians with the central 68 %. A Kron aperture "
        "loses the outer light of a galaxy: positive differences are too faint."
    )
