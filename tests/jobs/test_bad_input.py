"""Input that is wrong, gone or out of reach: what happens to the tables, and what is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from job_chain import run

from astrolake.lake.hats import claim_table, claims_of
from astrolake.lake.lake import Lake
from astrolake.lake.runs import RunRecord
from astrolake.lake.sql import run_query

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]


def ask(lake: Path, sql: str) -> list[dict]:
    return run_query(Lake.open(str(lake)), sql).to_pylist()


@pytest.fixture
def extracted(sample_sky, tmp_path) -> tuple[Path, list[Path]]:
    """A lake with three extracted images, and the files."""
    images = [path for path in sample_sky.images if path.suffix == ".fits"][:3]
    files = [Path(shutil.copy(path, tmp_path / path.name)) for path in images]
    lake = tmp_path / "lake"
    run("ingest_images", lake, "--images", *files)
    run("extract_sources", lake)
    return lake, files


def test_an_image_out_of_reach_keeps_its_rows(extracted):
    lake, files = extracted
    before = ask(lake, "SELECT image_id, count(*) AS n FROM detections GROUP BY image_id ORDER BY image_id")
    files[0].rename(files[0].with_suffix(".away"))
    summary = run("extract_sources", lake)
    assert (summary["rows_out"], summary["rows_rejected"]) == (2, 1)
    now = ask(lake, "SELECT image_id, count(*) AS n FROM detections GROUP BY image_id ORDER BY image_id")
    assert now == before
    again = run("ingest_images", lake, "--images", *files)
    assert again["rows_rejected"] == 1
    assert ask(lake, "SELECT count(*) AS n FROM images") == [{"n": 3}]


def test_an_image_that_was_replaced_is_not_measured_with_the_old_header(extracted):
    lake, files = extracted
    before = ask(lake, "SELECT image_id, count(*) AS n FROM detections GROUP BY image_id ORDER BY image_id")
    with fits.open(files[0]) as hdus:
        cut = fits.PrimaryHDU(hdus[0].data[:150, :200], hdus[0].header)
    cut.header["CRVAL1"] = 10.0
    cut.writeto(files[0], overwrite=True)
    summary = run("extract_sources", lake)
    assert (summary["rows_out"], summary["rows_rejected"]) == (2, 1)
    assert "ingest it again" in ask(lake, "SELECT message FROM rejects")[-1]["message"]
    now = ask(lake, "SELECT image_id, count(*) AS n FROM detections GROUP BY image_id ORDER BY image_id")
    assert now == before
    run("ingest_images", lake, "--images", *files)
    assert run("extract_sources", lake)["rows_rejected"] == 0


def test_a_damaged_image_loses_its_rows_and_is_named(extracted):
    lake, files = extracted
    files[0].write_bytes(files[0].read_bytes()[:40_000])
    assert run("ingest_images", lake, "--images", *files)["rows_rejected"] == 1
    assert ask(lake, "SELECT count(*) AS n FROM images") == [{"n": 2}]
    run("extract_sources", lake)
    left = "SELECT count(DISTINCT image_id) AS n FROM detections"
    assert ask(lake, left) == [{"n": 2}]
    message = ask(lake, "SELECT message FROM rejects WHERE error_type = 'Truncated'")[0]["message"]
    assert files[0].name in message


@pytest.mark.parametrize("value", ["'abc'", "NaN", ""])
def test_a_wcs_card_that_is_no_number_gives_no_position(sample_sky, tmp_path, value):
    source = next(path for path in sample_sky.images if path.suffix == ".fits")
    header, data = fits.getheader(source), fits.getdata(source)
    path = tmp_path / "bad.fits"
    fits.PrimaryHDU(data[:60, :60], header).writeto(path)
    raw = path.read_bytes()
    at = raw.index(b"CRVAL1  =")
    path.write_bytes(raw[:at] + f"CRVAL1  = {value:>20}".encode().ljust(80) + raw[at + 80 :])
    run("ingest_images", tmp_path / "lake", "--images", path)
    row = ask(tmp_path / "lake", "SELECT wcs_kind, wcs_problem, ra FROM images")[0]
    assert (row["wcs_kind"], row["ra"]) == ("none", None)
    assert "CRVAL1" in row["wcs_problem"]


def test_a_double_exponent_is_read_as_one(sample_sky, tmp_path):
    source = next(path for path in sample_sky.images if path.suffix == ".fits")
    header, data = fits.getheader(source), fits.getdata(source)
    path = tmp_path / "double.fits"
    fits.PrimaryHDU(data[:60, :60], header).writeto(path)
    raw = path.read_bytes()
    at = raw.index(b"CRVAL1  =")
    path.write_bytes(raw[:at] + b"CRVAL1  =                1.5D2".ljust(80) + raw[at + 80 :])
    run("ingest_images", tmp_path / "lake", "--images", path)
    assert ask(tmp_path / "lake", "SELECT ra FROM images")[0]["ra"] == pytest.approx(150, abs=1)


def test_a_repeated_identifier_is_kept_once(tmp_path, spark):
    rows = pd.DataFrame({"source_id": [1, 1, 2, 3, 3, 3], "ra": np.arange(6.0), "dec": np.zeros(6)})
    rows.to_csv(tmp_path / "repeated.csv", index=False)
    lake = tmp_path / "lake"
    summary = run("ingest_catalog", lake, "--input", tmp_path / "repeated.csv", "--table", "stars")
    assert (summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (6, 3, 3)
    assert [row["source_id"] for row in ask(lake, "SELECT source_id FROM stars ORDER BY 1")] == [1, 2, 3]
    sources = {
        row["source"] for row in ask(lake, "SELECT source FROM rejects WHERE error_type = 'DuplicateId'")
    }
    assert sources == {"source_id 1", "source_id 3"}


def test_a_catalog_without_a_usable_row_leaves_the_table_as_it_is(tmp_path, spark):
    lake = tmp_path / "lake"
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("source_id,ra,dec\n1,10,20\n")
    bad.write_text("source_id,ra,dec\n1,10,200\n2,,5\n")
    run("ingest_catalog", lake, "--input", good, "--table", "stars")
    summary = run("ingest_catalog", lake, "--input", bad, "--table", "stars")
    assert summary["status"] == "failed"
    assert ask(lake, "SELECT count(*) AS n FROM stars") == [{"n": 1}]


def test_nobody_publishes_what_a_live_run_has_claimed(tmp_path, spark):
    from datetime import UTC, datetime

    lake = tmp_path / "lake"
    (tmp_path / "good.csv").write_text("source_id,ra,dec\n1,10,20\n")
    run("ingest_catalog", lake, "--input", tmp_path / "good.csv", "--table", "stars")
    opened = Lake.open(str(lake))
    root = opened.table_storage("stars")
    assert claims_of(root) == [], "a run that has ended holds no claim"
    writer = RunRecord("20260101T000000-ingest_catalog-abcdef", "ingest_catalog", "0", {}, datetime.now(UTC))
    writer.record(opened)
    claim_table(root, writer.run_id)
    refused = run("publish_tables", lake, "--tables", "stars")
    assert refused["rows_rejected"] == 1
    assert not root.fs.exists(root.path("hats.properties"))
    writer.status = "failed"
    writer.record(opened)
    assert run("publish_tables", lake, "--tables", "stars")["rows_rejected"] == 0
    assert root.fs.exists(root.path("hats.properties"))
