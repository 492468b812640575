"""Every query below sql/queries on a lake that the jobs filled from the sample sky, against pandas.

Photo-z are put in from the true redshifts: the small sample has too few spectra to train on.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from job_chain import run

from astrolake.lake.lake import Lake
from astrolake.lake.sql import bind, box_ranges, cone_ranges, create_view, open_connection, run_query
from astrolake.lake.sql_scan import scan_size
from astrolake.schema import PHOTOZ

sys.path.append(str(Path(__file__).parents[1] / "lake"))
from lake_tables import put_rows

pytestmark = pytest.mark.spark

SQL = Path(__file__).parents[2] / "sql"
BAD = 4 | 8 | 16


@pytest.fixture(scope="module")
def lake(filled, tmp_path_factory) -> Lake:
    """A copy of the filled lake, with the match to the spectra and with photo-z."""
    path = tmp_path_factory.mktemp("asked") / "lake"
    shutil.copytree(filled.path, path)
    assert run("crossmatch_catalogs", path, "--left", "objects", "--right", "specz")["status"] == "done"
    found = Lake.open(str(path))
    truth = pd.read_parquet(filled.sky.truth)
    truth = truth[truth["type"] == "galaxy"]
    objects = table(found, "objects")
    there = SkyCoord(truth["ra"], truth["dec"], unit="deg")
    near, sep, _ = SkyCoord(objects["ra"], objects["dec"], unit="deg").match_to_catalog_sky(there)
    z = truth["z"].to_numpy()[near] * 1.01
    rows = [
        {
            **{"object_id": int(key), "ra": ra, "dec": dec, "method": "forest", "source_table": "objects"},
            **{"z_phot": float(redshift), "z_phot_err": 0.02, "photoz_flags": 0 if distance < 1 else 16},
        }
        for key, ra, dec, redshift, distance in zip(
            objects["object_id"], objects["ra"], objects["dec"], z, sep.arcsec, strict=True
        )
    ]
    put_rows(found, PHOTOZ, rows)
    return found


def table(lake: Lake, name: str) -> pd.DataFrame:
    return run_query(lake, f"SELECT * FROM {name}").to_pandas()


def ask(lake: Lake, name: str, names: dict[str, str] | None = None, **params) -> pd.DataFrame:
    """Rows of a query file; the scan that it would cost is checked against the tables' bytes."""
    sql = bind((SQL / "queries" / f"{name}.sql").read_text(), params, names)
    scan = scan_size(lake, sql)
    assert 0 < scan.files <= scan.files_of
    assert scan.bytes > 0
    return run_query(lake, sql).to_pandas()


@pytest.fixture(scope="module")
def primary(lake) -> pd.DataFrame:
    found = table(lake, "detections")
    found = found[found["is_primary"].astype(bool)]
    return found.assign(snr=found["flux_auto"] / found["flux_auto_err"])


def test_sources(lake, primary):
    r = primary[(primary["band"] == "r") & (primary["flux_auto"] > 100)]
    bright = ask(lake, "brightest_sources", band="r", min_flux=100.0, n_rows=10)
    expected = r.sort_values("flux_auto", ascending=False).head(10)
    assert bright["detection_id"].tolist() == expected["detection_id"].tolist()
    assert bright["snr"].to_numpy() == pytest.approx(expected["snr"].to_numpy())
    found = ask(lake, "source_statistics", min_flux=500.0).set_index("band")
    groups = primary[primary["flux_auto"] > 500].groupby("band")
    assert found["n_sources"].to_dict() == groups.size().to_dict()
    assert found["mean_flux"].to_dict() == pytest.approx(groups["flux_auto"].mean().to_dict())
    assert found["max_snr"].to_dict() == pytest.approx(groups["snr"].max().to_dict())


