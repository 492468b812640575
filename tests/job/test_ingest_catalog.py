import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from astrolake.data_access import spark as data_access_spark
from astrolake.lake.declared import declared
from astrolake.lake.delta import read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.reader import read_table
from astrolake.lake.runs import read_runs

pytestmark = pytest.mark.spark


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "my lake"


@pytest.fixture
def ingest(run_job, root):
    """ingest(table, *inputs and flags) -> (exit code, summary)."""

    def run(table: str, *inputs: object):
        return run_job("ingest_catalog", "--lake", root, "--table", table, "--input", *inputs)

    return run


def _rows(spark, root: Path, table: str, version: int | None = None) -> pd.DataFrame:
    found = read_table(spark, Lake.open(str(root)), table, version).toPandas()
    return found.drop(columns=["run_id", "Norder", "Dir", "Npix"]).sort_values("source_id", ignore_index=True)


def _rejects(spark, root: Path) -> list[tuple[str, str, str]]:
    rows = read_table(spark, Lake.open(str(root)), "rejects").collect()
    return sorted((row.source.rsplit("/", 1)[-1], row.error_type, row.message) for row in rows)


def _catalog(n: int, first: int = 0) -> Table:
    ids = first + np.arange(n)
    return Table({"id": ids, "ra": ids * 0.37 % 360, "dec": ids * 0.11 % 180 - 90, "mag": 15 + ids * 0.01})


# The real catalogs of one field, and what is known of them.


@pytest.fixture(scope="module")
def field(run_job, survey_data, tmp_path_factory) -> tuple[Path, dict]:
    """A lake with SDSS, Pan-STARRS and CMC14 stars of field 308, and the summaries."""
    root = tmp_path_factory.mktemp("field") / "lake"
    data = survey_data / "catalogs"
    inputs = {
        "sdss": (data / "sdss_308.csv",),
        "panstarrs": (data / "panstarrs_308.csv",),
        "cmc14": (
            data / "CMC14_10068.txt",
            "--columns",
            "ra",
            "dec",
            "band",
            "mag",
            "mag_err",
            "--delimiter",
            " ",
        ),
    }
    return root, {
        name: run_job("ingest_catalog", "--lake", root, "--table", name, "--input", *given)
        for name, given in inputs.items()
    }


@pytest.mark.data
@pytest.mark.parametrize(("table", "rows"), [("sdss", 367), ("panstarrs", 2122), ("cmc14", 3903)])
def test_every_row_of_a_real_catalog_is_kept_or_rejected(field, table, rows):
    code, summary = field[1][table]
    assert code == 0
    assert summary["rows_in"] == rows
    assert summary["rows_out"] == summary["rows_written"][table] == rows - summary["rows_rejected"]
    assert summary["rows_rejected"] == 0


@pytest.mark.data
def test_values_and_identifiers_are_those_of_the_file(spark, field, survey_data):
    found = _rows(spark, field[0], "panstarrs")
    truth = pd.read_csv(survey_data / "catalogs" / "panstarrs_308.csv").sort_values(
        "objID", ignore_index=True
    )
    assert (found["source_id"] == truth["objID"]).all()
    assert (found["ra"] == truth["raMean"]).all()
    assert (found["dec"] == truth["decMean"]).all()
    both = pd.DataFrame({"ours": found["rMeanPSFMag"], "theirs": truth["rMeanPSFMag"]})
    pd.testing.assert_series_equal(both["ours"], both["theirs"], check_names=False)


@pytest.mark.data
@pytest.mark.parametrize(
    ("left", "right", "matches", "median_arcsec"),
    [("sdss", "panstarrs", 356, 0.17), ("panstarrs", "cmc14", 2091, 0.22)],
)
def test_the_surveys_match_as_they_are_known_to(spark, run_job, field, left, right, matches, median_arcsec):
    root, _ = field
    pair = f"crossmatches/{left}_x_{right}"
    code, summary = run_job(
        "crossmatch_catalogs", "--lake", root, "--left", left, "--right", right, "--radius-arcsec", 2
    )
    assert (code, summary["rows_written"]) == (0, {pair: matches})
    found = read_table(spark, Lake.open(str(root)), pair).toPandas()
    assert found["sep_arcsec"].median() == pytest.approx(median_arcsec, abs=0.006)


