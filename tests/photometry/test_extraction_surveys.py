"""Extraction against published truth, and on the most difficult real images at hand."""

import warnings

import fitsio
import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from scipy.spatial import cKDTree

from astrolake.photometry.detection import detect_sources
from astrolake.photometry.extraction import extract_frame, prepare_sky
from astrolake.photometry.flags import Flag
from astrolake.photometry.measure import Scene, kron_photometry
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.petrosian import radial_photometry

pytestmark = pytest.mark.data

# Columns of image.cat, from 0.
X, Y, XWIN, YWIN, ERRX2, ERRY2 = 1, 2, 3, 4, 8, 9
FLUX_APER, KRON_RADIUS, FLUX_AUTO, FLUXERR_AUTO, HALF_LIGHT, FLAGS = 12, 14, 15, 16, 18, 20


@pytest.fixture(scope="module")
def sextractor(survey_data):
    """Return the catalogue of SExtractor and ours with the parameters of default.sex, row for row."""
    folder = survey_data / "sep_reference"
    options = ExtractionOptions(
        deblend_contrast=1.0,
        noise="global",
        kron_min_radius=0.0,
        mask_neighbours=False,
        aperture_radii_px=(5.0,),
    )
    extraction = extract_frame(fitsio.read(folder / "image.fits"), options=options, saturation=50_000)
    truth, ours = np.loadtxt(folder / "image.cat"), extraction.columns
    index = cKDTree(truth[:, [X, Y]] - 1).query(np.c_[ours["x"], ours["y"]])[1]
    assert sorted(index) == list(range(len(truth)))
    return truth[index], ours


def test_sources_and_centroids_are_those_of_sextractor(sextractor):
    truth, ours = sextractor
    isophotal = ours["flags"] & Flag.ISOPHOTAL_CENTROID > 0
    x = np.where(isophotal, truth[:, X], truth[:, XWIN]) - 1
    y = np.where(isophotal, truth[:, Y], truth[:, YWIN]) - 1
    distance = np.hypot(ours["x"] - x, ours["y"] - y)
    # The window is as wide as the half-light radius, in which SExtractor's steps are coarser than ours.
    assert np.median(distance) < 0.001
    # SExtractor deals out the pixels between blended sources by lot.
    assert np.quantile(distance, 0.95) < 0.03
    assert distance.max() < 0.05
    assert isophotal.mean() < 0.1


def test_kron_fluxes_and_errors_are_those_of_sextractor(sextractor):
    truth, ours = sextractor
    measured = truth[:, FLUX_AUTO] != 0
    np.testing.assert_allclose(ours["flux_auto"][measured], truth[measured, FLUX_AUTO], rtol=5e-4)
    np.testing.assert_allclose(ours["flux_auto_err"][measured], truth[measured, FLUXERR_AUTO], rtol=5e-4)
    np.testing.assert_allclose(ours["kron_radius"][measured], truth[measured, KRON_RADIUS], atol=0.01)
    assert measured.mean() > 0.98


def test_radii_and_position_errors_are_those_of_sextractor(sextractor):
    truth, ours = sextractor
    measured = truth[:, FLUX_AUTO] > 0
    np.testing.assert_allclose(ours["flux_radius"][measured], truth[measured, HALF_LIGHT], atol=0.04)
    assert np.median(np.abs(ours["flux_radius"][measured] - truth[measured, HALF_LIGHT])) < 0.01
    # SExtractor's are those of isophotal centroids, ours of windowed ones, where there are.
    isophotal = ours["flags"] & Flag.ISOPHOTAL_CENTROID > 0
    for name, column in (("x_err", ERRX2), ("y_err", ERRY2)):
        ratio = ours[name] / np.sqrt(truth[:, column])
        np.testing.assert_allclose(ratio[isophotal], 1, rtol=1e-4)
        assert 0.9 < np.median(ratio[~isophotal]) < 2.5


