"""Errors against the scatter of real images of one sky: Stripe 82 epochs, two JWST mosaics, DECam zero points."""

import warnings

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning
from scipy.spatial import cKDTree

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.fits_io import read_frame
from astrolake.photometry.flags import Flag
from astrolake.photometry.forced import forced_photometry
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import scan_file

pytestmark = pytest.mark.data

#: Frames of one run that overlap show the same pixels, and run 7674 holds a corner only.
SAME_PIXELS = {(3360, 394), (1755, 409), (4145, 144), (7674, 61)}
SOURCES = np.array([[7.8, 1.3], [25.0, 24.9], [37.8, 34.3]])


@pytest.mark.parametrize("radius", [3.0, 5.0])
@pytest.mark.parametrize("band", "ugriz")
def test_stripe_82_epochs_scatter_as_their_errors_say(survey_data, band, radius):
    """The stamps are resampled: their pixels scatter by 0.86 of what the inverse variance says, sums as it says."""
    axis = np.arange(5.0, 47.0, 7.0)
    x, y = (values.ravel() for values in np.meshgrid(axis, axis))
    empty = np.hypot(x[:, None] - SOURCES[:, 0], y[:, None] - SOURCES[:, 1]).min(axis=1) > 9
    fluxes, errors = [], []
    with fits.open(survey_data / "images_sdss" / f"stamp-{band}-5.0073-0.0739.fits") as hdus:
        for image, inverse in zip(hdus[::2], hdus[1::2], strict=True):
            header = image.header
            if (header["RUN"], header["FIELD"]) in SAME_PIXELS:
                continue
            with np.errstate(divide="ignore"):
                variance = 1 / inverse.data
            gain = header["GAIN"] / header["CALIB"]
            found = forced_photometry(image.data, x[empty], y[empty], radius, variance=variance, gain=gain)
            spoilt = found["flags"] & (Flag.BAD_PIXELS | Flag.APERTURE_INCOMPLETE) > 0
            fluxes.append(np.where(spoilt, np.nan, found["flux"]))
            errors.append(found["flux_err"])
    flux, error = np.array(fluxes), np.array(errors)
    pull = (flux - np.nanmean(flux, axis=0)) / error * np.sqrt(len(flux) / (len(flux) - 1))
    assert len(flux) == 13
    assert np.isfinite(pull).sum() > 250
    assert 0.8 < np.nanstd(pull) < 1.25


@pytest.mark.parametrize("aperture", [0, 1])
def test_sources_of_two_jwst_mosaics_differ_as_their_errors_say(survey_data, aperture):
    """Drizzled pixels correlate by 0.4: with independent noise the ratio would be 1.7 and 2.4."""
    stem = "jw0{}_nircam_clear-f200w_i2d_stamp.fits"
    parts = ("1324001001-01324-o001_t001", "2561001002-02561-o001_t003")
    names = [survey_data / "difference_imaging" / stem.format(part) for part in parts]
    options = ExtractionOptions(aperture_radii_px=(3.0, 6.0))
    one, two = (extract_frame(fits.getdata(name), options=options).columns for name in names)
    first, second = (WCS(fits.getheader(name)) for name in names)
    sky = first.all_pix2world(np.column_stack([one["x"], one["y"]]), 0)
    distance, other = cKDTree(np.column_stack([two["x"], two["y"]])).query(second.all_world2pix(sky, 0))
    spoilt = Flag.NEIGHBOURS | Flag.BLENDED | Flag.TRUNCATED | Flag.APERTURE_INCOMPLETE
    row = np.flatnonzero((distance < 2) & ((one["flags"] | two["flags"][other]) & spoilt == 0))
    (f1, e1), (f2, e2) = (
        (columns["flux_aper"][rows, aperture], columns["flux_aper_err"][rows, aperture])
        for columns, rows in ((one, row), (two, other[row]))
    )
    use = (f1 > 3 * e1) & (f2 > 3 * e2) & (f1 < 20 * e1)
    pull = (f1 - f2 * np.median(f1[use] / f2[use])) / np.hypot(e1, e2)
    assert use.sum() > 25
    assert 0.7 < 1.4826 * np.median(np.abs(pull[use])) < 1.3


def test_a_decam_star_has_the_magnitude_that_the_zero_point_of_the_pipeline_gives_it(survey_data):
    """Only one star of this cut-out that Gaia measured is clear of the halo of a saturated one.

    Its r is Gaia's G with the colour term of the Legacy Surveys (DR8: polynomial in BP - RP).
    """
    folder = survey_data / "images_decam" / "case8"
    image = scan_file(str(next(folder.glob("*_ooi_r_*")))).images[0]
    names = {"weight": next(folder.glob("*_oow_r_*")), "mask": next(folder.glob("*_ood_r_*"))}
    image = image | {f"{role}_uri": str(path) for role, path in names.items()}
    image |= {"weight_hdu": 1, "mask_hdu": 1, "weight_kind": "invvar"}
    frame = read_frame(image)
    gaia = Table.read(folder / "chunk-05483.fits")
    star = gaia[np.abs(gaia["phot_g_mean_mag"] - 18.75) < 0.01]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        x, y = WCS(fits.getheader(image["uri"], 1)).all_world2pix(star["ra"], star["dec"], 0)
    on = np.flatnonzero((x > 30) & (y > 30) & (x < frame.data.shape[1] - 31) & (y < frame.data.shape[0] - 31))
    assert len(on) == 1
    colour = float((star["phot_bp_mean_mag"] - star["phot_rp_mean_mag"])[on[0]])
    terms = (0.10533, -0.22975, 0.06257, -0.24142, 0.24441, -0.07248, 0.00676)
    expected = float(star["phot_g_mean_mag"][on[0]]) + np.polyval(terms[::-1], colour)
    ccd = Table.read(folder / "survey-ccds-1.fits.gz")[0]
    zero_point = ccd["ccdzpt"] + 2.5 * np.log10(ccd["exptime"])
    # The pipeline's zero points are those of apertures of 7 arcsec diameter.
    flux = sep.sum_circle(frame.data, x[on], y[on], 3.5 / 0.262, bkgann=(20, 30), subpix=5)[0][0]
    assert zero_point - 2.5 * np.log10(flux) == pytest.approx(expected, abs=0.02)
    assert np.median(frame.variance[frame.variance > 0]) == pytest.approx(
        (10 ** (0.4 * (zero_point - 22.5)) * ccd["sig1"]) ** 2, rel=0.1
    )
