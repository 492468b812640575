"""Real survey files through the jobs: nothing is dropped, and SDSS stars come out as SDSS has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from job_chain import run

from astrolake.lake.lake import Lake
from astrolake.lake.sql import run_query
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions

pytestmark = [pytest.mark.spark, pytest.mark.data]


@pytest.fixture(scope="module")
def real(survey_data, tmp_path_factory, spark):
    """A lake with every file of the image folders, extracted; with the files and the summaries."""
    folders = [*sorted(survey_data.glob("images_*")), survey_data / "difference_imaging"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    path = tmp_path_factory.mktemp("real") / "lake"
    ingested = run("ingest_images", path, "--images", *folders)
    # PSF photometry of real images has tests of its own, and takes as long again.
    extracted = run("extract_sources", path, "--psf", "none")
    return Lake.open(str(path)), files, ingested, extracted


def test_every_file_is_an_image_or_a_reject(real):
    lake, files, ingested, _ = real
    images = run_query(lake, "SELECT DISTINCT uri FROM images").to_pandas()["uri"]
    rejects = run_query(lake, "SELECT source FROM rejects WHERE job = 'ingest_images'").to_pandas()["source"]
    named = set(images) | {source.split("#")[0] for source in rejects}
    assert named == {f"file://{path.resolve()}" for path in files}
    assert ingested["rows_in"] == len(files) == ingested["rows_out"] + ingested["rows_rejected"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("decam_z_badheader.fits", "BadHeader"),
        ("decam_z_truncated.fits", "Truncated"),
        ("empty.fits", "EmptyFile"),
        ("not_a_fits.fits", "NotFits"),
    ],
)
def test_damaged_files_are_rejected_with_name_and_cause(real, name, kind):
    lake, *_ = real
    rows = run_query(lake, "SELECT source, error_type, message FROM rejects").to_pylist()
    found = [row for row in rows if row["source"].split("#")[0].endswith("/" + name)]
    assert [row["error_type"] for row in found] == [kind]
    assert name in found[0]["message"]


def test_images_without_wcs_stay_out_of_sky_tables(real):
    lake, _, _, extracted = real
    rows = run_query(
        lake, "SELECT source FROM rejects WHERE job = 'extract_sources' AND error_type = 'NoWcs'"
    ).to_pylist()
    assert {Path(row["source"].split("#")[0]).name for row in rows} == {
        "aligned_eso085-030-004.fit",
        "aligned_eso085-030-005.fit",
    }
    pixel = run_query(lake, "SELECT count(*) AS n FROM pixel_detections").to_pylist()[0]["n"]
    assert pixel == extracted["rows_written"]["pixel_detections"] > 1000
    both = """SELECT count(*) AS n FROM detections d
              JOIN images i ON d.image_id = i.image_id WHERE i.wcs_kind = 'none'"""
    assert run_query(lake, both).to_pylist() == [{"n": 0}]


def test_all_science_images_are_extracted(real):
    _, _, _, extracted = real
    assert extracted["rows_in"] == extracted["rows_out"] + 2


def test_sdss_stars_of_the_published_catalog(real, survey_data):
    """98 stars of the sweep: found, where SDSS has them, as bright as SDSS has them."""
    lake, *_ = real
    sweep = Table.read(survey_data / "images_sdss" / "calibObj-004510-4-star.fits.gz", 1)
    flux = np.asarray(sweep["PSFFLUX"])[:, 2]
    row, column = np.asarray(sweep["ROWC"])[:, 2], np.asarray(sweep["COLC"])[:, 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = 22.5 - 2.5 * np.log10(flux)
    inside = (row > 20) & (row < 1489 - 20) & (column > 20) & (column < 2048 - 20)
    chosen = (np.asarray(sweep["FIELD"]) == 30) & inside & (mag < 22)
    stars = Positions(
        np.asarray(sweep["RA"], float)[chosen],
        np.asarray(sweep["DEC"], float)[chosen],
        np.arange(chosen.sum()),
    )
    mag = mag[chosen]
    found = run_query(
        lake,
        """SELECT d.number, d.ra, d.dec, d.mag_aper[2] AS mag, d.flags FROM detections d
           JOIN images i ON d.image_id = i.image_id WHERE i.uri LIKE '%frame-r-004510-4-0030.fits.bz2'""",
    ).to_pandas()
    sources = Positions(found["ra"].to_numpy(), found["dec"].to_numpy(), found["number"].to_numpy())
    pairs = match(stars, sources, 1.0)
    assert chosen.sum() >= 95
    assert len(pairs) >= 0.95 * chosen.sum()
    bright = mag[pairs.left_index] < 21
    assert np.median(pairs.sep_arcsec[bright]) < 0.05
    neighbours = match(sources, sources, 8.0, "nearest-n", n=2)
    crowded = np.unique(neighbours.left_index[neighbours.rank == 2])
    alone = ~np.isin(pairs.right_index, crowded) & (mag[pairs.left_index] < 20)
    alone &= (found["flags"].to_numpy()[pairs.right_index] & 0b1111) == 0
    offset = found["mag"].to_numpy()[pairs.right_index][alone] - mag[pairs.left_index][alone]
    assert alone.sum() >= 10
    assert abs(np.median(offset)) < 0.03
