"""How far matched positions lie apart, and whether their errors explain it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from astrolake.errors import TableNotFound
from astrolake.visualization.matches import (
    PARTS,
    PER_DECADE,
    SMALLEST_ARCSEC,
    Offsets,
    Separations,
    measure_separations,
    rayleigh_fraction,
    sample_offsets,
)
from astrolake.visualization.picture import BLUE, INK, ORANGE, Drawing, counted, dress, new_figure
from astrolake.visualization.source import Float64, LakeSource

#: Median of a Rayleigh distribution of parameter 1.
_RAYLEIGH_MEDIAN = float(np.sqrt(2.0 * np.log(2.0)))
#: Parts of the matches that the circles hold.
_CIRCLES = PARTS[:2]


def separations_picture(source: LakeSource, catalog: str = "gaia") -> Drawing:
    """Draw the separations of objects from their matches in a catalog, and the offsets in both axes.

    Raises
    ------
    TableNotFound, MissingColumns, BadInput
        When there is no cross-match of the objects with the catalog, or it is empty.
    """
    table = f"crossmatches_objects_x_{catalog}"
    found = measure_separations(source, table)
    offsets = _offsets_or_none(source, table, catalog)
    median, p95 = (1000.0 * found.quantiles_arcsec[part] for part in (0.5, 0.95))
    title = f"{found.n:,} {catalog} matches: half within {median:.2g} mas, 95 % within {p95:.3g} mas"
    figure = new_figure(4.2, title)
    panels = figure.subplots(1, 2 if offsets else 1, squeeze=False)[0]
    _draw_histogram(panels[0], found)
    if offsets:
        _draw_expected(panels[0], found, offsets)
        _draw_offsets(panels[1], offsets, found)
    figure.legend(loc="outside lower left", ncols=3, fontsize=9.5, frameon=False, labelcolor=INK)
    return Drawing(figure, title, _caption(offsets, catalog))


def _offsets_or_none(source: LakeSource, table: str, catalog: str) -> Offsets | None:
    """Return the offsets, None where objects or catalog are no longer in the lake."""
    try:
        offsets = sample_offsets(source, table, catalog)
    except TableNotFound:
        return None
    return offsets if offsets.ra_arcsec.size else None


def _draw_histogram(axes: Axes, found: Separations) -> None:
    centre = 10.0 ** (found.counts["centre"].to_numpy() + 3.0)
    half = 10.0 ** (0.5 / PER_DECADE)
    width = centre * (half - 1.0 / half)
    axes.bar(centre, found.counts["n"], width=width, color=BLUE, alpha=0.75, label="matches")
    one_error = found.quantiles_arcsec[0.5] / _RAYLEIGH_MEDIAN
    if one_error > 0:
        middle, fraction = _expected(found, np.array([one_error]))
        axes.plot(middle, fraction, color=INK, linewidth=1.3, linestyle="dashed", label="Rayleigh, one σ")
    axes.set_xscale("log")
    dress(axes, "separation (mas)", "matches per bin")


def _draw_expected(axes: Axes, found: Separations, offsets: Offsets) -> None:
    known = offsets.sigma_arcsec[offsets.sigma_arcsec > 0]
    if known.size:
        axes.plot(*_expected(found, known), color=ORANGE, linewidth=2.0, label="Rayleigh, formal errors")


def _expected(found: Separations, sigma_arcsec: Float64) -> tuple[Float64, Float64]:
    """Return the middles of the bins in mas and the matches expected in each for errors per axis."""
    centre = found.counts["centre"].to_numpy()
    edges = 10.0 ** np.arange(
        centre.min() - 2.5 / PER_DECADE, centre.max() + 0.51 / PER_DECADE, 1.0 / PER_DECADE
    )
    return 1000.0 * np.sqrt(edges[1:] * edges[:-1]), found.n * rayleigh_fraction(edges, sigma_arcsec)


def _draw_offsets(axes: Axes, offsets: Offsets, found: Separations) -> None:
    reach = 1300.0 * max(found.quantiles_arcsec[_CIRCLES[-1]], SMALLEST_ARCSEC)
    ra, dec = offsets.ra_arcsec * 1000.0, offsets.dec_arcsec * 1000.0
    axes.scatter(ra, dec, s=8, color=BLUE, alpha=0.45, linewidths=0, rasterized=True)
    turn = np.linspace(0.0, 2.0 * np.pi, 200)
    for part in _CIRCLES:
        radius = 1000.0 * found.quantiles_arcsec[part]
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=INK, linewidth=1.3)
        label = axes.text(
            0.0, radius, f"{100.0 * part:.0f} %", fontsize=9.5, color=INK, ha="center", va="bottom"
        )
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5})
    axes.axhline(0.0, color=INK, linewidth=0.7)
    axes.axvline(0.0, color=INK, linewidth=0.7)
    axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal")
    dress(axes, "Δα cos δ (mas)", "Δδ (mas)")


def _caption(offsets: Offsets | None, catalog: str) -> str:
    text = (
        f"Nearest match of each object with {catalog}, in logarithmic bins. Dashed: Rayleigh distribution of "
        "the same median, as if all positions had one error."
    )
    if offsets is None:
        return f"{text} The lake no longer has the matched rows of objects or {catalog}: no offsets."
    formal = ""
    if np.isfinite(offsets.within_three_sigma):
        part = 100.0 * offsets.within_three_sigma
        formal = (
            " Orange: expected from the formal errors of object and catalog; "
            f"{part:.1f} % of the offsets are shorter than three of them (98.9 % when the errors are right)."
        )
    epoch = "moved to the epoch of each object" if offsets.moved else "as the catalog gives it"
    ra, dec = (1000.0 * float(np.median(axis)) for axis in (offsets.ra_arcsec, offsets.dec_arcsec))
    sample = counted(offsets.ra_arcsec.size, "match", "matches")
    return (
        f"{text}{formal} Right: object minus {catalog} position ({epoch}) of {sample}, and the circles that "
        f"hold 50 % and 80 %; median offset {ra:+.2g} mas in right ascension, {dec:+.2g} mas in declination."
    )
