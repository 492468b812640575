"""The grid of redshifts that densities are given on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadArguments

#: More points than this are a mistake in the step, and no table holds them; forests count in uint16.
_MOST_POINTS = 50_000


@dataclass(frozen=True)
class RedshiftGrid:
    """Evenly spaced redshifts; a density is constant in the bin of width `step` around each.

    Parameters
    ----------
    z_min, z_max : float
        First and last redshift.
    step : float
        Distance of two redshifts; z_max - z_min is a multiple of it.

    Raises
    ------
    BadArguments
        For a range or step that makes no grid.
    """

    z_min: float = 0.0
    z_max: float = 3.0
    step: float = 0.01

    def __post_init__(self) -> None:
        given = f"redshifts from {self.z_min} to {self.z_max} in steps of {self.step}"
        if not np.isfinite([self.z_min, self.z_max, self.step]).all() or self.step <= 0:
            raise BadArguments(f"{given}: give finite numbers and a step above 0")
        if self.z_min < 0 or self.z_max <= self.z_min:
            raise BadArguments(f"{given}: give 0 <= z_min < z_max")
        steps = (self.z_max - self.z_min) / self.step
        if steps > _MOST_POINTS:
            raise BadArguments(f"{given}: more than {_MOST_POINTS} points; give a larger step")
        if abs(steps - round(steps)) > 1e-6 * max(steps, 1):
            raise BadArguments(f"{given}: the range is not a whole number of steps")

    @property
    def n(self) -> int:
        """Number of redshifts."""
        return round((self.z_max - self.z_min) / self.step) + 1

    @cached_property
    def z(self) -> NDArray[np.float64]:
        """Redshifts, (n,) float64."""
        return np.linspace(self.z_min, self.z_max, self.n)

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins around the redshifts, (n + 1,) float64, from half a step below z_min."""
        return np.append(self.z - self.step / 2, self.z[-1] + self.step / 2)

    def coarser(self, step: float) -> RedshiftGrid:
        """Return the grid with about this step from the same z_min, whose last redshift reaches z_max."""
        if not np.isfinite(step):
            raise BadArguments(f"a step of {step}: give a number")
        if step == self.step:
            return self
        if step < self.step:
            raise BadArguments(f"a step of {step} is finer than the grid's {self.step}")
        steps = int(np.ceil((self.z_max - self.z_min) / step - 1e-6))
        return RedshiftGrid(self.z_min, self.z_min + steps * step, step)


def common_grid(grids: Sequence[RedshiftGrid]) -> RedshiftGrid:
    """Return the grid of the finest step that reaches from the lowest to the highest redshift of all."""
    if len(set(grids)) == 1:
        return grids[0]
    z_min, step = min(grid.z_min for grid in grids), min(grid.step for grid in grids)
    steps = int(np.ceil((max(grid.z_max for grid in grids) - z_min) / step - 1e-6))
    return RedshiftGrid(z_min, z_min + steps * step, step)
