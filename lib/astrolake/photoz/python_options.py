"""What a notebook or script says about a training, checked as the flags of the job are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from astrolake.errors import BadArguments
from astrolake.photoz.grid import RedshiftGrid


def grid_of(z_range: Sequence[float], step: float) -> RedshiftGrid:
    """Return a grid from its first to its last redshift; BadArguments for what makes none."""
    try:
        low, high = map(float, z_range)
        return RedshiftGrid(low, high, float(step))
    except (TypeError, ValueError):
        raise BadArguments(
            f"z_range {z_range!r}, z_resolution {step!r}: give the first and the last redshift, and a step"
        ) from None


def check_trees(n_estimators: Any, max_depth: Any, learning_rate: Any) -> None:
    """Raise BadArguments for what the flags of the job refuse, too."""
    for name, value, most in (("n_estimators", n_estimators, 100_000), ("max_depth", max_depth, 30)):
        if value is not None and not (isinstance(value, int | np.integer) and 1 <= value <= most):
            raise BadArguments(f"{name} {value!r}: give a whole number from 1 to {most}")
    if not (isinstance(learning_rate, int | float | np.floating) and 0 < learning_rate <= 1):
        raise BadArguments(f"learning_rate {learning_rate!r}: give a rate above 0, 1 at most")
