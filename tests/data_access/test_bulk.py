"""Releases in bulk are read where they lie: only what a region touches, in the lake's columns."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolake.data_access import bulk as bulk_module
from astrolake.data_access.bulk import BulkQuery
from astrolake.data_access.surveys.conditions import parse_filters
from astrolake.data_access.surveys.model import Bulk
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import BadArguments, BadInput
from astrolake.sky.healpix import cells_at_order, healpix29
from astrolake.sky.region import Box, Cone
from astrolake.sky.separation import separation_arcsec

lsdb = pytest.importorskip("lsdb")


def gaia_rows(n=3000, seed=3):
    """Rows as Gaia's release has them, around (0, 10) across right ascension 0, some without colours."""
    rng = np.random.default_rng(seed)
    ra, dec = np.mod(rng.normal(0, 3, n), 360), rng.normal(10, 3, n)
    rows = pd.DataFrame({"source_id": np.arange(n) * 7 + 1, "ra": ra, "dec": dec})
    rows["ref_epoch"] = 2016.0
    for name in ("ra_error", "dec_error", "parallax_error", "pmra_error", "pmdec_error"):
        rows[name] = rng.uniform(0.02, 0.5, n)
    for name in ("parallax", "pmra", "pmdec", "radial_velocity", "radial_velocity_error"):
        rows[name] = rng.normal(0, 5, n)
    for band in ("g", "bp", "rp"):
        rows[f"phot_{band}_mean_mag"] = rng.uniform(12, 20, n)
        rows[f"phot_{band}_mean_flux"] = 1000.0
        rows[f"phot_{band}_mean_flux_error"] = 10.0
        rows[f"phot_{band}_mean_flux_over_error"] = 100.0
    rows.loc[::10, "phot_bp_mean_mag"] = np.nan
    return rows


def with_all_columns(rows, table):
    """Add what else the survey's file lists, so that a query by default finds its columns."""
    present = {name.lower() for name in rows.columns}
    missing = [name for name in table.native_names(table.select()) if name.lower() not in present]
    return pd.concat([rows, pd.DataFrame({name: np.ones(len(rows), np.float32) for name in missing})], axis=1)


@pytest.fixture(scope="module")
def rows():
    return with_all_columns(gaia_rows(), load_survey("gaia").table())


@pytest.fixture(scope="module")
def catalog(rows, tmp_path_factory):
    """A HATS collection with a margin, written by lsdb."""
    path = tmp_path_factory.mktemp("hats") / "gaia"
    found = lsdb.from_dataframe(
        rows, ra_column="ra", dec_column="dec", partition_rows=1200, catalog_name="gaia"
    )
    found.write_catalog(path)
    return path


def query_of(place, layout="hats", columns=("mag_g_cap",), filters=None, region=None, **others):
    table = load_survey("gaia").table()
    table = replace(table, bulk=Bulk(str(place), layout))
    return BulkQuery(
        table, table.select(columns), parse_filters(table, filters or {}), region=region, **others
    )


def read(query):
    tables = [rows for partition in query.partitions() for rows in query.rows(partition)]
    return pa.concat_tables(tables) if tables else query.schema.empty_table()


def test_a_cone_is_read_exactly_and_in_the_columns_of_the_lake(catalog, rows):
    region = Cone(359.5, 10.5, 1.5)
    found = read(query_of(catalog, region=region))
    inside = separation_arcsec(359.5, 10.5, rows["ra"].to_numpy(), rows["dec"].to_numpy()) <= 1.5 * 3600
    assert inside.sum() > 100
    assert found.column_names == ["source_id", "ra", "dec", "mag_g_cap"]
    assert sorted(found["source_id"].to_pylist()) == sorted(rows["source_id"][inside])
    vega = rows.set_index("source_id")["phot_g_mean_mag"]
    offset = np.array(found["mag_g_cap"]) - vega.loc[found["source_id"].to_pylist()].to_numpy()
    # Gaia DR3 documentation, section 5.4.1: G zero points 25.8010 (AB) and 25.6874 (Vega).
    np.testing.assert_allclose(offset, 25.8010 - 25.6874, atol=1e-5)


def test_only_touched_files_groups_and_columns_are_read(catalog, rows, monkeypatch):
    whole, small = query_of(catalog), query_of(catalog, region=Cone(0.0, 10.0, 0.3))
    assert 0 < len(small.partitions()) < len(whole.partitions())
    assert read(whole).num_rows == len(rows)
    asked = []
    parquet_file = pq.ParquetFile

    class Watched(parquet_file):
        def iter_batches(self, *args, **kwargs):
            asked.append((kwargs["row_groups"], kwargs["columns"]))
            return super().iter_batches(*args, **kwargs)

    monkeypatch.setattr(bulk_module.pq, "ParquetFile", Watched)
    read(small)
    assert asked
    assert all(columns == ["source_id", "ra", "dec", "phot_g_mean_mag"] for _, columns in asked)


