import pickle

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from astrolake.errors import BadArguments, MissingDependency
from astrolake.sky.dust import DustMap, installed_dust_map

pytest.importorskip("dustmaps")

SIZE = 64


@pytest.fixture
def sfd_files(tmp_path):
    """Two maps in the format of SFD (Lambert's zenithal equal-area, one a hemisphere): 1 + cos l cos b."""
    for pole, sign in (("ngp", 1), ("sgp", -1)):
        scale = np.degrees(np.sqrt(2)) / (SIZE / 2)
        cards = {"CTYPE1": "GLON-ZEA", "CTYPE2": "GLAT-ZEA", "CRVAL1": 0.0, "CRVAL2": 90.0 * sign}
        cards |= {"CRPIX1": SIZE / 2 + 0.5, "CRPIX2": SIZE / 2 + 0.5, "CDELT1": -scale, "CDELT2": scale}
        header = fits.Header(list(cards.items()))
        y, x = np.mgrid[:SIZE, :SIZE]
        lon, lat = WCS(header).wcs_pix2world(x, y, 0)
        value = np.nan_to_num(1 + np.cos(np.radians(lon)) * np.cos(np.radians(lat)))
        fits.writeto(tmp_path / f"SFD_dust_4096_{pole}.fits", value.astype(np.float32), header)
    return tmp_path


def test_ebv_where_the_map_has_it(sfd_files):
    dust = installed_dust_map("sfd", str(sfd_files))
    places = SkyCoord([30.0, 200.0, 80.0], [60.0, 70.0, -55.0], unit="deg", frame="galactic")
    expected = 1 + np.cos(places.l.rad) * np.cos(places.b.rad)
    found = dust.ebv(places.icrs.ra.deg, places.icrs.dec.deg)
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert dust.ebv(np.empty(0), np.empty(0)).shape == (0,)


def test_a_map_travels_by_name(sfd_files):
    dust = installed_dust_map("sfd", str(sfd_files))
    assert len(pickle.dumps(dust)) < 500
    assert pickle.loads(pickle.dumps(dust)) == dust


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(BadArguments, match="bayestar"):
        DustMap("bayestar")
    with pytest.raises(MissingDependency, match="fetch"):
        installed_dust_map("sfd", str(tmp_path))
