"""Forced photometry on one image of the lake: positions in, rows of `forced` out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from astrolake.errors import BadInput
from astrolake.lake.lake import sql_name
from astrolake.lake.reader import RegionReader
from astrolake.photometry.astrometry import build_wcs
from astrolake.photometry.fits_bytes import file_size
from astrolake.photometry.fits_io import read_frame
from astrolake.photometry.forced import forced_photometry, magnitudes_and_limits, matching_sigma_px
from astrolake.photometry.reference import AstrometricOffset
from astrolake.schema import FORCED, HEALPIX_COLUMN, Column, Table
from astrolake.schema.arrow import arrow_schema
from astrolake.sky.region import Cone
from astrolake.sky.separation import separation_arcsec

_OF_THE_IMAGE = ("image_id", "survey", "band", "visit", "mjd")


@dataclass(frozen=True)
class ForcedPlan:
    """What is measured.

    Parameters
    ----------
    reader : RegionReader
        Reads ra, dec and the key of the positions.
    positions : str
        The table they are from.
    key : Column
        Their key.
    radius_arcsec : float
        Of the aperture.
    match_fwhm_arcsec : float
        Images with a smaller FWHM are convolved to it; 0 leaves all as they are.
    """

    reader: RegionReader
    positions: str
    key: Column
    radius_arcsec: float
    match_fwhm_arcsec: float = 0.0

    @property
    def table(self) -> Table:
        """The declaration of `forced` for the positions of one table, with the type of their key."""
        columns = tuple(
            replace(column, type=self.key.type) if column.name == "position_id" else column
            for column in FORCED.columns
        )
        return replace(FORCED, name=f"{FORCED.name}_{sql_name(self.positions)}", columns=columns)


def forced_image(
    image: Mapping[str, Any], plan: ForcedPlan, storage_options: dict[str, str] | None = None
) -> pa.Table:
    """Measure all positions that lie on an image.

    Parameters
    ----------
    image : mapping
        Row of `images`, with `zero_point_ab`, `zero_point_err`, `fwhm_arcsec` and the shift of its
        positions as `image_quality` has them.
    plan : ForcedPlan

    Returns
    -------
    pa.Table
        Columns of `forced` but run_id.

    Raises
    ------
    BadInput
        When the image has no WCS, cannot be read, or is another than was ingested.
    """
    if image["wcs_kind"] == "none" or not image["wcs_header"]:
        raise BadInput(f"{image['uri']} has no usable WCS; positions cannot be found on it", "NoWcs")
    rows, x, y = _positions_on(image, plan)
    if not rows.num_rows:
        return _table({name: [] for name in plan.table.column_names}, plan)
    size = file_size(image["uri"], storage_options)
    frame = read_frame(image, storage_options=storage_options)
    if frame.data.shape != (image["naxis2"], image["naxis1"]) or size != image["file_bytes"]:
        raise BadInput(f"{image['uri']} is not the file that was ingested; ingest it again", "Replaced")
    scale, fwhm = image["pixel_scale_arcsec"], image["fwhm_arcsec"]
    smooth = 0.0
    if fwhm is not None:
        smooth = matching_sigma_px(fwhm, plan.match_fwhm_arcsec, scale)
    found = forced_photometry(
        frame.data,
        x,
        y,
        plan.radius_arcsec / scale,
        bad=frame.bad,
        variance=frame.variance,
        gain=image["gain"],
        smooth_sigma_px=smooth,
    )
    zero_point, error = image["zero_point_ab"], image["zero_point_err"] or 0.0
    n = rows.num_rows
    columns: dict[str, Any] = {name: rows.column(name) for name in (HEALPIX_COLUMN, "ra", "dec")}
    columns |= {"position_id": rows.column(plan.key.name), "x": x, "y": y}
    columns |= {name: [image[name]] * n for name in _OF_THE_IMAGE}
    columns["aper_radius_arcsec"] = np.full(n, plan.radius_arcsec)
    seen = math.nan if fwhm is None else max(fwhm, plan.match_fwhm_arcsec)
    columns["fwhm_arcsec"] = np.full(n, seen)
    columns |= found | magnitudes_and_limits(found["flux"], found["flux_err"], zero_point, error)
    return _table(columns, plan)


def _positions_on(image: Mapping[str, Any], plan: ForcedPlan) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Return the rows whose position lies on an image, and its pixels."""
    corners = np.asarray(image["corners_ra"]), np.asarray(image["corners_dec"])
    reach = float(separation_arcsec(image["ra"], image["dec"], *corners).max())
    margin = 2.0 * image["pixel_scale_arcsec"]
    rows = plan.reader.read(Cone(image["ra"], image["dec"], (1.01 * reach + margin) / 3600.0).ranges())
    ra, dec = (rows.column(name).to_numpy() for name in ("ra", "dec"))
    # Positions of detections may have been shifted from those of the WCS: back.
    shift = AstrometricOffset(-image["ra_shift_arcsec"], -image["dec_shift_arcsec"], math.nan, 0)
    x, y = build_wcs(image["wcs_header"]).sky_to_pixel(*shift.corrected(ra, dec))
    with np.errstate(invalid="ignore"):
        on = (x > -0.5) & (y > -0.5) & (x < image["naxis1"] - 0.5) & (y < image["naxis2"] - 0.5)
    return rows.filter(pa.array(on)), x[on], y[on]


def _table(columns: Mapping[str, Any], plan: ForcedPlan) -> pa.Table:
    fields = [field for field in arrow_schema(plan.table) if field.name != "run_id"]
    arrays = [_array(columns[field.name], field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks().cast(kind)
    return pa.array(values, kind, from_pandas=True)
