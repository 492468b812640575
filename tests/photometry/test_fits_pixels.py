import io
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from fits_files import PIXELS

from astrolake.errors import BadInput
from astrolake.photometry import fits_pixels
from astrolake.photometry.fits_pixels import decode_pixels, unusable_reason
from astrolake.photometry.fits_structure import walk_hdus


def stream_of(*hdus, **options):
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream, **options)
    return stream


def last(stream):
    return list(walk_hdus(stream, "a.fits"))[-1]


def decode(*hdus):
    stream = stream_of(*hdus)
    return decode_pixels(stream, last(stream), "a.fits")


def raw_hdu(data, **cards):
    """Return a primary HDU of stored values, with scaling cards put over them."""
    hdu = fits.PrimaryHDU(data)
    hdu.header.update(cards)
    stream = io.BytesIO()
    hdu.writeto(stream, output_verify="ignore")
    return stream


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_every_type_becomes_native_float32(dtype):
    found = decode(fits.PrimaryHDU(PIXELS.astype(dtype)))
    assert found.dtype == np.float32
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, PIXELS)


def test_pixels_may_be_written_to():
    assert decode(fits.PrimaryHDU(PIXELS)).flags.writeable


def test_unsigned_integers_keep_their_values():
    data = np.array([[0, 32768, 65535]] * 2, dtype=np.uint16)
    np.testing.assert_array_equal(decode(fits.PrimaryHDU(data)), data.astype(np.float32))


def test_scale_and_zero_are_applied():
    stream = raw_hdu(np.array([[0, 1], [2, 4]], dtype=np.int16), BSCALE=0.5, BZERO=10.0)
    np.testing.assert_array_equal(decode_pixels(stream, last(stream), ""), [[10.0, 10.5], [11.0, 12.0]])


def test_scaling_is_done_in_double_precision():
    stream = raw_hdu(np.full((2, 2), 2**30 + 1, dtype=np.int32), BSCALE=1.0, BZERO=-(2.0**30))
    np.testing.assert_array_equal(decode_pixels(stream, last(stream), ""), np.ones((2, 2)))


def test_blank_integers_are_nan():
    stream = raw_hdu(np.array([[7, -32768], [9, 10]], dtype=np.int16), BLANK=-32768, BSCALE=2.0)
    np.testing.assert_array_equal(decode_pixels(stream, last(stream), ""), [[14.0, np.nan], [18.0, 20.0]])


def test_nan_stays_nan():
    data = PIXELS.copy()
    data[1, 2] = np.nan
    np.testing.assert_array_equal(decode(fits.PrimaryHDU(data)), data)


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
def test_tiles_are_uncompressed(method):
    data = np.arange(400, dtype=np.int16).reshape(20, 20)
    np.testing.assert_array_equal(
        decode(fits.PrimaryHDU(), fits.CompImageHDU(data, compression_type=method)), data
    )


def test_compressed_unsigned_integers_keep_their_values():
    data = np.arange(64, dtype=np.uint16).reshape(8, 8) + 40000
    np.testing.assert_array_equal(decode(fits.PrimaryHDU(), fits.CompImageHDU(data)), data)


def test_quantised_tiles_are_as_astropy_reads_them():
    data = np.random.default_rng(1).normal(100, 5, (50, 40)).astype(np.float32)
    data[3, 4] = np.nan
    hdu = fits.CompImageHDU(data, quantize_method=2, dither_seed=3)
    stream = stream_of(fits.PrimaryHDU(), hdu)
    found = decode_pixels(stream, last(stream), "a.fits")
    stream.seek(0)
    np.testing.assert_array_equal(found, fits.open(stream)[1].data)
    assert np.nanmax(np.abs(found - data)) < 1.0
    assert np.isnan(found[3, 4])


def test_axes_of_length_one_are_left_out():
    assert decode(fits.PrimaryHDU(PIXELS[np.newaxis, np.newaxis])).shape == (3, 4)


def test_asinh_scaled_pixels_become_linear():
    """Pan-STARRS: x = BOFFSET + 2 BSOFTEN sinh(v ln(10) / 2.5), here for v of a flux ratio of 100 (5 mag)."""
    hdu = fits.PrimaryHDU(np.array([[0.0, 5.0], [-5.0, 2.5]], dtype=np.float32))
    hdu.header.update(BSOFTEN=3.0, BOFFSET=7.0)
    expected = [[7.0, 7.0 + 3.0 * (100 - 0.01)], [7.0 - 3.0 * (100 - 0.01), 7.0 + 3.0 * (10 - 0.1)]]
    np.testing.assert_allclose(decode(hdu), expected, rtol=1e-6)


def test_missing_pixels_are_counted():
    stream = io.BytesIO(stream_of(fits.PrimaryHDU(PIXELS)).getvalue()[: 2880 + 20])
    with pytest.raises(BadInput, match="HDU 0 is truncated, 28 of its 48 bytes are missing") as caught:
        decode_pixels(stream, last(stream), "a.fits")
    assert caught.value.kind == "Truncated"


def test_a_header_alone_is_named():
    stream = io.BytesIO(stream_of(fits.PrimaryHDU(PIXELS)).getvalue()[:2880])
    with pytest.raises(BadInput, match="is a header alone"):
        decode_pixels(stream, last(stream), "a.fits")


def test_damaged_tiles_are_named():
    data = np.random.default_rng(1).integers(0, 30000, (50, 40)).astype(np.int16)
    content = bytearray(
        stream_of(fits.PrimaryHDU(), fits.CompImageHDU(data, compression_type="GZIP_1")).getvalue()
    )
    hdu = last(io.BytesIO(bytes(content)))
    content[hdu.data_start + 500 : hdu.data_start + 4000] = b"\xa5" * 3500
    with pytest.raises(BadInput, match=r"a\.fits: HDU 1: its tiles cannot be uncompressed") as caught:
        decode_pixels(io.BytesIO(bytes(content)), hdu, "a.fits")
    assert caught.value.kind == "BadTiles"


@pytest.mark.parametrize(
    ("hdu", "kind", "description"),
    [
        (fits.PrimaryHDU(), "NoImage", "no data"),
        (fits.PrimaryHDU(np.zeros(5)), "NoImage", "a vector of 5"),
        (fits.PrimaryHDU(np.zeros((1, 5))), "NoImage", "a vector of 5"),
        (fits.PrimaryHDU(np.zeros((2, 3, 4))), "Cube", "a cube of 4 x 3 x 2"),
    ],
)
def test_hdus_without_a_plane_say_why(hdu, kind, description):
    assert unusable_reason(last(stream_of(hdu))) == (kind, description)


def test_constant_images_without_pixels_say_so():
    hdu = fits.PrimaryHDU()
    hdu.header.update(NPIX1=62, NPIX2=44, PIXVALUE=0.0)
    assert "NPIX1" in unusable_reason(last(stream_of(hdu)))[1]


def test_a_large_image_is_in_memory_once(tmp_path, monkeypatch):
    path = tmp_path / "large.fits"
    image = np.arange(3_000_000, dtype=np.float32).reshape(1500, 2000)
    fits.writeto(path, image)
    monkeypatch.setattr(fits_pixels, "_PIXELS_AT_ONCE", 70_001)
    with path.open("rb") as stream:
        hdu = next(walk_hdus(stream, str(path)))
        tracemalloc.start()
        pixels = decode_pixels(stream, hdu, str(path))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    np.testing.assert_array_equal(pixels, image)
    assert peak < 1.2 * image.nbytes
