from datetime import UTC, datetime
from pathlib import Path

import hats
import lsdb
import pyarrow.parquet as pq
import pytest
from commits import STARS
from hats.io.validation import is_valid_catalog
from lake_tables import put_rows

from astrolake.lake.hats import (
    claim_table,
    claims_of,
    release_claim,
    retract_hats_metadata,
    write_hats_metadata,
)
from astrolake.lake.lake import Lake
from astrolake.lake.publish import publish_hats
from astrolake.lake.reader import table_snapshot

NOW = datetime(2025, 6, 1, 12, 30, tzinfo=UTC)
#: Fourteen stars around the equator, two of them in one place.
ROWS = [{"source_id": i, "ra": 27.0 * (i % 13), "dec": 10.0} for i in range(14)]


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.create(str(tmp_path / "my lake"))


@pytest.fixture
def published(lake) -> Lake:
    put_rows(lake, STARS, ROWS, "run-1")
    publish_hats(lake, "stars", 0, NOW)
    return lake


def _root(lake: Lake) -> str:
    return lake.table_storage("stars").path()


def _text(lake: Lake, name: str) -> str:
    return Path(_root(lake), name).read_text()


def _ids(lake: Lake) -> list[int]:
    return sorted(lsdb.open_catalog(_root(lake)).compute()["source_id"])


def test_a_published_table_is_a_valid_catalog(published):
    assert is_valid_catalog(_root(published), strict=True)


def test_lsdb_reads_every_row_once(published):
    assert len(lsdb.open_catalog(_root(published))) == 14
    assert _ids(published) == list(range(14))


def test_lsdb_finds_a_cone(published):
    found = lsdb.open_catalog(_root(published)).cone_search(ra=54.0, dec=10.0, radius_arcsec=5).compute()
    assert found["source_id"].tolist() == [2]


def test_a_table_published_again_has_its_new_rows_alone(published):
    put_rows(published, STARS, ROWS[3:8], "run-2")
    publish_hats(published, "stars", 0, NOW)
    assert is_valid_catalog(_root(published), strict=True)
    assert _ids(published) == [3, 4, 5, 6, 7]


def test_publishing_twice_changes_nothing(published):
    publish_hats(published, "stars", 0, NOW)
    assert is_valid_catalog(_root(published), strict=True)
    assert len(lsdb.open_catalog(_root(published))) == 14


@pytest.mark.parametrize("before", [[], ROWS], ids=["from the start", "emptied"])
def test_an_empty_table_is_a_valid_catalog_without_rows(lake, before):
    if before:
        put_rows(lake, STARS, before, "run-1")
    put_rows(lake, STARS, [], "run-2")
    publish_hats(lake, "stars", 0, NOW)
    assert is_valid_catalog(_root(lake), strict=True)
    assert len(lsdb.open_catalog(_root(lake)).compute()) == 0


def test_one_row_is_a_catalog(lake):
    put_rows(lake, STARS, ROWS[:1])
    publish_hats(lake, "stars", 0, NOW)
    assert is_valid_catalog(_root(lake), strict=True)
    assert _ids(lake) == [0]


def test_the_properties_say_what_hats_asks_for(published):
    info = hats.read_hats(_root(published)).catalog_info
    assert info.catalog_name == "stars"
    assert info.total_rows == 14
    assert (info.ra_column, info.dec_column, info.healpix_column, info.healpix_order) == (
        "ra", "dec", "_healpix_29", 29,
    )  # fmt: skip
    assert "hats_creation_date=2025-06-01T12:30UTC" in _text(published, "hats.properties")


def test_older_readers_find_the_same_properties(published):
    assert _text(published, "properties") == _text(published, "hats.properties")


def test_the_partition_list_is_the_partitions(published):
    snapshot = table_snapshot(published, "stars")
    expected = [f"{file.order},{file.npix}" for file in sorted(snapshot.files, key=lambda file: file.npix)]
    assert _text(published, "partition_info.csv").split() == ["Norder,Npix", *expected]


def test_the_merged_footer_covers_every_row(published):
    metadata = pq.read_metadata(published.delta_storage("stars").path("_metadata"))
    assert metadata.num_rows == 14


def test_the_common_schema_is_that_of_the_files(published):
    schema = pq.read_schema(published.delta_storage("stars").path("_common_metadata"))
    assert schema.names == list(STARS.column_names)
    assert schema.field("ra").metadata[b"unit"] == b"deg"


def test_a_retracted_catalog_is_none(published):
    retract_hats_metadata(published.table_storage("stars"))
    assert not is_valid_catalog(_root(published))
    with pytest.raises(FileNotFoundError):
        hats.read_hats(_root(published))


def test_retracting_what_was_never_published_is_no_error(lake):
    put_rows(lake, STARS, ROWS)
    retract_hats_metadata(lake.table_storage("stars"))


def test_a_claim_is_seen_until_it_is_released(published):
    root = published.table_storage("stars")
    assert claims_of(root) == []
    claim_table(root, "run-2")
    claim_table(root, "run-1")
    claim_table(root, "run-1")
    assert claims_of(root) == ["run-1", "run-2"]
    release_claim(root, "run-1")
    release_claim(root, "run-1")
    assert claims_of(root) == ["run-2"]


def test_a_claim_is_no_part_of_the_catalog(published):
    claim_table(published.table_storage("stars"), "run-2")
    assert is_valid_catalog(_root(published), strict=True)
    assert published.tables() == ["stars"]


def test_no_half_written_file_is_left(published):
    storage = published.table_storage("stars")
    assert not [name for name in storage.fs.find(storage.path()) if name.endswith(".tmp")]


def test_metadata_describe_the_version_they_were_given(lake):
    put_rows(lake, STARS, ROWS[:5], "run-1")
    old = table_snapshot(lake, "stars")
    put_rows(lake, STARS, ROWS, "run-2")
    write_hats_metadata(lake.table_storage("stars"), "stars", old, NOW)
    assert "hats_nrows=5\n" in _text(lake, "hats.properties")
