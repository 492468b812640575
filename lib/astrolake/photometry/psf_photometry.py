"""PSF photometry of an image, from the selection of stars to calibrated columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrolake.photometry.background import Sky
from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Columns, Float64, Int32
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.psf_build import FIT_FWHM, TABLE_FWHM, StarStamps, analytic_model, take_stars
from astrolake.photometry.psf_empirical import empirical_model
from astrolake.photometry.psf_fit import ROUGHLY, Fitter, PsfFit
from astrolake.photometry.psf_growth import Growth, StarFluxes
from astrolake.photometry.psf_model import PsfModel
from astrolake.photometry.psf_pixels import Canvas, corners
from astrolake.photometry.psf_profiles import Profile, profile_model
from astrolake.photometry.psf_sky import residual_sky
from astrolake.photometry.psf_stars import PsfStars, select_stars

#: Radius of the fit, in FWHM, where none is given.
_FIT_RADIUS_FWHM = 1.75
_FALLBACK_BETA = 3.5
#: Columns of shape (n,) that PSF photometry adds.
PSF_MEASURES = (
    *("x_psf", "y_psf", "x_psf_err", "y_psf_err"),
    *("flux_psf", "flux_psf_err", "psf_chi2", "psf_sharpness"),
)


@dataclass(frozen=True, eq=False)
class ImagePsf:
    """The point-spread function of an image and the stars it was made from.

    Parameters
    ----------
    model : PsfModel
    stars : (n,) int
        Rows of the extraction; empty when there were too few.
    source : str
        What the width is from: 'stars', 'header' or 'moments'.
    """

    model: PsfModel
    stars: NDArray[np.intp]
    source: str

    @property
    def flags(self) -> int:
        """Flags that hold for every source of the image."""
        return 0 if self.source == "stars" else int(Flag.PSF_FALLBACK)


def margin_px(fwhm_px: float) -> int:
    """Return the width of the margin that a canvas needs for a PSF of this width."""
    return int(np.ceil((1.5 * TABLE_FWHM + 2.0) * fwhm_px)) + 3


Take = Callable[[NDArray[np.intp], int], StarStamps]


def build_psf(canvas: Canvas, stars: PsfStars, kind: str, take: Take) -> ImagePsf | None:
    """Return the point-spread function of an image, None when nothing tells its width.

    Parameters
    ----------
    canvas : Canvas
    stars : PsfStars
        Without stars the model is a round profile of their width.
    kind : {'moffat', 'gaussian', 'empirical'}
    take : callable
        Returns the stamps of rows of the extraction for a radius in px.
    """
    if stars.fwhm_px is None:
        return None
    if len(stars.index) == 0:
        beta = np.inf if kind == "gaussian" else _FALLBACK_BETA
        profile = Profile(stars.fwhm_px, beta=beta)
        model = profile_model(profile, max(4.0, TABLE_FWHM * profile.fwhm))
        return ImagePsf(model, stars.index, stars.source)

    def take_stamps(half: int) -> StarStamps:
        return take(stars.index, half)

    analytic = "gaussian" if kind == "gaussian" else "moffat"
    model, kept = analytic_model(take_stamps, analytic, stars.fwhm_px)
    rows = stars.index[kept]
    if kind == "empirical":
        stamps = take(rows, max(3, round(FIT_FWHM[analytic] * model.fwhm_px)))
        model = empirical_model(stamps, model, canvas.shape)
    return ImagePsf(model, rows, "stars")


def masked_stamps(canvas: Canvas, columns: Columns, segments: Int32 | None) -> Take:
    """Return what takes stamps of sources from an image with the pixels of their neighbours masked."""

    def take(rows: NDArray[np.intp], half: int) -> StarStamps:
        x, y = (np.asarray(columns[name], dtype=np.float64)[rows] for name in ("x", "y"))
        if segments is None:
            return take_stars(canvas, x, y, half)
        owner = _segment_stamps(segments, x, y, half)
        return take_stars(canvas, x, y, half, (owner != 0) & (owner != (rows + 1)[:, None, None]))

    return take


def cleaned_stamps(canvas: Canvas, fitter: Fitter) -> Take:
    """Return what takes stamps of sources from an image whose other sources are taken away."""

    def take(rows: NDArray[np.intp], half: int) -> StarStamps:
        own = (fitter.model, fitter.flux[rows])
        return take_stars(canvas, fitter.x[rows], fitter.y[rows], half, own=own)

    return take


def _segment_stamps(segments: Int32, x: Float64, y: Float64, half: int) -> Int32:
    """Return the owners of the pixels around positions; beyond the border the nearest pixel's."""
    ny, nx = segments.shape
    column, row = corners(x, y, half)
    axis = np.arange(2 * half + 1)
    rows = (row[:, None] + axis).clip(0, ny - 1)
    columns = (column[:, None] + axis).clip(0, nx - 1)
    return np.asarray(segments[rows[:, :, None], columns[:, None, :]])