def test_classes_counts_and_depth(lake, primary):
    classes = ask(lake, "snr_classes").set_index("snr_class")["n_sources"].to_dict()
    cuts = pd.cut(primary["snr"], [-np.inf, 5, 20, 50, np.inf], labels=["low", "medium", "high", "very high"])
    assert classes == {key: n for key, n in cuts.value_counts().to_dict().items() if n}
    i = primary[(primary["band"] == "i") & primary["mag_auto"].notna()]
    counts = ask(lake, "number_counts", band="i").set_index("mag_low")
    expected = (np.floor(i["mag_auto"] * 2) / 2).value_counts().sort_index()
    assert counts["n_sources"].to_dict() == expected.to_dict()
    assert counts["n_up_to_bin"].tolist() == expected.cumsum().tolist()
    depth = ask(lake, "depth").set_index("band")
    for band, group in primary[primary["mag_auto"].notna()].groupby("band"):
        at_5 = group[(group["snr"] >= 4.5) & (group["snr"] <= 5.5)]
        assert depth.loc[band, "n_at_5_sigma"] == len(at_5)
        assert abs(depth.loc[band, "depth_ab_mag"] - at_5["mag_auto"].median()) < 0.05


def test_images_runs_and_rejects(lake):
    images, detections = table(lake, "images"), table(lake, "detections")
    found = ask(lake, "image_quality", survey=images["survey"].mode()[0])
    assert (
        dict(zip(found["image_id"], found["n_sources"], strict=True))
        == detections.groupby("image_id").size().to_dict()
    )
    runs = table(lake, "runs")
    by_job = ask(lake, "runs_overview").set_index("job")
    assert by_job["n_runs"].to_dict() == runs.groupby("job").size().to_dict()
    assert by_job["rows_in"].to_dict() == runs.groupby("job")["rows_in"].sum().to_dict()
    rejects = table(lake, "rejects")
    kinds = ask(lake, "rejects_overview").set_index(["job", "error_type"])["n_rejects"].to_dict()
    assert kinds == rejects.groupby(["job", "error_type"]).size().to_dict()


def test_objects(lake):
    objects = table(lake, "objects")
    bright = ask(lake, "brightest_objects", n_rows=5)
    assert (
        bright["object_id"].tolist()
        == objects.dropna(subset="mag_auto_r").nsmallest(5, "mag_auto_r")["object_id"].tolist()
    )
    error = np.hypot(objects["mag_aper_err_g"], objects["mag_aper_err_r"])
    expected = objects[(objects["mag_auto_r"] <= 20) & (error <= 0.1)].sort_values(
        ["mag_auto_r", "object_id"]
    )
    points = ask(lake, "colour_magnitude", max_mag_r=20.0, max_colour_err=0.1)
    assert points["object_id"].tolist() == expected["object_id"].tolist()
    assert points["g_r"].to_numpy() == pytest.approx(
        (expected["mag_aper_g"] - expected["mag_aper_r"]).to_numpy()
    )


