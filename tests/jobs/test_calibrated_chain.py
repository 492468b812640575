"""Calibration through the jobs: a reference in the lake gives zero points, positions and E(B-V)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from job_chain import run

from astrolake.lake.lake import Lake
from astrolake.lake.sql import run_query
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions

pytestmark = pytest.mark.spark

#: The reference differs from the images' headers and WCS by this much.
BRIGHTER_MAG, EAST_ARCSEC, EBV = 0.07, 0.5, 0.1


@pytest.fixture(scope="module")
def truth(sample_sky):
    return pd.read_parquet(sample_sky.truth)


@pytest.fixture(scope="module")
def calibrated(sample_sky, truth, tmp_path_factory, spark):
    """A lake whose r images were calibrated against the sample sky's own stars."""
    path = tmp_path_factory.mktemp("calibrated") / "lake"
    file = tmp_path_factory.mktemp("reference") / "stars.fits"
    stars = truth[(truth["type"] == "star") & (truth["mag_r"] < 21)]
    columns = stars[["truth_id", "dec", "pmra", "pmdec", "ref_epoch"]].copy()
    columns["ra"] = stars["ra"] + EAST_ARCSEC / 3600 / np.cos(np.radians(stars["dec"]))
    columns["r"], columns["g"] = stars["mag_r"] - BRIGHTER_MAG, stars["mag_g"]
    columns["ebv"] = EBV
    Table.from_pandas(columns).write(file)
    run("ingest_images", path, "--images", sample_sky.images_dir)
    run("ingest_catalog", path, "--input", file, "--table", "stars", "--id-column", "truth_id")
    flags = ("--calibrate-against", "stars", "--reference-mag", "r", "--correct-astrometry")
    run("extract_sources", path, "--band", "r", *flags)
    return Lake.open(str(path)), path


def test_every_image_has_its_quality(calibrated):
    lake, _ = calibrated
    rows = run_query(lake, "SELECT * FROM image_quality").to_pandas()
    assert len(rows) == 4
    assert set(rows["zero_point_source"]) == {"reference"}
    np.testing.assert_allclose(rows["zero_point_ab"], rows["zero_point_header"] - BRIGHTER_MAG, atol=0.03)
    pull = (rows["zero_point_ab"] - rows["zero_point_header"] + BRIGHTER_MAG) / rows["zero_point_err"]
    assert np.abs(pull).max() < 4
    np.testing.assert_allclose(rows["ra_offset_arcsec"], -EAST_ARCSEC, atol=0.03)
    np.testing.assert_allclose(rows["dec_offset_arcsec"], 0.0, atol=0.03)
    counts = run_query(lake, "SELECT image_id, count(*) AS n FROM detections GROUP BY image_id").to_pandas()
    assert dict(zip(rows["image_id"], rows["n_sources"], strict=True)) == dict(
        zip(counts["image_id"], counts["n"], strict=True)
    )
    assert (rows["fwhm_arcsec"].between(0.5, 3.0)).all()
    assert (rows["depth_5sigma"].between(20, 25)).all()


def test_shifted_positions_are_found_where_the_image_has_them(calibrated):
    """Detections were shifted by half an arcsecond, more than a pixel."""
    lake, path = calibrated
    shifts = run_query(lake, "SELECT ra_shift_arcsec FROM image_quality").to_pandas()
    assert np.abs(shifts["ra_shift_arcsec"] + EAST_ARCSEC).max() < 0.1
    summary = run("force_photometry", path, "--positions", "detections", "--band", "r")
    assert list(summary["rows_written"]) == ["forced_detections"]
    found = run_query(lake, """
        SELECT d.x - f.x AS dx, d.y - f.y AS dy FROM forced_detections f
        JOIN detections d ON d.image_id = f.image_id AND d.detection_id = f.position_id""").to_pandas()  # fmt: skip
    n_detections = run_query(lake, "SELECT count(*) AS n FROM detections").to_pylist()[0]["n"]
    assert len(found) == n_detections > 200
    assert np.abs(found).to_numpy().max() < 0.01


def test_detections_are_where_and_as_bright_as_the_reference(calibrated, truth):
    lake, _ = calibrated
    found = run_query(
        lake, "SELECT ra, dec, mag_auto, flags, star_prob FROM detections WHERE is_primary"
    ).to_pandas()
    theirs = truth[truth["mag_r"] < 20.5]
    east = EAST_ARCSEC / 3600 / np.cos(np.radians(theirs["dec"].to_numpy()))
    places = Positions(theirs["ra"].to_numpy() + east, theirs["dec"].to_numpy(), np.arange(len(theirs)))
    sources = Positions(found["ra"].to_numpy(), found["dec"].to_numpy(), np.arange(len(found)))
    pairs = match(sources, places, 0.6)
    clean = (found["flags"].to_numpy()[pairs.left_index] & 31) == 0
    difference = (
        found["mag_auto"].to_numpy()[pairs.left_index] - theirs["mag_r"].to_numpy()[pairs.right_index]
    )
    star, galaxy = ((theirs["type"] == kind).to_numpy()[pairs.right_index] for kind in ("star", "galaxy"))
    assert np.median(pairs.sep_arcsec[clean]) < 0.1
    assert np.median(difference[clean & star]) == pytest.approx(-BRIGHTER_MAG, abs=0.04)
    probability = found["star_prob"].to_numpy()[pairs.left_index]
    known = clean & np.isfinite(probability)
    assert known.sum() > 30
    assert (probability[known & star] > 0.5).mean() > 0.9
    assert (probability[known & galaxy] < 0.5).mean() > 0.9


