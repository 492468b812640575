import gzip
import hashlib

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from fits_files import PIXELS, tan_cards, write

from astrolake.photometry.astrometry import build_wcs
from astrolake.photometry.fits_io import read_frame
from astrolake.photometry.scan import scan_file
from astrolake.schema import IMAGES
from astrolake.schema.arrow import arrow_schema

DEMO = {
    **{"SURVEY": "DEMO", "FILTER": "r", "RUN": 1001, "MJD-OBS": 58000.25, "TIMESYS": "UTC", "EXPTIME": 54.0},
    **{"GAIN": 800.0, "MAGZERO": 22.5, "SATURATE": 900.0, "BUNIT": "nanomaggy"},
}


def image_hdu(values=None, data=PIXELS, kind=fits.PrimaryHDU, name=None):
    hdu = kind(data) if name is None else kind(data, name=name)
    hdu.header.update(values or {})
    return hdu


def only_image(path, **options):
    found = scan_file(path, **options)
    assert found.rejects == []
    [image] = found.images
    return image


def only_reject(path, **options):
    found = scan_file(path, **options)
    assert found.images == []
    [reject] = found.rejects
    return reject


def test_an_image_has_the_columns_of_the_table(tmp_path):
    image = only_image(write(tmp_path / "a.fits", image_hdu(tan_cards(size=(4, 3)) | DEMO)))
    schema = pa.schema([field for field in arrow_schema(IMAGES) if field.name != "run_id"])
    assert set(image) == set(schema.names)
    table = pa.Table.from_pylist([image], schema=schema)
    required = [column.name for column in IMAGES.columns if not column.nullable and column.name != "run_id"]
    assert [name for name in required if table.column(name).null_count] == []


def test_what_the_header_says_is_in_the_row(tmp_path):
    path = tmp_path / "a.fits"
    hdu = image_hdu(tan_cards(size=(4, 3)) | DEMO)
    hdu.header["PSFFWHM"] = (1.25, "[arcsec] FWHM of the PSF")
    image = only_image(write(path, hdu))
    expected = {
        **{"survey": "demo", "band": "r", "image_type": "science", "visit": "1001", "mjd": 58000.25},
        **{
            "time_scale": "UTC",
            "uri": f"file://{path}",
            "hdu": 0,
            "naxis1": 4,
            "naxis2": 3,
            "exptime_s": 54.0,
        },
        **{"gain": 800.0, "zero_point_ab": 22.5, "flux_unit": "nanomaggy", "saturation": 900.0},
        **{"psf_fwhm_arcsec": 1.25, "wcs_kind": "TAN", "wcs_problem": None, "coverage_order": 7},
        **{"bad_fraction": 0.0, "weight_uri": None, "mask_uri": None},
    }
    assert {key: image[key] for key in expected} == expected
    assert (image["ra"], image["dec"]) == pytest.approx((10.0, 20.0), abs=1e-9)
    assert build_wcs(image["wcs_header"]).pixel_to_sky(np.array([1.5]), np.array([1.0]))[0][
        0
    ] == pytest.approx(10.0)


def test_size_and_checksum_are_those_of_the_bytes_as_they_lie(tmp_path):
    plain = write(tmp_path / "a.fits", image_hdu())
    packed = gzip.compress((tmp_path / "a.fits").read_bytes())
    (tmp_path / "misnamed.fits").write_bytes(packed)
    image = only_image(str(tmp_path / "misnamed.fits"))
    assert image["file_bytes"] == len(packed)
    assert image["checksum"] == hashlib.sha256(packed).hexdigest()
    assert only_image(plain)["checksum"] != image["checksum"]


def test_a_path_and_its_uri_are_the_same_image(tmp_path):
    path = write(tmp_path / "a b.fits", image_hdu())
    assert only_image(path) == only_image(f"file://{path}")


def test_images_are_told_apart_by_file_and_hdu(tmp_path):
    first = write(tmp_path / "a.fits", image_hdu(), image_hdu(kind=fits.ImageHDU))
    second = write(tmp_path / "b.fits", image_hdu())
    ids = [image["image_id"] for path in (first, second) for image in scan_file(path).images]
    assert len(set(ids)) == 3
    assert all(0 <= one < 2**63 for one in ids)


def test_extensions_inherit_from_an_empty_primary_header(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header.update(DEMO)
    path = write(tmp_path / "a.fits", primary, image_hdu({"FILTER": "g"}, kind=fits.ImageHDU, name="N4"))
    image = only_image(path)
    assert (image["visit"], image["band"], image["extname"], image["hdu"]) == ("1001", "g", "N4", 1)


def test_extensions_do_not_inherit_from_another_image(tmp_path):
    path = write(tmp_path / "a.fits", image_hdu(DEMO), image_hdu(kind=fits.ImageHDU))
    assert [image["visit"] for image in scan_file(path).images] == ["1001", None]


def test_a_given_survey_is_the_name_but_not_the_calibration(tmp_path):
    path = write(tmp_path / "a.fits", image_hdu(DEMO))
    image = only_image(path, survey="mine")
    assert (image["survey"], image["gain"]) == ("mine", 800.0)


def test_vectors_tables_and_constants_are_passed_over_beside_an_image(tmp_path):
    constant = fits.ImageHDU()
    constant.header.update(NPIX1=62, NPIX2=44, PIXVALUE=0.0)
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(2))])
    path = write(tmp_path / "a.fits", image_hdu(), fits.ImageHDU(np.zeros(5)), constant, table)
    assert only_image(path)["hdu"] == 0


