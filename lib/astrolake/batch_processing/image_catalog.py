"""From one FITS file on this machine to its rows of `sources`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from astrolake.errors import BadInput
from astrolake.photometry.fits_bytes import unpack_file
from astrolake.photometry.image_row import image_id
from astrolake.photometry.image_sources import image_sources
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import Reject, scan_file
from astrolake.schema import HEALPIX_COLUMN, SOURCES
from astrolake.schema.arrow import arrow_schema, float_column

_LOG = logging.getLogger(__name__)
#: AB magnitude of a microjansky.
_MICROJANSKY_AB = 23.9
UNKNOWN = "unknown"
#: Columns of `detections` that are those of `sources`, and those in pixels that become arcsec.
_SAME = ("ra", "dec", "mag_auto", "mag_auto_err", "theta", "star_prob", "x", "y", "mjd")
_LENGTHS = {"a": "a_arcsec", "b": "b_arcsec", "fwhm": "fwhm_arcsec", "flux_radius": "flux_radius_arcsec"}

#: Survey and band.
Place = tuple[str, str]


@dataclass(frozen=True)
class CatalogOptions:
    """How sources are found; the defaults are those of the job extract_sources, without PSF photometry.

    Parameters
    ----------
    extraction : ExtractionOptions
        Its apertures are replaced by `aperture_radii_arcsec`.
    aperture_radii_arcsec : tuple of float
    most_bytes : int
        Largest file, also when unpacked.
    """

    extraction: ExtractionOptions = field(default_factory=ExtractionOptions)
    aperture_radii_arcsec: tuple[float, ...] = (1.5, 3.0, 5.0)
    most_bytes: int = 2 << 30

    @property
    def recipe(self) -> str:
        """What the rows depend on besides the image; the version of the code is for others to add."""
        kernel = self.extraction
        return f"sigma={kernel.detect_sigma:g} pixels={kernel.min_pixels} depth={kernel.depth}"


@dataclass(frozen=True)
class ImageCatalog:
    """What a file gave.

    Parameters
    ----------
    tables : dict
        Rows of `sources`, sorted by position, by survey and band. An image without sources has a table of
        no rows.
    rejects : tuple of Reject
        The file, or HDUs of it, that gave no rows and why.
    n_images : int
        Science images measured.
    """

    tables: dict[Place, pa.Table]
    rejects: tuple[Reject, ...]
    n_images: int


def image_catalog(path: Path, uri: str, run_id: str, options: CatalogOptions | None = None) -> ImageCatalog:
    """Return the sources of all science images of a file.

    Numbers are those of the lake's `detections` for the same file and options. Weights and masks count
    where they are extensions of the file: other files may come later than it, and rows must not depend
    on the order in which files come.

    Parameters
    ----------
    path : Path
        The file here, under its own name; a packed one is unpacked in its place.
    uri : str
        Where the file lies; identifiers are made of it.
    run_id : str
    options : CatalogOptions

    Returns
    -------
    ImageCatalog
        Whatever is wrong with the file is a reject, never an exception.
    """
    options = options or CatalogOptions()
    local = f"file://{path}"
    try:
        unpack_file(path, path.with_name("unpacked"), options.most_bytes, uri).replace(path)
    except BadInput as error:
        return ImageCatalog({}, (Reject(uri, error.kind, error.message),), 0)
    scan = scan_file(local, siblings=())
    rejects = [Reject(r.source, r.error_type, r.message) for r in scan.rejects]
    parts: dict[Place, list[pa.Table]] = {}
    science = [image for image in scan.images if image["image_type"] == "science"]
    for image in science:
        try:
            rows = _rows(image, uri, run_id, options)
        except BadInput as error:
            rejects.append(Reject(f"{uri}#{image['hdu']}", error.kind, error.message))
        else:
            place = str(image["survey"]) or UNKNOWN, str(image["band"]) or UNKNOWN
            parts.setdefault(place, []).append(rows)
    if not science and not rejects:
        rejects.append(Reject(uri, "NoScience", f"{uri}: no science image but weights, masks or the like"))
    named = tuple(
        replace(r, source=r.source.replace(local, uri), message=r.message.replace(local, uri))
        for r in rejects
    )
    n_images = sum(map(len, parts.values()))
    return ImageCatalog({place: _joined(found) for place, found in parts.items()}, named, n_images)


def _rows(image: Mapping[str, Any], uri: str, run_id: str, options: CatalogOptions) -> pa.Table:
    """Return the rows of one image.

    Raises
    ------
    BadInput
        When it cannot be measured or put on the sky.
    """
    image = {**image, "image_id": image_id(uri, image["hdu"])}
    try:
        found = image_sources(image, (), options.extraction, options.aperture_radii_arcsec)
    except (BadInput, MemoryError, ImportError):
        raise
    except Exception as error:  # what an odd image makes the kernels raise, it makes them raise each time
        _LOG.exception("%s#%s cannot be measured", uri, image["hdu"])
        raise BadInput(f"{uri}#{image['hdu']}: {error}", type(error).__name__) from error
    if not found.has_wcs:
        why = image["wcs_problem"] or "its header has none"
        raise BadInput(
            f"{uri}#{image['hdu']} has no usable WCS ({why}); add one and upload it again", "NoWcs"
        )
    if found.n_lost:
        _LOG.warning("%s#%s: %d sources have no place on the sky", uri, image["hdu"], found.n_lost)
    return _sources(found.rows, image, uri, run_id)


def _sources(detections: pa.Table, image: Mapping[str, Any], uri: str, run_id: str) -> pa.Table:
    scale, zero_point = image["pixel_scale_arcsec"], image["zero_point_ab"]
    flux, error = float_column(detections, "flux_auto"), float_column(detections, "flux_auto_err")
    to_microjansky = np.nan if zero_point is None else _microjansky(zero_point, f"{uri}#{image['hdu']}")
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(error > 0, flux / error, np.nan)
    n = len(detections)
    columns: dict[str, Any] = {
        HEALPIX_COLUMN: detections.column(HEALPIX_COLUMN),
        "source_id": detections.column("detection_id"),
        "image_id": detections.column("image_id"),
        "flags": detections.column("flags"),
        "flux": flux * to_microjansky,
        "flux_err": error * to_microjansky,
        "snr": snr,
        **{name: float_column(detections, name) for name in _SAME},
        **{name: float_column(detections, pixels) * scale for pixels, name in _LENGTHS.items()},
        "uri": np.full(n, uri, dtype=object),
        "hdu": np.full(n, image["hdu"]),
        "run_id": np.full(n, run_id, dtype=object),
    }
    schema = arrow_schema(SOURCES)
    arrays = [pa.array(np.asarray(columns[f.name]), f.type, from_pandas=True) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _microjansky(zero_point: float, image: str) -> float:
    """Return the microjansky of one unit of an image."""
    with np.errstate(over="ignore", under="ignore"):
        factor = float(np.float_power(10.0, -0.4 * (zero_point - _MICROJANSKY_AB)))
    if not 0 < factor < np.inf:
        raise BadInput(f"{image}: a zero point of {zero_point:g} mag cannot be; correct it", "BadZeroPoint")
    return factor


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Return the rows of several images, sorted by position."""
    rows = pa.concat_tables(tables)
    return rows.take(np.argsort(rows.column(HEALPIX_COLUMN).to_numpy(), kind="stable"))
