"""Model fluxes as the kernel of template fitting reads them: blocks of redshifts that loops run over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

#: Redshifts that a compiled loop runs over, at most, and what their number is rounded up to: SIMD lanes.
LONGEST_LOOP, LANES = 512, 16


@dataclass(frozen=True)
class PackedModels:
    """Models as the kernel reads them.

    Parameters
    ----------
    flux : (templates, blocks, bands * width) float32
        Redshifts run fastest; beyond the last one it is repeated.
    error2 : (blocks, bands, width) float32
        Square of the relative template error.
    prior_class : (templates,) int64
        Row of the prior of each template.
    n_z : int
    """

    flux: Float32
    error2: Float32
    prior_class: Int64
    n_z: int

    @property
    def n_bands(self) -> Any:
        """Number of bands."""
        return self.error2.shape[1]

    @property
    def width(self) -> Any:
        """Redshifts of a block."""
        return self.error2.shape[2]


def pack(
    flux: NDArray[np.floating], template_error: NDArray[np.floating], prior_class: Int64
) -> PackedModels:
    """Return models as the kernel reads them.

    Parameters
    ----------
    flux : (templates, redshifts, bands) array
    template_error : (redshifts, bands) array
        Error of any template relative to the flux it is compared with.
    prior_class : (templates,) int64
    """
    n_z = flux.shape[1]
    blocks = -(-n_z // LONGEST_LOOP)
    width = -(-n_z // (blocks * LANES)) * LANES
    at = np.minimum(np.arange(blocks * width), n_z - 1)
    rows = np.asarray(flux, dtype=np.float32)[:, at].transpose(0, 2, 1)
    split = rows.reshape(len(flux), -1, blocks, width).transpose(0, 2, 1, 3)
    errors = np.asarray(template_error, dtype=np.float32)[at].T.reshape(-1, blocks, width).transpose(1, 0, 2)
    return PackedModels(
        np.ascontiguousarray(split.reshape(len(flux), blocks, -1)),
        np.ascontiguousarray(errors**2),
        np.ascontiguousarray(prior_class, dtype=np.int64),
        n_z,
    )