def test_a_file_without_image_says_what_it_holds(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(2))])
    reject = only_reject(write(tmp_path / "a.fits", fits.ImageHDU(np.zeros(5)), table, table))
    assert reject.error_type == "NoImage"
    assert reject.source == f"file://{tmp_path}/a.fits"
    assert reject.message.endswith(
        "no 2-D image in it but no data (HDU 0); a vector of 5 (HDU 1); a table (HDU 2, 3); "
        "ingest its tables with ingest_catalog"
    )


def test_a_cube_with_one_plane_is_an_image(tmp_path):
    image = only_image(write(tmp_path / "a.fits", image_hdu(tan_cards(size=(4, 3)), PIXELS[np.newaxis])))
    assert (image["naxis1"], image["naxis2"], image["wcs_kind"]) == (4, 3, "TAN")


def test_a_cube_is_rejected_beside_an_image(tmp_path):
    path = write(tmp_path / "a.fits", image_hdu(), fits.ImageHDU(np.zeros((2, 3, 4))))
    found = scan_file(path)
    assert [image["hdu"] for image in found.images] == [0]
    [reject] = found.rejects
    assert (reject.error_type, reject.source) == ("Cube", f"file://{path}#1")
    assert "a cube of 4 x 3 x 2; write its planes as 2-D images" in reject.message


def test_images_before_a_truncated_one_are_kept(tmp_path):
    path = write(tmp_path / "a.fits", image_hdu(), fits.ImageHDU(PIXELS), fits.ImageHDU(PIXELS))
    content = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(content[: 5 * 2880 + 10])
    found = scan_file(path)
    assert [image["hdu"] for image in found.images] == [0, 1]
    [reject] = found.rejects
    assert (reject.error_type, reject.source) == ("Truncated", f"file://{path}#2")


def test_images_before_a_damaged_header_are_kept(tmp_path):
    path = write(tmp_path / "a.fits", image_hdu(), fits.ImageHDU(PIXELS))
    content = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(content[:5760] + content[5760:].replace(b"NAXIS1", b"?????1", 1))
    found = scan_file(path)
    assert [image["hdu"] for image in found.images] == [0]
    assert [(reject.error_type, reject.source) for reject in found.rejects] == [
        ("BadHeader", f"file://{path}#1")
    ]


def test_an_image_without_a_finite_pixel_is_rejected(tmp_path):
    reject = only_reject(write(tmp_path / "a.fits", image_hdu(data=np.full((3, 4), np.nan))))
    assert reject.error_type == "NoPixels"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "EmptyFile"),
        (b"<!DOCTYPE html><html></html>", "NotFits"),
        (gzip.compress(bytes(9999), mtime=0)[:-9], "Truncated"),
        (b"SIMPLE  =                    T" + b"\xff" * 5000, "Truncated"),
        (bytes(range(256)) * 40, "NotFits"),
    ],
)
def test_bad_content_is_a_reject_never_an_error(tmp_path, content, kind):
    (tmp_path / "a.fits").write_bytes(content)
    reject = only_reject(str(tmp_path / "a.fits"))
    assert reject.error_type == kind
    assert reject.message.startswith(f"file://{tmp_path}/a.fits: ")


def two_images(folder):
    """Return the bytes of a file with a plain and a compressed image."""
    data = np.random.default_rng(1).integers(0, 999, (40, 30)).astype(np.int16)
    tiles = fits.CompImageHDU(data, compression_type="GZIP_1")
    write(folder / "good.fits", image_hdu(tan_cards(size=(4, 3)) | DEMO), tiles)
    return (folder / "good.fits").read_bytes()


def test_any_cut_of_a_file_gives_an_image_or_a_reject(tmp_path):
    content = two_images(tmp_path)
    path = tmp_path / "cut.fits"
    for length in range(0, len(content), 997):
        path.write_bytes(content[:length])
        found = scan_file(str(path))
        assert found.images or found.rejects


def test_any_damage_gives_an_image_or_a_reject(tmp_path):
    content = two_images(tmp_path)
    path = tmp_path / "damaged.fits"
    rng = np.random.default_rng(3)
    for start in rng.integers(0, len(content) - 200, 60):
        path.write_bytes(content[:start] + rng.bytes(200) + content[start + 200 :])
        found = scan_file(str(path))
        assert found.images or found.rejects


def test_a_missing_file_is_a_reject(tmp_path):
    reject = only_reject(str(tmp_path / "none.fits"))
    assert reject.error_type == "FileNotFound"


