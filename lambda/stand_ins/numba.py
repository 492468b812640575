"""In place of numba where compiled kernels are beside it: `njit` gives the kernel that was compiled before.

numba compiles a function for the types of its arguments; `compile_kernels.py` did so for the types that
occur, and wrote them to `astrolake_kernels.json`. A call with others is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astrolake_kernels
import numpy as np

_SIGNATURES: dict[str, list[Any]] = json.loads(
    Path(__file__).with_name("astrolake_kernels.json").read_text(encoding="utf-8")
)


def njit(*_: Any, **__: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what replaces a function by its compiled kernel; helpers of kernels stay as they are."""

    def replace(function: Callable[..., Any]) -> Callable[..., Any]:
        name = f"{function.__module__.rsplit('.', 1)[-1]}__{function.__name__}"
        if name not in _SIGNATURES:
            return function
        kernel, signature = getattr(astrolake_kernels, name), _SIGNATURES[name]

        def checked(*arguments: Any) -> Any:
            if len(arguments) != len(signature) or not all(map(_fits, signature, arguments)):
                raise TypeError(f"{name} is compiled for {signature}, not for {list(map(_told, arguments))}")
            return kernel(*arguments)

        return checked

    return replace


def _fits(kind: Any, value: Any) -> bool:
    """Tell whether a value is of a type as the list of signatures has it."""
    match kind:
        case {"array": dtype, "ndim": ndim}:
            is_array = isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == ndim
            return is_array and value.flags.c_contiguous and value.flags.aligned and value.flags.writeable
        case {"tuple": kinds}:
            return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, kinds, value))
        case "int64":
            return isinstance(value, int | np.integer) and not isinstance(value, bool)
        case "float64":
            return isinstance(value, float)
        case _:
            return isinstance(value, np.generic) and value.dtype == kind


def _told(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}, {value.ndim} axes, {'C' if value.flags.c_contiguous else 'not C'} order"
    return type(value).__name__