# Tables made for a test.


def test_rows_without_position_are_rejected_with_their_number(spark, ingest, root, tmp_path):
    table = _catalog(20)
    table["ra"][3], table["dec"][5], table["dec"][7] = np.nan, np.inf, 95.0
    table.write(tmp_path / "stars.fits")
    code, summary = ingest("stars", tmp_path / "stars.fits")
    assert (code, summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (0, 20, 17, 3)
    kinds = [(source, kind) for source, kind, _ in _rejects(spark, root)]
    assert kinds == [
        ("stars.fits row 3", "MissingPosition"),
        ("stars.fits row 5", "MissingPosition"),
        ("stars.fits row 7", "PositionOutOfRange"),
    ]
    assert set(_rows(spark, root, "stars")["source_id"]) == set(range(20)) - {3, 5, 7}


def test_strict_tells_by_its_exit_code(ingest, root, tmp_path):
    table = _catalog(5)
    table["ra"][3] = np.nan
    table.write(tmp_path / "stars.fits")
    assert ingest("stars", tmp_path / "stars.fits", "--strict")[0] == 3
    assert Lake.open(str(root)).has_table("stars")


def test_right_ascensions_are_wrapped(spark, ingest, root, tmp_path):
    Table({"id": [1, 2, 3, 4], "ra": [-10.0, 360.0, 370.0, -1e-15], "dec": [0.0] * 4}).write(
        tmp_path / "a.fits"
    )
    ingest("stars", tmp_path / "a.fits")
    assert _rows(spark, root, "stars")["ra"].tolist() == [350.0, 0.0, 10.0, 0.0]


def test_an_empty_table_is_a_table_without_rows(spark, ingest, root, tmp_path):
    _catalog(0).write(tmp_path / "empty.fits")
    code, summary = ingest("stars", tmp_path / "empty.fits")
    assert (code, summary["rows_in"], summary["rows_written"]) == (0, 0, {"stars": 0})
    assert list(_rows(spark, root, "stars").columns) == ["_healpix_29", "source_id", "ra", "dec", "id", "mag"]


def test_a_damaged_file_is_rejected_beside_good_ones(spark, ingest, root, tmp_path):
    folder = tmp_path / "my catalogs"
    (folder / "more").mkdir(parents=True)
    _catalog(10).write(folder / "a.fits")
    _catalog(10, 100).write(folder / "more" / "b.fits")
    (folder / "bad.fits").write_bytes(b"SIMPLE  =                    T" + b"\x00" * 50)
    code, summary = ingest("stars", folder)
    assert (code, summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (0, 21, 20, 1)
    ((source, _, message),) = _rejects(spark, root)
    assert source == "bad.fits"
    assert "bad.fits" in message
    assert _rows(spark, root, "stars")["source_id"].tolist() == [*range(10), *range(100, 110)]


def test_a_file_cut_short_gives_its_rows_and_a_reject(spark, ingest, root, tmp_path):
    _catalog(2000).write(tmp_path / "cut.fits")
    whole = (tmp_path / "cut.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: 2 * len(whole) // 3])
    _catalog(10, 10_000).write(tmp_path / "good.fits")
    code, summary = ingest("stars", tmp_path / "cut.fits", tmp_path / "good.fits")
    assert code == 0
    assert summary["rows_rejected"] >= 1
    assert summary["rows_in"] == summary["rows_out"] + summary["rows_rejected"]
    found = _rows(spark, root, "stars")["source_id"]
    assert set(range(10_000, 10_010)) <= set(found)
    assert set(found) <= {*range(2000), *range(10_000, 10_010)}
    assert {source for source, _, _ in _rejects(spark, root)} == {"cut.fits"}


def test_nothing_but_damaged_files_fails_and_makes_no_table(ingest, root, tmp_path):
    (tmp_path / "bad.fits").write_bytes(b"no table at all")
    code, summary = ingest("stars", tmp_path / "bad.fits")
    assert (code, summary["status"]) == (1, "failed")
    assert Lake.open(str(root)).tables() == ["runs"]


def test_a_large_file_read_in_slices_is_the_same_table(spark, ingest, root, tmp_path, monkeypatch):
    _catalog(1000).write(tmp_path / "stars.fits")
    ingest("stars", tmp_path / "stars.fits")
    monkeypatch.setattr(data_access_spark, "_SLICE_ROWS", 300)
    code, summary = ingest("stars", tmp_path / "stars.fits")
    assert (code, summary["rows_in"], summary["tables"]) == (0, 1000, {"stars": 1})
    pd.testing.assert_frame_equal(_rows(spark, root, "stars"), _rows(spark, root, "stars", 0))


def test_generated_identifiers_do_not_depend_on_place_or_slices(spark, ingest, root, tmp_path, monkeypatch):
    table = _catalog(500)
    table.remove_column("id")
    table.write(tmp_path / "stars.fits")
    ingest("stars", tmp_path / "stars.fits")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "stars.fits", tmp_path / "elsewhere" / "stars.fits")
    monkeypatch.setattr(data_access_spark, "_SLICE_ROWS", 77)
    ingest("stars", tmp_path / "elsewhere" / "stars.fits")
    assert _rows(spark, root, "stars")["source_id"].is_unique
    pd.testing.assert_frame_equal(_rows(spark, root, "stars"), _rows(spark, root, "stars", 0))


def test_an_identifier_that_repeats_is_kept_once(spark, ingest, root, tmp_path):
    table = _catalog(6)
    table["id"] = [1, 2, 2, 3, 3, 3]
    table.write(tmp_path / "stars.fits")
    code, summary = ingest("stars", tmp_path / "stars.fits")
    assert (code, summary["rows_in"], summary["rows_out"], summary["rows_rejected"]) == (0, 6, 3, 3)
    assert _rows(spark, root, "stars")["source_id"].tolist() == [1, 2, 3]
    assert {kind for _, kind, _ in _rejects(spark, root)} == {"DuplicateId"}


def test_files_of_different_columns_and_formats_are_one_table(spark, ingest, root, tmp_path):
    _catalog(3).write(tmp_path / "a.fits")
    (tmp_path / "b.csv").write_text("id,ra,dec,name\n10,1.5,2.5,x\n11,,2.5,y\n")
    code, summary = ingest("stars", tmp_path / "a.fits", tmp_path / "b.csv")
    assert (code, summary["rows_in"], summary["rows_rejected"]) == (0, 5, 1)
    found = _rows(spark, root, "stars").set_index("source_id")
    assert found["name"].dropna().to_dict() == {10: "x"}
    assert found["mag"].notna().tolist() == [True, True, True, False]


def test_other_columns_of_a_new_ingest_replace_the_table(spark, ingest, root, tmp_path):
    _catalog(3).write(tmp_path / "a.fits")
    (tmp_path / "b.csv").write_text("id,ra,dec,name\n10,1.5,2.5,x\n")
    ingest("stars", tmp_path / "a.fits")
    assert ingest("stars", tmp_path / "b.csv")[0] == 0
    assert list(_rows(spark, root, "stars").columns) == [
        "_healpix_29",
        "source_id",
        "ra",
        "dec",
        "id",
        "name",
    ]
    assert "mag" in _rows(spark, root, "stars", 0).columns


def test_max_rows_divides_the_table(ingest, root, tmp_path):
    _catalog(1000).write(tmp_path / "stars.fits")
    ingest("stars", tmp_path / "stars.fits", "--max-rows", 200)
    files = read_snapshot(Lake.open(str(root)).delta_storage("stars")).files
    assert max(file.rows for file in files) <= 200
    assert sum(file.rows for file in files) == 1000


@pytest.mark.parametrize("table", ["runs", "images", "detections", "crossmatches", "Stars", "a/b", "../x"])
def test_tables_of_other_jobs_and_bad_names_are_refused(ingest, root, tmp_path, table):
    _catalog(1).write(tmp_path / "a.fits")
    code, summary = ingest(table, tmp_path / "a.fits")
    assert (code, summary["status"]) == (2, "bad_arguments")
    assert Lake.open(str(root)).tables() == ["runs"]


def test_an_input_that_is_not_there_is_named(ingest, root, tmp_path):
    code, _ = ingest("stars", tmp_path / "lost.fits")
    lake = Lake.open(str(root))
    assert (code, lake.tables()) == (1, ["runs"])
    assert "lost.fits" in read_runs(lake, ["message"]).column(0)[0].as_py()


def test_a_release_can_be_appended_and_appending_it_again_changes_nothing(spark, ingest, root, tmp_path):
    _catalog(500).write(tmp_path / "one.fits")
    later = _catalog(300, first=400)
    later["mag"] = 9.0
    later.write(tmp_path / "two.fits")
    ingest("stars", tmp_path / "one.fits", "--max-rows", 100)
    for _ in range(2):
        code, summary = ingest("stars", tmp_path / "two.fits", "--append", "--max-rows", 100)
        assert (code, summary["rows_in"], summary["rows_out"]) == (0, 300, 300)
        found = _rows(spark, root, "stars")
        assert found["source_id"].tolist() == list(range(700))
        assert (found["mag"] == 9.0).tolist() == [i >= 400 for i in range(700)]
    files = read_snapshot(Lake.open(str(root)).delta_storage("stars")).files
    assert max(file.rows for file in files) <= 100


def test_an_appended_part_of_the_sky_leaves_other_files_alone(ingest, root, tmp_path):
    _catalog(500).write(tmp_path / "one.fits")
    ingest("stars", tmp_path / "one.fits", "--max-rows", 50)
    before = {file.path for file in read_snapshot(Lake.open(str(root)).delta_storage("stars")).files}
    here = Table({"id": [9000, 9001], "ra": [1.0, 1.1], "dec": [-89.0, -89.0], "mag": [1.0, 2.0]})
    here.write(tmp_path / "two.fits")
    ingest("stars", tmp_path / "two.fits", "--append", "--max-rows", 50)
    after = {file.path for file in read_snapshot(Lake.open(str(root)).delta_storage("stars")).files}
    assert len(before - after) <= 1
    assert len(before & after) > 5


def test_other_columns_cannot_be_appended(ingest, root, tmp_path):
    _catalog(5).write(tmp_path / "one.fits")
    other = _catalog(5, first=3)
    other["colour"] = 1.0
    other.write(tmp_path / "two.fits")
    ingest("stars", tmp_path / "one.fits")
    assert ingest("stars", tmp_path / "two.fits", "--append")[0] == 1
    (message,) = (m for m in read_runs(Lake.open(str(root)), ["message"]).column(0).to_pylist() if m)
    assert "columns" in message


@pytest.mark.parametrize(
    ("flags", "orders"),
    [(("--order-min", 2), {2}), (("--order-max", 1, "--max-rows", 10), {0, 1}), (("--max-rows", 1000), {0})],
)
def test_orders_of_partitions_can_be_bounded(ingest, root, tmp_path, flags, orders):
    _catalog(300).write(tmp_path / "one.fits")
    ingest("stars", tmp_path / "one.fits", *flags)
    files = read_snapshot(Lake.open(str(root)).delta_storage("stars")).files
    assert {file.order for file in files} <= orders
    assert max(file.order for file in files) == max(orders)


@pytest.mark.parametrize(
    "flags", [("--order-min", -1), ("--order-max", 11), ("--order-min", 5, "--order-max", 4)]
)
def test_orders_out_of_range_are_refused(ingest, tmp_path, flags):
    _catalog(3).write(tmp_path / "one.fits")
    assert ingest("stars", tmp_path / "one.fits", *flags)[0] == 2


def test_rows_without_identifier_cannot_be_appended(ingest, root, tmp_path):
    """Made identifiers follow from file names: those of another night's file of that name are the same."""
    Table({"ra": [1.0], "dec": [2.0]}).write(tmp_path / "cat.csv")
    ingest("stars", tmp_path / "cat.csv")
    code, summary = ingest("stars", tmp_path / "cat.csv", "--append")
    assert (code, summary["status"]) == (2, "bad_arguments")


@pytest.mark.parametrize(
    "second", ["id,ra,dec,mag\n2,11,20,13\n3,12,20,14\n", "id,ra,dec,mag\n2,11,20,\n3,12,20,\n"]
)
def test_whole_numbers_and_empty_columns_take_the_type_of_the_table(spark, ingest, root, tmp_path, second):
    (tmp_path / "one.csv").write_text("id,ra,dec,mag\n1,10,20,12.5\n2,11,20,13.5\n")
    (tmp_path / "two.csv").write_text(second)
    ingest("stars", tmp_path / "one.csv")
    assert ingest("stars", tmp_path / "two.csv", "--append")[0] == 0
    expected = [12.5, 13.0, 14.0] if "13" in second else [12.5, None, None]
    assert [None if np.isnan(m) else m for m in _rows(spark, root, "stars")["mag"]] == expected


def _messages(root) -> str:
    return "|".join(m for m in read_runs(Lake.open(str(root)), ["message"]).column(0).to_pylist() if m)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("id,ra,dec,mag\n2,11,20,faint\n", "mag (double, now string)"),
        ("id,ra,dec,mag\nx2,11,20,13.5\n", "source_id (long, now string)"),
    ],
)
def test_a_column_of_another_type_cannot_be_appended(spark, ingest, root, tmp_path, second, said):
    (tmp_path / "one.csv").write_text("id,ra,dec,mag\n1,10,20,12.5\n2,11,20,13.5\n")
    (tmp_path / "two.csv").write_text(second)
    ingest("stars", tmp_path / "one.csv")
    assert ingest("stars", tmp_path / "two.csv", "--append")[0] == 1
    assert _rows(spark, root, "stars")["mag"].tolist() == [12.5, 13.5]
    assert said.replace("long", "int64") in _messages(root).replace("long", "int64")


