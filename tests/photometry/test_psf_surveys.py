"""PSF photometry of real SDSS frames against what SDSS measured on them."""

import functools
import warnings

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from scipy.spatial import cKDTree

from astrolake.photometry.extraction import extract_frame
from astrolake.photometry.options import ExtractionOptions

pytestmark = pytest.mark.data

#: Electrons per count, camera column 4.
GAINS = {"u": 1.6, "g": 3.995, "r": 4.76, "i": 4.885, "z": 4.775}


def sdss_frame(survey_data, name):
    with fits.open(survey_data / "images_sdss" / f"frame-{name}.fits.bz2") as hdus:
        return hdus[0].data, hdus[0].header


@functools.cache
def sdss_sources(survey_data, band, psf):
    """Return the sources of a frame of 004510-4-0030, extracted once for all tests."""
    data, header = sdss_frame(survey_data, f"{band}-004510-4-0030")
    options = ExtractionOptions(psf=psf, aperture_radii_px=(7.6,))
    return extract_frame(data, gain=GAINS[band] / header["NMGY"], options=options).columns


def isolated(columns, radius_px=20.0, flux_ratio=0.1):
    """Return which sources have no neighbour of a tenth of their flux."""
    position = np.column_stack([columns["x"], columns["y"]])
    distance, near = cKDTree(position).query(position, k=6)
    flux = columns["flux_auto"]
    return ~((distance[:, 1:] < radius_px) & (flux[near[:, 1:]] > flux_ratio * flux[:, None])).any(axis=1)


def against_sdss(survey_data, band, psf):
    """Return mag_psf minus SDSS's PSF magnitude for isolated stars brighter than 20."""
    data, header = sdss_frame(survey_data, f"{band}-004510-4-0030")
    columns = sdss_sources(survey_data, band, psf)
    stars = fits.getdata(survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        x, y = WCS(header).all_world2pix(stars["RA"], stars["DEC"], 0)
    truth = 22.5 - 2.5 * np.log10(stars["PSFFLUX"][:, "ugriz".index(band)].clip(1e-9))
    ny, nx = data.shape
    use = (stars["FIELD"] == 30) & (x > 20) & (y > 20) & (x < nx - 21) & (y < ny - 21) & (truth < 20)
    distance, row = cKDTree(np.column_stack([columns["x"], columns["y"]])).query(np.column_stack([x, y])[use])
    good = (distance < 2) & isolated(columns)[row]
    mag = 22.5 - 2.5 * np.log10(columns["flux_psf"][row[good]])
    return mag - truth[use][good]


@pytest.mark.parametrize(
    ("band", "psf"), [("g", "moffat"), ("r", "moffat"), ("r", "empirical"), ("i", "moffat")]
)
def test_magnitudes_of_stars_are_those_of_sdss(survey_data, band, psf):
    difference = against_sdss(survey_data, band, psf)
    assert len(difference) > 15
    assert abs(np.median(difference)) < 0.02
    assert 1.4826 * np.median(np.abs(difference - np.median(difference))) < 0.04


def test_a_globular_cluster_is_searched_again(survey_data):
    data, header = sdss_frame(survey_data, "r-002583-2-0136")
    core = data[400:900, 700:1300]
    extraction = extract_frame(core, gain=4.6 / header["NMGY"], options=ExtractionOptions(psf="moffat"))
    info = extraction.info.psf
    assert info.crowded
    assert info.n_from_residual > 100
    assert 2.0 < info.fwhm_px < 4.5
    fitted = np.isfinite(extraction.columns["flux_psf"])
    assert fitted.mean() > 0.97
    assert np.isfinite(extraction.columns["flux_psf_err"][fitted]).all()


RADIUS_PX = 18.58  # of SDSS's largest aperture in the sweeps, 7.43 arcsec


def sdss_apertures(survey_data, band):
    """Return 7.4 arcsec magnitudes of bright stars: ours minus SDSS's, SDSS's minus its PSF magnitudes.

    The first is with SDSS's calibration of the sweep, the third is what that is over the frame's.
    """
    data, _ = sdss_frame(survey_data, f"{band}-004510-4-0030")
    with fits.open(survey_data / "images_sdss" / f"frame-{band}-004510-4-0030.fits.bz2") as hdus:
        nanomaggies_per_count = hdus[1].data
    stars = fits.getdata(survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz", 1)
    k, ny, nx = "ugriz".index(band), *data.shape
    # SDSS counts pixels from their corner.
    x, y = stars["COLC"][:, k] - 0.5, stars["ROWC"][:, k] - 0.5
    mag = 22.5 - 2.5 * np.log10(stars["PSFFLUX"][:, k].clip(1e-9))
    inside = (x > 45) & (y > 45) & (x < nx - 46) & (y < ny - 46) & (stars["APERFLUX6"][:, k] > 0)
    row = np.flatnonzero((stars["FIELD"] == 30) & inside & (mag < (17.0 if band == "z" else 18.0)))
    columns = sdss_sources(survey_data, band, "moffat")
    alone = isolated(columns, 25.0, 0.02)
    distance, source = cKDTree(np.column_stack([columns["x"], columns["y"]])).query(np.c_[x, y][row])
    row = row[(distance < 2) & alone[source]]
    image = np.ascontiguousarray(data, dtype=np.float32)
    flux = sep.sum_circle(image, x[row], y[row], RADIUS_PX, bkgann=(25, 45), subpix=5)[0]
    calibration = stars["NMGYPERCOUNT"][row, k] / nanomaggies_per_count[x[row].astype(int)]
    theirs, psf = stars["APERFLUX6"][row, k], stars["PSFFLUX"][row, k]
    return -2.5 * np.log10(flux * calibration / theirs), -2.5 * np.log10(theirs / psf), calibration


@pytest.mark.parametrize("band", "ugriz")
def test_large_apertures_of_stars_are_those_of_sdss(survey_data, band):
    difference, _, _ = sdss_apertures(survey_data, band)
    assert len(difference) >= 6
    assert abs(np.median(difference)) < 0.003


@pytest.mark.parametrize("band", "ugriz")
def test_magnitudes_of_stars_are_those_of_sdss_tied_to_its_apertures(survey_data, band):
    """In this field SDSS's PSF fluxes are 0.014 mag over its 7.4 arcsec apertures in u, 0.019 under in z.

    What is left is light between 5 FWHM and 7.4 arcsec.
    """
    difference = against_sdss(survey_data, band, "moffat")
    _, tie, calibration = sdss_apertures(survey_data, band)
    difference -= np.median(tie) + 2.5 * np.log10(np.median(calibration))
    assert -0.01 < np.median(difference) < 0.03
    assert 1.4826 * np.median(np.abs(difference - np.median(difference))) < 0.04
