"""How well templates stand for galaxies, as a function of wavelength at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolake.errors import BadArguments
from astrolake.photoz.sed_files import read_columns

Float64 = NDArray[np.float64]


def template_error(given: Any, pivots: Float64, z: Float64) -> Float64:
    """Return the error of templates, relative to the flux, of bands at redshifts.

    Parameters
    ----------
    given : float, pair of arrays, or path
        One error for all; wavelengths at rest in Angstrom and errors there; or a file of these two columns,
        as EAZY has (Brammer, van Dokkum & Coppi 2008, ApJ 686, 1503, section 2.4).
    pivots : (bands,) float64
        Pivot wavelengths in Angstrom.
    z : (n,) float64

    Returns
    -------
    (n, bands) float64

    Raises
    ------
    BadArguments
        For values that are no errors.
    """
    rest = pivots / (1 + z[:, np.newaxis])
    if isinstance(given, str | Path):
        given = tuple(read_columns(Path(given), "template error")[:, :2].T)
    if np.ndim(given) == 0:
        error = np.full(rest.shape, float(given))
    else:
        wavelength, values = (np.asarray(part, dtype=np.float64) for part in given)
        error = np.interp(rest, wavelength, values)
    if not np.isfinite(error).all() or (error < 0).any():
        raise BadArguments("template errors are relative to fluxes: give finite values of 0 and more")
    return error