def test_a_column_in_another_unit_cannot_be_appended(spark, ingest, root, tmp_path):
    for name, unit, first in (("one", "arcsec", 0), ("two", "mas", 10), ("three", None, 20)):
        rows = _catalog(3, first=first)
        rows["err"] = np.full(3, 0.5)
        rows["err"].unit = unit
        rows.write(tmp_path / f"{name}.fits")
    ingest("stars", tmp_path / "one.fits")
    assert ingest("stars", tmp_path / "two.fits", "--append")[0] == 1
    assert "err is in mas, but in arcsec in the table stars" in _messages(root)
    assert ingest("stars", tmp_path / "three.fits", "--append")[0] == 0
    snapshot = read_snapshot(Lake.open(str(root)).delta_storage("stars"))
    assert declared("stars", snapshot).column("err").unit == "arcsec"
    assert len(_rows(spark, root, "stars")) == 6


def test_of_rows_with_one_identifier_and_place_the_same_stays_in_every_run(spark, ingest, root, tmp_path):
    ids = np.repeat(np.arange(20), 3)
    Table({"id": ids, "ra": ids * 3.0, "dec": ids * 0.0, "mag": np.arange(60.0)}).write(tmp_path / "a.fits")
    kept = []
    for _ in range(3):
        assert ingest("stars", tmp_path / "a.fits")[1]["rows_rejected"] == 40
        kept.append(_rows(spark, root, "stars").sort_values("source_id")["mag"].tolist())
    assert kept[0] == kept[1] == kept[2]
