"""Small FITS files and headers made for tests."""

import numpy as np
from astropy.io import fits

from astrolake.photometry.headers import HeaderCards

PIXELS = np.arange(12, dtype=np.float32).reshape(3, 4)


def cards(**values):
    """Return the cards of a header; a tuple gives a value and its comment, '__' in a name is '-'."""
    header = fits.Header()
    for key, value in values.items():
        header[key.replace("__", "-")] = value
    return HeaderCards(header)


def tan_cards(ra=10.0, dec=20.0, scale_arcsec=1.0, size=(100, 80), rotation_deg=0.0):
    """Return the cards of a gnomonic WCS centred on an image of size (columns, rows)."""
    scale, angle = scale_arcsec / 3600, np.radians(rotation_deg)
    return {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": ra,
        "CRVAL2": dec,
        "CRPIX1": (size[0] + 1) / 2,
        "CRPIX2": (size[1] + 1) / 2,
        "CD1_1": -scale * np.cos(angle),
        "CD1_2": scale * np.sin(angle),
        "CD2_1": scale * np.sin(angle),
        "CD2_2": scale * np.cos(angle),
    }


def wcs_text(values):
    """Return cards as the column `wcs_header` holds them."""
    return fits.Header(list(values.items())).tostring(sep="\n", endcard=False, padding=False)


def write(path, *hdus):
    """Write HDUs to a file (an empty primary HDU is put before an extension) and return the path as text."""
    if not isinstance(hdus[0], fits.PrimaryHDU):
        hdus = (fits.PrimaryHDU(), *hdus)
    fits.HDUList(list(hdus)).writeto(path, overwrite=True)
    return str(path)