def test_an_image_without_wcs_says_why(tmp_path):
    image = only_image(write(tmp_path / "a.fits", image_hdu()))
    assert (image["wcs_kind"], image["wcs_header"], image["ra"], image["coverage"]) == (
        "none",
        None,
        None,
        None,
    )
    assert "no celestial WCS" in image["wcs_problem"]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"CPDIS1": "LOOKUP"}, "lookup table"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "WCS cards are invalid"),
        ({"CD1_1": 5.0, "CD2_2": 5.0}, "pixel scale"),
    ],
)
def test_an_image_with_a_bad_wcs_is_kept_without_it(tmp_path, changes, cause):
    image = only_image(write(tmp_path / "a.fits", image_hdu(tan_cards(size=(4, 3)) | changes)))
    assert image["wcs_kind"] == "none"
    assert cause in image["wcs_problem"]


def test_an_image_along_other_axes_has_no_astrometry(tmp_path):
    image = only_image(write(tmp_path / "a.fits", image_hdu(tan_cards(), PIXELS[:, np.newaxis])))
    assert (image["wcs_kind"], image["naxis1"], image["naxis2"]) == ("none", 4, 3)


NOAO = "c4d_171113_061941_oo{}_r_ls9.fits"


def test_companions_are_found_beside_an_image(tmp_path):
    uris = {role: write(tmp_path / NOAO.format(role), image_hdu()) for role in "iwd"}
    image = only_image(uris["i"])
    assert (image["weight_uri"], image["weight_hdu"], image["weight_kind"]) == (
        f"file://{uris['w']}",
        0,
        "invvar",
    )
    assert (image["mask_uri"], image["mask_hdu"]) == (f"file://{uris['d']}", 0)
    assert [only_image(uris[role])["image_type"] for role in "wd"] == ["weight", "mask"]


def test_given_siblings_are_used_instead_of_the_directory(tmp_path):
    path = write(tmp_path / NOAO.format("i"), image_hdu())
    write(tmp_path / NOAO.format("w"), image_hdu())
    assert only_image(path, siblings=[])["weight_uri"] is None


def test_weight_and_mask_extensions_belong_to_the_image_before_them(tmp_path):
    hdus = [image_hdu(kind=fits.ImageHDU, name=name) for name in ("SCI", "MSK", "WGT")]
    path = write(tmp_path / "des.fits", *hdus)
    science, mask, weight = scan_file(path).images
    assert (mask["image_type"], weight["image_type"]) == ("mask", "weight")
    assert (science["weight_hdu"], science["weight_kind"], science["mask_hdu"]) == (3, "invvar", 2)


def test_exposure_weights_of_drizzled_images_are_no_inverse_variance(tmp_path):
    hdus = [image_hdu(kind=fits.ImageHDU, name=name) for name in ("SCI", "WHT")]
    science, weight = scan_file(write(tmp_path / "drz.fits", *hdus)).images
    assert (weight["image_type"], science["weight_uri"]) == ("weight", None)


def test_stamps_are_paired_with_their_inverse_variance(survey_data):
    images = scan_file(str(survey_data / "images_sdss" / "stamp-r-5.0073-0.0739.fits")).images
    assert [image["image_type"] for image in images] == ["science", "weight"] * 17
    assert [image["weight_hdu"] for image in images[::2]] == list(range(1, 34, 2))
    assert all(
        image["visit"] == partner["visit"] for image, partner in zip(images[::2], images[1::2], strict=True)
    )
    frame = read_frame(images[0])
    assert frame.variance is not None


def test_nothing_is_written_to_stderr(survey_data, capfd):
    for name in ("decam_z_badheader.fits", "M6707HH.fits", "comp.fits", "o4sp040b0_raw.fits"):
        scan_file(str(survey_data / "images_awkward" / name))
    assert capfd.readouterr() == ("", "")


def test_objects_in_a_store_are_scanned(tmp_path, monkeypatch):
    pytest.importorskip("flask", reason="the S3 twin needs moto[server]")
    boto3, moto_server = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": "us-east-1"}
        client = boto3.client("s3", endpoint_url=options["AWS_ENDPOINT_URL"], region_name="us-east-1")
        client.create_bucket(Bucket="sky")
        for role in "iwd":
            path = write(
                tmp_path / NOAO.format(role), image_hdu(), image_hdu(data=PIXELS + 1, kind=fits.ImageHDU)
            )
            client.upload_file(path, "sky", f"a/{NOAO.format(role)}")
        images = scan_file(f"s3a://sky/a/{NOAO.format('i')}", storage_options=options).images
        assert [image["uri"] for image in images] == [f"s3://sky/a/{NOAO.format('i')}"] * 2
        assert images[1]["weight_uri"] == f"s3://sky/a/{NOAO.format('w')}"
        np.testing.assert_array_equal(read_frame(images[1], storage_options=options).data, PIXELS + 1)
        [reject] = scan_file("s3://sky/a/none.fits", storage_options=options).rejects
        assert reject.error_type == "FileNotFound"
    finally:
        server.stop()
