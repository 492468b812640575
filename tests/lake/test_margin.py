"""The margin that publish_tables writes, against distances to a finely sampled edge, and as LSDB reads it."""

import shutil
from pathlib import Path

import lsdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from cdshealpix import nested
from hats.io.validation import is_valid_catalog
from scipy.spatial import cKDTree

from astrolake.lake import margin
from astrolake.lake.delta import read_snapshot
from astrolake.lake.hats import retract_hats_metadata
from astrolake.lake.lake import Lake
from astrolake.sky.matching import match
from astrolake.sky.positions import Positions
from astrolake.sky.separation import unit_vectors

pytestmark = pytest.mark.spark

N = 3000


@pytest.fixture(scope="module")
def sky() -> Table:
    """A cap with the pole in it, and a patch over RA 0."""
    rng = np.random.default_rng(4)
    ra = np.concatenate([rng.uniform(0, 360, N // 2), rng.uniform(-3, 3, N // 2) % 360])
    dec = np.concatenate([90 - 3 * np.sqrt(rng.uniform(0, 1, N // 2)), rng.uniform(-3, 3, N // 2)])
    return Table({"id": np.arange(N), "ra": ra, "dec": dec, "mag": rng.uniform(15, 25, N).astype("f4")})


@pytest.fixture
def lake(run_job, tmp_path, sky) -> Lake:
    sky.write(tmp_path / "stars.parquet")
    root = tmp_path / "my lake"
    flags = ("--input", tmp_path / "stars.parquet", "--max-rows", 200)
    assert run_job("ingest_catalog", "--lake", root, "--table", "stars", *flags)[0] == 0
    return Lake.open(str(root))


def _publish(run_job, lake: Lake, *flags: object) -> Path:
    assert run_job("publish_tables", "--lake", lake.uri, "--tables", "stars", "--strict", *flags)[0] == 0
    return Path(lake.table_storage("stars").path())


def _margin(root: Path, arcsec: float) -> Path:
    return root.with_name(f"{root.name}.margin_{arcsec:g}arcs")


def _near(vectors: np.ndarray, order: int, npix: int, arcsec: float) -> np.ndarray:
    """Which positions are close to the edge of a cell, by 20,000 points on each side of it."""
    lon, lat = nested.vertices(np.array([npix], np.uint64), order, step=20_000)
    edge = unit_vectors(lon.deg.ravel(), lat.deg.ravel())
    away = np.degrees(2 * np.arcsin(cKDTree(edge).query(vectors)[0] / 2)) * 3600
    # None of the positions is so close to the limit that the sampling matters.
    assert (np.abs(away / arcsec - 1) > 1e-6).all()
    return away <= arcsec


@pytest.mark.parametrize("arcsec", [60.0, pytest.param(3600.0, marks=pytest.mark.slow)])
def test_each_partition_has_the_rows_around_it(run_job, lake, sky, arcsec):
    root = _publish(run_job, lake, "--margin-arcsec", arcsec)
    index = pq.read_table(root / "dataset", columns=["source_id", "_healpix_29", "ra", "dec"]).to_pandas()
    vectors = unit_vectors(index.ra.to_numpy(), index.dec.to_numpy())
    beside, total = _margin(root, arcsec), 0
    for file in read_snapshot(lake.delta_storage("stars")).files:
        own = (index._healpix_29.to_numpy() >> (2 * (29 - file.order))) == file.npix
        expected = index[_near(vectors, file.order, file.npix, arcsec) & ~own]
        found = list(beside.glob(f"dataset/Norder={file.order}/Dir=*/Npix={file.npix}.parquet"))
        assert len(found) == (len(expected) > 0)
        total += len(expected)
        if found:
            rows = pq.read_table(found[0]).to_pandas()
            assert sorted(rows.source_id) == sorted(expected.source_id)
            assert rows._healpix_29.is_monotonic_increasing
            assert rows.mag.dtype == np.float32
    assert total > (20 if arcsec < 100 else 1000)
    assert is_valid_catalog(root, strict=True)
    assert is_valid_catalog(beside, strict=True)
    assert f"hats_nrows={total}\n" in (beside / "hats.properties").read_text()


def test_lsdb_opens_table_and_margin_wherever_the_lake_was_moved(run_job, lake, sky, tmp_path):
    root = _publish(run_job, lake, "--margin-arcsec", 600)
    moved = tmp_path / "elsewhere"
    shutil.move(root, moved)
    shutil.move(_margin(root, 600), _margin(moved, 600))
    catalog = lsdb.open_catalog(moved, margin_cache=_margin(moved, 600))
    assert len(catalog) == N
    assert catalog.margin is not None
    assert catalog.margin.hc_structure.catalog_info.margin_threshold == 600
    sides = {"radius_arcsec": 600, "n_neighbors": 50, "suffixes": ("", "_2")}
    matched = len(catalog.crossmatch(catalog, **sides).compute())
    positions = Positions(np.asarray(sky["ra"]), np.asarray(sky["dec"]), np.arange(N))
    assert matched == len(match(positions, positions, 600.0, "nearest-n", 50))
    alone = lsdb.open_catalog(moved)
    with pytest.warns(RuntimeWarning, match="margin"):
        assert len(alone.crossmatch(alone, **sides).compute()) < matched


def test_a_write_withdraws_the_margin_and_the_next_publish_deletes_it(run_job, lake):
    root = _publish(run_job, lake, "--margin-arcsec", 60)
    retract_hats_metadata(lake.table_storage("stars"))
    assert not (_margin(root, 60) / "hats.properties").exists()
    _publish(run_job, lake)
    assert not list(root.parent.glob("*.margin_*"))


def test_what_lies_beside_a_version_stays_until_it_is_written_to(run_job, lake):
    root = _publish(run_job, lake, "--margin-arcsec", 60, "--skymap-order", 2)
    before = {path: path.stat().st_mtime_ns for path in _margin(root, 60).rglob("*") if path.is_file()}
    _publish(run_job, lake, "--margin-arcsec", 60)
    _publish(run_job, lake, "--margin-arcsec", 120)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sorted(path.name for path in root.parent.glob("*.margin_*")) == [
        "stars.margin_120arcs",
        "stars.margin_60arcs",
    ]
    assert "hats_skymap_order=2" in (root / "hats.properties").read_text()
    assert is_valid_catalog(root, strict=True)


def test_a_publish_that_another_disturbs_says_so_and_leaves_no_catalog(run_job, lake, monkeypatch):
    write = margin.write_hats_metadata

    def write_late(directory, *rest):
        write(directory, *rest)
        shutil.rmtree(directory.path("dataset"))

    monkeypatch.setattr(margin, "write_hats_metadata", write_late)
    code, summary = run_job("publish_tables", "--lake", lake.uri, "--tables", "stars", "--margin-arcsec", 60)
    assert (code, summary["rows_rejected"]) == (0, 1)
    root = Path(lake.table_storage("stars").path())
    assert not (_margin(root, 60) / "hats.properties").exists()
    monkeypatch.undo()
    _publish(run_job, lake, "--margin-arcsec", 60)
    assert is_valid_catalog(_margin(root, 60), strict=True)


def test_a_killed_publish_is_begun_anew(run_job, lake):
    root = _publish(run_job, lake, "--margin-arcsec", 60)
    whole = pq.read_table(_margin(root, 60) / "dataset").num_rows
    for name in ("hats.properties", "properties"):
        (_margin(root, 60) / name).unlink()
    stray = next(_margin(root, 60).glob("dataset/Norder=*/Dir=*/*.parquet"))
    stray.with_name("Npix=9.parquet.part-1.tmp").write_bytes(b"half")
    _publish(run_job, lake, "--margin-arcsec", 60)
    assert pq.read_table(_margin(root, 60) / "dataset").num_rows == whole
    assert is_valid_catalog(_margin(root, 60), strict=True)


def test_a_margin_without_rows_is_a_catalog_of_none(run_job, lake, tmp_path):
    Table({"id": [1], "ra": [10.0], "dec": [10.0]}).write(tmp_path / "one.parquet")
    run_job("ingest_catalog", "--lake", lake.uri, "--table", "stars", "--input", tmp_path / "one.parquet")
    root = _publish(run_job, lake, "--margin-arcsec", 60)
    assert len(lsdb.open_catalog(root, margin_cache=_margin(root, 60)).compute()) == 1


@pytest.mark.parametrize("arcsec", ["-1", "nan", "20000"])
def test_margins_out_of_range_are_refused(run_job, tmp_path, arcsec):
    assert run_job("publish_tables", "--lake", tmp_path, "--margin-arcsec", arcsec) == (2, {})
