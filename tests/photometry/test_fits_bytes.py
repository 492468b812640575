import bz2
import gzip
import os

import pytest

from astrolake.errors import BadInput
from astrolake.photometry.fits_bytes import open_stream, read_bytes, sibling_names, unpack

BYTES = b"SIMPLE  = " + bytes(range(256)) * 20


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_packing_is_told_by_the_bytes_not_the_name(tmp_path, pack):
    path = tmp_path / "image.fits"
    path.write_bytes(pack(BYTES))
    with open_stream(str(path)) as stream:
        assert stream.read() == BYTES


def test_a_stream_can_be_read_out_of_order(tmp_path):
    path = tmp_path / "image.fits.bz2"
    path.write_bytes(bz2.compress(BYTES))
    with open_stream(str(path)) as stream:
        stream.seek(100)
        assert stream.read(10) == BYTES[100:110]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_bytes_that_are_cut_off_are_truncated(pack):
    with pytest.raises(
        BadInput, match=r"^a\.fits: truncated inside its packing .*; fetch the file again$"
    ) as caught:
        unpack(pack(BYTES)[:-30], "a.fits")
    assert caught.value.kind == "Truncated"


def test_packed_bytes_that_are_damaged_are_named():
    packed = bytearray(gzip.compress(BYTES))
    packed[40:60] = b"\xff" * 20
    with pytest.raises(BadInput, match="packing is damaged") as caught:
        unpack(bytes(packed), "a.fits")
    assert caught.value.kind == "BadPacking"


def test_other_packings_are_named():
    with pytest.raises(BadInput, match=r"a\.fits: not FITS but a zip archive; unpack it"):
        unpack(b"PK\x03\x04 and so on", "a.fits")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"none\.fits: there is no such file") as caught:
        read_bytes(str(tmp_path / "none.fits"))
    assert caught.value.kind == "FileNotFound"


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(BadInput, match="a directory, not a file") as caught:
        read_bytes(str(tmp_path))
    assert caught.value.kind == "NotAFile"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path):
    path = tmp_path / "secret.fits"
    path.write_bytes(BYTES)
    path.chmod(0)
    with pytest.raises(BadInput, match="no permission") as caught:
        read_bytes(str(path))
    assert caught.value.kind == "NoPermission"


def test_an_error_of_the_storage_is_named(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError("AccessDenied")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.cat_file", refuse)
    with pytest.raises(BadInput, match="no permission to read it; grant read access"):
        read_bytes(str(tmp_path / "a.fits"))


def test_siblings_are_names_without_directory(tmp_path):
    for name in ("b.fits", "a space.fits"):
        (tmp_path / name).write_bytes(b"")
    assert sibling_names(str(tmp_path / "b.fits")) == ["a space.fits", "b.fits"]
