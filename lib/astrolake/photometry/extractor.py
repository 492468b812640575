"""`SourceExtractor`: detection and aperture photometry of one image, in a notebook or a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from astrolake.errors import BadArguments, MissingColumns
from astrolake.photometry.annulus import annulus_photometry
from astrolake.photometry.detection import detect_sources
from astrolake.photometry.extraction import extract_frame, prepare_sky
from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Scene
from astrolake.photometry.options import ExtractionOptions


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

        Returns
        -------
        DataFrame
            The sources in their order, with flux, flux_err, sky and sky_rms (both per pixel), and flags
            that join those of `sources`. NaN, and a flag, where nothing could be measured.

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
        scene = Scene(sky, detect_sources(sky, self.options).segments, gain)
        x, y = (table[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("x", "y"))
        measured = annulus_photometry(scene, x, y, aperture_radius, annulus)
        if gain is None:
            measured["flags"] |= np.int32(Flag.NO_GAIN)
        if "flags" in table:
            measured["flags"] |= table["flags"].to_numpy(dtype=np.int32)
        return table.assign(**measured)


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
