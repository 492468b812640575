"""What a query scans: only the columns it needs, of the row groups and files that its conditions leave."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from lake_tables import put_rows

from astrolake.cli import main
from astrolake.errors import BadArguments, TableNotFound
from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.sql import bind, box_ranges, cone_ranges
from astrolake.lake.sql_scan import Scan, scan_size
from astrolake.schema import CATALOG, RUNS, Column

QUERIES = Path(__file__).parents[2] / "sql" / "queries"
STARS = replace(CATALOG, name="stars").with_columns(
    (Column("mag", "float64", "Magnitude"), Column("mags", "list<float64>", "More"))
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """Stars all over the sky, a file for each of the twelve base cells."""
    lake = Lake.create(str(tmp_path_factory.mktemp("scans")))
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    rows = [
        {"source_id": i, "ra": ra[i], "dec": dec[i], "mag": 10 + i / 300, "mags": [1.0 * i]}
        for i in range(3000)
    ]
    put_rows(lake, STARS, rows)
    put_rows(lake, RUNS, [{"run_id": "r", "job": "a", "status": "done", "code_version": "1"}])
    return lake


def _chunks(lake: Lake, *columns: str) -> int:
    """Compressed bytes of columns of all files, from their footers."""
    storage = lake.delta_storage("stars")
    total = 0
    for file in read_snapshot(storage).files:
        metadata = pq.read_metadata(storage.path(file.path))
        for group in range(metadata.num_row_groups):
            chunks = [metadata.row_group(group).column(i) for i in range(metadata.num_columns)]
            total += sum(c.total_compressed_size for c in chunks if c.path_in_schema.split(".")[0] in columns)
    return total


def test_a_column_costs_its_chunks(lake):
    assert scan_size(lake, "SELECT avg(mag) AS m FROM stars") == Scan(_chunks(lake, "mag"), 12, 12)
    assert scan_size(lake, "SELECT mags FROM stars").bytes == _chunks(lake, "mags") > 0
    assert scan_size(lake, "SELECT count(*) AS n FROM sky.stars").bytes == 0
    everything = pq.read_schema(
        lake.delta_storage("stars").path(read_snapshot(lake.delta_storage("stars")).files[0].path)
    )
    assert scan_size(lake, "SELECT * FROM stars").bytes == _chunks(lake, *everything.names)


def test_a_column_of_a_condition_counts_once(lake):
    expected = _chunks(lake, "mag", "ra")
    assert scan_size(lake, "SELECT ra, mag FROM stars WHERE mag + 1 > 3").bytes == expected
    assert scan_size(lake, "SELECT ra FROM stars WHERE mag + 1 > 3").bytes == expected


def test_only_the_columns_that_reach_the_answer_count(lake):
    sql = "WITH all_of AS (SELECT * FROM stars), few AS (SELECT ra, mag FROM all_of) SELECT max(mag) AS m FROM few"
    assert scan_size(lake, sql).bytes == _chunks(lake, "mag")


@pytest.mark.parametrize(
    ("condition", "files"),
    [
        ("npix = 3", 1),
        ("npix BETWEEN 3 AND 5", 3),
        ("3 >= npix AND mag > 0", 4),
        ("_healpix_29 < 0", 0),
        ("NOT npix = 3", 12),
        ("npix = 3 OR npix = 4", 12),
    ],
)
def test_conditions_leave_files_out(lake, condition, files):
    assert scan_size(lake, f"SELECT ra FROM stars WHERE {condition}").files == files


def test_row_groups_are_left_out_by_their_statistics(lake):
    assert scan_size(lake, "SELECT ra FROM stars WHERE mag > 100").bytes == 0
    assert scan_size(lake, "SELECT ra FROM stars WHERE mag > -1e0").bytes == _chunks(lake, "ra", "mag")
    assert scan_size(lake, "SELECT ra FROM stars WHERE mag < -1").bytes == 0
    assert scan_size(lake, "SELECT status FROM runs WHERE status = 'failed'").bytes == 0
    assert scan_size(lake, "SELECT status FROM runs WHERE status = 'done'").bytes > 0


def test_conditions_reach_into_a_subquery(lake):
    sql = "SELECT max(s.mag) AS m FROM (SELECT * FROM stars) AS s INNER JOIN runs AS r ON r.job = 'a' WHERE s.npix = 2"
    scan = scan_size(lake, sql)
    assert (scan.files, scan.files_of) == (2, 13)


def test_queries_about_a_place_read_few_files(lake):
    names = {"table": "stars"}
    cone = (QUERIES / "cone_search.sql").read_text()
    place = {"ra": 45.0, "dec": 30.0, "radius_arcsec": 60.0}
    scan = scan_size(lake, bind(cone, place | cone_ranges(45.0, 30.0, 60.0), names))
    whole = scan_size(lake, "SELECT * FROM stars")
    # Each of the four ranges is a reading of its own, of the one file that it meets.
    assert (scan.files, scan.files_of) == (4, 48)
    assert 0 < scan.bytes < whole.bytes / 2
    box = (QUERIES / "box_search.sql").read_text()
    edges = {"ra_min": 40.0, "ra_max": 41.0, "dec_min": 30.0, "dec_max": 31.0}
    scan = scan_size(lake, bind(box, edges | box_ranges(*edges.values()), names))
    assert 0 < scan.files <= 4
    assert scan.files_of == 48


def test_what_cannot_be_resolved_is_named(lake):
    with pytest.raises(BadArguments, match="brightness"):
        scan_size(lake, "SELECT brightness FROM stars")
    with pytest.raises(TableNotFound, match="planets"):
        scan_size(lake, "SELECT * FROM planets")


def test_the_command_tells_the_scan(lake, capsys):
    assert main(["sql", "--lake", lake.uri, "--scan", "SELECT avg(mag) AS m FROM stars WHERE npix = 1"]) == 0
    out = capsys.readouterr().out
    assert out.endswith(" in 1 of 12 files\n")
    assert out.partition(" bytes")[0].replace(",", "").isdecimal()
