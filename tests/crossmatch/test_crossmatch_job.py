import numpy as np
import pandas as pd
import pytest

from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.reader import read_table
from astrolake.lake.runs import read_runs
from astrolake.sky.healpix import healpix29

pytestmark = pytest.mark.spark

ARCSEC = 1 / 3600
NAME = "crossmatches/stars_x_galaxies"


@pytest.fixture
def matched(lake, put_catalog) -> Lake:
    """Ten stars along the equator; galaxies 1 arcsec north of the even ones, and 3 arcsec of star 0."""
    ra = np.arange(10) * 36.0
    stars = pd.DataFrame({"source_id": np.arange(10), "ra": ra, "dec": np.zeros(10)})
    near = pd.DataFrame({"source_id": 100 + np.arange(0, 10, 2), "ra": ra[::2], "dec": np.full(5, ARCSEC)})
    far = pd.DataFrame({"source_id": [200], "ra": [0.0], "dec": [-3 * ARCSEC]})
    put_catalog(lake, "stars", stars, 2)
    put_catalog(lake, "galaxies", pd.concat([near, far], ignore_index=True), 3)
    return lake


@pytest.fixture
def cross(run_job, matched):
    """Run the job on the stars and galaxies."""

    def run(*flags: object):
        return run_job(
            "crossmatch_catalogs", "--lake", matched.uri, "--left", "stars", "--right", "galaxies", *flags
        )

    return run


def _pairs(spark, lake: Lake) -> list[tuple]:
    rows = read_table(spark, lake, NAME).orderBy("left_id", "rank").collect()
    return [(row.left_id, row.right_id, row.rank) for row in rows]


def test_the_job_writes_the_pairs_and_counts_left_rows(spark, cross, matched):
    code, summary = cross("--radius-arcsec", 2)
    assert code == 0
    assert (summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (10, 10, 0)
    assert (summary["tables"], summary["rows_written"]) == ({NAME: 0}, {NAME: 5})
    assert _pairs(spark, matched) == [(i, 100 + i, 1) for i in range(0, 10, 2)]


def test_the_match_lies_where_the_left_row_lies(spark, cross, matched):
    cross("--radius-arcsec", 2)
    found = read_table(spark, matched, NAME).toPandas()
    assert (found["ra"] == found["left_id"] * 36.0).all()
    assert (found["dec"] == 0.0).all()
    assert (found["_healpix_29"] == healpix29(found["ra"].to_numpy(), found["dec"].to_numpy())).all()
    np.testing.assert_allclose(found["sep_arcsec"], 1.0, atol=1e-9)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--mode", "all", "--radius-arcsec", 5), [(0, 100, 1), (0, 200, 2), (2, 102, 1)]),
        (("--mode", "nearest-n", "--n", 2, "--radius-arcsec", 5), [(0, 100, 1), (0, 200, 2), (2, 102, 1)]),
        (("--mode", "anti", "--radius-arcsec", 5), [(1, None, None), (3, None, None), (5, None, None)]),
        (("--radius-arcsec", 0), []),
    ],
)
def test_every_mode(spark, cross, matched, flags, expected):
    assert cross(*flags)[0] == 0
    assert _pairs(spark, matched)[: len(expected) or None] == expected


def test_a_second_run_replaces_the_matches(spark, cross, matched):
    cross("--radius-arcsec", 5, "--mode", "all")
    _, summary = cross("--radius-arcsec", 2)
    assert summary["tables"] == {NAME: 1}
    assert len(_pairs(spark, matched)) == 5
    assert len(read_table(spark, matched, NAME, 0).collect()) == 6


def test_the_versions_that_were_matched_are_on_record(cross, matched):
    cross()
    assert read_runs(matched, ["inputs"]).to_pydict() == {"inputs": ['{"galaxies": 0, "stars": 0}']}


def test_max_rows_divides_the_table_of_matches(cross, matched):
    cross("--radius-arcsec", 2, "--max-rows", 1)
    files = read_snapshot(matched.delta_storage(NAME)).files
    assert [file.rows for file in files] == [1] * 5


def test_a_missing_table_is_named(run_job, matched):
    code, _ = run_job("crossmatch_catalogs", "--lake", matched.uri, "--left", "stars", "--right", "quasars")
    assert code == 1
    (message,) = read_runs(matched, ["message"]).column(0).to_pylist()
    assert "no table 'quasars'; it has ['galaxies', 'runs', 'stars']" in message


@pytest.mark.parametrize(
    "flags",
    [
        ("--radius-arcsec", "-1"),
        ("--radius-arcsec", "nan"),
        ("--radius-arcsec", "648001"),
        ("--mode", "nearest"),
        ("--n", "0"),
        ("--radius", "1"),
    ],
)
def test_arguments_out_of_range_are_refused(cross, matched, flags):
    assert cross(*flags) == (2, {})
    assert matched.tables() == ["galaxies", "stars"]


def test_a_map_that_cannot_be_read_is_a_bad_argument(cross, tmp_path):
    assert cross("--region", f"moc:{tmp_path}/lost.fits")[0] == 2
