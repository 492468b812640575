import io

import numpy as np
import pytest
from astropy.io import fits
from fits_files import PIXELS

from astrolake.errors import BadInput
from astrolake.photometry.fits_structure import walk_hdus


def file_bytes(*hdus):
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    return stream.getvalue()


def walk(content):
    return list(walk_hdus(io.BytesIO(content), "a.fits"))


TABLE = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.arange(5.0))])
THREE = file_bytes(fits.PrimaryHDU(), fits.CompImageHDU(PIXELS, name="SCI"), TABLE)


def test_kinds_and_axes_of_all_hdus():
    found = [(hdu.index, hdu.kind, hdu.axes, hdu.extname) for hdu in walk(THREE)]
    assert found == [(0, "image", (), ""), (1, "tiles", (4, 3), "SCI"), (2, "table", (4, 5), "")]


def test_data_lie_where_the_hdu_says():
    content = file_bytes(fits.PrimaryHDU(PIXELS), fits.ImageHDU(PIXELS + 100))
    for hdu, first in zip(walk(content), (0, 100), strict=True):
        data = content[hdu.data_start : hdu.data_start + hdu.data_bytes]
        np.testing.assert_array_equal(np.frombuffer(data, ">f4"), PIXELS.ravel() + first)


def test_missing_bytes_of_the_last_hdu_are_counted():
    content = file_bytes(fits.PrimaryHDU(PIXELS))
    assert walk(content[: 2880 + 40])[0].missing_bytes == 48 - 40


def test_missing_padding_is_no_damage():
    content = file_bytes(fits.PrimaryHDU(PIXELS))
    assert walk(content[: 2880 + 48])[0].missing_bytes == 0


def test_zeros_after_the_last_hdu_are_ignored():
    assert len(walk(THREE + b"\0" * 5760)) == 3


def refusal(content):
    with pytest.raises(BadInput) as caught:
        walk(content)
    return caught.value.kind, caught.value.message


def test_junk_after_an_hdu_is_named():
    kind, message = refusal(THREE + b"junk" * 720)
    assert kind == "BadHeader"
    assert "what follows HDU 2" in message


@pytest.mark.parametrize(
    ("content", "kind", "cause"),
    [
        (b"", "EmptyFile", "the file is empty (0 bytes)"),
        (b"<html><body>404</body></html>", "NotFits", "an HTML page saved under this name"),
        (b"ra,dec\n1,2\n", "NotFits", "not a FITS file (it starts with 'ra,dec')"),
        (b"\x00\xff\x10" * 99, "NotFits", "not a FITS file"),
        (THREE[:200], "Truncated", "the header has no END"),
        (THREE[:80] + b"\n" + THREE[81:], "NotFits", "a header as text"),
    ],
)
def test_what_is_no_fits_file_is_named(content, kind, cause):
    found, message = refusal(content)
    assert found == kind
    assert message.startswith("a.fits: ")
    assert cause in message


@pytest.mark.parametrize("key", ["BITPIX", "NAXIS", "NAXIS2"])
def test_a_header_without_a_mandatory_card_is_named(key):
    content = file_bytes(fits.PrimaryHDU(PIXELS)).replace(f"{key:8}=".encode(), b"?garbage=", 1)
    kind, message = refusal(content)
    assert kind == "BadHeader"
    assert f"HDU 0: the header has no usable {key} card" in message


def test_an_impossible_bitpix_is_named():
    content = file_bytes(fits.PrimaryHDU(PIXELS)).replace(b"-32", b" 12", 1)
    assert "BITPIX = 12 is not FITS" in refusal(content)[1]


def test_unprintable_bytes_in_a_comment_do_no_harm():
    content = file_bytes(fits.PrimaryHDU(PIXELS)).replace(b"array data", b"arr\xff\xfe data", 1)
    assert walk(content)[0].axes == (4, 3)


def test_random_groups_have_the_size_that_the_standard_gives():
    header = fits.Header(
        [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 3), ("NAXIS1", 0), ("NAXIS2", 3), ("NAXIS3", 4)]
    )
    header.update(GROUPS=True, PCOUNT=2, GCOUNT=10)
    hdu = walk(header.tostring().encode() + b"\0" * 2880)[0]
    assert (hdu.kind, hdu.data_bytes) == ("groups", 4 * 10 * (2 + 12))
