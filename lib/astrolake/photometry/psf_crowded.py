"""Crowded fields: background and further sources once the light of the known ones is taken away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrolake.photometry.background import Sky
from astrolake.photometry.detection import Detections, detect_sources
from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Columns
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.psf_fit import ROUGHLY, Fitter, PsfFit
from astrolake.photometry.psf_photometry import (
    ImagePsf,
    PsfPhotometry,
    build_psf,
    cleaned_stamps,
    fit_radius,
    refine_sky,
    tie,
)
from astrolake.photometry.psf_pixels import Canvas
from astrolake.photometry.psf_stars import PsfStars

#: A field is crowded from this many sources on, and this fraction of it within one FWHM of a source.
_MIN_SOURCES, _CROWDED_FILLING = 200, 0.025
#: The fraction within one FWHM of sources of this signal-to-noise.
_BRIGHT_SIGNAL, _BRIGHT_FILLING = 25.0, 0.008
_DETECTION_ROUNDS = 2
#: A new source lies at least so far from a known one, in FWHM: nearer is the residual of a star.
_MIN_DISTANCE_FWHM = 0.6
#: Relative error of the PSF that is assumed at least where stars were subtracted.
_MIN_PROFILE_ERROR = 0.01
#: What a new source must be after the fit: significant, and no wider or narrower than this.
_MIN_SIGNAL, _MAX_SHARPNESS = 5.0, 1.0


#: Measures detections on an image: (image, detections) -> columns.
Measure = Callable[[Sky, Detections], Columns]


def is_crowded(columns: Columns, shape: tuple[int, int], fwhm_px: float, options: ExtractionOptions) -> bool:
    """Return whether a field is crowded: the options say so, or discs of one FWHM fill enough of it.

    They fill 0.3 to 1.5 % of ordinary fields and 4 % of the frame of a globular cluster; faint galaxies of a
    deep image may do so too, its bright sources do not.
    """
    if options.crowded != "auto":
        return options.crowded == "yes"
    bright = int(np.count_nonzero(columns["flux_auto"] > _BRIGHT_SIGNAL * columns["flux_auto_err"]))
    disc = np.pi * fwhm_px**2 / (shape[0] * shape[1])
    n = len(columns["x"])
    return n >= _MIN_SOURCES and n * disc > _CROWDED_FILLING and bright * disc > _BRIGHT_FILLING


@dataclass(frozen=True, eq=False)
class CrowdedPhotometry:
    """PSF photometry of a crowded field.

    Parameters
    ----------
    photometry : PsfPhotometry
        Of the sources that were known and, after them, the new ones.
    new : dict of (m,) arrays
        Columns of the new sources.
    """

    photometry: PsfPhotometry
    new: Columns


def crowded_photometry(
    canvas: Canvas,
    psf: ImagePsf,
    columns: Columns,
    sky: Sky,
    options: ExtractionOptions,
    measure: Measure,
) -> CrowdedPhotometry:
    """Fit all sources, take them away, look for more, and fit again.

    On the residual image the background is mapped anew, which takes away the light of sources too many to
    be told apart; the PSF is made anew from stars without neighbours; and sources are detected that were
    lost beside brighter ones. All sources are then fitted together.

    Parameters
    ----------
    canvas, psf
        As `start_photometry` returns them.
    columns : dict
        As `extract_frame` returns them.
    sky : Sky
        The image; its noise map and bad pixels.
    options : ExtractionOptions
    measure : callable
        Measures new sources on the image without the known ones.
    """
    radius, n_known = fit_radius(options, psf.model), len(columns["x"])
    x, y = columns["x"].astype(np.float64), columns["y"].astype(np.float64)
    fitter = Fitter(canvas, psf.model, x, y, radius)
    fitter.settle(ROUGHLY)
    parts: list[Columns] = []
    for round_ in range(_DETECTION_ROUNDS):
        refine_sky(canvas, options, None)
        if round_ == 0:
            psf = _rebuilt(canvas, psf, fitter, options)
        found = measure(*_new_sources(canvas, fitter, sky, options))
        parts.append(found)
        x, y = (np.concatenate([a, found[name]]) for a, name in ((fitter.x, "x"), (fitter.y, "y")))
        flux = np.concatenate([fitter.flux, np.zeros(len(found["x"]))])
        fitter = Fitter(canvas, psf.model, x, y, radius, flux=flux)
        fitter.settle(ROUGHLY)
    new = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    real = np.concatenate([np.ones(n_known, bool), _is_real(fitter.result(), n_known)])
    x, y, flux = fitter.x[real], fitter.y[real], fitter.flux[real]
    fit = Fitter(canvas, psf.model, x, y, radius, flux=flux).run()
    new = {name: values[real[n_known:]] for name, values in new.items()}
    new["flags"] = new["flags"] | np.int32(Flag.FROM_RESIDUAL)
    return CrowdedPhotometry(tie(canvas, psf, fit), new)


def _rebuilt(canvas: Canvas, psf: ImagePsf, fitter: Fitter, options: ExtractionOptions) -> ImagePsf:
    """Return the PSF from the same stars, their neighbours taken away."""
    if len(psf.stars) == 0:
        return psf
    stars = PsfStars(psf.stars, psf.model.fwhm_px, np.nan, psf.source)
    return build_psf(canvas, stars, options.psf, cleaned_stamps(canvas, fitter)) or psf


def _new_sources(
    canvas: Canvas, fitter: Fitter, sky: Sky, options: ExtractionOptions
) -> tuple[Sky, Detections]:
    """Return the image without the fitted sources, and what is detected on it away from them."""
    inner = canvas.inner
    light = canvas.drawn[inner].clip(min=0)
    profile_error = max(fitter.model.error, _MIN_PROFILE_ERROR)
    variance = canvas.variance[inner] + np.square(np.float32(profile_error) * light)
    if canvas.gain is not None:
        variance += light / np.float32(canvas.gain)
    residual = canvas.image[inner] - canvas.drawn[inner]
    blocked = ~np.isfinite(variance)
    residual[blocked], variance[blocked] = 0, 1
    unit = np.float32(canvas.unit)
    left = replace(
        sky,
        residual=residual * unit,
        noise=np.sqrt(variance) * unit,
        bad=blocked if blocked.any() else None,
    )
    found = detect_sources(left, options, None if canvas.gain is None else canvas.gain / canvas.unit)
    known = cKDTree(np.column_stack([fitter.x, fitter.y]))
    distance = known.query(np.column_stack([found.objects["x"], found.objects["y"]]))[0]
    return left, _chosen(found, distance > _MIN_DISTANCE_FWHM * fitter.model.fwhm_px)


def _chosen(found: Detections, kept: NDArray[np.bool_]) -> Detections:
    """Return some of the detections, their pixels numbered anew."""
    number = np.zeros(len(kept) + 1, np.int32)
    number[1:][kept] = np.arange(1, kept.sum() + 1)
    return replace(found, objects=found.objects[kept], segments=number[found.segments])


def _is_real(fit: PsfFit, n_known: int) -> NDArray[np.bool_]:
    """Return which of the new sources are point sources of some significance."""
    new = slice(n_known, None)
    with np.errstate(invalid="ignore"):
        significant = fit.flux[new] > _MIN_SIGNAL * fit.flux_err[new]
        shaped = np.abs(fit.sharpness[new]) < _MAX_SHARPNESS
    return np.asarray(significant & shaped & (fit.flags[new] & Flag.PSF_NOT_FITTED == 0))