def test_half_light_radii_are_as_near_to_the_exact_ones_as_sextractors(survey_data):
    options = ExtractionOptions(deblend_contrast=1.0, noise="global", mask_neighbours=False)
    sky = prepare_sky(fitsio.read(survey_data / "sep_reference" / "image.fits"), None, None, options)
    objects = detect_sources(sky, options).objects
    ids = np.arange(1, len(objects) + 1, dtype=np.int32)
    scene, x, y = Scene(sky, None, None), objects["x"], objects["y"]
    flux = kron_photometry(scene, objects, ids, options)["flux_auto"]
    radii = np.arange(0.02, 8, 0.02)
    exact = np.stack([sep.sum_circle(sky.residual, x, y, radius, subpix=0)[0] for radius in radii], axis=1)
    for name, share in (("flux_radius_20", 0.2), ("flux_radius", 0.5)):
        ours = radial_photometry(scene, objects, ids, flux)[name]
        theirs = sep.flux_radius(sky.residual, x, y, 6 * objects["a"], share, normflux=flux, subpix=5)[0]
        reached = exact >= share * flux[:, None]
        known = (flux > 0) & reached.any(axis=1)
        truth = radii[reached.argmax(axis=1)] - 0.01
        errors = [np.sqrt(np.mean((values - truth)[known] ** 2)) for values in (ours, theirs)]
        assert known.sum() > 60
        assert errors[0] < min(0.012, 1.3 * errors[1])


def test_aperture_fluxes_are_those_of_sextractor(sextractor):
    # Ours are centred on the windowed, SExtractor's on the isophotal centroid.
    truth, ours = sextractor
    assert np.median(np.abs(ours["flux_aper"][:, 0] / truth[:, FLUX_APER] - 1)) < 0.002


@pytest.mark.parametrize("flag", [Flag.NEIGHBOURS, Flag.BLENDED, Flag.SATURATED, Flag.TRUNCATED])
def test_flags_are_those_of_sextractor(sextractor, flag):
    truth, ours = sextractor
    np.testing.assert_array_equal(ours["flags"] & flag, truth[:, FLAGS].astype(int) & flag)


def sdss_frame(survey_data, name):
    with fits.open(survey_data / "images_sdss" / f"frame-{name}.fits.bz2") as hdus:
        return hdus[0].data, hdus[0].header


