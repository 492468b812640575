"""Compiles the loops over pixels ahead of time, so that the function needs neither numba nor time for it."""

from __future__ import annotations

import argparse
import json
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numba import types as nb
from numba.core.registry import CPUDispatcher

from astrolake.photometry import aperture_kernels, growth_kernels, mesh_kernels
from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.options import ExtractionOptions

NAME = "astrolake_kernels"
_MODULES = (aperture_kernels, growth_kernels, mesh_kernels)
#: Processors of x86-64 that Lambda runs on have AVX2.
_CPU = "haswell"


def main() -> None:
    """Write the library and the list of signatures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    use_kernels()
    found = signatures()
    compile_library(found, folder)
    told = {name: [_told(kind) for kind in kinds] for name, (_, kinds) in found.items()}
    text = json.dumps(told, indent=1, sort_keys=True)
    (folder / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")


def use_kernels() -> None:
    """Call every kernel as extraction does: whole and in parts, with and without variance and bad pixels."""
    random = np.random.default_rng(0)
    side = 600
    y, x = np.mgrid[:side, :side]
    image = random.normal(100.0, 1.0, (side, side))
    for x0, y0, flux in random.uniform((20, 20, 50), (side - 20, side - 20, 500), (60, 3)):
        near = np.s_[int(y0) - 15 : int(y0) + 16, int(x0) - 15 : int(x0) + 16]
        image[near] += flux * np.exp(-((x[near] - x0) ** 2 + (y[near] - y0) ** 2) / 4.5)
    pixels, bad = image.astype(np.float32), random.random((side, side)) < 0.001
    variance = np.ones_like(pixels)
    for options in (ExtractionOptions(), ExtractionOptions(subtile_px=256, subtile_margin_px=32)):
        extract_frame(pixels.copy(), options=options, gain=2.0)
        extract_frame(pixels.copy(), bad=bad, options=options)
        extract_frame(pixels.copy(), bad=bad, variance=variance, options=options, saturation=300.0)


def signatures() -> dict[str, tuple[CPUDispatcher, tuple[Any, ...]]]:
    """Return the kernels that were called from Python, and the types of their arguments.

    Raises
    ------
    RuntimeError
        When one was called with several: a kernel has one form in the library.
    """
    found = {}
    for module in _MODULES:
        for name, kernel in vars(module).items():
            if isinstance(kernel, CPUDispatcher) and kernel.py_func.__module__ == module.__name__:
                if len(kernel.signatures) > 1:
                    raise RuntimeError(f"{module.__name__}.{name} was called with {kernel.signatures}")
                if kernel.signatures:
                    found[f"{module.__name__.rsplit('.', 1)[-1]}__{name}"] = (kernel, kernel.signatures[0])
    return found


def compile_library(found: dict[str, tuple[CPUDispatcher, tuple[Any, ...]]], folder: Path) -> None:
    """Write the extension module that holds the kernels under their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba.pycc is to be replaced one day, and says so
        from numba.pycc import CC
    library = CC(NAME)
    library.output_dir, library.target_cpu = str(folder), _CPU
    for name, (kernel, kinds) in found.items():
        returned = kernel.overloads[kinds].signature.return_type
        library.export(name, returned(*kinds))(_caller(name, kernel, len(kinds)))
    library.compile()


def _caller(name: str, kernel: CPUDispatcher, n_arguments: int) -> types.FunctionType:
    """Return a plain function that calls a kernel: exported itself, it would lose its compiler flags."""
    names = ", ".join(f"a{i}" for i in range(n_arguments))
    scope: dict[str, Any] = {"kernel": kernel}
    exec(f"def {name}({names}):\n    return kernel({names})\n", scope)  # noqa: S102 - of names made here
    caller: types.FunctionType = scope[name]
    return caller


def _told(kind: Any) -> Any:
    """Return a type as the stand-in for numba compares it."""
    if isinstance(kind, nb.Array):
        if kind.layout != "C" or not kind.mutable:
            raise RuntimeError(f"only writable arrays in C order have a form in the library, not {kind}")
        return {"array": "bool" if kind.dtype == nb.boolean else str(kind.dtype), "ndim": kind.ndim}
    if isinstance(kind, nb.BaseTuple):
        return {"tuple": [_told(part) for part in kind.types]}
    return str(kind)


if __name__ == "__main__":
    main()
