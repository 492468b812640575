"""Files as archives deliver them: stacks of Pan-STARRS1 with their variance, unWISE, the WISE Atlas."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolake.photometry.fits_io import read_frame
from astrolake.photometry.headers import silence
from astrolake.photometry.scan import scan_file

BLANK = 32767


def tan(ra, dec, step_deg, size):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [ra, dec]
    wcs.wcs.crpix, wcs.wcs.cd = [(size + 1) / 2] * 2, [[-step_deg, 0], [0, step_deg]]
    return wcs.to_header()


def write(path, data, header, **cards):
    hdu = fits.PrimaryHDU(np.asarray(data, np.float32), header)
    hdu.header.update(cards)
    hdu.writeto(path)
    return path


def write_stack(path, linear, cards, bad=None):
    """Write pixels as a stack of the archive: an empty primary HDU, then Rice tiles of 16-bit asinh values."""
    softening, offset, alpha = 21.0, 3.4, 2.5 * np.log10(np.e)
    value = alpha * np.arcsinh((linear - offset) / (2 * softening))
    zero, scale = (value.max() + value.min()) / 2, (value.max() - value.min()) / 65000
    stored = np.rint((value - zero) / scale).astype(np.int16)
    if bad is not None:
        stored[bad] = BLANK
    hdu = fits.CompImageHDU(stored, compression_type="RICE_1")
    hdu.writeto(path)
    with fits.open(path, mode="update", disable_image_compression=True) as hdus:
        header = hdus[1].header
        header.update(BSCALE=scale, BZERO=zero, BLANK=BLANK, BSOFTEN=softening, BOFFSET=offset)
        header.extend([card for card in cards if card.keyword not in header], strip=False)
    return path


@pytest.fixture(scope="module")
def cutout(survey_data):
    """Pixels and cards of a real cutout, which fitscut has made linear."""
    with silence(), fits.open(survey_data / "images_ps1_des" / "frb190608_panstarrs_iband.fits") as hdus:
        structural = ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "COMMENT", "HISTORY", "")
        cards = [card for card in hdus[0].header.cards if card.keyword not in structural]
        return hdus[0].data.astype(np.float64), cards


@pytest.mark.data
def test_a_whole_stack_of_panstarrs_is_its_cutout(cutout, tmp_path):
    linear, cards = cutout
    bad = np.zeros(linear.shape, bool)
    bad[40:60, 100:140] = True
    name = "rings.v3.skycell.1226.009.stk.i.unconv"
    write_stack(tmp_path / f"{name}.fits", linear, cards, bad)
    write_stack(tmp_path / f"{name}.wt.fits", np.full(linear.shape, 150.0) + linear.clip(0) / 1.07, cards)
    for plane in ("mask", "num"):
        write(tmp_path / f"{name}.{plane}.fits", linear, None)
    images = {path.name: scan_file(str(path)).images[0] for path in sorted(tmp_path.iterdir())}
    stack = images[f"{name}.fits"]
    assert {n.split("unconv.")[1]: i["image_type"] for n, i in images.items()} == {
        "fits": "science",
        "wt.fits": "weight",
        "mask.fits": "mask",
        "num.fits": "other",
    }
    assert (stack["survey"], stack["band"], stack["hdu"], stack["visit"]) == ("panstarrs", "i", 1, "RINGS.V3")
    assert stack["zero_point_ab"] == pytest.approx(25 + 2.5 * np.log10(2685.0))
    assert (stack["weight_kind"], stack["weight_hdu"]) == ("variance", 1)
    assert stack["weight_uri"] == images[f"{name}.wt.fits"]["uri"]
    assert stack["bad_fraction"] == pytest.approx(bad.mean())
    frame = read_frame(stack)
    assert np.array_equal(frame.bad, bad)
    step = np.abs(np.diff(np.sort(linear.ravel()))).max()
    assert np.median(np.abs(frame.data - linear)[~bad]) < 0.02 * linear.std()
    assert np.abs(frame.data - linear)[~bad].max() < step
    expected = 150.0 + linear.clip(0) / 1.07
    assert frame.variance[~bad] == pytest.approx(expected[~bad], rel=2e-3)


@pytest.mark.data
def test_a_warp_is_of_its_exposure(cutout, tmp_path):
    linear, cards = cutout
    warp = [
        card
        for card in cards
        if not card.keyword.startswith(("STK_", "NINPUTS", "FPA.ZP", "EXPTIME", "MJD-OBS"))
    ]
    warp += [
        fits.Card("HIERARCH FPA.ZP", 24.64),
        fits.Card("EXPTIME", 45.0),
        fits.Card("MJD-OBS", 55331.376213),
    ]
    path = write_stack(tmp_path / "rings.v3.skycell.1226.009.wrp.i.55331_37621.fits", linear, warp)
    image = scan_file(str(path)).images[0]
    assert image["zero_point_ab"] == pytest.approx(24.64 + 2.5 * np.log10(45.0))
    assert (image["visit"], image["mjd"]) == ("55331.37621", 55331.376213)


def test_a_coadd_of_unwise_is_in_vega_nanomaggies(tmp_path):
    header = tan(150.4, 19.7, 2.75 / 3600, 64)
    header.update(MAGZP=22.5, UNW_SKY=1.2, UNW_VER="87a7f8e", BAND=1, MJDMIN=55320.1, MJDMAX=59000.2)
    flux = np.random.default_rng(1).normal(0, 3, (64, 64))
    ivar = np.full((64, 64), 1 / 9)
    ivar[:8] = 0
    stem = tmp_path / "unwise-1504p196-w1"
    write(f"{stem}-img-m.fits", flux, header)
    for plane, data in {"invvar": ivar, "std": flux, "n": ivar}.items():
        write(f"{stem}-{plane}-m.fits.gz", data, header)
    images = {path.name[19:-5]: scan_file(str(path)).images[0] for path in sorted(tmp_path.iterdir())}
    assert {name.split("-")[0]: image["image_type"] for name, image in images.items()} == {
        "img": "science",
        "invvar": "weight",
        "n": "other",
        "std": "other",
    }
    science = images["img-m"]
    assert (science["survey"], science["band"], science["flux_unit"]) == ("wise", "W1", "Vega nanomaggy")
    # Jarrett et al. 2011: m_AB = m_Vega + 2.699 in W1.
    assert science["zero_point_ab"] == pytest.approx(22.5 + 2.699)
    assert (science["mjd"], science["visit"], science["weight_kind"]) == (55320.1, "unwise", "invvar")
    frame = read_frame(science)
    assert frame.bad[:8].all()
    assert not frame.bad[8:].any()
    assert frame.variance[8:] == pytest.approx(9.0)


def test_an_atlas_image_of_wise_has_the_uncertainty_beside_it(tmp_path):
    header = tan(271.305017, -30.288889, 1.375 / 3600, 40)
    header.update(
        TELESCOP="WISE",
        BAND=2,
        MAGZP=19.5,
        BUNIT="DN",
        WRELEASE="allwise",
        DATEOBS1="2010-03-19T12:00:00.000Z",
    )
    stem = tmp_path / "2712m303_ac51-w2"
    write(f"{stem}-int-3.fits", np.ones((40, 40)), header)
    sigma = np.full((40, 40), 2.0)
    sigma[0] = np.nan
    write(f"{stem}-unc-3.fits.gz", sigma, header)
    images = {path.name: scan_file(str(path)).images[0] for path in sorted(tmp_path.iterdir())}
    science = images["2712m303_ac51-w2-int-3.fits"]
    assert images["2712m303_ac51-w2-unc-3.fits.gz"]["image_type"] == "other"
    assert (science["survey"], science["band"], science["visit"]) == ("wise", "W2", "allwise")
    assert science["zero_point_ab"] == pytest.approx(19.5 + 3.339)
    assert science["mjd"] == pytest.approx(55274.5)
    assert science["weight_kind"] == "sigma"
    frame = read_frame(science)
    assert frame.variance[1:] == pytest.approx(4.0)
    assert frame.bad[0].all()
    assert not frame.bad[1:].any()
