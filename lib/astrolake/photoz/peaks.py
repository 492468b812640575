"""Peaks of densities: whether a second redshift is nearly as likely."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrolake.photoz.compiled import compiled
from astrolake.photoz.grid import RedshiftGrid

#: Between two peaks the density falls below this part of the lower; a second one holds this part of the mass.
_VALLEY, _SECOND = 0.5, 1 / 3


def is_multimodal(density: NDArray[np.float32], grid: RedshiftGrid) -> NDArray[np.bool_]:
    """Return which densities have a second peak with a third of the probability of the first, or more, (n,).

    Two maxima are two peaks when the density between them falls below half of the lower one; a peak reaches
    to the lowest points between it and its neighbours. A row of NaN has none.
    """
    result = np.zeros(len(density), dtype=np.bool_)
    _multimodal(np.ascontiguousarray(density, dtype=np.float32), _VALLEY, _SECOND, result)
    return result


@compiled
def _multimodal(density: NDArray[np.float32], valley: float, second: float, out: NDArray[np.bool_]) -> None:
    """Walk along each row: a peak is closed when the density has fallen, and risen again, by the factor."""
    for row in range(density.shape[0]):
        largest, next_, mass, kept = 0.0, 0.0, 0.0, 0.0
        top, low = 0.0, 0.0
        fallen = False
        for k in range(density.shape[1]):
            value = density[row, k]
            if not fallen:
                top = max(top, value)
                mass += value
                if value < valley * top:
                    fallen, low, kept = True, value, mass
            else:
                mass += value
                if value <= low:
                    low, kept = value, mass
                elif low < valley * value:
                    # the last peak ends at its lowest point
                    largest, next_ = max(largest, kept), max(next_, min(largest, kept))
                    mass -= kept
                    top, fallen = value, False
        largest, next_ = max(largest, mass), max(next_, min(largest, mass))
        out[row] = next_ >= second * largest and largest > 0.0
