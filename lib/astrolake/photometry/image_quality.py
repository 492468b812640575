"""What an image is worth: its row of `image_quality`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from astrolake.photometry.extraction import Extraction
from astrolake.photometry.reference import ReferenceCheck
from astrolake.schema import IMAGE_QUALITY
from astrolake.schema.arrow import arrow_schema

Float64 = NDArray[np.float64]

HEADER, REFERENCE = "header", "reference"
_OF_THE_IMAGE = ("image_id", "checksum", "survey", "band", "visit", "mjd", "ra", "dec")


@dataclass(frozen=True)
class Photometric:
    """The zero point that an image's magnitudes have.

    Parameters
    ----------
    zero_point : float or None
        AB magnitude of flux 1.
    error : float
        Standard error, mag; 0 for that of a header, which tells none.
    source : str or None
        header, reference, or None for no zero point.
    """

    zero_point: float | None
    error: float = 0.0
    source: str | None = None


def photometric_scale(zero_point_ab: float | None, check: ReferenceCheck | None) -> Photometric:
    """Return the zero point by the reference where there is one, else that of the header."""
    if check is not None and math.isfinite(check.zero_point.zero_point):
        return Photometric(check.zero_point.zero_point, check.zero_point.error, REFERENCE)
    return Photometric(zero_point_ab, 0.0, None if zero_point_ab is None else HEADER)


def point_source_depth(
    noise: ArrayLike, noise_area_px: float, zero_point_ab: float | None, sigma: float = 5.0
) -> Float64:
    """Return the magnitude of a point source whose flux is `sigma` times its error.

    The error is that of a matched filter on background noise, noise sqrt(noise area) (King 1983,
    PASP 95, 163).

    Parameters
    ----------
    noise : array
        Of a pixel, in image units: one value, or a map for a map of the depth.
    noise_area_px : float
        1 / sum(p^2) of the point-spread function, see `StarLocus`.
    zero_point_ab : float or None
        Without it all is NaN.
    sigma : float
    """
    flux = sigma * np.asarray(noise, dtype=np.float64) * math.sqrt(noise_area_px)
    offset = math.nan if zero_point_ab is None else zero_point_ab
    return np.asarray(offset - 2.5 * np.log10(np.where(flux > 0, flux, np.nan)))


def quality_row(
    image: Mapping[str, Any],
    found: Extraction,
    scale: Photometric,
    check: ReferenceCheck | None,
    extra: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Return the one row of `image_quality`, without run_id, of an image that was extracted.

    Parameters
    ----------
    image : mapping
        Row of `images`.
    found : Extraction
    scale : Photometric
    check : ReferenceCheck or None
        None when the image was compared with no reference.
    extra : mapping, optional
        Further columns: those of the completeness, and the shift that was taken away from positions.
    """
    info, pixel = found.info, image["pixel_scale_arcsec"]
    # Of a star's matched filter, correlated noise counts as more pixels.
    area = info.stars.noise_area_px * info.stars.noise_excess**2
    low, high = info.noise_range
    row: dict[str, Any] = {name: image[name] for name in _OF_THE_IMAGE}
    row |= {
        "n_sources": len(found),
        "n_stars": info.stars.n_stars,
        "fwhm_arcsec": info.stars.fwhm_px * pixel if pixel else math.nan,
        "background": info.background,
        "background_rms": info.background_rms,
        "bad_fraction": info.bad_fraction,
        "zero_point_ab": scale.zero_point,
        "zero_point_err": scale.error if scale.source == REFERENCE else None,
        "zero_point_source": scale.source,
        "zero_point_header": image["zero_point_ab"],
        "depth_5sigma": float(point_source_depth(info.background_rms, area, scale.zero_point)),
        "depth_5sigma_best": float(point_source_depth(low, area, scale.zero_point)),
        "depth_5sigma_worst": float(point_source_depth(high, area, scale.zero_point)),
        **(_reference_columns(check) if check is not None else {}),
        **(extra or {}),
    }
    fields = [field for field in arrow_schema(IMAGE_QUALITY) if field.name != "run_id"]
    arrays = [pa.array([_known(row.get(field.name))], field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _reference_columns(check: ReferenceCheck) -> dict[str, Any]:
    fit, offset = check.zero_point, check.offset
    has_colour = math.isfinite(fit.pivot)
    return {
        "zero_point_scatter": fit.scatter,
        "zero_point_n": fit.n_stars,
        "zero_point_n_rejected": fit.n_rejected,
        "colour_term": fit.colour_term if has_colour else None,
        "colour_term_err": fit.colour_term_err if has_colour else None,
        "colour_pivot": fit.pivot,
        "ra_offset_arcsec": offset.ra_arcsec,
        "dec_offset_arcsec": offset.dec_arcsec,
        "wcs_rms_arcsec": offset.rms_arcsec,
        "wcs_n": offset.n_stars,
    }


def _known(value: Any) -> Any:
    """Return None for NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