def test_places(lake):
    objects = table(lake, "objects")
    centre = objects.iloc[len(objects) // 2]
    place = {"ra": float(centre["ra"]), "dec": float(centre["dec"]), "radius_arcsec": 40.0}
    cone = ask(lake, "cone_search", {"table": "objects"}, **place, **cone_ranges(*place.values()))
    here = SkyCoord(centre["ra"], centre["dec"], unit="deg")
    sep = SkyCoord(objects["ra"], objects["dec"], unit="deg").separation(here).arcsec
    assert set(cone["object_id"]) == set(objects["object_id"][sep <= 40])
    assert len(cone) > 1
    edges = {
        **{"ra_min": float(centre["ra"] - 0.02), "ra_max": float(centre["ra"] + 0.02)},
        **{"dec_min": float(centre["dec"] - 0.01), "dec_max": float(centre["dec"] + 0.01)},
    }
    box = ask(lake, "box_search", {"table": "objects"}, **edges, **box_ranges(*edges.values()))
    inside = objects["ra"].between(edges["ra_min"], edges["ra_max"]) & objects["dec"].between(
        edges["dec_min"], edges["dec_max"]
    )
    assert set(box["object_id"]) == set(objects["object_id"][inside])


def test_matches(lake):
    pairs, gaia, objects = (table(lake, name) for name in ("crossmatches_objects_x_gaia", "gaia", "objects"))
    quality = ask(lake, "crossmatch_quality", {"left": "objects", "right": "gaia"}).iloc[0]
    assert quality["n_matches"] == len(pairs)
    assert quality["n_right"] == pairs["right_id"].nunique()
    assert abs(quality["median_sep_arcsec"] - pairs["sep_arcsec"].median()) < 0.01
    close = pairs[(pairs["rank"] == 1) & (pairs["sep_arcsec"] <= 0.3)]
    found = ask(lake, "matched_pairs", {"catalog": "gaia"}, max_sep_arcsec=0.3)
    assert set(zip(found["object_id"], found["source_id"], strict=True)) == set(
        zip(close["left_id"], close["right_id"], strict=True)
    )
    names = {
        "left_table": "objects",
        "right_table": "gaia",
        "left_key": "object_id",
        "right_key": "source_id",
    }
    nearest = ask(lake, "crossmatch", names, radius_arcsec=1.0)
    sky, stars = (SkyCoord(t["ra"], t["dec"], unit="deg") for t in (objects, gaia))
    index, sep, _ = sky.match_to_catalog_sky(stars)
    within = sep <= 1 * u.arcsec
    expected = dict(
        zip(objects["object_id"][within], gaia["source_id"].to_numpy()[index[within]], strict=True)
    )
    assert dict(zip(nearest["left_id"], nearest["right_id"], strict=True)) == expected


def test_redshifts(lake):
    objects, photoz = table(lake, "objects"), table(lake, "photoz")
    both = objects.merge(photoz[["object_id", "z_phot", "photoz_flags"]], on="object_id")
    chosen = both[
        both["z_phot"].between(0.2, 0.6)
        & (both["photoz_flags"] == 0)
        & (both["mag_auto_r"] < 22)
        & (both["type"] == "GALAXY")
        & (both["flags"] & BAD == 0)
    ]
    found = ask(lake, "redshift_slice", method="forest", z_min=0.2, z_max=0.6, max_mag_r=22.0)
    assert set(found["object_id"]) == set(chosen["object_id"])
    assert len(found) > 5
    matched = table(lake, "crossmatches_objects_x_specz").merge(
        table(lake, "specz")[["source_id", "z"]], left_on="right_id", right_on="source_id"
    )
    matched = matched[matched["rank"] == 1].merge(photoz, left_on="left_id", right_on="object_id")
    names = {"catalog": "specz", "z_column": "z"}
    paired = ask(
        lake, "photoz_spectroscopic", names, method="forest", z_min=0.0, z_max=3.0, max_sep_arcsec=1.0
    )
    assert set(paired["object_id"]) == set(matched["object_id"])
    # Estimates are 1 % too large by construction.
    assert paired["dz_norm"].median() == pytest.approx(
        (0.01 * matched["z"] / (1 + matched["z"])).median(), abs=1e-3
    )
    scatter = ask(lake, "photoz_scatter", names, max_sep_arcsec=1.0)
    assert scatter["n_galaxies"].sum() == len(matched)
    bins = np.floor(matched["z"] / 0.1).astype(int).value_counts()
    by_bin = dict(zip((scatter["z_low"] * 10).round().astype(int), scatter["n_galaxies"], strict=True))
    assert by_bin == bins.to_dict()


@pytest.mark.parametrize("path", sorted((SQL / "views").glob("*.sql")), ids=lambda path: path.stem)
def test_views(lake, path):
    text = path.read_text()
    if "FROM sources" in text:
        pytest.skip("the table of uploaded images is not in a lake")
    with open_connection(lake) as connection:
        name = create_view(connection, text)
        assert connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] > 0


def test_every_query_is_asked_here():
    text = Path(__file__).read_text()
    assert [path.stem for path in (SQL / "queries").glob("*.sql") if f'"{path.stem}"' not in text] == []
