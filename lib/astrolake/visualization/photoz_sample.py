"""Galaxies with photometric and spectroscopic redshifts, as the pictures of photo-z quality take them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm

from astrolake.errors import BadArguments, BadInput
from astrolake.visualization.picture import BLUE
from astrolake.visualization.source import Float64

#: |dz| / (1 + z) beyond which an estimate is an outlier.
OUTLIER = 0.15
_MAD = 1.4826
#: Counts from near white to the colour of points in other pictures, and darker.
DENSITY = LinearSegmentedColormap.from_list("density", ["#e3edf5", "#7fb2d6", BLUE, "#10304a"])


@dataclass(frozen=True, eq=False)
class PhotozSample:
    """Galaxies with both redshifts; rows where either is missing are left out by `of`.

    Parameters
    ----------
    z_phot, z_spec : (n,) float64
    mag : (n,) float64, optional
        Magnitude that residuals are drawn against.
    mag_name : str
        Label of its axis.
    pit : (n,) float64, optional
        Probability of each density below the spectroscopic redshift.
    stacked : (z, density), optional
        (k,) grid of redshifts, and the mean of the galaxies' densities on it.
    """

    z_phot: Float64
    z_spec: Float64
    mag: Float64 | None = None
    mag_name: str = "magnitude (AB)"
    pit: Float64 | None = None
    stacked: tuple[Float64, Float64] | None = None

    def __post_init__(self) -> None:
        columns = {name: getattr(self, name) for name in ("z_phot", "z_spec", "mag", "pit")}
        lengths = {name: len(column) for name, column in columns.items() if column is not None}
        if len(set(lengths.values())) > 1:
            raise BadArguments(f"columns differ in length: {lengths}")
        if not np.isfinite(self.residual).any():
            raise BadInput("no galaxy has a photometric and a spectroscopic redshift: nothing to draw")

    @cached_property
    def residual(self) -> Float64:
        """(z_phot - z_spec) / (1 + z_spec)."""
        return np.asarray((self.z_phot - self.z_spec) / (1.0 + self.z_spec))

    @cached_property
    def known(self) -> Float64:
        """The residuals that are numbers."""
        return np.asarray(self.residual[np.isfinite(self.residual)])

    @property
    def scatter(self) -> float:
        """Sigma_NMAD."""
        return float(_MAD * np.median(np.abs(self.known - np.median(self.known))))

    @property
    def bias(self) -> float:
        """Median residual."""
        return float(np.median(self.known))

    @property
    def outlier_fraction(self) -> float:
        """Fraction of residuals beyond 0.15."""
        return float(np.mean(np.abs(self.known) > OUTLIER))

    @property
    def z_limit(self) -> float:
        """Redshift that all but one galaxy of a thousand lie below, and a little more."""
        both = np.concatenate([self.z_phot, self.z_spec])
        return float(np.ceil(10.5 * np.quantile(both[np.isfinite(both)], 0.999)) / 10.0)


def draw_density(
    axes: Axes, x: Float64, y: Float64, limits: tuple[float, float, float, float], cells: int
) -> None:
    """Draw how many galaxies lie where, in cells, logarithmically; single ones are seen too."""
    x_low, x_high, y_low, y_high = limits
    box = axes.get_window_extent()
    rows = max(int(cells * box.height / box.width), 10)
    counts, x_edges, y_edges = np.histogram2d(
        x, y, bins=(cells, rows), range=((x_low, x_high), (y_low, y_high))
    )
    shown = np.where(counts.T > 0, counts.T, np.nan)
    norm = LogNorm(1, max(float(counts.max()), 2.0))
    axes.pcolormesh(x_edges, y_edges, shown, cmap=DENSITY, norm=norm, rasterized=True)
    axes.set(xlim=(x_low, x_high), ylim=(y_low, y_high))
