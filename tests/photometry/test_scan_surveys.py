"""Every file of the real image folders is ingested, or rejected for a reason that is right."""

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS

from astrolake.photometry.astrometry import build_wcs
from astrolake.photometry.fits_io import read_frame, read_pixels
from astrolake.photometry.headers import silence
from astrolake.photometry.scan import scan_file
from astrolake.photometry.sky_footprint import MAX_ROUNDTRIP_PX

pytestmark = pytest.mark.data

#: What must be rejected in the folder of awkward files, and why.
AWKWARD = {
    "README.md": "NotFits",
    "compressed_float_bzero.fits": "NoImage",
    "decam_z_badheader.fits": "BadHeader",
    "decam_z_truncated.fits": "Truncated",
    "dist.fits": "NoImage",
    "empty.fits": "EmptyFile",
    "invalid_header.hdr": "Truncated",
    "not_a_fits.fits": "NotFits",
    "sip.fits": "NoImage",
    "siponly.hdr": "Truncated",
    "tpvonly.hdr": "Truncated",
}
TABLES = ("chunk-", "survey-", "tycho2", "calibObj-", "fpM-", "photoField-", "psField-")


@pytest.fixture(scope="module")
def scans(survey_data):
    """Scan of every file of the image folders, by path below the data directory."""
    folders = [*survey_data.glob("images_*"), survey_data / "difference_imaging"]
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(survey_data): scan_file(str(path)) for path in paths}


@pytest.fixture(scope="module")
def images(scans):
    return [image for scan in scans.values() for image in scan.images]


def test_every_file_is_accounted_for(scans):
    used = [path for path, scan in scans.items() if scan.images]
    rejected = [path for path, scan in scans.items() if scan.rejects and not scan.images]
    assert len(used) + len(rejected) == len(scans) == 94
    assert len(used) == 58


def test_awkward_files_are_rejected_for_the_right_reason(scans):
    found = {
        path.name: scan.rejects[0].error_type
        for path, scan in scans.items()
        if path.parts[0] == "images_awkward" and scan.rejects
    }
    assert found == AWKWARD


def test_tables_and_texts_are_all_else_that_is_rejected(scans):
    others = {
        p.name: s.rejects[0].error_type for p, s in scans.items() if s.rejects and p.name not in AWKWARD
    }
    assert {name for name, kind in others.items() if kind == "NoImage"} == {
        name for name in others if name.startswith(TABLES)
    }
    assert {name for name, kind in others.items() if kind == "NotFits"} == {"spitzer_example_catalog.xml"}


def test_every_plane_that_astropy_reads_is_ingested(scans, survey_data):
    for path, scan in scans.items():
        # Unpacking bzip2 once more takes a second for each frame; they all have the same HDUs.
        if scan.images and (path.suffix != ".bz2" or "-r-" in path.name):
            with silence(), fits.open(survey_data / path) as hdus:
                planes = [i for i, hdu in enumerate(hdus) if hdu.is_image and len(hdu.shape) == 2]
            assert [image["hdu"] for image in scan.images] == planes, path


@pytest.mark.parametrize(
    "name", ["images_awkward/scale.fits", "images_awkward/comp.fits", "images_infrared/gc_2mass_j.fits"]
)
def test_pixels_are_those_of_astropy(survey_data, name):
    with silence(), fits.open(survey_data / name) as hdus:
        index = next(i for i, hdu in enumerate(hdus) if len(hdu.shape) == 2)
        np.testing.assert_allclose(read_pixels(str(survey_data / name), index), hdus[index].data, rtol=1e-6)


def test_every_wcs_leads_there_and_back(images):
    with_sky = [image for image in images if image["wcs_kind"] != "none"]
    assert len(with_sky) == 133
    assert max(image["wcs_roundtrip_px"] for image in with_sky) < MAX_ROUNDTRIP_PX / 1000


def test_an_image_without_astrometry_says_why(images):
    assert all((image["wcs_kind"] == "none") == bool(image["wcs_problem"]) for image in images)


def test_kept_cards_make_the_wcs_of_the_whole_header(images):
    for image in [one for one in images if one["wcs_kind"] in ("TPV", "TAN-SIP")][:4]:
        with silence(), fits.open(image["uri"].removeprefix("file://")) as hdus:
            whole = WCS(hdus[image["hdu"]].header)
        x, y = np.array([0.0, image["naxis1"] - 1.0]), np.array([3.0, image["naxis2"] - 1.0])
        np.testing.assert_allclose(
            build_wcs(image["wcs_header"]).pixel_to_sky(x, y), whole.all_pix2world(x, y, 0)
        )


def stars(image, box_px=64):
    """Return ra and dec of the windowed centroids of the sources of an image."""
    frame = read_frame(image)
    data = frame.data - sep.Background(frame.data, mask=frame.bad, bw=box_px, bh=box_px)
    noise = np.sqrt(frame.variance) if frame.variance is not None else sep.Background(data).globalrms
    found = sep.extract(data, 5.0, err=noise, mask=frame.bad)
    x, y, _ = sep.winpos(data, found["x"], found["y"], 1.5)
    return build_wcs(image["wcs_header"]).pixel_to_sky(x, y)


def nearest_arcsec(ra, dec, stars_ra, stars_dec):
    """Return the distance of each star to the nearest position."""
    east = (ra - stars_ra[:, np.newaxis]) * np.cos(np.radians(stars_dec[:, np.newaxis]))
    return np.hypot(east, dec - stars_dec[:, np.newaxis]).min(axis=1) * 3600


def test_stars_of_an_sdss_frame_are_where_sdss_puts_them(scans, survey_data):
    [image] = next(
        scan.images for path, scan in scans.items() if path.name == "frame-r-004510-4-0030.fits.bz2"
    )
    sweep = fits.getdata(survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz", 1)
    here = (sweep["FIELD"] == 30) & (sweep["PSFFLUX"][:, 2] > 10 ** (0.4 * (22.5 - 20)))
    distance = nearest_arcsec(*stars(image), sweep["RA"][here], sweep["DEC"][here])
    assert np.median(distance) < 0.05
    assert np.mean(distance < 0.5) > 0.8


def test_stars_of_a_decam_image_are_where_gaia_puts_them(scans, survey_data):
    [image] = next(
        scan.images for path, scan in scans.items() if path.name == "c4d_171113_060340_ooi_r_ls9.N6.fits"
    )
    gaia = fits.getdata(survey_data / "images_decam" / "case8" / "chunk-05483.fits", 1)
    bright = gaia[gaia["phot_g_mean_mag"] < 20]
    # Gaia DR2 is of 2015.5, MJD 57206.
    years = (image["mjd"] - 57206) / 365.25
    ra = bright["ra"] + bright["pmra"] * years / 3.6e6 / np.cos(np.radians(bright["dec"]))
    dec = bright["dec"] + bright["pmdec"] * years / 3.6e6
    x, y = build_wcs(image["wcs_header"]).sky_to_pixel(ra, dec)
    inside = (x > 0) & (y > 0) & (x < image["naxis1"]) & (y < image["naxis2"])
    distance = nearest_arcsec(*stars(image), ra[inside], dec[inside])
    assert inside.sum() >= 4
    assert np.median(distance) < 0.1
