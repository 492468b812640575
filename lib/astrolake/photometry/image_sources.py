"""All sources of one image of the lake: pixels in, rows of `detections` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from astrolake.errors import BadInput
from astrolake.photometry.astrometry import build_wcs
from astrolake.photometry.calibration_plan import HEADER_ONLY, CalibrationPlan
from astrolake.photometry.extraction import Extraction, extract_frame
from astrolake.photometry.fits_bytes import file_size
from astrolake.photometry.fits_io import read_frame
from astrolake.photometry.flags import Flag
from astrolake.photometry.image_quality import Photometric, photometric_scale, quality_row
from astrolake.photometry.magnitudes import calibrate
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.psf_photometry import blank_columns
from astrolake.photometry.star_galaxy import star_probabilities
from astrolake.schema import DETECTIONS, HEALPIX_COLUMN, PIXEL_DETECTIONS, Table
from astrolake.schema.arrow import arrow_schema
from astrolake.sky.healpix import healpix29
from astrolake.sky.overlap import Footprint, owner_is_self

#: Apertures of images whose pixel scale is unknown, in pixels.
_PIXEL_RADII = (3.0, 5.0, 7.5)


@dataclass(frozen=True)
class ImageSources:
    """What one image gave.

    Parameters
    ----------
    rows : pa.Table
        Columns of `detections` (of `pixel_detections` without WCS) but run_id.
    quality : pa.Table
        The row of `image_quality` but run_id.
    has_wcs : bool
    n_lost : int
        Sources whose position has no place on the sky (beyond the projection's horizon).
    """

    rows: pa.Table
    quality: pa.Table
    has_wcs: bool
    n_lost: int = 0


def image_sources(
    image: Mapping[str, Any],
    overlapping: Sequence[Mapping[str, Any]],
    options: ExtractionOptions,
    radii_arcsec: tuple[float, ...],
    storage_options: dict[str, str] | None = None,
    calibration: CalibrationPlan = HEADER_ONLY,
) -> ImageSources:
    """Read an image, extract its sources and put them on the sky and on the AB scale.

    Parameters
    ----------
    image : mapping
        Row of `images`.
    overlapping : sequence of mappings
        Rows (image_id, naxis1, naxis2, pixel_scale_arcsec, wcs_header) of the images of the same
        visit and band that share sky with it; they decide on `is_primary`.
    options : ExtractionOptions
        The apertures in pixels are replaced by `radii_arcsec` where the pixel scale is known.
    radii_arcsec : tuple of float
        Radii of the circular apertures.
    calibration : CalibrationPlan
        Which reference the image is compared with.

    Raises
    ------
    BadInput
        When the file cannot be read, holds no usable pixels, or is another than was ingested.
    """
    scale = image["pixel_scale_arcsec"]
    radii = tuple(radius / scale for radius in radii_arcsec) if scale else _PIXEL_RADII
    frame = read_frame(image, storage_options=storage_options)
    size = file_size(image["uri"], storage_options)
    if frame.data.shape != (image["naxis2"], image["naxis1"]) or size != image["file_bytes"]:
        # Its WCS and zero point in `images` are those of another file.
        raise BadInput(f"{image['uri']} is not the file that was ingested; ingest it again", "Replaced")
    extract = partial(
        extract_frame,
        bad=frame.bad,
        variance=frame.variance,
        options=replace(options, aperture_radii_px=radii),
        gain=image["gain"],
        saturation=image["saturation"],
        flag_image=frame.flags,
        psf_fwhm_px=image["psf_fwhm_arcsec"] / scale if scale and image["psf_fwhm_arcsec"] else None,
    )
    found = extract(frame.data)
    if image["wcs_kind"] == "none" or not image["wcs_header"]:
        scale_ab = photometric_scale(image["zero_point_ab"], None)
        rows = _table(_columns(found, image, scale_ab), PIXEL_DETECTIONS)
        return ImageSources(rows, quality_row(image, found, scale_ab, None), False)
    sky = _sky_columns(found.columns, image, overlapping)
    check = calibration.check(image, found, sky["ra"], sky["dec"])
    scale_ab = photometric_scale(image["zero_point_ab"], check)
    extra: dict[str, Any] = {}
    if check is not None and calibration.correct_astrometry and check.offset.is_known:
        sky["ra"], sky["dec"] = check.offset.corrected(sky["ra"], sky["dec"])
        extra = {"ra_shift_arcsec": check.offset.ra_arcsec, "dec_shift_arcsec": check.offset.dec_arcsec}
    columns = _columns(found, image, scale_ab) | sky
    on_sky = np.isfinite(columns["ra"]) & np.isfinite(columns["dec"])
    if not on_sky.all():
        columns = {name: values[on_sky] for name, values in columns.items()}
    columns[HEALPIX_COLUMN] = healpix29(columns["ra"], columns["dec"])
    # What is found does not depend on PSF photometry where no source is looked for beside it.
    psf, crowded = (options.psf, "yes") if found.info.psf.crowded else ("none", "no")
    again = partial(extract, options=replace(extract.keywords["options"], psf=psf, crowded=crowded))
    extra |= calibration.completeness(image, frame, found, scale_ab.zero_point, again)
    quality = quality_row(image, found, scale_ab, check, extra)
    return ImageSources(_table(columns, DETECTIONS), quality, True, int((~on_sky).sum()))


def _columns(found: Extraction, image: Mapping[str, Any], scale: Photometric) -> dict[str, np.ndarray]:
    """Return the measures and the columns that say where they come from."""
    n, pixel = len(found), image["pixel_scale_arcsec"]
    columns: dict[str, np.ndarray] = blank_columns(n, len(found.aperture_radii_px))
    columns |= {"mag_psf": columns["flux_psf"], "mag_psf_err": columns["flux_psf"]}
    columns |= calibrate(found, scale.zero_point, pixel, scale.error)
    fwhm_arcsec = found.info.stars.fwhm_px * (pixel or np.nan)
    extension, error = columns["extension"], columns["extension_err"]
    columns["star_prob"] = star_probabilities(extension, error, columns["mag_auto"], fwhm_arcsec)
    number = np.arange(n)
    columns["number"] = number
    columns["detection_id"] = (
        np.char.add(f"{image['image_id']}-", number.astype(str)) if n else np.array([], str)
    )
    for name in ("image_id", "survey", "band", "visit", "mjd"):
        columns[name] = np.full(n, image[name], dtype=object)
    return columns


def _sky_columns(
    columns: dict[str, np.ndarray], image: Mapping[str, Any], overlapping: Sequence[Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    scale = image["pixel_scale_arcsec"]
    wcs = build_wcs(image["wcs_header"])
    ra, dec = wcs.pixel_to_sky(columns["x"], columns["y"])
    # The pixel grid may be rotated and is square within a percent: one error serves both axes.
    error = np.hypot(columns["x_err"], columns["y_err"]) / np.sqrt(2.0) * scale
    own = _footprint(image)
    others = [_footprint(other) for other in overlapping]
    usable = np.isfinite(ra) & np.isfinite(dec)
    primary = np.zeros(len(ra), dtype=bool)
    cut = _cut_extent_px(columns)[usable] * scale
    primary[usable] = owner_is_self(ra[usable], dec[usable], own, others, cut)
    # A tiny negative angle wraps to 360.0 exactly, which is 0.
    wrapped = np.mod(ra, 360.0)
    wrapped[wrapped >= 360.0] = 0.0
    return {"ra": wrapped, "dec": dec, "ra_err": error, "dec_err": error, "is_primary": primary}


def _cut_extent_px(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return how far the isophote reaches of sources that the border of the image cuts, 0 for the others.

    It is the semi-major axis of an ellipse of the isophote's area, a quarter longer because a part of
    the area is lost.
    """
    axis = 1.25 * np.sqrt(columns["n_pixels"] * columns["a"] / (np.pi * columns["b"]))
    return np.where(columns["flags"] & Flag.TRUNCATED > 0, axis, 0.0)


def _footprint(image: Mapping[str, Any]) -> Footprint:
    return Footprint(
        image["image_id"],
        image["naxis1"],
        image["naxis2"],
        image["pixel_scale_arcsec"],
        build_wcs(image["wcs_header"]).sky_to_pixel,
    )


def _table(columns: dict[str, np.ndarray], table: Table) -> pa.Table:
    """Return the declared columns; NaN becomes null."""
    schema = arrow_schema(table)
    fields = [pa.field(field.name, field.type) for field in schema if field.name != "run_id"]
    arrays = [_array(columns[field.name], field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _array(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        flat = pa.array(np.ascontiguousarray(values).ravel(), kind.value_type, from_pandas=True)
        offsets = np.arange(0, values.size + 1, max(values.shape[1], 1), dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=kind)
    return pa.array(values, kind, from_pandas=True)
