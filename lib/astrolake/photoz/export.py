"""Densities for other programs: HDF5 files that qp and RAIL read as an ensemble."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments, MissingDependency
from astrolake.photoz.grid import RedshiftGrid
from astrolake.photoz.pdf import normalise

Representation = Literal["interp", "hist"]
Block = tuple[ArrayLike, Mapping[str, ArrayLike]]

#: What RAIL calls some of our columns.
_RAIL_NAMES = {"z_mode": "zmode", "z_mean": "zmean", "z_median": "zmedian", "z_spec": "redshift"}
#: Rows of a chunk of the file.
_CHUNK = 1024


def write_qp(
    path: str | os.PathLike[str],
    pdf: ArrayLike,
    grid: RedshiftGrid,
    ancil: Mapping[str, ArrayLike] | None = None,
    representation: Representation = "hist",
) -> None:
    """Write densities as a qp ensemble: ``qp.read(path)``, or the input of any RAIL stage.

    Parameters
    ----------
    path : path
        The file, ending in .hdf5; replaced as a whole.
    pdf : (n, grid.n) array
        Densities; rows without probability become NaN.
    grid : RedshiftGrid
    ancil : mapping of str to (n,) arrays, optional
        Further columns of the galaxies: numbers or strings. z_mode, z_mean, z_median and z_spec get RAIL's
        names (zmode, zmean, zmedian, redshift).
    representation : {"hist", "interp"}
        Bins around the redshifts of the grid, which is what the densities are and keeps their cumulatives, or
        straight lines between the redshifts, as RAIL's estimators write.

    Raises
    ------
    MissingDependency
        Without h5py (``pip install 'astrolake[photoz]'``).
    BadArguments
        When shapes do not fit, or a column is neither numbers nor strings.
    """
    write_qp_blocks(path, [(pdf, ancil or {})], grid, representation)


def write_qp_blocks(
    path: str | os.PathLike[str],
    blocks: Iterable[Block],
    grid: RedshiftGrid,
    representation: Representation = "hist",
) -> int:
    """Write the galaxies of several blocks, each (pdf, ancil) as in `write_qp`, holding one at a time.

    Returns
    -------
    int
        Galaxies written.
    """
    if representation not in ("interp", "hist"):
        raise BadArguments(f"representation {representation!r}: give interp or hist")
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    rows = 0
    try:
        with _h5py().File(partial, "w") as file:
            _write_meta(file, grid, representation)
            for pdf, ancil in blocks:
                rows += _append(file, rows, normalise(np.asarray(pdf), grid), ancil, representation)
            if not rows:
                raise BadArguments("no galaxies to write: an ensemble of none cannot be read")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def _write_meta(file: Any, grid: RedshiftGrid, representation: Representation) -> None:
    """Write what all galaxies share; qp wants each as one row."""
    name, values = ("xvals", grid.z) if representation == "interp" else ("bins", grid.edges)
    meta = file.create_group("meta")
    meta["pdf_name"] = np.array([representation.encode()])
    meta["pdf_version"] = np.array([0])
    meta[name] = values[np.newaxis]


def _append(
    file: Any,
    start: int,
    pdf: NDArray[np.float32],
    ancil: Mapping[str, ArrayLike],
    representation: Representation,
) -> int:
    columns = {"data/" + ("yvals" if representation == "interp" else "pdfs"): pdf.astype(np.float64)}
    columns |= {
        f"ancil/{_RAIL_NAMES.get(name, name)}": _ancil(name, values) for name, values in ancil.items()
    }
    known = {f"{group}/{name}" for group in ("data", "ancil") for name in file.get(group, ())}
    if start and known != set(columns):
        raise BadArguments(f"blocks have different columns: {sorted(known ^ set(columns))}")
    for name, values in columns.items():
        if len(values) != len(pdf):
            raise BadArguments(f"{len(values)} values of {name.partition('/')[2]} for {len(pdf)} densities")
        if not start:
            shape, chunks = (0, *values.shape[1:]), (_CHUNK, *values.shape[1:])
            file.create_dataset(name, shape, values.dtype, maxshape=(None, *shape[1:]), chunks=chunks)
        dataset = file[name]
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values
    return len(pdf)


def _ancil(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return a column as numbers, or as UTF-8 of 64 bytes at most; missing strings become empty."""
    column = np.ma.filled(values, np.nan) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    if column.ndim != 1:
        raise BadArguments(f"column {name} has the shape {column.shape}; give one value for each galaxy")
    if column.dtype.kind in "biuf":
        return column
    words = ["" if value is None or value != value else value for value in column.tolist()]  # noqa: PLR0124
    if not all(isinstance(word, str) for word in words):
        raise BadArguments(f"column {name} ({column.dtype}) holds neither numbers nor strings; leave it out")
    return np.array([word.encode()[:64] for word in words], dtype="S64")


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingDependency("qp ensembles need h5py: pip install 'astrolake[photoz]'") from None
    return h5py
