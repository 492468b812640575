"""Scatter of repeated measurements over the errors that were claimed, on real images of one sky.

python benchmarks/repeats.py /path/to/survey/data
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from scipy.spatial import cKDTree

from astrolake.photometry.extraction import Extraction, extract_frame
from astrolake.photometry.flags import Flag
from astrolake.photometry.forced import forced_photometry, matching_sigma_px
from astrolake.photometry.headers import HeaderCards
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.psf_cards import psf_fwhm_arcsec
from astrolake.photometry.zero_point import robust_sigma

STAMP, SCALE = "stamp-{band}-5.0073-0.0739.fits", 0.396
#: Runs whose frames overlap along the scan show the same pixels twice; the stamp of 7674 is cut.
SAME_PIXELS = {(3360, 394), (1755, 409), (4145, 144), (7674, 61)}
#: A galaxy and a faint source of the stamps, px; empty places stay off these and one at the edge.
SOURCES = {"galaxy, r 20.9": (25.0, 24.9), "source, r 22.5": (37.8, 34.3)}
AT_EDGE = (7.8, 1.3)
SPOILT = Flag.NEIGHBOURS | Flag.BLENDED | Flag.SATURATED | Flag.TRUNCATED | Flag.APERTURE_INCOMPLETE
BINS = (5, 10, 20, 50, np.inf)


def stamps(data: Path, band: str) -> list[tuple]:
    """Return (image, variance, header) of the independent epochs of the Stripe 82 stamps."""
    with fits.open(data / "images_sdss" / STAMP.format(band=band)) as hdus:
        parts = [(hdus[i].data, hdus[i + 1].data, hdus[i].header) for i in range(0, len(hdus), 2)]
    kept = [part for part in parts if (part[2]["RUN"], part[2]["FIELD"]) not in SAME_PIXELS]
    with np.errstate(divide="ignore"):
        return [(image, 1 / inverse, header) for image, inverse, header in kept]


def epoch_pulls(
    epochs: list[tuple], x: np.ndarray, y: np.ndarray, radius_px: float, match: bool
) -> np.ndarray:
    """Return (epochs, positions) deviations from the weighted mean of the epochs over their errors."""
    seeing = [psf_fwhm_arcsec(HeaderCards(header), SCALE) for _, _, header in epochs]
    flux, error = [], []
    for (image, variance, header), fwhm in zip(epochs, seeing, strict=True):
        found = forced_photometry(
            image,
            x,
            y,
            radius_px,
            variance=variance,
            gain=header["GAIN"] / header["CALIB"],
            smooth_sigma_px=matching_sigma_px(fwhm, max(seeing), SCALE) if match else 0.0,
        )
        bad = found["flags"] & (Flag.BAD_PIXELS | Flag.APERTURE_INCOMPLETE) > 0
        flux.append(np.where(bad, np.nan, found["flux"]))
        error.append(found["flux_err"])
    value, sigma = np.array(flux), np.where(np.isnan(flux), np.nan, error)
    weight = 1 / sigma**2
    mean = np.nansum(value * weight, axis=0) / np.nansum(weight, axis=0)
    n = np.isfinite(value).sum(axis=0)
    return (value - mean) / sigma * np.sqrt(n / (n - 1))


def stripe_82(data: Path) -> Iterator[tuple[str, str, int, float, float]]:
    """Thirteen epochs: apertures on empty sky as they are, and on sources at one seeing."""
    ticks = np.arange(5.0, 47.0, 7.0)
    x, y = (axis.ravel() for axis in np.meshgrid(ticks, ticks))
    places = np.array([*SOURCES.values(), AT_EDGE])
    free = np.hypot(x[:, None] - places[:, 0], y[:, None] - places[:, 1]).min(axis=1) > 9
    for radius in (3.0, 5.0):
        for band in "ugriz":
            pulls = epoch_pulls(stamps(data, band), x[free], y[free], radius, False).ravel()
            yield summary(f"Stripe 82 {band}, empty sky", f"aperture {radius:.0f} px", pulls)
    for name, place in SOURCES.items():
        pulls = [epoch_pulls(stamps(data, band), *np.array([place]).T, 4.0, True).ravel() for band in "ugriz"]
        yield summary(f"Stripe 82 ugriz, {name}", "aperture 4 px", np.concatenate(pulls))


def summary(what: str, measure: str, pulls: np.ndarray) -> tuple[str, str, int, float, float]:
    """Return a row of the table: name, measure, number, standard and robust standard deviation."""
    pulls = pulls[np.isfinite(pulls)]
    return what, measure, len(pulls), float(pulls.std()), robust_sigma(pulls)


def pair_pulls(
    what: str, first: Extraction, second: Extraction, at: np.ndarray
) -> Iterator[tuple[str, str, int, float, float]]:
    """Compare unspoilt sources of two epochs by signal-to-noise, their median offset taken away."""
    one, two = first.columns, second.columns
    distance, other = cKDTree(np.column_stack([two["x"], two["y"]])).query(at)
    good = (distance < 2) & ((one["flags"] | two["flags"][other]) & SPOILT == 0)
    row, other = np.flatnonzero(good), other[good]
    for measure, pick in (("aperture 3 px", np.s_[:, 0]), ("aperture 6 px", np.s_[:, 1])):
        (f1, e1), (f2, e2) = (
            (columns["flux_aper"][pick][rows], columns["flux_aper_err"][pick][rows])
            for columns, rows in ((one, row), (two, other))
        )
        with np.errstate(invalid="ignore"):
            magnitude = -2.5 * np.log10(f1 / f2)
        error = 2.5 / np.log(10) * np.hypot(e1 / f1, e2 / f2)
        signal = 2.5 / np.log(10) / error
        known = np.isfinite(magnitude) & (f1 > 0) & (f2 > 0)
        offset = np.median(magnitude[known & (signal > 20)])
        for low, high in pairwise(BINS):
            use = known & (signal > low) & (signal <= high)
            if use.sum() >= 8:
                yield summary(f"{what}, S/N {low}-{high}", measure, (magnitude - offset)[use] / error[use])


def pairs(data: Path) -> Iterator[tuple[str, str, int, float, float]]:
    """Two exposures a minute apart, and two drizzled mosaics of half a year apart."""
    options = ExtractionOptions(aperture_radii_px=(3.0, 6.0))
    names = [data / "images_awkward" / f"aligned_eso085-030-00{i}.fit" for i in (4, 5)]
    # MaxIm DL gives no gain: one electron per count is what the scatter of bright stars allows.
    first, second = (extract_frame(fits.getdata(name), gain=1.0, options=options) for name in names)
    at = np.column_stack([first.columns["x"], first.columns["y"]])
    yield from pair_pulls("ESO 085-030, aligned", first, second, at)
    stem = "jw0{}_nircam_clear-f200w_i2d_stamp.fits"
    names = [
        data / "difference_imaging" / stem.format(part)
        for part in ("1324001001-01324-o001_t001", "2561001002-02561-o001_t003")
    ]
    first, second = (extract_frame(fits.getdata(name), options=options) for name in names)
    one, two = (WCS(fits.getheader(name)) for name in names)
    at = two.all_world2pix(one.all_pix2world(np.column_stack([first.columns["x"], first.columns["y"]]), 0), 0)
    yield from pair_pulls("JWST F200W, drizzled", first, second, at)


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore", FITSFixedWarning)
    data = Path(sys.argv[1])
    print("| data | measure | n | scatter / error | robust |\n|---|---|---|---|---|")
    for part in (stripe_82, pairs):
        for what, measure, n, std, robust in part(data):
            print(f"| {what} | {measure} | {n} | {std:.2f} | {robust:.2f} |")


if __name__ == "__main__":
    main()
