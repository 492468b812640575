"""The photometry jobs with flags and inputs that are wrong, and deep detection, end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits
from job_chain import run

from astrolake.lake.lake import Lake
from astrolake.lake.sql import run_query

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]


def ask(lake, sql):
    return run_query(Lake.open(str(lake)), sql).to_pylist()


@pytest.fixture(scope="module")
def pixels(sample_sky):
    """Header and a corner of an image of the sample sky."""
    source = next(path for path in sample_sky.images if path.suffix == ".fits")
    return fits.getheader(source), fits.getdata(source)[:260, :300].astype(np.float32)


@pytest.fixture(scope="module")
def lake(pixels, tmp_path_factory, spark):
    """A lake of good and bad images; tests must not ingest into it."""
    header, data = pixels
    folder = tmp_path_factory.mktemp("photometry flags")
    (folder / "images").mkdir()
    noise = np.random.default_rng(1).normal(100, 3, data.shape).astype(np.float32)
    images = {
        "good": data,
        "doubles": data.astype(np.float64),
        "integers": np.round(data * 1000).astype(np.int16),
        "no_stars": noise,
        "constant": np.full_like(data, 7),
        "all_nan": np.full_like(data, np.nan),
    }
    for name, image in images.items():
        cards = header.copy()
        for card in ("BZERO", "BSCALE"):
            cards.remove(card, ignore_missing=True)
        fits.PrimaryHDU(image, cards).writeto(folder / "images" / f"{name}.fits")
    path = folder / "lake"
    run("ingest_images", path, "--images", folder / "images")
    empty = folder / "far.csv"
    empty.write_text("source_id,ra,dec,mag,ebv\n1,10.0,-80.0,15.0,0.1\n2,11.0,-80.0,,0.1\n")
    run("ingest_catalog", path, "--input", empty, "--table", "far")
    return path


@pytest.fixture(scope="module")
def extracted(lake):
    """The summary of an extraction of all of them against a reference that lies elsewhere."""
    return run("extract_sources", lake, "--calibrate-against", "far", "--reference-mag", "mag")


def test_bad_images_are_rejected_and_the_good_ones_measured(lake, extracted):
    assert extracted["status"] == "done"
    assert extracted["rows_in"] == extracted["rows_out"] + extracted["rows_rejected"]
    reasons = {
        row["source"].rsplit("/", 1)[1].split(".")[0]: row for row in ask(lake, "SELECT * FROM rejects")
    }
    assert {"constant", "all_nan"} <= set(reasons)
    counts = ask(lake, """SELECT i.uri, count(*) AS n FROM detections d JOIN images i ON i.image_id = d.image_id
        GROUP BY i.uri""")  # fmt: skip
    n = {row["uri"].rsplit("/", 1)[1].split(".")[0]: row["n"] for row in counts}
    assert n["good"] == n["doubles"] > 8
    assert n["integers"] == pytest.approx(n["good"], rel=0.1)
    assert n.get("no_stars", 0) < 5


def test_without_overlap_the_header_gives_the_zero_point(lake, extracted):
    rows = ask(lake, "SELECT zero_point_source, zero_point_n FROM image_quality")
    assert {row["zero_point_source"] for row in rows} == {"header"}


def test_deep_detection_finds_more_and_is_recorded(lake, extracted):
    where = ("--where", "uri LIKE '%good.fits'", "--psf", "none")
    before = ask(lake, "SELECT n_sources AS n FROM image_quality q JOIN images i ON q.image_id = i.image_id "
                       "WHERE uri LIKE '%good.fits'")[0]["n"]  # fmt: skip
    summary = run("extract_sources", lake, *where, "--depth", "deep")
    assert summary["rows_out"] == 1
    after = ask(lake, "SELECT n_sources AS n FROM image_quality q JOIN images i ON q.image_id = i.image_id "
                      "WHERE uri LIKE '%good.fits'")[0]["n"]  # fmt: skip
    assert after > 1.1 * before
    said = ask(lake, f"SELECT arguments FROM runs WHERE run_id = '{summary['run_id']}'")[0]["arguments"]
    assert json.loads(said)["depth"] == "deep"


WRONG = [
    ("extract_sources", ("--depth", "deeper"), "deeper"),
    ("extract_sources", ("--psf", "sersic"), "sersic"),
    ("extract_sources", ("--detect-sigma", "0"), "detect_sigma"),
    ("extract_sources", ("--detect-sigma", "nan"), "not a finite number"),
    ("extract_sources", ("--detect-sigma", "much"), "not a finite number"),
    ("extract_sources", ("--min-pixels", "0"), "min_pixels"),
    ("extract_sources", ("--min-pixels", "2.5"), "--min-pixels"),
    ("extract_sources", ("--inject-stars", "-3"), "--inject-stars"),
    ("extract_sources", ("--aperture-radii-arcsec", "-1", "2"), "aperture_radii"),
    ("extract_sources", ("--aperture-radii-arcsec", "1.5"), "two radii"),
    ("extract_sources", ("--aperture-radii-arcsec", "3", "1.5"), "rising"),
    ("extract_sources", ("--reference-mag-err", "e"), "--calibrate-against"),
    ("extract_sources", ("--reference-ab-offset", "0.1"), "--calibrate-against"),
    ("extract_sources", ("--calibrate-against", "nowhere", "--reference-mag", "mag"), "nowhere"),
    ("extract_sources", ("--calibrate-against", "far", "--reference-mag", "magnitude"), "magnitude"),
    ("extract_sources", ("--calibrate-against", "images", "--reference-mag", "gain"), "no positions"),
    ("extract_sources", ("--calibrate-against", "far", "--reference-mag", "mag", "--reference-colour", "a-"), "A-B"),
    ("extract_sources", ("--band", "W7"), "W7"),
    ("extract_sources", ("--survey", "none"), "--survey"),
    ("extract_sources", ("--where", "mjd >"), "no condition"),
    ("extract_sources", ("--where", "nothing > 3"), "no condition"),
    ("force_photometry", ("--positions", "nowhere"), "nowhere"),
    ("force_photometry", ("--positions", "images"), "no positions"),
    ("force_photometry", ("--positions", "far", "--aperture-radius-arcsec", "-1"), "--aperture-radius-arcsec"),
    ("force_photometry", ("--positions", "far", "--match-fwhm-arcsec", "-1"), "--match-fwhm-arcsec"),
    ("force_photometry", ("--positions", "far", "--band", "W7"), "W7"),
    ("build_objects", ("--dust-map", "sfd", "--dust-map-dir", "/nowhere"), "dust"),
    ("build_objects", ("--ebv-table", "far", "--ebv-column", "nothing"), "nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "flags", "said"), WRONG)
def test_what_is_wrong_is_said(lake, extracted, run_job, capsys, caplog, name, flags, said):
    code, _ = run_job(name, "--lake", lake, *flags)
    assert code in (1, 2)
    assert said in caplog.text + capsys.readouterr().err
    assert "Traceback" not in caplog.text


def test_far_positions_give_an_empty_table_and_huge_apertures_a_flag(lake, extracted):
    summary = run("force_photometry", lake, "--positions", "far", "--where", "uri LIKE '%good.fits'")
    assert (summary["status"], summary["rows_out"], summary["rows_written"]["forced_far"]) == ("done", 1, 0)
    flags = (
        "--positions",
        "detections",
        "--where",
        "uri LIKE '%good.fits'",
        "--aperture-radius-arcsec",
        "500",
    )
    summary = run("force_photometry", lake, *flags)
    assert summary["status"] == "done"
    found = ask(lake, "SELECT bit_and(flags) AS flags FROM forced_detections")[0]["flags"]
    assert found & 16


def test_a_bad_catalog_file_does_not_stop_the_others(lake, tmp_path):
    (tmp_path / "a.csv").write_text("source_id,ra,dec,mag\n1,10,20,5\n")
    (tmp_path / "b.csv").write_text("source_id,ra,dec,mag\n")
    (tmp_path / "c.csv").write_bytes(bytes(range(256)) * 20)
    flags = ("--input", tmp_path / "*.csv", "--table", "stars", "--exclude", "mag")
    summary = run("ingest_catalog", tmp_path / "lake", *flags)
    assert (summary["status"], summary["rows_out"], summary["rows_rejected"]) == ("done", 1, 2)
    reasons = {row["error_type"]: row["message"] for row in ask(tmp_path / "lake", "SELECT * FROM rejects")}
    assert "b.csv" in reasons["EmptyInput"]
    assert "c.csv" in reasons["UnsupportedFormat"]


@pytest.mark.parametrize(
    ("content", "flags", "said"),
    [
        (b"source_id,ra,dec\n", (), "nothing to ingest"),
        (b"\x00\x01\x02" * 50, (), "not a catalog"),
        (b"source_id,ra,dec\n1,2,3\n", ("--exclude", "mag", "RA "), "--exclude RA  mag"),
    ],
)
def test_a_catalog_without_use_is_said_to_be(lake, tmp_path, run_job, caplog, content, flags, said):
    (tmp_path / "only.csv").write_bytes(content)
    found = run_job(
        "ingest_catalog", "--lake", lake, "--input", tmp_path / "only.csv", "--table", "s", *flags
    )
    assert found[0] in (1, 2)
    assert said in caplog.text
