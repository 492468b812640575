"""PSF photometry and aperture corrections at given positions: the notebook's way to the PSF kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrolake.errors import BadInput
from astrolake.photometry.background import Sky
from astrolake.photometry.detection import Detections
from astrolake.photometry.flags import Flag, where
from astrolake.photometry.measure import Columns, Float64
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.psf_growth import ApertureCorrection
from astrolake.photometry.psf_model import FieldBasis
from astrolake.photometry.psf_photometry import (
    PSF_MEASURES,
    PsfPhotometry,
    plain_photometry,
    start_photometry,
)

#: A source that was detected but is not asked for is a neighbour when it is further off than this, in FWHM.
_OWN_FWHM = 0.75


def photometry_at(
    sky: Sky,
    found: Detections,
    measured: Columns,
    options: ExtractionOptions,
    gain: float | None,
    positions: tuple[Float64, Float64],
) -> PsfPhotometry:
    """Fit the PSF of an image at given positions, and with them the sources that were detected elsewhere.

    Parameters
    ----------
    sky, found, measured
        The image, its detections and their measures.
    options : ExtractionOptions
        `psf` is the kind of model.
    gain : float or None
    positions : (x, y) of (n,) float64
        Finite and on the image.

    Returns
    -------
    PsfPhotometry
        The first n of its rows are the positions.

    Raises
    ------
    BadInput
        When nothing tells the width of the point-spread function.
    """
    started = start_photometry(sky, measured, found.segments, options, gain=gain)
    if started is None:
        raise BadInput(
            "the image holds no source that could tell the width of its point-spread function; lower the "
            "detection threshold, or use aperture photometry",
            "NoPsf",
        )
    canvas, psf = started
    asked = np.column_stack(positions)
    detected = np.column_stack([measured["x"], measured["y"]])
    distance, nearest = (
        cKDTree(asked).query(detected)
        if len(asked)
        else (np.full(len(detected), np.inf), np.zeros(len(detected), np.intp))
    )
    other = distance > _OWN_FWHM * psf.model.fwhm_px
    # The stars of the PSF keep their part in the growth curve, whatever row stands for them now.
    row = np.where(other, len(asked) + np.cumsum(other) - 1, nearest)
    everything = np.concatenate([asked, detected[other]])
    psf = replace(psf, stars=np.unique(row[psf.stars]).astype(np.intp))
    return plain_photometry(canvas, psf, everything[:, 0], everything[:, 1], found.segments, options)


def psf_columns(photometry: PsfPhotometry, inside: NDArray[np.bool_]) -> Columns:
    """Return the columns of PSF photometry for all positions; `inside` tells which ones were fitted."""
    n = int(inside.sum())
    fitted = photometry.columns()
    out: Columns = {name: np.full(len(inside), np.nan) for name in PSF_MEASURES}
    for name in PSF_MEASURES:
        out[name][inside] = fitted[name][:n]
    flags = where(~inside, Flag.OUTSIDE)
    flags[inside] |= fitted["flags"][:n]
    return out | {"flags": flags}


def correction_record(correction: ApertureCorrection) -> dict[str, Any]:
    """Return an aperture correction as numbers and lists, as `correction_at` reads it."""
    basis = correction.model.basis
    return {
        "radius_px": correction.radius_px,
        "degree": basis.degree,
        "centre": list(correction.within.basis.centre),
        "scale": list(correction.within.basis.scale),
        "growth": correction.model.growth_terms(correction.radius_px).tolist(),
        "within": list(correction.within.coefficients),
        "total": list(correction.total.coefficients),
        "relative_error": None if np.isnan(correction.error) else correction.error,
    }


def correction_at(record: dict[str, Any], x: Float64, y: Float64) -> Float64:
    """Return the fraction of a star's flux within the aperture of a record, at positions of shape (n,)."""
    centre, scale = tuple(record["centre"]), tuple(record["scale"])

    def evaluate(coefficients: list[float], degree: int) -> Float64:
        return np.asarray(FieldBasis(degree, centre, scale)(x, y) @ np.asarray(coefficients))

    growth = evaluate(record["growth"], record["degree"])
    within, total = (evaluate(record[k], 0 if len(record[k]) == 1 else 1) for k in ("within", "total"))
    return growth * within / total
