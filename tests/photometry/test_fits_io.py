import bz2

import numpy as np
import pytest
from astropy.io import fits
from fits_files import PIXELS, write

from astrolake.errors import BadInput
from astrolake.photometry.fits_io import read_frame, read_pixels


def image(uri, **columns):
    """Return a row of `images` without companions."""
    companions = dict.fromkeys(
        ("weight_uri", "weight_hdu", "weight_kind", "mask_uri", "mask_hdu", "saturation")
    )
    return {"uri": uri, "hdu": 0, **companions, **columns}


def test_an_hdu_is_read_by_its_index(tmp_path):
    path = write(tmp_path / "a.fits", fits.ImageHDU(PIXELS), fits.ImageHDU(PIXELS * 2))
    np.testing.assert_array_equal(read_pixels(path, 2), PIXELS * 2)


def test_a_file_uri_with_a_space_is_taken_literally(tmp_path):
    path = write(tmp_path / "a b.fits", fits.PrimaryHDU(PIXELS))
    np.testing.assert_array_equal(read_pixels(f"file://{path}", 0), PIXELS)


def test_a_packed_file_is_unpacked(tmp_path):
    plain = write(tmp_path / "a.fits", fits.PrimaryHDU(PIXELS))
    packed = tmp_path / "b.fits.bz2"
    packed.write_bytes(bz2.compress((tmp_path / "a.fits").read_bytes()))
    np.testing.assert_array_equal(read_pixels(str(packed), 0), read_pixels(plain, 0))


def test_an_hdu_that_is_not_there_is_named(tmp_path):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(PIXELS))
    with pytest.raises(BadInput, match=r"a\.fits has no HDU 3") as caught:
        read_pixels(path, 3)
    assert caught.value.kind == "NoSuchHdu"


def test_damage_behind_the_hdu_does_not_matter(tmp_path):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(PIXELS), fits.ImageHDU(PIXELS))
    content = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(content[:6000])
    np.testing.assert_array_equal(read_pixels(path, 0), PIXELS)


def test_a_frame_without_companions_has_neither_bad_pixels_nor_variance(tmp_path):
    frame = read_frame(image(write(tmp_path / "a.fits", fits.PrimaryHDU(PIXELS))))
    assert frame.bad is None
    assert frame.variance is None
    np.testing.assert_array_equal(frame.data, PIXELS)


def test_pixels_that_are_not_finite_are_bad_and_zero(tmp_path):
    data = PIXELS.copy()
    data[0, 1], data[2, 3] = np.nan, np.inf
    frame = read_frame(image(write(tmp_path / "a.fits", fits.PrimaryHDU(data))))
    assert np.argwhere(frame.bad).tolist() == [[0, 1], [2, 3]]
    assert (frame.data[0, 1], frame.data[2, 3]) == (0, 0)


def test_inverse_variance_becomes_variance_and_bad_pixels(tmp_path):
    weight = np.full((3, 4), 4.0, dtype=np.float32)
    weight[0, 0], weight[1, 1], weight[2, 2] = 0.0, -1.0, np.nan
    science = write(tmp_path / "a.fits", fits.PrimaryHDU(PIXELS))
    other = write(tmp_path / "w.fits", fits.PrimaryHDU(weight))
    frame = read_frame(image(science, weight_uri=other, weight_hdu=0, weight_kind="invvar"))
    np.testing.assert_array_equal(np.argwhere(frame.bad), [[0, 0], [1, 1], [2, 2]])
    np.testing.assert_array_equal(frame.variance, np.where(frame.bad, 0.0, 0.25))


def test_a_weight_of_unknown_kind_is_left_alone(tmp_path):
    science = write(tmp_path / "a.fits", fits.PrimaryHDU(PIXELS))
    frame = read_frame(image(science, weight_uri="s3://none/w.fits", weight_hdu=0, weight_kind=None))
    assert frame.variance is None


def test_pixels_of_the_mask_that_are_not_zero_are_bad(tmp_path):
    mask = np.zeros((3, 4), dtype=np.int32)
    mask[2, 1] = 1 << 30
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(PIXELS), fits.ImageHDU(mask))
    frame = read_frame(image(path, mask_uri=path, mask_hdu=1))
    assert np.argwhere(frame.bad).tolist() == [[2, 1]]


def test_saturated_pixels_are_bad_when_asked(tmp_path):
    row = image(write(tmp_path / "a.fits", fits.PrimaryHDU(PIXELS)), saturation=11.0)
    assert read_frame(row).bad is None
    assert np.argwhere(read_frame(row, mask_saturated=True).bad).tolist() == [[2, 3]]


def test_companions_of_another_shape_are_named(tmp_path):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(PIXELS), fits.ImageHDU(PIXELS[:2]))
    with pytest.raises(BadInput, match=r"a\.fits#1 has shape \(2, 4\), its image .*#0 \(3, 4\)") as caught:
        read_frame(image(path, mask_uri=path, mask_hdu=1))
    assert caught.value.kind == "ShapeMismatch"


def test_uncovered_pixels_of_a_coadd_are_bad(survey_data):
    """Legacy Surveys brick 0959p805: 88 % of it has no exposure (nexp 0)."""
    folder = survey_data / "images_legacy_brick"
    names = {
        kind: str(folder / f"legacysurvey-0959p805-{kind}-g.fits.fz") for kind in ("image", "invvar", "nexp")
    }
    frame = read_frame(
        image(names["image"], hdu=1, weight_uri=names["invvar"], weight_hdu=1, weight_kind="invvar")
    )
    np.testing.assert_array_equal(frame.bad, read_pixels(names["nexp"], 1) == 0)
    assert 0.88 < frame.bad.mean() < 0.89
