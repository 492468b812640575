"""Magnitudes: fluxes in image units put on the AB scale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrolake.photometry.extraction import Extraction
from astrolake.photometry.measure import Columns

Float64 = NDArray[np.float64]


def magnitude(
    flux: ArrayLike, flux_err: ArrayLike, zero_point: float | None, zero_point_err: float = 0.0
) -> tuple[Float64, Float64]:
    """Return zero_point - 2.5 log10(flux) and its error.

    The error is 2.5 / ln(10) flux_err / flux and that of the zero point, in quadrature.

    Parameters
    ----------
    flux, flux_err : arrays of one shape
        In the unit that the zero point belongs to.
    zero_point : float or None
        Magnitude of flux 1.
    zero_point_err : float
        Its standard error; all magnitudes of an image share it.

    Returns
    -------
    magnitude, error : arrays of that shape
        NaN where the flux is not positive, and everywhere without zero point.
    """
    values, errors = np.asarray(flux, dtype=np.float64), np.asarray(flux_err, dtype=np.float64)
    positive = np.where(values > 0, values, np.nan)
    offset = math.nan if zero_point is None else zero_point
    mag = offset - 2.5 * np.log10(positive)
    error = np.hypot(2.5 / math.log(10) * errors / positive, zero_point_err)
    return mag, np.where(np.isfinite(mag), error, np.nan)


def calibrate(
    extraction: Extraction,
    zero_point_ab: float | None,
    pixel_scale_arcsec: float | None = None,
    zero_point_err: float = 0.0,
) -> Columns:
    """Return the columns of an extraction with magnitudes and, with a pixel scale, aperture radii in arcsec.

    Parameters
    ----------
    extraction : Extraction
        The sources of one image; stays as it is.
    zero_point_ab : float or None
        AB magnitude of flux 1; without it all magnitudes are NaN.
    pixel_scale_arcsec : float, optional
        Size of a pixel; without it the radii are NaN.
    zero_point_err : float
        Standard error of the zero point; part of every magnitude's error.
    """
    columns = extraction.columns
    radii = np.asarray(extraction.aperture_radii_px, dtype=np.float64)
    scale = math.nan if pixel_scale_arcsec is None else pixel_scale_arcsec
    out: Columns = {"aper_radius_arcsec": np.tile(radii * scale, (len(extraction), 1))}
    for kind in ("auto", "petro", "aper", "psf"):
        if f"flux_{kind}" not in columns:
            continue
        out[f"mag_{kind}"], out[f"mag_{kind}_err"] = magnitude(
            columns[f"flux_{kind}"], columns[f"flux_{kind}_err"], zero_point_ab, zero_point_err
        )
    return columns | out
