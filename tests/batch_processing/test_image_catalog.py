"""The rows of one file: the numbers of the lake's detections, flux in microjansky, a reason for what gives none."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
from tiny_images import fits_bytes, header, star_image, tiny_fits

from astrolake.batch_processing.image_catalog import CatalogOptions, ImageCatalog, image_catalog
from astrolake.photometry.image_row import image_id
from astrolake.photometry.image_sources import image_sources
from astrolake.photometry.options import ExtractionOptions
from astrolake.photometry.scan import scan_file
from astrolake.schema import SOURCES
from astrolake.schema.arrow import arrow_schema

URI = "s3://sky/night 1/image.fits"


def catalog_of(content: bytes, folder: Path, options: CatalogOptions | None = None) -> ImageCatalog:
    path = folder / "image.fits"
    path.write_bytes(content)
    return image_catalog(path, URI, "upload-1", options)


@pytest.mark.data
def test_numbers_are_those_of_the_lakes_detections(survey_data, tmp_path):
    name = "stamp-r-5.0073-0.0739.fits"
    source = survey_data / "images_sdss" / name
    path = tmp_path / name
    path.write_bytes(source.read_bytes())
    catalog = image_catalog(path, URI, "upload-1")
    ((place, rows),) = catalog.tables.items()
    assert place == ("sdss", "r")
    assert rows.schema.equals(arrow_schema(SOURCES), check_metadata=True)
    by_id = {row["source_id"]: row for row in rows.to_pylist()}
    assert len(by_id) == rows.num_rows

    n_rows = 0
    science = [image for image in scan_file(str(source)).images if image["image_type"] == "science"]
    for image in science:
        found = image_sources(image, (), ExtractionOptions(), (1.5, 3.0, 5.0)).rows.to_pylist()
        n_rows += len(found)
        for detection in found:
            row = by_id[f"{image_id(URI, image['hdu'])}-{detection['number']}"]
            for column in (
                "ra",
                "dec",
                "x",
                "y",
                "mag_auto",
                "mag_auto_err",
                "flags",
                "theta",
                "_healpix_29",
            ):
                assert row[column] == detection[column]
            to_microjansky = 10 ** (-0.4 * (image["zero_point_ab"] - 23.9))
            assert row["flux"] == pytest.approx(detection["flux_auto"] * to_microjansky, rel=1e-14)
            assert row["snr"] == detection["flux_auto"] / detection["flux_auto_err"]
            assert row["a_arcsec"] == detection["a"] * image["pixel_scale_arcsec"]
            assert (row["uri"], row["hdu"], row["run_id"]) == (URI, image["hdu"], "upload-1")
    assert (catalog.n_images, n_rows) == (len(science), rows.num_rows)


def test_flux_of_a_nanomaggy_is_3_631_microjansky(tmp_path):
    image = star_image(1)
    fluxes = {}
    for zero_point in (22.5, 23.9):
        content = fits_bytes((image, header(10.0, 5.0, "r", zero_point)))
        (rows,) = catalog_of(content, tmp_path).tables.values()
        fluxes[zero_point] = rows.column("flux").to_numpy()
    np.testing.assert_allclose(fluxes[22.5] / fluxes[23.9], 3.6307805477010135, rtol=1e-12)


def test_without_zero_point_flux_is_null_and_snr_is_not(tmp_path):
    catalog = catalog_of(fits_bytes((star_image(1), header(10.0, 5.0, "r", None))), tmp_path)
    (rows,) = catalog.tables.values()
    assert rows.column("flux").null_count == rows.column("mag_auto").null_count == rows.num_rows > 0
    assert rows.column("snr").null_count == 0


def test_all_hdus_of_a_band_are_in_one_table_sorted_by_position(tmp_path):
    catalog = catalog_of(tiny_fits(3, "rgr"), tmp_path)
    assert set(catalog.tables) == {("tiny_survey", "g"), ("tiny_survey", "r")}
    rows = catalog.tables["tiny_survey", "r"]
    assert set(rows.column("hdu").to_pylist()) == {1, 3}
    assert (np.diff(rows.column("_healpix_29").to_numpy()) >= 0).all()
    assert catalog.n_images == 3


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_files_give_the_rows_of_plain_ones(pack, tmp_path):
    plain = tiny_fits(4)
    assert catalog_of(pack(plain), tmp_path).tables == catalog_of(plain, tmp_path).tables


def test_an_hdu_without_wcs_is_a_reject_and_its_neighbour_is_not(tmp_path):
    good, bad = header(10.0, 5.0, "r"), header(10.0, 5.0, "r")
    del bad["CTYPE*"]
    catalog = catalog_of(fits_bytes((star_image(1), good), (star_image(2), bad)), tmp_path)
    assert (catalog.n_images, [table.num_rows > 0 for table in catalog.tables.values()]) == (1, [True])
    (reject,) = catalog.rejects
    assert (reject.source, reject.error_type) == (f"{URI}#2", "NoWcs")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "EmptyFile"),
        (b"<html>not found</html>", "NotFits"),
        (tiny_fits(1)[:3000], "Truncated"),
        (gzip.compress(tiny_fits(1))[:-100], "Truncated"),
        (b"PK\x03\x04" + bytes(100), "NotFits"),
        (fits_bytes((np.full((64, 64), np.nan, np.float32), header(1.0, 1.0, "r"))), "NoPixels"),
        (fits_bytes((np.zeros((64, 64), np.float32), header(1.0, 1.0, "r"))), "NoGoodPixels"),
    ],
)
def test_what_is_no_image_is_a_reject_that_names_the_upload(content, kind, tmp_path):
    catalog = catalog_of(content, tmp_path)
    assert not catalog.tables
    (reject,) = catalog.rejects
    assert reject.error_type == kind
    assert reject.source.startswith(URI)
    assert str(tmp_path) not in reject.message + reject.source


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path):
    content = gzip.compress(bytes(20 << 20))
    (reject,) = catalog_of(content, tmp_path, CatalogOptions(most_bytes=1 << 20)).rejects
    assert reject.error_type == "TooLarge"
    assert (tmp_path / "unpacked").stat().st_size <= 1 << 20


def test_an_impossible_zero_point_takes_no_neighbour_with_it(tmp_path):
    bad, good = header(10, 0, "g"), header(10, 0, "r")
    bad["MAGZERO"] = -1e6
    path = tmp_path / "a.fits"
    path.write_bytes(fits_bytes((star_image(1), bad), (star_image(1), good)))
    found = image_catalog(path, "s3://sky/a.fits", "run")
    assert [place[1] for place in found.tables] == ["r"]
    assert [(reject.source, reject.error_type) for reject in found.rejects] == [
        ("s3://sky/a.fits#1", "BadZeroPoint")
    ]
