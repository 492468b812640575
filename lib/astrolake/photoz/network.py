"""A mixture density network: p(z | features) as Gaussians in ln(1 + z) (Bishop 1994, NCRG/94/004).

MLlib has no regressor of this kind. Written in numpy and numba, without torch: its matrices are small, so
that BLAS is as fast on the cores that Spark has, and the workers of a lake need no package of a gigabyte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from astrolake.photoz.compiled import compiled_fast
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.learner import register
from astrolake.photoz.mixture import add_densities

Float32 = NDArray[np.float32]

#: Rows that go through the layers at a time: their activations stay in the cache.
_BLOCK = 512


@register("neural_network")
@dataclass(frozen=True)
class MixtureNetwork:
    """Layers with SiLU activations between (Hendrycks & Gimpel 2016), the last giving `mixture` parameters.

    Parameters
    ----------
    members : sequence of layers
        Networks whose densities are averaged; each a sequence of (weights (in, out), bias (out,)) float32.
    epochs : int
        Times that it saw the training set.
    """

    members: Sequence[Sequence[tuple[Float32, Float32]]]
    epochs: int = 0

    kind: ClassVar[str] = "neural_network"

    def __post_init__(self) -> None:
        for layers in self.members:
            shapes = [weights.shape for weights, _ in layers]
            fits = all(left[1] == right[0] for left, right in pairwise(shapes))
            if not fits or shapes[-1][1] % 3 or any(b.shape != (w.shape[1],) for w, b in layers):
                raise ValueError(f"layers of {shapes} do not fit together")

    def density(self, features: Float32, grid: RedshiftGrid) -> Float32:
        """Return densities, (n, grid.n) float32 with `sum * step == 1`, of (n, f) float32 features."""
        result = np.zeros((len(features), grid.n), dtype=np.float32)
        for start in range(0, len(features), _BLOCK):
            rows = slice(start, start + _BLOCK)
            for layers in self.members:
                add_densities(forward(layers, features[rows]), grid, result[rows])
        if len(self.members) > 1:
            result /= np.float32(len(self.members))
        return result

    def params(self) -> dict[str, Any]:
        """Return the numbers of members, layers and epochs."""
        return {"members": len(self.members), "layers": len(self.members[0]), "epochs": self.epochs}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights and biases."""
        found = {}
        for m, layers in enumerate(self.members):
            for k, (weights, bias) in enumerate(layers):
                found[f"weights_{m}_{k}"], found[f"bias_{m}_{k}"] = weights, bias
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any]) -> MixtureNetwork:
        """Return the network that `arrays` and `params` came from."""
        return cls(
            [
                [(arrays[f"weights_{m}_{k}"], arrays[f"bias_{m}_{k}"]) for k in range(params["layers"])]
                for m in range(params["members"])
            ],
            params["epochs"],
        )


def forward(layers: Sequence[tuple[Float32, Float32]], features: Float32) -> Float32:
    """Return the output of the last layer, (n, 3 k) float32."""
    values = features
    for weights, bias in layers[:-1]:
        values = values @ weights
        silu(values, bias)
    weights, bias = layers[-1]
    result: Float32 = values @ weights + bias
    return result


@compiled_fast
def silu(values: Float32, bias: Float32) -> None:
    """Replace x by s = (x + bias) / (1 + exp(-(x + bias))), in place."""
    for row in range(values.shape[0]):
        for k in range(values.shape[1]):
            x = values[row, k] + bias[k]
            values[row, k] = x / (np.float32(1) + _exp_of_minus(x))


@compiled_fast
def silu_and_slope(values: Float32, bias: Float32, slope: Float32) -> None:
    """Replace x as `silu` does, in place, and write the derivative."""
    one = np.float32(1)
    for row in range(values.shape[0]):
        for k in range(values.shape[1]):
            x = values[row, k] + bias[k]
            sigmoid = one / (one + _exp_of_minus(x))
            values[row, k] = x * sigmoid
            slope[row, k] = sigmoid * (one + x * (one - sigmoid))


@compiled_fast
def _exp_of_minus(x: np.float32) -> np.float32:
    """Return exp(-x) as the 64th power of a short series: exact to 1e-4 at 20, to 1e-6 within 8, and SIMD."""
    one, half, sixth = np.float32(1), np.float32(0.5), np.float32(1 / 6)
    y = min(max(x, np.float32(-20)), np.float32(20)) * np.float32(-1 / 64)
    e = one + y * (one + y * (half + y * (sixth + y * (np.float32(1 / 24) + y * np.float32(1 / 120)))))
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return e
