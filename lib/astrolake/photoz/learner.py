"""What every learner offers: densities from features, and its arrays to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadInput
from astrolake.photoz.grid import RedshiftGrid

Float32 = NDArray[np.float32]


@runtime_checkable
class Learner(Protocol):
    """A trained model of p(z | features)."""

    #: Name of the learner in model files.
    kind: ClassVar[str]

    def density(self, features: Float32, grid: RedshiftGrid) -> Float32:
        """Return densities, (n, grid.n) float32 with `sum * step == 1`, of (n, f) float32 features."""
        ...

    def params(self) -> dict[str, Any]:
        """Return what JSON holds of the learner."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the learner."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any]) -> Learner:
        """Return the learner that `arrays` and `params` came from."""
        ...


_LEARNERS: dict[str, type[Learner]] = {}

L = TypeVar("L", bound=type[Any])


def register(kind: str) -> Callable[[L], L]:
    """Make a class known as the learner of this kind, so that model files name it."""

    def decorate(learner: L) -> L:
        learner.kind = kind
        _LEARNERS[kind] = learner
        return learner

    return decorate


def restore(kind: str, arrays: Mapping[str, NDArray[Any]], params: Mapping[str, Any], name: str) -> Learner:
    """Return the learner of a model file.

    Raises
    ------
    BadInput
        When the kind is unknown, or arrays of it are missing or of the wrong shape.
    """
    if kind not in _LEARNERS:
        raise BadInput(f"{name} holds a learner of kind {kind!r}; known are {sorted(_LEARNERS)}")
    try:
        return _LEARNERS[kind].from_arrays(arrays, params)
    except BadInput as error:
        raise BadInput(f"{name}: the {kind} in it is not whole ({error})") from None
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise BadInput(f"{name}: the {kind} in it is not whole ({type(error).__name__}: {error})") from None
