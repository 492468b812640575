"""`SourceExtractor`: detection and aperture photometry of one image, in a notebook or a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from astrolake.errors import BadArguments, BadInput, MissingColumns
from astrolake.photometry.annulus import annulus_photometry
from astrolake.photometry.background import Sky, with_correlation
from astrolake.photometry.detection import Detections, detect_sources
from astrolake.photometry.extraction import extract_frame, measure_detections, prepare_sky
from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Columns, Scene
from astrolake.photometry.options import ExtractionOptions, PsfKind
from astrolake.photometry.psf_positions import (
    correction_at,
    correction_record,
    photometry_at,
    psf_columns,
)

#: Where `attrs` of a table of aperture photometry keep the growth curve.
_CORRECTION = "aperture_correction"


class SourceExtractor:
    """Detects sources on an image and measures their fluxes.

    Parameters
    ----------
    detection_threshold : float
        In units of the noise of one pixel above the background.
    min_pixels : int
        Connected pixels above the threshold that make a source.
    deblend : bool
        Whether to split blended sources.
    options : ExtractionOptions, optional
        All other parameters; the three above replace its own, and there are no fixed apertures.

    Raises
    ------
    BadArguments
        When a parameter is out of range.

    Examples
    --------
    >>> extractor = SourceExtractor(detection_threshold=1.5, min_pixels=5, deblend=True)
    >>> sources = extractor.detect(image_data, gain=4.7, pixel_scale=0.396)  # doctest: +SKIP
    >>> photometry = extractor.measure_photometry(  # doctest: +SKIP
    ...     image_data, sources, aperture_radius=5.0, sky_annulus=[10, 15]
    ... )
    >>> photometry = extractor.apply_aperture_corrections(photometry)  # doctest: +SKIP
    >>> psf = extractor.psf_photometry(  # doctest: +SKIP
    ...     image_data, sources, psf_model="moffat", fit_radius=15
    ... )
    """

    def __init__(
        self,
        detection_threshold: float = 1.5,
        min_pixels: int = 5,
        deblend: bool = True,
        options: ExtractionOptions | None = None,
    ) -> None:
        base = options or ExtractionOptions()
        self.options = replace(
            base,
            detect_sigma=detection_threshold,
            min_pixels=min_pixels,
            deblend_contrast=base.deblend_contrast if deblend else 1.0,
            aperture_radii_px=(),
        )

    def detect(
        self, image_data: ArrayLike, gain: float | None = None, pixel_scale: float | None = None
    ) -> pd.DataFrame:
        """Detect the sources of an image.

        Parameters
        ----------
        image_data : (ny, nx) array
            Any number type and byte order; masked and non-finite pixels are not used.
        gain : float, optional
            Electrons per image unit, for photon noise; every source is flagged without it.
        pixel_scale : float, optional
            Arcsec per pixel, for `fwhm_arcsec`.

        Returns
        -------
        DataFrame
            One row per source with the columns of the table `detections` that need neither zero point nor
            WCS: x and y in px from the first pixel centre, fluxes in image units. `attrs` keeps the gain.

        Raises
        ------
        BadInput
            When the image holds nothing to detect on: no good pixel, no noise.
        """
        extraction = extract_frame(image_data, options=self.options, gain=gain)
        columns = {name: values for name, values in extraction.columns.items() if values.ndim == 1}
        sources = pd.DataFrame(columns)
        if pixel_scale is not None:
            _require_positive("pixel_scale", pixel_scale)
            sources["fwhm_arcsec"] = sources["fwhm"] * pixel_scale
        sources.attrs.update({} if gain is None else {"gain": gain})
        return sources

    def measure_photometry(
        self,
        image_data: ArrayLike,
        sources: Any,
        aperture_radius: float = 5.0,
        sky_annulus: Sequence[float] = (10.0, 15.0),
        gain: float | None = None,
        growth_curve: bool = True,
    ) -> pd.DataFrame:
        """Measure circular apertures with the sky of an annulus around each source.

        The image is segmented anew, so that positions may come from anywhere, from another band too.
        Pixels of other sources enter neither aperture nor annulus.

        Parameters
        ----------
        image_data : (ny, nx) array
            As for `detect`.
        sources : DataFrame, astropy Table, structured array or dict
            With columns x and y, px.
        aperture_radius : float
            Radius, px.
        sky_annulus : (inner, outer)
            Radii, px.
        gain : float, optional
            Electrons per image unit; by default that given to `detect`.
        growth_curve : bool
            Whether to measure the growth curve of the stars, which `apply_aperture_corrections` needs; it
            takes as long as PSF photometry.

        Returns
        -------
        DataFrame
            The sources in their order, with flux, flux_err, sky and sky_rms (both per pixel), and flags
            that join those of `sources`. NaN, and a flag, where nothing could be measured. `attrs` keeps the
            growth curve as plain numbers.

        Raises
        ------
        BadArguments
            When radii are not positive and increasing.
        MissingColumns
            When the sources have no x or y.
        """
        table = _as_frame(sources)
        annulus = _checked_annulus(aperture_radius, sky_annulus)
        gain = table.attrs.get("gain") if gain is None else gain
        sky = prepare_sky(image_data, None, None, self.options)
        found = detect_sources(sky, self.options, gain)
        sky = with_correlation(sky, found.segments)
        x, y = _positions(table)
        measured = annulus_photometry(Scene(sky, found.segments, gain), x, y, aperture_radius, annulus)
        out = _joined(table, measured, gain)
        out.attrs.pop(_CORRECTION, None)
        if growth_curve:
            out.attrs[_CORRECTION] = self._growth_record(sky, found, gain, float(aperture_radius))
        return out

    def _growth_record(
        self, sky: Sky, found: Detections, gain: float | None, radius_px: float
    ) -> dict[str, Any] | None:
        """Return the aperture correction as plain numbers; None when the image has no stars at all."""
        options = replace(self.options, psf="moffat")
        nowhere = np.zeros(0)
        try:
            columns = measure_detections(sky, found, options, gain)
            photometry = photometry_at(sky, found, columns, options, gain, (nowhere, nowhere))
        except BadInput:
            return None
        return correction_record(photometry.growth.correction(radius_px))

    def apply_aperture_corrections(self, photometry: pd.DataFrame) -> pd.DataFrame:
        """Turn aperture fluxes into total fluxes of point sources by the growth curve of the image's stars.

        Parameters
        ----------
        photometry : DataFrame
            As `measure_photometry` returns it: x, y, flux, flux_err, and the growth curve in `attrs`.

        Returns
        -------
        DataFrame
            With flux and flux_err divided by the fraction of a star's light that the aperture holds at that
            place, and with aper_correction and aper_correction_err (mag, to be added to a magnitude of the
            aperture). The error is NaN when no star, only a width from moments, supports the correction.

        Raises
        ------
        BadArguments
            When the table holds no growth curve: not from `measure_photometry`, or corrected before.
        BadInput
            When the image had no source to measure a growth curve on.
        """
        if _CORRECTION not in photometry.attrs:
            raise BadArguments(
                "the photometry holds no growth curve: give the table that measure_photometry returned "
                "(with growth_curve=True), uncorrected and with its attrs"
            )
        record = photometry.attrs[_CORRECTION]
        if record is None:
            raise BadInput("the image holds no source whose growth curve could be measured", "NoPsf")
        x, y = _positions(_as_frame(photometry))
        fraction = correction_at(record, x, y)
        relative_error = record["relative_error"]
        error = np.full(len(x), np.nan if relative_error is None else relative_error)
        flux, flux_err = (photometry[name].to_numpy(np.float64) / fraction for name in ("flux", "flux_err"))
        out = photometry.assign(
            flux=flux,
            flux_err=np.hypot(flux_err, np.nan_to_num(error) * flux),
            aper_correction=2.5 * np.log10(fraction),
            aper_correction_err=2.5 / np.log(10) * error,
        )
        out.attrs = {name: value for name, value in photometry.attrs.items() if name != _CORRECTION}
        return out

    def psf_photometry(
        self,
        image_data: ArrayLike,
        sources: Any,
        psf_model: PsfKind = "moffat",
        fit_radius: float | None = None,
        gain: float | None = None,
    ) -> pd.DataFrame:
        """Fit the point-spread function of the image to sources, all at once.

        The PSF is made from the image's own stars. Sources that are on the image but not in the table are
        fitted too, so that their light does not enter.

        Parameters
        ----------
        image_data : (ny, nx) array
            As for `detect`.
        sources : DataFrame, astropy Table, structured array or dict
            With columns x and y, px: first guesses of the positions.
        psf_model : {'moffat', 'gaussian', 'empirical'}
            Elliptical profiles that hold for the image, or a Moffat profile with an empirical correction that
            varies over the field.
        fit_radius : float, optional
            Pixels nearer than this to a source enter its fit; by default 1.75 FWHM.
        gain : float, optional
            Electrons per image unit; by default that given to `detect`.

        Returns
        -------
        DataFrame
            The sources in their order, with x_psf, y_psf, flux_psf (total flux), their errors, psf_chi2,
            psf_sharpness, and flags that join those of `sources`. NaN, and a flag, where nothing could be
            fitted. `attrs` keeps the FWHM in px, and the number of stars.

        Raises
        ------
        BadArguments
            When the model is unknown or the radius not positive.
        BadInput
            When no source of the image tells the width of the PSF.
        MissingColumns
            When the sources have no x or y.
        """
        if psf_model == "none":
            raise BadArguments("psf_model='none' leaves nothing to fit; use moffat, gaussian or empirical")
        options = replace(self.options, psf=psf_model, psf_fit_radius_px=fit_radius)
        table = _as_frame(sources)
        gain = table.attrs.get("gain") if gain is None else gain
        sky = prepare_sky(image_data, None, None, options)
        found = detect_sources(sky, options, gain)
        sky = with_correlation(sky, found.segments)
        columns = measure_detections(sky, found, options, gain)
        x, y = _positions(table)
        ny, nx = sky.residual.shape
        inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
        photometry = photometry_at(sky, found, columns, options, gain, (x[inside], y[inside]))
        out = _joined(table, psf_columns(photometry, inside), gain)
        psf = photometry.psf
        out.attrs.update({"psf_fwhm_px": psf.model.fwhm_px, "n_psf_stars": len(psf.stars)})
        return out


def _positions(table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = (table[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("x", "y"))
    return x, y


def _joined(table: pd.DataFrame, measured: Columns, gain: float | None) -> pd.DataFrame:
    """Return the table with new columns; flags join those it has."""
    flags = measured["flags"] | np.int32(Flag.NO_GAIN if gain is None else 0)
    if "flags" in table:
        flags |= table["flags"].to_numpy(dtype=np.int32)
    return table.assign(**(measured | {"flags": flags}))


def _as_frame(sources: Any) -> pd.DataFrame:
    if isinstance(sources, pd.DataFrame):
        table = sources
    else:
        table = sources.to_pandas() if hasattr(sources, "to_pandas") else pd.DataFrame(sources)
    missing = [name for name in ("x", "y") if name not in table]
    if missing:
        raise MissingColumns("sources", missing, [str(name) for name in table.columns])
    return table


def _checked_annulus(aperture_radius: float, sky_annulus: Sequence[float]) -> tuple[float, float]:
    _require_positive("aperture_radius", aperture_radius)
    if len(sky_annulus) != 2 or not 0 <= sky_annulus[0] < sky_annulus[1]:
        raise BadArguments(f"sky_annulus={sky_annulus!r} must be an inner and a larger outer radius")
    return float(sky_annulus[0]), float(sky_annulus[1])


def _require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise BadArguments(f"{name}={value!r} must be positive")