def test_row_groups_outside_the_region_are_passed_over(tmp_path, rows):
    index = healpix29(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    order = np.argsort(index)
    table = pa.Table.from_pandas(rows.iloc[order], preserve_index=False)
    table = table.append_column("_healpix_29", pa.array(index[order]))
    # One file for one cell: the whole sky of the sample lies in base cells, each its own partition.
    cells = cells_at_order(rows["ra"].to_numpy()[order], rows["dec"].to_numpy()[order], 0)
    for cell in np.unique(cells):
        place = tmp_path / f"dataset/Norder=0/Dir=0/Npix={cell}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.filter(pa.array(cells == cell)), place, row_group_size=100)
    lines = "".join(f"0,{cell}\n" for cell in np.unique(cells))
    (tmp_path / "partition_info.csv").write_text("Norder,Npix\n" + lines)
    (tmp_path / "hats.properties").write_text("hats_version=v1.0\nhats_npix_suffix=.parquet\n")
    query = query_of(tmp_path, region=Cone(1.0, 10.0, 0.5))
    groups = read_groups = 0
    for partition in query.partitions():
        with pq.ParquetFile(partition.path) as parquet:
            groups += parquet.num_row_groups
            read_groups += len(query._groups(parquet))
    assert 0 < read_groups < groups / 2
    inside = separation_arcsec(1.0, 10.0, rows["ra"].to_numpy(), rows["dec"].to_numpy()) <= 1800
    assert read(query).num_rows == inside.sum()


def test_filters_and_cuts_apply_though_their_columns_do_not_come_out(catalog, rows):
    found = read(query_of(catalog, columns=("parallax",), filters={"G_mag": [14, 15]}))
    ab = rows["phot_g_mean_mag"] + 25.8010 - 25.6874
    assert found.column_names == ["source_id", "ra", "dec", "parallax"]
    assert sorted(found["source_id"].to_pylist()) == sorted(rows["source_id"][ab.between(14, 15)])


def test_missing_values_are_null(catalog, rows):
    found = read(query_of(catalog, columns=("mag_bp",)))
    assert found["mag_bp"].null_count == rows["phot_bp_mean_mag"].isna().sum()


def test_directories_of_irsa_are_read_by_cell(tmp_path, rows):
    cells = cells_at_order(rows["ra"].to_numpy(), rows["dec"].to_numpy(), 5)
    for cell in np.unique(cells):
        place = tmp_path / f"healpix_k0={cell >> 10}/healpix_k5={cell}/part0.snappy.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(rows[cells == cell], preserve_index=False), place)
    region = Box(358.0, 2.0, 9.0, 11.0)
    query = query_of(tmp_path, layout="healpix_k5", region=region)
    assert len(query.partitions()) < len(np.unique(cells))
    inside = region.contains(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    assert sorted(read(query)["source_id"].to_pylist()) == sorted(rows["source_id"][inside])


def test_a_public_bucket_is_read_without_a_signature(catalog, rows, aws, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    boto3.client("s3").create_bucket(Bucket="public-sky")
    for path in catalog.rglob("*"):
        if path.is_file():
            key, public = f"hats/{path.relative_to(catalog)}", {"ACL": "public-read"}
            boto3.client("s3").upload_file(str(path), "public-sky", key, ExtraArgs=public)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    query = query_of("s3://public-sky/hats", region=Cone(0.0, 10.0, 1.0), options={"AWS_ENDPOINT_URL": aws})
    assert query.store.anon
    inside = separation_arcsec(0.0, 10.0, rows["ra"].to_numpy(), rows["dec"].to_numpy()) <= 3600
    assert read(query).num_rows == inside.sum()


def test_what_is_wrong_is_said(tmp_path, catalog):
    with pytest.raises(BadInput, match="there is no HATS catalog"):
        query_of(tmp_path / "nowhere").partitions()
    with pytest.raises(BadInput, match="there is nothing there"):
        query_of(tmp_path / "nowhere", layout="healpix_k5").partitions()
    (tmp_path / "hats.properties").write_text("hats_version=v1.0\n")
    with pytest.raises(BadInput, match=r"no partition_info\.csv"):
        query_of(tmp_path).partitions()
    table = replace(load_survey("gaia").table(), bulk=None)
    with pytest.raises(BadArguments, match="no release in bulk"):
        BulkQuery(table, table.select(None)).partitions()
    query = query_of(catalog)
    first = query.partitions()[0]
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        list(query.rows(replace(first, path=first.path + "x")))
