"""Zero points by headers against what real images and their published catalogs say."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astrolake.photometry.image_sources import image_sources
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import scan_file
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions

pytestmark = [pytest.mark.data, pytest.mark.filterwarnings("ignore")]


def measured(path, radii_arcsec):
    """Return positions, magnitudes by aperture and flags of the sources of an image."""
    image = next(row for row in scan_file(str(path)).images if row["image_type"] == "science")
    rows = image_sources(image, [], ExtractionOptions(), radii_arcsec).rows
    ra, dec = (rows[name].to_numpy() for name in ("ra", "dec"))
    mag = np.array(rows["mag_aper"].to_pylist(), dtype=float)
    return Positions(ra, dec, np.arange(len(ra))), mag, rows["flags"].to_numpy()


def test_overlapping_2mass_tiles_agree(survey_data):
    """Stars on both of two neighbouring Ks tiles, each calibrated by its own MAGZP."""
    tiles = [
        measured(survey_data / "images_infrared" / f"aK_asky_990502s13500{n}.fits.gz", (4.0, 6.0))
        for n in (80, 92)
    ]
    (one, mag1, flags1), (two, mag2, flags2) = tiles
    pairs = match(one, two, 1.0, "best-symmetric")
    difference = mag1[pairs.left_index, 0] - mag2[pairs.right_index, 0]
    whole = ((flags1[pairs.left_index] | flags2[pairs.right_index]) & 12) == 0
    bright = whole & (mag1[pairs.left_index, 0] < 14.5)
    assert bright.sum() > 20
    assert abs(np.median(difference[bright])) < 0.01


def test_spitzer_surface_brightness_gives_the_fluxes_of_glimpse(survey_data):
    """4.5 um fluxes in mJy; 2.4 arcsec hold all but 0.21 mag (IRAC Instrument Handbook, table 4.8)."""
    folder = survey_data / "images_infrared"
    ours, mag, flags = measured(folder / "spitzer_example_image.fits", (2.4, 6.0))
    catalog = Table.read(folder / "spitzer_example_catalog.xml")
    places = SkyCoord(catalog["l"], catalog["b"], unit="deg", frame="galactic").icrs
    published = -2.5 * np.log10(np.asarray(catalog["f4_5"], float) * 1e-3 / 3631)
    pairs = match(
        ours, Positions(places.ra.deg, places.dec.deg, np.arange(len(catalog))), 1.5, "best-symmetric"
    )
    clean = (flags[pairs.left_index] & 31) == 0
    difference = (mag[pairs.left_index, 0] - published[pairs.right_index])[clean]
    assert clean.sum() >= 8
    assert np.nanmedian(difference) == pytest.approx(0.21, abs=0.05)
