"""Small FITS images with a few stars, some of them odd, for tests of what is done with uploads."""

import io

import numpy as np
from astropy.io import fits

SIDE = 64


def star_image(seed: int, n_stars: int = 4) -> np.ndarray:
    """Return noise of 1 and some stars of FWHM 3 px; (64, 64) float32."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    image = random.normal(100.0, 1.0, (SIDE, SIDE))
    for _ in range(n_stars):
        x0, y0 = random.uniform(10, SIDE - 10, 2)
        image += random.uniform(50, 400) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * 1.3**2))
    return image.astype(np.float32)


def header(ra: float, dec: float, band: str, zero_point: float | None = 25.0) -> fits.Header:
    """Return the cards of a TAN image with pixels of 0.4 arcsec."""
    cards = {
        **{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec},
        **{"CRPIX1": SIDE / 2, "CRPIX2": SIDE / 2, "CUNIT1": "deg", "CUNIT2": "deg"},
        **{"CD1_1": -0.4 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.4 / 3600},
        **{"FILTER": band, "GAIN": 2.0, "SURVEY": "Tiny Survey", "EXPTIME": 1.0},
    }
    found = fits.Header(cards)
    if zero_point is not None:
        found["MAGZERO"] = zero_point
    return found


def fits_bytes(*hdus: tuple[np.ndarray, fits.Header]) -> bytes:
    """Return a FITS file: one image in the primary HDU, several as extensions."""
    if len(hdus) == 1:
        units = [fits.PrimaryHDU(*hdus[0])]
    else:
        units = [fits.PrimaryHDU(), *(fits.ImageHDU(*hdu) for hdu in hdus)]
    sink = io.BytesIO()
    fits.HDUList(units).writeto(sink)
    return sink.getvalue()


def tiny_fits(seed: int, bands: str = "r") -> bytes:
    """Return a FITS file with one image for each band."""
    place = 10.0 + seed % 300, -5.0 + seed % 7
    return fits_bytes(*((star_image(seed * 10 + i), header(*place, band)) for i, band in enumerate(bands)))
