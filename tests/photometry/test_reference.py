"""Images against reference stars: shifts, zero points, and real SDSS frames against SDSS's own catalog."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table

from astrolake.photometry.calibration_plan import CalibrationPlan
from astrolake.photometry.image_sources import image_sources
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.reference import (
    Reference,
    ReferenceStars,
    astrometric_offset,
    check_against,
)
from astrolake.photometry.scan import scan_file
from astrolake.sky.healpix import healpix29
from astrolake.sky.positions import Positions
from astrolake.sky.ranges import inside

SDSS_DEPTH = {"u": 22.1, "g": 23.1, "r": 22.7, "i": 22.2, "z": 20.7}
RADII = (1.5, 3.0, 5.0)


def sky(seed, n, centre=(10.0, 20.0), width_deg=0.1):
    rng = np.random.default_rng(seed)
    dec = centre[1] + rng.uniform(-0.5, 0.5, n) * width_deg
    ra = (centre[0] + rng.uniform(-0.5, 0.5, n) * width_deg / np.cos(np.radians(dec))) % 360
    return ra, dec


def shifted(ra, dec, east, north, noise=0.05, seed=9):
    rng = np.random.default_rng(seed)
    de, dn = rng.normal(0, noise, (2, len(ra)))
    return (ra + (east + de) / 3600 / np.cos(np.radians(dec))) % 360, dec + (north + dn) / 3600


@pytest.mark.parametrize("centre", [(10.0, 20.0), (0.0, -60.0), (123.0, 89.5)])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (1.9, -1.3)])
def test_the_offset_of_an_image_is_found_among_strangers(centre, offset):
    """Of 300 sources half are in the reference; 500 of its stars are not on the image."""
    ra, dec = sky(1, 300, centre)
    ours = shifted(ra, dec, *offset)
    theirs = [np.concatenate(pair) for pair in zip((ra[:150], dec[:150]), sky(2, 500, centre), strict=True)]
    found = astrometric_offset(*ours, Positions(*theirs, np.arange(650)))
    assert found.ra_arcsec == pytest.approx(offset[0], abs=0.02)
    assert found.dec_arcsec == pytest.approx(offset[1], abs=0.02)
    assert found.rms_arcsec == pytest.approx(0.05 * np.sqrt(2), rel=0.35)
    assert 145 <= found.n_stars <= 165
    ra2, dec2 = found.corrected(*ours)
    turn = (ra2 - ra + 180) % 360 - 180
    assert abs(np.median(turn * np.cos(np.radians(dec)))) * 3600 < 0.02
    assert abs(np.median(dec2 - dec)) * 3600 < 0.02


def test_no_offset_without_stars():
    ra, dec = sky(3, 4)
    found = astrometric_offset(ra, dec, Positions(ra, dec, np.arange(4)))
    assert np.isnan(found.ra_arcsec)
    assert found.corrected(ra, dec)[0] is ra
    assert astrometric_offset(ra[:0], dec[:0], Positions(ra, dec, np.arange(4))).n_stars == 0


def test_zero_point_of_a_shifted_image():
    rng = np.random.default_rng(4)
    ra, dec = sky(5, 200)
    mag, colour = rng.uniform(15, 20, 200), rng.uniform(0, 1.5, 200)
    flux = 10 ** (-0.4 * (mag - 28.0 - 0.05 * (colour - 0.75)))
    error = flux * 0.01
    flags = np.zeros(200, np.int32)
    flags[:20], flux[:20] = 4, flux[:20] / 3
    ours = shifted(ra, dec, -1.2, 0.8)
    stars = ReferenceStars(Positions(ra, dec, np.arange(200)), mag, None, colour)
    found = check_against(stars, *ours, rng.normal(flux, error), error, flags)
    assert found.zero_point.n_stars + found.zero_point.n_rejected == 180
    at = found.zero_point.zero_point - found.zero_point.colour_term * (found.zero_point.pivot - 0.75)
    assert at == pytest.approx(28.0, abs=0.003)
    assert found.zero_point.colour_term == pytest.approx(0.05, abs=0.01)
    assert found.offset.ra_arcsec == pytest.approx(-1.2, abs=0.02)


class MemoryReader:
    """The rows of a table in memory, by region."""

    def __init__(self, **columns):
        self.rows = pa.table(columns)
        self.index = healpix29(columns["ra"], columns["dec"])

    def read(self, ranges):
        return self.rows.filter(pa.array(inside(ranges, self.index)))


@pytest.fixture(scope="module")
def sweep(survey_data):
    """SDSS's stars of six fields in a row as a reference with PSF magnitudes of all bands."""
    table = Table.read(survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz", 1)
    flux, inverse = np.asarray(table["PSFFLUX"], float), np.asarray(table["PSFFLUX_IVAR"], float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = 22.5 - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
        err = 1.0857 / np.sqrt(inverse) / flux
    columns = {"ra": np.asarray(table["RA"], float), "dec": np.asarray(table["DEC"], float)}
    columns |= {f"psf_{band}": mag[:, i] for i, band in enumerate("ugriz")}
    columns |= {f"err_{band}": err[:, i] for i, band in enumerate("ugriz")}
    return MemoryReader(source_id=np.arange(len(table)), **columns)


@pytest.mark.data
@pytest.mark.parametrize(
    ("psf", "band", "tolerance"),
    [
        *(("moffat", band, 0.02) for band in "gri"),
        *(("moffat", band, 0.035) for band in "uz"),
        *(("none", "r", 0.02), ("none", "z", 0.05)),
    ],
)
def test_sdss_frames_have_the_zero_point_of_nanomaggies(survey_data, sweep, psf, band, tolerance):
    """In u and z SDSS's PSF magnitudes are off its own apertures: see `test_psf_surveys`.

    Without PSF fluxes the wings in z count, too, which hold more than SDSS's PSF magnitudes do.
    """
    path = survey_data / "images_sdss" / f"frame-{band}-004510-4-0030.fits.bz2"
    image = scan_file(str(path)).images[0]
    reference = Reference(
        sweep, "source_id", {band: f"psf_{band}"}, {band: f"err_{band}"}, ("psf_g", "psf_i")
    )
    plan = CalibrationPlan(reference)
    found = image_sources(image, [], ExtractionOptions(psf=psf), RADII, calibration=plan)
    quality = found.quality.to_pylist()[0]
    assert quality["zero_point_ab"] == pytest.approx(22.5, abs=tolerance)
    assert quality["zero_point_source"] == "reference"
    assert quality["zero_point_header"] == 22.5
    assert quality["zero_point_err"] < 0.01
    assert quality["zero_point_scatter"] < 0.05
    assert abs(quality["colour_term"]) < 0.02
    assert quality["zero_point_n"] >= (20 if band == "u" else 30)
    assert np.hypot(quality["ra_offset_arcsec"], quality["dec_offset_arcsec"]) < 0.06
    assert quality["wcs_rms_arcsec"] < 0.1
    assert 0.8 < quality["fwhm_arcsec"] < 1.5
    assert quality["depth_5sigma_worst"] < quality["depth_5sigma"] < quality["depth_5sigma_best"]
    # 95 % completeness for stars, some 5 sigma (sdss.org, "Imaging camera").
    assert quality["depth_5sigma"] == pytest.approx(SDSS_DEPTH[band], abs=0.8)
