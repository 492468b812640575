"""The files of the sample survey: FITS images in three guises, damaged files, catalogs, the truth."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from astrolake.demo.detector import saturation_level
from astrolake.demo.layout import CAMCOL, Exposure
from astrolake.demo.sky import TRUTH_COLUMNS

ZERO_POINT_AB = 22.5
#: Runs of the damaged files: a run that no good image has.
BAD_RUN = 1003
N_BAD_REFERENCE_ROWS = 3
N_BAD_SPECZ_LINES = 1
_BROKEN_LINE = "299489677444931584,214.95312"

_ERROR_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>503 Service Unavailable</title></head>\n"
    "<body><h1>Service Unavailable</h1><p>The archive is down for maintenance.</p></body></html>\n"
)
_REFERENCE_UNITS = {
    "ra": "deg",
    "dec": "deg",
    "ra_error": "mas",
    "dec_error": "mas",
    "pmra": "mas / yr",
    "pmdec": "mas / yr",
    "pmra_error": "mas / yr",
    "pmdec_error": "mas / yr",
    "parallax": "mas",
    "parallax_error": "mas",
    "ref_epoch": "yr",
    "phot_g_mean_mag": "mag",
}


def image_header(exposure: Exposure) -> fits.Header:
    """Return the header of an exposure: survey cards, calibration, TAN astrometry with a CD matrix."""
    wcs = exposure.wcs.wcs
    cards = [
        ("SURVEY", "DEMO", "survey"),
        ("FILTER", exposure.band.name, "filter"),
        ("RUN", exposure.epoch.run, "run number: one visit of all fields"),
        ("CAMCOL", CAMCOL, "camera column"),
        ("FIELD", exposure.field, "field number in the run"),
        ("DATE-OBS", Time(exposure.mjd, format="mjd", scale="utc").isot, "start of the exposure"),
        ("MJD-OBS", exposure.mjd, "[d] start of the exposure"),
        ("TIMESYS", "UTC", "time scale of DATE-OBS and MJD-OBS"),
        ("EXPTIME", exposure.layout.exptime_s, "[s] exposure time"),
        ("BUNIT", "nanomaggy", "unit of the pixel values"),
        ("MAGZERO", ZERO_POINT_AB, "[mag] m_AB = MAGZERO - 2.5 log10(flux)"),
        ("GAIN", exposure.band.gain, "electrons per nanomaggy"),
        ("RDNOISE", exposure.band.read_noise_e, "[electron] read noise"),
        ("SATURATE", saturation_level(exposure), "[nanomaggy] saturated from here on"),
        ("PSFFWHM", round(exposure.psf_fwhm_arcsec, 4), "[arcsec] FWHM of the PSF"),
        ("RADESYS", "ICRS", "celestial frame"),
        *((f"CTYPE{i + 1}", wcs.ctype[i], "gnomonic projection") for i in (0, 1)),
        *((f"CUNIT{i + 1}", "deg", "unit of CRVAL and CD") for i in (0, 1)),
        *((f"CRPIX{i + 1}", wcs.crpix[i], "reference pixel, 1 is the first") for i in (0, 1)),
        *((f"CRVAL{i + 1}", wcs.crval[i], "[deg] position there") for i in (0, 1)),
        *((f"CD{i + 1}_{j + 1}", wcs.cd[i, j], "[deg] per pixel") for i in (0, 1) for j in (0, 1)),
    ]
    return fits.Header(cards)


def write_image(path: Path, image: NDArray[np.float32], header: fits.Header) -> None:
    """Write an image; the suffix of the path says how: .fits, .fits.gz, or .fits.fz (Rice).

    The Rice file is quantised to a 16th of the noise with a fixed dither, NaN kept; the others
    hold the pixels as they are. The same image gives the same bytes.
    """
    if path.suffix == ".fz":
        tiles = fits.CompImageHDU(
            image,
            header,
            compression_type="RICE_1",
            quantize_level=16.0,
            quantize_method=fits.hdu.compressed.SUBTRACTIVE_DITHER_1,
            dither_seed=1,
        )
        tiles.writeto(path, overwrite=True)
    elif path.suffix == ".gz":
        # A gzip header carries a time stamp and the name unless told otherwise.
        with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as stream:
            fits.PrimaryHDU(image, header).writeto(stream)
    else:
        fits.PrimaryHDU(image, header).writeto(path, overwrite=True)


def write_bad_images(directory: Path, good: Path, header: fits.Header) -> tuple[Path, Path]:
    """Write a FITS file cut off in its pixels and an HTML page under a FITS name; return both paths.

    Parameters
    ----------
    directory : Path
    good : Path
        A plain FITS image, whose first quarter the truncated file repeats.
    header : Header
        Header of `good`; in the copy RUN is `BAD_RUN`.
    """
    band, field = header["FILTER"], header["FIELD"]
    truncated = directory / f"frame-{band}-{BAD_RUN:06d}-{CAMCOL}-{field:04d}.fits"
    page = directory / f"frame-{band}-{BAD_RUN:06d}-{CAMCOL}-{field + 1:04d}.fits"
    changed = header.copy()
    changed["RUN"] = BAD_RUN
    with fits.open(good) as hdus:
        fits.PrimaryHDU(hdus[0].data, changed).writeto(truncated, overwrite=True)
    with truncated.open("r+b") as stream:
        stream.truncate(truncated.stat().st_size // 4)
    page.write_text(_ERROR_PAGE, encoding="ascii")
    return truncated, page


def write_truth(path: Path, truth: pd.DataFrame, seed: int) -> None:
    """Write the truth table as Parquet; every field carries its unit and meaning as metadata, NaN is null."""
    table = pa.Table.from_pandas(truth, preserve_index=False)
    fields = [f.with_metadata(_field_metadata(f.name)) for f in table.schema]
    about = {"description": "True sources of the sample sky of astrolake", "seed": str(seed)}
    pq.write_table(table.cast(pa.schema(fields, metadata=about)), path)


def write_reference(path: Path, reference: pd.DataFrame) -> None:
    """Write the reference catalog as a FITS table with units, with three unusable rows among the good ones.

    Two have no declination, one has a declination beyond the pole.
    """
    bad = reference.iloc[[0] * N_BAD_REFERENCE_ROWS].copy()
    bad["source_id"] += np.arange(1, N_BAD_REFERENCE_ROWS + 1)
    bad["dec"] = [np.nan, 96.25, np.nan]
    middle = len(reference) // 2
    rows = pd.concat([reference.iloc[:middle], bad, reference.iloc[middle:]], ignore_index=True)
    table = Table.from_pandas(rows, units=_REFERENCE_UNITS)
    # Table.from_pandas masks NaN; a FITS catalog holds it as it is.
    table["dec"] = table["dec"].filled(np.nan)
    hdu = fits.table_to_hdu(table)
    hdu.name = "REFERENCE"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)


def write_specz(path: Path, specz: pd.DataFrame) -> None:
    """Write the redshifts as CSV, with one line that breaks off after two fields."""
    text = specz.to_csv(index=False, float_format="%.7f", lineterminator="\n")
    lines = text.splitlines()
    lines.insert(1 + len(specz) // 2, _BROKEN_LINE)
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _field_metadata(name: str) -> dict[str, str]:
    unit, doc = TRUTH_COLUMNS.get(name, ("mag", "Magnitude change in the run of that number"))
    return {"unit": unit, "doc": doc} if unit else {"doc": doc}
