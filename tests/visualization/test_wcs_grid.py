"""Images of one field on one pixel grid."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolake.errors import BadInput
from astrolake.visualization.rgb import subtract_sky
from astrolake.visualization.wcs_grid import block_mean, central_box, parse_wcs, resample

STARS = (
    np.array([150.001, 149.985, 150.012]),
    np.array([2.003, 1.991, 1.996]),
    np.array([300.0, 200.0, 250.0]),
)
WHOLE = (slice(0, 300), slice(0, 400))


def test_same_grid_gives_the_same_image(make_wcs, make_scene):
    wcs = make_wcs()
    image = make_scene(wcs, *STARS)
    np.testing.assert_allclose(resample(image, wcs, wcs, WHOLE), image, atol=1e-3)


def test_dithered_and_turned_image_falls_on_the_same_stars(make_wcs, make_scene):
    target, wcs = make_wcs(), make_wcs(turn_deg=3.0, shift_px=(6.3, -4.8))
    moved = resample(make_scene(wcs, *STARS, seed=2), wcs, target, WHOLE)
    for x, y in zip(*target.wcs_world2pix(*STARS[:2], 0), strict=True):
        part = moved[int(y) - 6 : int(y) + 8, int(x) - 6 : int(x) + 8] - 10.0
        rows, columns = np.mgrid[int(y) - 6 : int(y) + 8, int(x) - 6 : int(x) + 8]
        assert (part * columns).sum() / part.sum() == pytest.approx(x, abs=0.1)
        assert (part * rows).sum() / part.sum() == pytest.approx(y, abs=0.1)


def test_box_is_cut_out_of_the_whole(make_wcs, make_scene):
    target, wcs = make_wcs(), make_wcs(shift_px=(2.5, 1.5))
    image = make_scene(wcs, *STARS)
    box = (slice(37, 151), slice(90, 333))
    np.testing.assert_allclose(
        resample(image, wcs, target, box), resample(image, wcs, target, WHOLE)[box], atol=1e-3
    )


def test_outside_the_image_is_missing(make_wcs, make_scene):
    target, wcs = make_wcs(), make_wcs(shift_px=(-50.0, 0.0))
    moved = resample(make_scene(wcs, *STARS), wcs, target, WHOLE)
    assert np.isnan(moved[:, :49]).all()
    assert np.isfinite(moved[:, 50:]).all()


def test_nodes_do_not_change_the_positions_of_a_distorted_image(make_wcs):
    wcs = make_wcs()
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    header = wcs.to_header()
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-6, "B_0_2": -3e-6})
    distorted, target = WCS(header), make_wcs()
    y, x = np.mgrid[:300, :400].astype(np.float32)
    coarse = [resample(ramp, distorted, target, WHOLE) for ramp in (x, y)]
    fine = [resample(ramp, distorted, target, WHOLE, node_px=2) for ramp in (x, y)]
    np.testing.assert_allclose(coarse, fine, atol=0.002)


def test_sdss_bands_are_aligned_to_a_pixel(survey_data):
    frames = {}
    for band in "gr":
        with fits.open(survey_data / "images_sdss" / f"frame-{band}-002583-2-0136.fits.bz2") as hdus:
            frames[band] = (hdus[0].data, WCS(hdus[0].header))
    box = (slice(400, 912), slice(1200, 1712))
    red = np.clip(subtract_sky(frames["r"][0])[box], 0.0, 1.0)
    raw = np.clip(subtract_sky(frames["g"][0])[box], 0.0, 1.0)
    aligned = np.clip(resample(subtract_sky(frames["g"][0]), frames["g"][1], frames["r"][1], box), 0.0, 1.0)
    assert _shift(red, aligned) == (0, 0)
    assert _shift(red, raw) == (-11, -3)


def test_header_text_without_sky_is_refused():
    with pytest.raises(BadInput, match=r"frame\.fits: its wcs_header has no celestial axes"):
        parse_wcs("CTYPE1  = 'LINEAR'\nCTYPE2  = 'LINEAR'", "frame.fits")


def test_header_text_gives_the_wcs_back(make_wcs):
    wcs = make_wcs(turn_deg=1.0)
    parsed = parse_wcs("\n".join(str(card) for card in wcs.to_header().cards), "x")
    np.testing.assert_allclose(parsed.wcs_pix2world([[5, 9]], 0), wcs.wcs_pix2world([[5, 9]], 0), atol=1e-9)


def test_central_box_keeps_small_images_whole():
    assert central_box((10, 8), 20) == (slice(0, 10), slice(0, 8))


def test_central_box_of_a_large_image_is_centred():
    assert central_box((100, 8), 20) == (slice(40, 60), slice(0, 8))


def test_block_mean_leaves_missing_pixels_out():
    image = np.array(
        [[1.0, 3.0, np.nan, np.nan], [5.0, np.nan, np.nan, np.nan], [9.0, 9.0, 9.0, 9.0]], np.float32
    )
    np.testing.assert_array_equal(block_mean(image, 2), [[3.0, np.nan]])


def _shift(one, other):
    product = np.fft.ifft2(np.fft.fft2(one) * np.conj(np.fft.fft2(np.nan_to_num(other)))).real
    place = np.unravel_index(product.argmax(), product.shape)
    return tuple(
        int(p) if p < size / 2 else int(p) - size for p, size in zip(place, product.shape, strict=True)
    )
