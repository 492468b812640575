"""Every statement below sql/ on a lake whose answers are known by construction."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from lake_tables import put_rows
from sqlglot import exp, parse

from astrolake.lake.lake import Lake
from astrolake.lake.sql import (
    athena_parameters,
    bind,
    box_ranges,
    cone_ranges,
    create_view,
    open_connection,
    parameter_names,
    run_query,
)
from astrolake.schema import (
    CATALOG,
    CROSSMATCH,
    DETECTIONS,
    IMAGES,
    OBJECTS,
    PHOTOZ,
    REJECTS,
    RUNS,
    Column,
    band_columns,
)
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions
from astrolake.sky.region import Box
from astrolake.sky.separation import separation_arcsec

SQL = Path(__file__).parents[2] / "sql"
STATEMENTS = sorted(SQL.glob("*/*.sql"))
NAMES = {
    "database": "sky",
    "lake": "lake",
    "table": "objects",
    "catalog": "stars",
    "left": "objects",
    "right": "stars",
    "left_table": "stars",
    "right_table": "stars",
    "left_key": "source_id",
    "right_key": "source_id",
    "z_column": "z",
}
START = datetime(2024, 3, 5, 12, tzinfo=UTC)


def _detection(i: int, band: str, flux: float, err: float | None, *, primary: bool = True) -> dict:
    mag = 22.5 - 2.5 * math.log10(flux) if flux > 0 else None
    place = {"ra": 10.0 + i / 100, "dec": 0.5, "image_id": 1 if band == "g" else 2, "survey": "sdss"}
    measures = {
        "flux_auto": flux,
        "flux_auto_err": err,
        "mag_auto": mag,
        "fwhm": 3.0 + i,
        "background_rms": 0.1,
    }
    flags = {"flags": 4 if i == 0 else 0, "is_primary": primary, "band": band}
    return {"detection_id": f"{band}-{i}", **place, **measures, **flags}


def _object(i: int, ra: float, dec: float, g: float | None, r: float | None, flags: int = 0) -> dict:
    aper = {"mag_aper_g": g, "mag_aper_err_g": 0.03, "mag_aper_r": r, "mag_aper_err_r": 0.04}
    more = {"mag_aper_i": 15.0, "mag_aper_err_i": 0.03, "mag_auto_r": r, "n_det": 2, "flags": flags}
    return {"object_id": i, "ra": ra, "dec": dec, **aper, **more}


def _photoz(i: int, method: str, z: float, flags: int = 0, table: str = "objects") -> dict:
    place = {"ra": 0.0, "dec": 0.0, "source_table": table}
    return {"object_id": i, "method": method, "z_phot": z, "z_phot_err": 0.05, "photoz_flags": flags, **place}


def _run(i: int, job: str, status: str, seconds: float | None, rows: tuple[int, int, int]) -> dict:
    started = START + timedelta(days=i)
    ended = None if seconds is None else started + timedelta(seconds=seconds)
    counts = dict(zip(("rows_in", "rows_out", "rows_rejected"), rows, strict=True))
    return {
        "run_id": f"r{i}",
        "job": job,
        "status": status,
        "started_at": started,
        "ended_at": ended,
        **counts,
    }


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    lake = Lake.create(str(tmp_path_factory.mktemp("queries")))
    # Signal-to-noise 100, 30, 10, 5, 2 in r; one duplicate and one without error; two in g.
    fluxes = [(1000.0, 10.0), (300.0, 10.0), (100.0, 10.0), (50.0, 10.0), (20.0, 10.0)]
    detections = [_detection(i, "r", flux, err) for i, (flux, err) in enumerate(fluxes)]
    detections += [_detection(5, "r", 999.0, 10.0, primary=False), _detection(6, "r", 10.0, None)]
    detections += [_detection(i, "g", 48.0 + 2 * i, 10.0) for i in range(2)]
    put_rows(lake, DETECTIONS, detections)
    images = [
        {"image_id": i, "survey": "sdss", "band": b, "mjd": 51000.0 + i, "pixel_scale_arcsec": 0.4}
        for i, b in ((1, "g"), (2, "r"))
    ]
    put_rows(lake, IMAGES, [*images, {"image_id": 3, "survey": "decam", "band": "r"}])
    objects = [
        _object(1, 359.9999, 0.0, 17.5, 17.0) | {"star_prob": 0.1, "type": "GALAXY"},
        _object(2, 0.0001, 0.0, 19.0, 18.5) | {"star_prob": 0.2, "type": "GALAXY"},
        _object(3, 0.0, 0.01, 16.0, 15.0, flags=4) | {"star_prob": 0.0, "type": "GALAXY"},
        _object(4, 180.0, 89.999, None, 14.0) | {"star_prob": 0.9, "type": "STAR"},
    ]
    put_rows(lake, OBJECTS.with_columns(tuple(c for band in "gri" for c in band_columns(band))), objects)
    stars = [(11, 0.0, 0.0), (12, 0.0001, 0.0), (13, 200.0, 1.0)]
    put_rows(
        lake, replace(CATALOG, name="stars"), [{"source_id": i, "ra": ra, "dec": dec} for i, ra, dec in stars]
    )
    estimates = [("forest", i, z) for i, z in ((1, 0.35), (2, 0.31), (3, 0.32), (4, 0.33))]
    photoz = [_photoz(i, method, z) for method, i, z in estimates]
    photoz += [
        _photoz(1, "template", 0.9, flags=8),
        _photoz(2, "template", 0.33),
        _photoz(1, "forest", 0.34, table="b"),
    ]
    put_rows(lake, PHOTOZ, photoz)
    spectra = [
        {"source_id": i, "ra": 0.0, "dec": 0.0, "z": z} for i, z in ((21, 0.32), (22, 0.31), (23, 0.35))
    ]
    put_rows(
        lake, replace(CATALOG, name="specz").with_columns((Column("z", "float64", "Redshift"),)), spectra
    )
    pairs = [(1, 11, 0.36, 1), (1, 12, 0.72, 2), (2, 12, 0.0, 1), (3, None, None, None)]
    heads = ("left_id", "right_id", "sep_arcsec", "rank")
    rows = [dict(zip(heads, pair, strict=True)) | {"ra": 0.0, "dec": 0.0} for pair in pairs]
    put_rows(lake, replace(CROSSMATCH, name="crossmatches/objects_x_stars"), rows)
    pairs = [(1, 21, 0.1, 1), (1, 22, 0.2, 2), (2, 22, 0.3, 1), (3, 23, 0.9, 1)]
    rows = [dict(zip(heads, pair, strict=True)) | {"ra": 0.0, "dec": 0.0} for pair in pairs]
    put_rows(lake, replace(CROSSMATCH, name="crossmatches/objects_x_specz"), rows)
    runs = [_run(0, "ingest", "failed", 5, (9, 0, 9)), _run(1, "ingest", "done", 90.9, (9, 7, 2))]
    put_rows(lake, RUNS, [*runs, _run(2, "extract", "running", None, (None, None, None))])
    kinds = [("r0", "b.fits", "NoWCS"), ("r1", "a.fits", "NoWCS"), ("r1", "c.fits", "Empty")]
    rejects = [
        {"run_id": r, "source": s, "error_type": e, "job": "ingest", "message": f"{s}!"} for r, s, e in kinds
    ]
    put_rows(lake, REJECTS, rejects)
    return lake


def _run_file(lake: Lake, name: str, names: dict[str, str] | None = None, **params) -> list[dict]:
    sql = (SQL / "queries" / f"{name}.sql").read_text()
    return run_query(lake, bind(sql, params, names)).to_pylist()


def _view(lake: Lake, name: str, columns: str) -> list[tuple]:
    with open_connection(lake) as connection:
        assert create_view(connection, (SQL / "views" / f"{name}.sql").read_text()) == name
        return connection.execute(f"SELECT {columns} FROM {name} ORDER BY 1").fetchall()


def _cone(lake: Lake, ra: float, dec: float, radius_arcsec: float) -> list[dict]:
    place = {"ra": ra, "dec": dec, "radius_arcsec": radius_arcsec}
    return _run_file(
        lake, "cone_search", {"table": "objects"}, **place, **cone_ranges(ra, dec, radius_arcsec)
    )


def test_a_cone_search_reaches_over_right_ascension_zero(lake):
    found = _cone(lake, 0.0, 0.0, 1.0)
    assert sorted(row["object_id"] for row in found) == [1, 2]
    assert [row["sep_arcsec"] for row in found] == pytest.approx([0.36, 0.36], abs=1e-9)


def test_a_cone_search_reaches_over_the_pole(lake):
    (row,) = _cone(lake, 0.0, 89.9995, 10.0)
    assert row["object_id"] == 4
    assert row["sep_arcsec"] == pytest.approx(5.4, abs=1e-6)


def test_a_cone_search_measures_as_the_library(lake):
    found = _cone(lake, 0.003, -0.002, 100.0)
    assert [row["object_id"] for row in found] == [2, 1, 3]
    expected = separation_arcsec(
        np.array([row["ra"] for row in found]), np.array([row["dec"] for row in found]), 0.003, -0.002
    )
    assert [row["sep_arcsec"] for row in found] == pytest.approx(expected.tolist(), rel=1e-9)


def test_a_cone_search_adds_only_the_separation(lake):
    columns = run_query(lake, "SELECT * FROM objects", limit=0).column_names
    assert list(_cone(lake, 0.0, 0.0, 1.0)[0]) == [*columns, "sep_arcsec"]


def test_a_cone_search_reads_only_the_files_it_meets(lake):
    sql = (SQL / "queries" / "cone_search.sql").read_text()
    params = {"ra": 180.0, "dec": 89.999, "radius_arcsec": 1.0, **cone_ranges(180.0, 89.999, 1.0)}
    plan = run_query(lake, "EXPLAIN ANALYZE\n" + bind(sql, params, {"table": "objects"}))
    text = "".join(plan.column("query_plan").to_pylist())
    n_files = run_query(lake, "SELECT count(DISTINCT npix) AS n FROM objects").column("n")[0].as_py()
    assert n_files > 1
    assert f"Scanning Files: 1/{n_files}" in text
    assert f"Scanning Files: {n_files}/{n_files}" not in text


def test_the_brightest_sources_of_a_band(lake):
    found = _run_file(lake, "brightest_sources", band="r", min_flux=25.0, n_rows=3)
    assert [row["detection_id"] for row in found] == ["r-0", "r-1", "r-2"]
    assert [row["snr"] for row in found] == [100.0, 30.0, 10.0]


def test_the_brightest_objects(lake):
    assert [row["object_id"] for row in _run_file(lake, "brightest_objects", n_rows=2)] == [4, 3]


def test_source_statistics_leave_duplicates_out(lake):
    found = _run_file(lake, "source_statistics", min_flux=99.0)
    assert found == [
        {
            "survey": "sdss",
            "band": "r",
            "n_sources": 3,
            "mean_flux": pytest.approx(1400 / 3),
            "max_snr": 100.0,
        }
    ]


def test_snr_classes(lake):
    found = _run_file(lake, "snr_classes")
    # 4.8 and 5.0 in g, 5.0 and 2.0 in r are not above 5.
    assert [(row["snr_class"], row["n_sources"], row["max_snr"]) for row in found] == [
        ("very high", 1, 100.0),
        ("high", 1, 30.0),
        ("medium", 1, 10.0),
        ("low", 4, 5.0),
    ]


def test_number_counts(lake):
    found = _run_file(lake, "number_counts", band="r")
    # 22.5 - 2.5 log10 of 1000, 300, 100, 50, 20, 10: 15.0, 16.31, 17.5, 18.25, 19.25, 20.0
    assert [(row["mag_low"], row["n_sources"], row["n_up_to_bin"]) for row in found] == [
        (15.0, 1, 1),
        (16.0, 1, 2),
        (17.5, 1, 3),
        (18.0, 1, 4),
        (19.0, 1, 5),
        (20.0, 1, 6),
    ]
    assert found[0]["n_sources_err"] == 1.0


def test_colour_magnitude_points(lake):
    found = _run_file(lake, "colour_magnitude", max_mag_r=17.0, max_colour_err=0.0501)
    assert [(row["object_id"], row["g_r"]) for row in found] == [(3, 1.0), (1, 0.5)]
    assert found[0]["g_r_err"] == pytest.approx(0.05)
    assert _run_file(lake, "colour_magnitude", max_mag_r=17.0, max_colour_err=0.0499) == []


def test_crossmatch_quality(lake):
    (row,) = _run_file(lake, "crossmatch_quality", {"left": "objects", "right": "stars"})
    assert (row["n_matches"], row["n_left"], row["n_right"], row["n_shared_right"]) == (3, 2, 2, 1)
    assert (row["median_sep_arcsec"], row["p99_sep_arcsec"], row["max_sep_arcsec"]) == (
        0.36,
        pytest.approx(0.72, abs=0.03),
        0.72,
    )


def test_matched_pairs_tell_the_offset(lake):
    found = _run_file(lake, "matched_pairs", {"catalog": "stars"}, max_sep_arcsec=0.5)
    assert [(row["object_id"], row["source_id"]) for row in found] == [(2, 12), (1, 11)]
    # From ra 359.9999 to 0 the offset is +0.36 arcsec, not a turn less.
    assert found[1]["dra_cosdec_arcsec"] == pytest.approx(0.36, abs=1e-6)
    assert found[1]["ddec_arcsec"] == 0.0


def test_a_redshift_slice_holds_clean_galaxies_of_one_method(lake):
    slices = {"method": "forest", "z_min": 0.3, "z_max": 0.4}
    found = _run_file(lake, "redshift_slice", max_mag_r=22.0, **slices)
    assert [(row["object_id"], row["r_mag"], row["g_r_color"]) for row in found] == [
        (2, 18.5, 0.5),
        (1, 17.0, 0.5),
    ]
    assert [row["z_phot"] for row in found] == pytest.approx([0.31, 0.35])
    assert [row["object_id"] for row in _run_file(lake, "redshift_slice", max_mag_r=18.0, **slices)] == [1]
    assert _run_file(lake, "redshift_slice", max_mag_r=22.0, **slices | {"z_min": 0.36}) == []


def test_the_redshift_slice_as_the_document_asks_it(lake):
    query = """SELECT ra, dec, z_phot, r_mag, g_r_color
        FROM galaxies
        WHERE z_phot BETWEEN 0.3 AND 0.4
          AND r_mag < 22.0
          AND type = 'GALAXY'
          AND clean_flag = true"""
    with open_connection(lake) as connection:
        create_view(connection, (SQL / "views" / "galaxies.sql").read_text())
        rows = connection.execute(query).fetchall()
    assert sorted(row[3] for row in rows) == [17.0, 18.5, 18.5]


def test_photometric_beside_spectroscopic_redshifts(lake):
    names = {"catalog": "specz", "z_column": "z"}
    given = {"method": "forest", "z_min": 0.1, "z_max": 1.0}
    found = _run_file(lake, "photoz_spectroscopic", names, **given, max_sep_arcsec=0.5)
    assert [(row["object_id"], row["z_spec"], row["sep_arcsec"]) for row in found] == [
        (1, 0.32, 0.1),
        (2, 0.31, 0.3),
    ]
    assert [row["z_error"] for row in found] == pytest.approx([0.03, 0.0], abs=1e-7)
    assert found[0]["dz_norm"] == pytest.approx(0.03 / 1.32, abs=1e-7)
    wider = _run_file(lake, "photoz_spectroscopic", names, **given, max_sep_arcsec=1.0)
    assert [row["object_id"] for row in wider] == [1, 2, 3]


def test_photoz_scatter(lake):
    found = _run_file(lake, "photoz_scatter", {"catalog": "specz", "z_column": "z"}, max_sep_arcsec=1.0)
    assert [(row["method"], row["n_galaxies"]) for row in found] == [("forest", 3), ("template", 2)]
    assert [row["z_low"] for row in found] == pytest.approx([0.3, 0.3])
    dz = np.array([0.03 / 1.32, 0.0, -0.03 / 1.35])
    assert found[0]["bias"] == pytest.approx(0.0, abs=1e-7)
    assert found[0]["sigma_nmad"] == pytest.approx(1.4826 * np.median(np.abs(dz)), rel=1e-5)
    assert found[0]["scatter"] == pytest.approx(dz.std(ddof=1), rel=1e-5)
    assert [row["outlier_fraction"] for row in found] == [0.0, 0.5]


def test_depth_is_the_magnitude_at_five_sigma(lake):
    by_band = {row["band"]: row for row in _run_file(lake, "depth")}
    assert by_band["r"]["depth_ab_mag"] == pytest.approx(22.5 - 2.5 * math.log10(50.0))
    assert (by_band["r"]["n_sources"], by_band["r"]["n_at_5_sigma"]) == (5, 1)
    assert by_band["g"]["n_at_5_sigma"] == 2
    assert 22.5 - 2.5 * math.log10(50) <= by_band["g"]["depth_ab_mag"] <= 22.5 - 2.5 * math.log10(48)


def test_image_quality(lake):
    found = _run_file(lake, "image_quality", survey="sdss")
    assert [(row["image_id"], row["n_sources"]) for row in found] == [(1, 2), (2, 7)]
    assert found[1]["median_fwhm_arcsec"] == pytest.approx(6.0 * 0.4)
    assert found[0]["clean_fraction"] == 0.5


def test_runs_overview(lake):
    extract, ingest = _run_file(lake, "runs_overview")
    assert (extract["job"], extract["n_without_end"], extract["last_seconds"]) == ("extract", 1, None)
    assert (ingest["n_runs"], ingest["n_done"], ingest["n_failed"], ingest["last_status"]) == (
        2,
        1,
        1,
        "done",
    )
    assert (ingest["rows_in"], ingest["rows_out"], ingest["rows_rejected"]) == (18, 7, 11)
    assert (ingest["last_started_at"], ingest["last_seconds"]) == (START + timedelta(days=1), 90)


def test_rejects_overview(lake):
    found = _run_file(lake, "rejects_overview")
    assert [(row["error_type"], row["n_rejects"], row["n_runs"]) for row in found] == [
        ("NoWCS", 2, 2),
        ("Empty", 1, 1),
    ]
    assert (found[0]["example_source"], found[0]["example_message"]) == ("a.fits", "a.fits!")


def test_view_of_primary_detections(lake):
    found = dict(_view(lake, "primary_detections", "detection_id, snr"))
    assert len(found) == 8
    assert "r-5" not in found
    assert (found["r-1"], found["r-6"]) == (30.0, None)


def test_view_of_bright_objects_leaves_saturated_ones_out(lake):
    assert _view(lake, "bright_objects", "object_id") == [(1,), (4,)]


def test_view_of_object_colours(lake):
    found = _view(lake, "object_colours", "object_id, g_r, g_r_err, r_i")
    assert found[0] == (1, 0.5, pytest.approx(0.05), 2.0)
    assert [row[0] for row in found] == [1, 2, 3]


def test_view_of_galaxies(lake):
    found = _view(lake, "galaxies", "object_id, method, r_mag, type, clean_flag")
    assert sorted(found) == [
        (1, "forest", 17.0, "GALAXY", True),
        (1, "template", 17.0, "GALAXY", False),
        (2, "forest", 18.5, "GALAXY", True),
        (2, "template", 18.5, "GALAXY", True),
        (3, "forest", 15.0, "GALAXY", False),
        (4, "forest", 14.0, "STAR", True),
    ]


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: path.stem)
def test_a_file_holds_one_statement_under_a_header(path):
    text = path.read_text()
    assert all(f"{word} " in text.partition("\nWITH")[0] for word in ("-- Grain:", "-- Parameters:"))
    filled = text
    for name, value in NAMES.items():
        filled = filled.replace(f"${{{name}}}", value)
    (statement,) = parse(filled, read="athena")
    wanted = {"tables": exp.Create, "views": exp.Create, "queries": exp.Query}[path.parent.name]
    assert isinstance(statement, wanted)


@pytest.mark.parametrize("path", sorted((SQL / "queries").glob("*.sql")), ids=lambda path: path.stem)
def test_a_query_is_tested_and_tells_its_parameters(path):
    tests = Path(__file__).read_text()
    assert f'"{path.stem}"' in tests or f'"{path.name}"' in tests
    sql = path.read_text()
    header = "".join(line for line in sql.splitlines() if line.startswith("--"))
    assert all(
        f":{name}" in header for name in parameter_names(sql) if not name.startswith(("low_", "high_"))
    )


@pytest.mark.parametrize("path", sorted((SQL / "queries").glob("*.sql")), ids=lambda path: path.stem)
def test_a_query_can_be_given_to_athena_with_execution_parameters(path):
    sql = path.read_text()
    names = {name: value for name, value in NAMES.items() if f"${{{name}}}" in sql}
    text, values = athena_parameters(sql, dict.fromkeys(parameter_names(sql), 1), names)
    (statement,) = parse(text, read="athena")
    assert len(list(statement.find_all(exp.Placeholder))) == len(values)


def _crossmatch(lake: Lake, radius_arcsec: float, left: str = "left_stars", right: str = "right_stars"):
    names = {"left_table": left, "right_table": right, "left_key": "source_id", "right_key": "source_id"}
    rows = _run_file(lake, "crossmatch", names, radius_arcsec=radius_arcsec)
    return [(row["left_id"], row["right_id"], row["sep_arcsec"]) for row in rows]


@pytest.fixture(scope="module")
def skies(tmp_path_factory):
    """Two skies that meet at the poles, on the meridian, at cell corners and in duplicates."""
    rng = np.random.default_rng(4)
    n = 600
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    dec[:60], ra[60:120], dec[60:70] = 90 - rng.exponential(2, 60) / 3600, rng.normal(0, 1e-4, 60) % 360, 0.0
    dec[120:180] = rng.exponential(2, 60) / 3600 - 90
    ra[180:240], dec[180:240] = rng.choice([0.0, 45.0, 90.0], 60), 0.0
    away = rng.normal(0, 1, (2, n)) / 3600
    near_dec = np.clip(dec + away[0], -90, 90)
    near_ra = (ra + away[1] / np.maximum(np.cos(np.radians(dec)), 1e-7)) % 360
    lake = Lake.create(str(tmp_path_factory.mktemp("skies") / "lake"))
    sides = {"left_stars": (ra, dec, 0), "right_stars": (near_ra, near_dec, 1000)}
    for name, (a, d, first) in sides.items():
        rows = [{"source_id": first + i, "ra": float(a[i]), "dec": float(d[i])} for i in range(n)]
        put_rows(lake, replace(CATALOG, name=name), rows)
    return lake, *(Positions(a, d, first + np.arange(n)) for a, d, first in sides.values())


@pytest.mark.parametrize("radius", [0.5, 2.0, 30.0, 7200.0])
def test_the_crossmatch_in_sql_is_that_of_the_library(skies, radius):
    lake, left, right = skies
    found, expected = _crossmatch(lake, radius), match(left, right, radius)
    assert len(found) == len(expected) > 100
    assert [row[0] for row in found] == left.id[expected.left_index].tolist()
    np.testing.assert_allclose([row[2] for row in found], expected.sep_arcsec, atol=1e-5)
    differ = [i for i, row in enumerate(found) if row[1] != right.id[expected.right_index[i]]]
    # Haversine and Vincenty round differently: only candidates as near as another may change places.
    assert len(differ) <= 0.02 * len(found)


@pytest.mark.parametrize(
    "box", [(10.0, 50.0, -20.0, 20.0), (350.0, 10.0, -5.0, 5.0), (0.0, 360.0, 85.0, 90.0)]
)
def test_a_box_search_is_the_box_of_the_library(skies, box):
    lake, left, _ = skies
    names = dict(zip(("ra_min", "ra_max", "dec_min", "dec_max"), box, strict=True))
    rows = _run_file(lake, "box_search", {"table": "left_stars"}, **names, **box_ranges(*box))
    expected = left.id[Box(*box).contains(left.ra, left.dec)]
    assert sorted(row["source_id"] for row in rows) == sorted(expected.tolist())
    assert len(expected) > 5