@pytest.fixture(scope="module")
def sdss(survey_data):
    """Return the sources of an SDSS r frame and the stars that SDSS measured on it, row-matched."""
    data, header = sdss_frame(survey_data, "r-004510-4-0030")
    options = ExtractionOptions(aperture_radii_px=(3 / 0.396,))
    ours = extract_frame(data, gain=4.76 / header["NMGY"], options=options).columns
    stars = fits.getdata(survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        x, y = WCS(header).all_world2pix(stars["RA"], stars["DEC"], 0)
    mag = 22.5 - 2.5 * np.log10(stars["PSFFLUX"][:, 2].clip(1e-9))
    ny, nx = data.shape
    inside = (x > 20) & (y > 20) & (x < nx - 21) & (y < ny - 21)
    use = (stars["FIELD"] == 30) & inside & (mag < 22)
    distance, index = cKDTree(np.c_[ours["x"], ours["y"]]).query(np.c_[x, y][use])
    return {name: values[index] for name, values in ours.items()}, distance * 0.396, mag[use]


def test_sdss_stars_are_found(sdss):
    _, distance_arcsec, mag = sdss
    assert len(mag) > 90
    assert np.mean(distance_arcsec < 1) >= 0.95


def test_sdss_stars_are_in_their_place(sdss):
    _, distance_arcsec, mag = sdss
    assert np.median(distance_arcsec[mag < 21]) < 0.05


def test_sdss_stars_have_their_magnitudes(sdss):
    ours, distance_arcsec, mag = sdss
    use = (distance_arcsec < 1) & (mag < 20) & (ours["flags"] & (Flag.NEIGHBOURS | Flag.BLENDED) == 0)
    measured = 22.5 - 2.5 * np.log10(ours["flux_aper"][use, 0])
    assert use.sum() > 25
    assert abs(np.median(measured - mag[use])) < 0.03


def test_petrosian_measures_of_stars_are_those_of_sdss(sdss, survey_data):
    # SDSS lists them for stars of other fields; for stars they hardly depend on the seeing.
    names = ("sgCatalogue_star_0.txt", "sgCatalogue_star_1.txt")
    psf_mag, mag, radius, r50, r90 = np.concatenate(
        [
            np.loadtxt(survey_data / "star_galaxy" / name, delimiter=",", skiprows=2, usecols=(3, 6, 7, 8, 9))
            for name in names
        ]
    ).T
    theirs = psf_mag < 19
    ours, distance_arcsec, psf = sdss
    use = (distance_arcsec < 1) & (psf < 19.5) & (ours["flags"] & (Flag.NEIGHBOURS | Flag.BLENDED) == 0)
    ours = {name: values[use] for name, values in ours.items()}
    assert use.sum() > 20
    assert np.median(ours["petro_r90"] / ours["petro_r50"]) == pytest.approx(
        np.median((r90 / r50)[theirs]), abs=0.06
    )
    assert np.median(ours["petro_radius"] / ours["petro_r50"]) == pytest.approx(
        np.median((radius / r50)[theirs]), abs=0.06
    )
    offset = np.median(22.5 - 2.5 * np.log10(ours["flux_petro"]) - psf[use])
    assert offset == pytest.approx(np.median((mag - psf_mag)[theirs]), abs=0.03)


def positions_are_finite(columns):
    return np.isfinite([columns[name] for name in ("x", "y", "x_err", "y_err", "flux_auto", "a", "b")]).all()


def test_the_globular_cluster_m2_is_extracted(survey_data):
    data, header = sdss_frame(survey_data, "r-002583-2-0136")
    extraction = extract_frame(data, gain=4.7 / header["NMGY"])
    assert len(extraction) > 8_000
    assert extraction.info.deblended
    assert positions_are_finite(extraction.columns)


def test_the_galactic_centre_is_extracted(survey_data):
    data = fitsio.read(survey_data / "images_infrared" / "gc_2mass_k.fits")
    extraction = extract_frame(data)
    assert len(extraction) > 4_000
    assert positions_are_finite(extraction.columns)


def test_one_threshold_for_the_galactic_centre_needs_larger_limits(survey_data):
    data = fitsio.read(survey_data / "images_infrared" / "gc_2mass_k.fits")
    extraction = extract_frame(data, options=ExtractionOptions(noise="global"))
    assert extraction.info.attempts > 1
    assert extraction.info.deblended
    assert (extraction.columns["flags"] & Flag.LIMITS_RAISED > 0).all()
    assert len(extraction) > 3_000


def test_a_difference_image_with_nan_is_extracted(survey_data):
    data = fitsio.read(survey_data / "images_awkward" / "sfft_diff4check.fits.fz", ext=1)
    extraction = extract_frame(data)
    assert extraction.info.bad_fraction == pytest.approx(np.isnan(data).mean())
    assert len(extraction) > 300
    assert positions_are_finite(extraction.columns)


@pytest.fixture(scope="module")
def legacy_brick(survey_data):
    folder = survey_data / "images_legacy_brick"
    names = (f"legacysurvey-0959p805-{kind}-g.fits.fz" for kind in ("image", "invvar"))
    return tuple(fitsio.read(folder / name, ext=1) for name in names)


@pytest.fixture(scope="module")
def unweighted(legacy_brick):
    return extract_frame(legacy_brick[0])


def test_the_uncovered_part_of_a_legacy_brick_is_left_out(legacy_brick, unweighted):
    data, weight = legacy_brick
    column, row = (np.rint(unweighted.columns[name]).astype(int) for name in ("x", "y"))
    assert unweighted.info.bad_fraction == pytest.approx(np.mean(data == 0), abs=1e-3)
    assert unweighted.info.background_rms == pytest.approx(np.median(weight[weight > 0] ** -0.5), rel=0.3)
    assert (data[row, column] != 0).all()
    assert len(unweighted) > 300


def test_a_weight_image_leaves_fewer_false_sources(legacy_brick, unweighted):
    data, weight = legacy_brick
    with np.errstate(divide="ignore"):
        columns = extract_frame(data, variance=1 / weight).columns
    column, row = (np.rint(columns[name]).astype(int) for name in ("x", "y"))
    assert (weight[row, column] > 0).mean() > 0.98
    assert 200 < len(row) < len(unweighted)
