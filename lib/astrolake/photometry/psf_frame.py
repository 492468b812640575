"""The PSF step of an extraction: from the columns of a first extraction to those with PSF photometry."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astrolake.photometry.background import Sky
from astrolake.photometry.detection import Detections
from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Columns
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.psf_crowded import Measure, crowded_photometry, is_crowded
from astrolake.photometry.psf_photometry import (
    PsfPhotometry,
    blank_columns,
    plain_photometry,
    start_photometry,
)


@dataclass(frozen=True)
class PsfInfo:
    """What PSF photometry found out about an image.

    Parameters
    ----------
    kind : str
        'moffat', 'gaussian', 'empirical', or 'none'.
    fwhm_px : float
        FWHM of the point-spread function, pixel included; NaN without one.
    n_stars : int
        Stars it was made from.
    source : str
        Where its width is from: 'stars', 'header', 'moments' or 'none'.
    error : float
        Relative error of the profile in a pixel.
    zero_point_error : float
        Relative error of the scale that ties fluxes to apertures; NaN without stars.
    crowded : bool
        Whether the field was treated as crowded.
    n_from_residual : int
        Sources found after the subtraction of the others.
    """

    kind: str = "none"
    fwhm_px: float = float("nan")
    n_stars: int = 0
    source: str = "none"
    error: float = float("nan")
    zero_point_error: float = float("nan")
    crowded: bool = False
    n_from_residual: int = 0

    @classmethod
    def mean(cls, parts: Sequence[PsfInfo]) -> PsfInfo:
        """Return what holds for an image whose parts have PSFs of their own: medians and sums."""
        known = [part for part in parts if part.kind != "none"]
        if not known:
            return cls()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # no part may know an error
            fwhm, error, zero_point_error = np.nanmedian(
                [(part.fwhm_px, part.error, part.zero_point_error) for part in known], axis=0
            )
        sources = [part.source for part in known]
        return cls(
            known[0].kind,
            float(fwhm),
            sum(part.n_stars for part in known),
            max(sorted(set(sources)), key=sources.count),
            float(error),
            float(zero_point_error),
            any(part.crowded for part in known),
            sum(part.n_from_residual for part in known),
        )


def measure_psf(
    sky: Sky,
    found: Detections,
    columns: Columns,
    options: ExtractionOptions,
    measure: Measure,
    *,
    gain: float | None,
    saturation: float | None,
    header_fwhm_px: float | None,
) -> tuple[Columns, PsfInfo]:
    """Add PSF photometry to the columns of an extraction, and the rows that only it can find.

    Parameters
    ----------
    sky, found, columns
        The image, its detections and their measures.
    options : ExtractionOptions
    measure : callable
        Measures detections on an image, for sources that are found once the others are taken away.
    gain, saturation, header_fwhm_px
        As in `extract_frame`.

    Returns
    -------
    columns : dict
        Known sources first, in their order. NaN and flagged when nothing tells the width of the PSF.
    info : PsfInfo
    """
    radii = options.aperture_radii_px
    started = None
    if len(columns["x"]):
        started = start_photometry(
            sky,
            columns,
            found.segments,
            options,
            gain=gain,
            saturation=saturation,
            header_fwhm_px=header_fwhm_px,
        )
    if started is None:
        failed = {"flags": columns["flags"] | np.int32(Flag.PSF_NOT_FITTED | Flag.PSF_FALLBACK)}
        return columns | blank_columns(len(columns["x"]), len(radii)) | failed, PsfInfo()
    canvas, psf = started
    crowded = is_crowded(columns, canvas.shape, psf.model.fwhm_px, options)
    n_known = len(columns["x"])
    if crowded:
        result = crowded_photometry(canvas, psf, columns, sky, options, measure)
        photometry = result.photometry
        columns = {name: np.concatenate([columns[name], result.new[name]]) for name in columns}
        # Their windowed centroids see what is left of the neighbours.
        for name in ("x", "y", "x_err", "y_err"):
            fitted = getattr(photometry.fit, name)[n_known:]
            columns[name][n_known:] = np.where(np.isfinite(fitted), fitted, columns[name][n_known:])
    else:
        photometry = plain_photometry(canvas, psf, columns["x"], columns["y"], found.segments, options)
    added = photometry.columns()
    added["flags"] = columns["flags"] | added["flags"]
    corrections = photometry.aperture_corrections(added["x_psf"], added["y_psf"], radii)
    info = _info(photometry, crowded, len(columns["x"]) - n_known)
    return columns | added | corrections, info


def _info(photometry: PsfPhotometry, crowded: bool, n_new: int) -> PsfInfo:
    psf = photometry.psf
    return PsfInfo(
        kind=psf.model.kind,
        fwhm_px=psf.model.fwhm_px,
        n_stars=len(psf.stars),
        source=psf.source,
        error=psf.model.error,
        zero_point_error=photometry.growth.total.error,
        crowded=crowded,
        n_from_residual=n_new,
    )