def fit_radius(options: ExtractionOptions, model: PsfModel) -> float:
    """Return the radius within which pixels enter the fit, px."""
    return options.psf_fit_radius_px or max(2.0, _FIT_RADIUS_FWHM * model.fwhm_px)


@dataclass(frozen=True, eq=False)
class PsfPhotometry:
    """PSF photometry of the sources of one image.

    Parameters
    ----------
    psf : ImagePsf
    fit : PsfFit
    growth : Growth
        Ties the fluxes to apertures.
    canvas : Canvas
        With all sources drawn.
    """

    psf: ImagePsf
    fit: PsfFit
    growth: Growth
    canvas: Canvas

    def columns(self) -> Columns:
        """Return the columns of PSF photometry but the aperture corrections, and `flags`.

        Fluxes are on the scale of the aperture that is taken for the total: a profile whose wings are
        wrong gives all stars the same wrong fraction.
        """
        fit = self.fit
        scale = self.growth.total(fit.x, fit.y) * self.canvas.unit
        return {
            "x_psf": fit.x,
            "y_psf": fit.y,
            "x_psf_err": fit.x_err,
            "y_psf_err": fit.y_err,
            "flux_psf": fit.flux * scale,
            "flux_psf_err": np.hypot(fit.flux_err, self.growth.relative_error * fit.flux) * np.abs(scale),
            "psf_chi2": fit.chi2,
            "psf_sharpness": fit.sharpness,
            "flags": fit.flags | np.int32(self.psf.flags),
        }

    def aperture_corrections(self, x: Float64, y: Float64, radii_px: tuple[float, ...]) -> Columns:
        """Return `aper_correction` and its error, of shape (n, number of radii), mag."""
        out = np.full((2, len(x), len(radii_px)), np.nan)
        for i, radius in enumerate(radii_px):
            out[0, :, i], out[1, :, i] = self.growth.correction(radius).magnitudes(x, y)
        return {"aper_correction": out[0], "aper_correction_err": out[1]}


def start_photometry(
    sky: Sky,
    columns: Columns,
    segments: Int32 | None,
    options: ExtractionOptions,
    *,
    gain: float | None = None,
    saturation: float | None = None,
    header_fwhm_px: float | None = None,
) -> tuple[Canvas, ImagePsf] | None:
    """Build the point-spread function of an image.

    Parameters
    ----------
    sky : Sky
        Image without background.
    columns : dict of (n,) arrays
        As `extract_frame` returns them.
    segments : (ny, nx) int32, optional
        Owner of each pixel.
    options : ExtractionOptions
        `psf` is the kind of model.
    gain, saturation
        As in `extract_frame`.
    header_fwhm_px : float, optional
        Width to assume when there are too few stars.

    Returns
    -------
    The image to fit on, its sky refined, and its PSF; None when nothing tells the width of the PSF.
    """
    stars = select_stars(columns, header_fwhm_px=header_fwhm_px)
    if stars.fwhm_px is None:
        return None
    canvas = Canvas.of_sky(sky, gain, margin_px(stars.fwhm_px), saturation)
    refine_sky(canvas, options, segments)
    psf = build_psf(canvas, stars, options.psf, masked_stamps(canvas, columns, segments))
    return None if psf is None else (canvas, psf)


def plain_photometry(
    canvas: Canvas,
    psf: ImagePsf,
    x: Float64,
    y: Float64,
    segments: Int32 | None,
    options: ExtractionOptions,
) -> PsfPhotometry:
    """Fit all sources of a field that is not crowded.

    The sky is mapped once more on the way: before, it held the wings of the sources.
    """
    fitter = Fitter(canvas, psf.model, x, y, fit_radius(options, psf.model))
    fitter.settle(ROUGHLY)
    refine_sky(canvas, options, segments)
    return tie(canvas, psf, fitter.run())


def refine_sky(canvas: Canvas, options: ExtractionOptions, segments: Int32 | None) -> None:
    """Subtract, in place, what the background map left where no source is, or all drawn sources are away."""
    inner = canvas.inner
    blocked = ~np.isfinite(canvas.variance[inner])
    if segments is not None:
        blocked |= segments > 0
    residual = canvas.image[inner] - canvas.drawn[inner]
    canvas.image[inner] -= residual_sky(
        residual, blocked, options.background_box_px, options.background_filter
    )


def tie(canvas: Canvas, psf: ImagePsf, fit: PsfFit) -> PsfPhotometry:
    """Measure the growth curve of the stars and return the finished photometry."""
    rows = psf.stars[(fit.flags[psf.stars] & (Flag.PSF_NOT_FITTED | Flag.PSF_INCOMPLETE)) == 0]
    stars = StarFluxes(*(values[rows] for values in (fit.x, fit.y, fit.flux, fit.flux_err)))
    return PsfPhotometry(psf, fit, Growth(canvas, psf.model, stars), canvas)


def blank_columns(n: int, n_radii: int) -> Columns:
    """Return the columns of PSF photometry without values."""
    out: Columns = {name: np.full(n, np.nan) for name in PSF_MEASURES}
    return out | {name: np.full((n, n_radii), np.nan) for name in ("aper_correction", "aper_correction_err")}
