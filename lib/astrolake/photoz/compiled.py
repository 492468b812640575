"""The one way kernels are compiled: one thread, no GIL, kept on disk between runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Return the function compiled by numba; NaN and infinity behave as IEEE 754 says."""
    return cast("F", numba.njit(cache=True, nogil=True)(function))


def compiled_fast(function: F) -> F:
    """Return the function compiled with sums in any order (SIMD); for kernels that no NaN can enter."""
    return cast("F", numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")(function))