def test_extracting_again_replaces_the_quality(calibrated):
    lake, path = calibrated
    run("extract_sources", path, "--band", "r", "--inject-stars", "100")
    rows = run_query(lake, "SELECT * FROM image_quality").to_pandas()
    assert len(rows) == 4
    assert set(rows["zero_point_source"]) == {"header"}
    assert rows["zero_point_scatter"].isna().all()
    assert (rows["completeness_90"] < rows["completeness_50"]).all()
    np.testing.assert_allclose(rows["completeness_50"], rows["depth_5sigma"], atol=0.8)


def test_objects_are_dereddened_by_a_table_of_the_lake(calibrated):
    lake, path = calibrated
    run("build_objects", path, "--ebv-table", "stars")
    rows = run_query(lake, "SELECT ebv, mag_auto_r, mag_auto_dered_r FROM objects").to_pandas()
    assert (rows["ebv"] == EBV).all()
    known = rows["mag_auto_r"].notna()
    assert known.sum() > 100
    np.testing.assert_allclose(rows["mag_auto_r"][known] - rows["mag_auto_dered_r"][known], 2.285 * EBV)


@pytest.mark.parametrize(
    ("name", "flags", "code", "said"),
    [
        ("extract_sources", ("--calibrate-against", "stars", "--reference-mag", "mag_{band}"), 1, "mag_g"),
        ("extract_sources", ("--calibrate-against", "stars"), 2, "go together"),
        ("extract_sources", ("--calibrate-against", "stars", "--reference-mag", "r"), 2, "of one band"),
        ("extract_sources", ("--correct-astrometry",), 2, "--calibrate-against"),
        ("build_objects", ("--ebv-table", "images"), 2, "no positions"),
        ("build_objects", ("--ebv-table", "stars", "--dust-map", "sfd"), 2, "one of them"),
    ],
)
def test_what_is_wrong_is_said(calibrated, run_job, capsys, caplog, name, flags, code, said):
    _, path = calibrated
    assert run_job(name, "--lake", path, *flags)[0] == code
    assert said in caplog.text + capsys.readouterr().err


def test_objects_are_measured_on_all_images(calibrated, truth):
    """Positions of r objects on the g, r and i images: fluxes of what each band sees, limits of the rest."""
    lake, path = calibrated
    run("extract_sources", path)
    run("build_objects", path)
    summary = run("force_photometry", path, "--match-fwhm-arcsec", "1.6")
    assert (summary["rows_in"], summary["rows_rejected"]) == (12, 0)
    forced = run_query(lake, "SELECT * FROM forced_objects").to_pandas()
    assert summary["rows_written"]["forced_objects"] == len(forced) > 1000
    assert not forced.duplicated(["position_id", "image_id"]).any()
    assert (forced["mag"].isna() != forced["mag_limit"].isna())[forced["flux"].notna()].all()
    assert forced["fwhm_arcsec"].min() >= 1.6
    found = run_query(lake, """
        SELECT f.band, f.mag, d.mag_aper[1] AS mag_aper, d.mag_auto FROM forced_objects f
        JOIN objects o ON f.position_id = o.object_id
        JOIN detections d ON d.image_id = f.image_id AND abs(d.x - f.x) < 0.5 AND abs(d.y - f.y) < 0.5
        WHERE d.flags = 0 AND d.mag_auto < 19 AND f.flags = 0""").to_pandas()  # fmt: skip
    assert set(found["band"]) == {"g", "r", "i"}
    # What the aperture of 1.5 arcsec holds of a star at 1.6 arcsec seeing, and a little more or less of it.
    lost = (found["mag"] - found["mag_auto"])[found["mag_auto"] < 19]
    assert 0.1 < lost.median() < 0.6


def test_forced_photometry_again_replaces_its_rows(calibrated):
    lake, path = calibrated
    before = run_query(lake, "SELECT count(*) AS n FROM forced_objects").to_pylist()[0]["n"]
    run("force_photometry", path, "--band", "r")
    assert run_query(lake, "SELECT count(*) AS n FROM forced_objects").to_pylist()[0]["n"] == before
