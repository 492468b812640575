from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from astrolake.errors import CommitConflict
from astrolake.lake import writer as writer_module
from astrolake.lake.delta import Snapshot, apply_commit, read_snapshot
from astrolake.lake.lake import Lake
from astrolake.lake.partitioning import COUNT_ORDER, Leaves
from astrolake.lake.publish import publish_hats
from astrolake.lake.reader import frame_of, read_table, spark_fields
from astrolake.lake.replace import Replace
from astrolake.lake.sql_connection import extension_path
from astrolake.lake.staging import Staged
from astrolake.lake.writer import TableWriter, Written
from astrolake.schema import CATALOG, HEALPIX_COLUMN, REJECTS, Column, Table
from astrolake.schema.arrow import arrow_schema
from astrolake.sky.healpix import healpix29

pytestmark = pytest.mark.spark

STARS = CATALOG.with_columns(
    (Column("tile", "int64", "who owns the row"), Column("mag", "float64", "magnitude")), "stars"
)
NOW = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.create(str(tmp_path / "my lake"))


def sky(n: int, seed: int, *, within_deg: float = 180.0) -> pd.DataFrame:
    """Rows spread over a box around (40, 10); tile is the whole degree of ra, a tenth of the mags is NaN."""
    rng = np.random.default_rng(seed)
    ra = (40.0 + rng.uniform(-within_deg, within_deg, n)) % 360.0
    dec = 10.0 + rng.uniform(-1, 1, n) * min(within_deg, 80.0)
    mag = np.where(rng.random(n) < 0.1, np.nan, rng.normal(20, 1, n))
    ids = seed * 1_000_000 + np.arange(n)
    tile = ra.astype(np.int64)
    return pd.DataFrame(
        {HEALPIX_COLUMN: healpix29(ra, dec), "source_id": ids, "ra": ra, "dec": dec, "tile": tile, "mag": mag}
    )


def _write(spark, lake: Lake, rows, table: Table = STARS, what: Replace | None = None, **options) -> Written:
    """Write and commit rows (pandas or Spark) as a run of their own."""
    settings = {"run_id": "run-1", "max_rows": 500} | options
    written = _plan(spark, lake, rows, table, what, **settings)
    apply_commit(written.commit)
    return written


def _plan(spark, lake: Lake, rows, table: Table = STARS, what: Replace | None = None, **options) -> Written:
    settings = {"run_id": "run-1", "job": "test", "max_rows": 500} | options
    frame = rows if isinstance(rows, DataFrame) else _frame(spark, rows, table)
    return TableWriter(spark, lake, **settings).replace_rows(frame, table, what)


def _frame(spark, rows: pd.DataFrame, table: Table = STARS) -> DataFrame:
    fields = spark_fields(arrow_schema(table))
    return spark.createDataFrame(rows, type(fields)([fields[name] for name in rows.columns]))


def _owning(spark, tiles) -> Replace:
    return Replace("tile", spark.createDataFrame([(int(tile),) for tile in tiles], "tile long"))


def _content(lake: Lake, version: int | None = None, table: str = "stars") -> pd.DataFrame:
    """All rows by key, without run and partition."""
    snapshot = _snapshot(lake, version, table)
    files = [pq.ParquetFile(snapshot.storage.path(file.path)).read().to_pandas() for file in snapshot.files]
    rows = pd.concat(files) if files else pd.DataFrame(columns=snapshot.stored_names)
    return rows.drop(columns="run_id").sort_values("source_id").reset_index(drop=True)


def _snapshot(lake: Lake, version: int | None = None, table: str = "stars") -> Snapshot:
    return read_snapshot(lake.delta_storage(table), version)


def _same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    expected = expected.sort_values("source_id").reset_index(drop=True)[list(found.columns)]
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def _check_layout(snapshot: Snapshot, max_rows: int) -> None:
    """Partitions are disjoint, small enough, hold their own rows alone, and each file is sorted."""
    leaves = Leaves.of(*np.array([(file.order, file.npix) for file in snapshot.files], np.int64).T)
    assert (leaves.starts[1:] >= leaves.ends[:-1]).all()
    for file in snapshot.files:
        assert file.rows <= max_rows or file.order == COUNT_ORDER
        index = pq.ParquetFile(snapshot.storage.path(file.path)).read().column(HEALPIX_COLUMN).to_numpy()
        assert len(index) == file.rows
        assert (np.diff(index) >= 0).all()
        assert (index >> (2 * (29 - file.order)) == file.npix).all()
        assert (file.low, file.high) == (index[0], index[-1])


def test_all_rows_are_written_into_partitions_of_bounded_size(spark, lake):
    rows = sky(2000, 1)
    written = _write(spark, lake, rows)
    assert (written.rows_new, written.rows_kept) == (2000, 0)
    _same(_content(lake), rows)
    _check_layout(_snapshot(lake), 500)


def test_the_layout_is_the_planned_one(spark, lake):
    rows = sky(1000, 1, within_deg=2.0)
    _write(spark, lake, rows)
    planned = TableWriter(spark, lake, "run-2", "test", 500).plan(_frame(spark, rows))
    expected = sorted(zip(planned.order.tolist(), planned.npix.tolist(), strict=True))
    assert sorted((file.order, file.npix) for file in _snapshot(lake).files) == expected
    assert max(planned.order) > 3


def test_every_row_carries_its_run(spark, lake):
    _write(spark, lake, sky(50, 1, within_deg=5.0), run_id="run-7")
    assert set(read_table(spark, lake, "stars").toPandas()["run_id"]) == {"run-7"}


def test_nan_is_stored_as_null_and_infinity_as_it_is(spark, lake):
    rows = sky(4, 1).assign(mag=[np.nan, np.inf, -np.inf, 1.0])
    _write(spark, lake, rows)
    counts = duckdb.sql(f"SELECT count(mag), count(*) FILTER (isinf(mag)) FROM {_parquet(lake)}").fetchone()
    assert counts == (3, 2)


def _parquet(lake: Lake) -> str:
    snapshot = _snapshot(lake)
    return f"read_parquet({[snapshot.storage.path(file.path) for file in snapshot.files]})"


def test_rows_that_stay_beside_few_values_go_from_file_to_file(spark, lake, monkeypatch):
    rows = sky(2000, 1, within_deg=2.0)
    _write(spark, lake, rows)
    tiles = rows["tile"].unique()[:2]
    fresh = sky(300, 2, within_deg=2.0).assign(tile=int(tiles[0]))
    staged = []
    monkeypatch.setattr(
        TableWriter, "stage", lambda *given, stage=TableWriter.stage: staged.append(given) or stage(*given)
    )
    what = replace(_owning(spark, tiles), few=True)
    written = _write(spark, lake, fresh, what=what, run_id="run-2")
    stays = rows[~rows["tile"].isin(tiles)]
    assert len(staged) == 1
    assert 0 < len(stays) < len(rows)
    assert (written.rows_new, written.rows_kept) == (300, len(stays))
    _same(_content(lake), pd.concat([stays, fresh]))
    _check_layout(_snapshot(lake), 500)
    assert set(read_table(spark, lake, "stars").toPandas()["run_id"]) == {"run-1", "run-2"}


def test_rows_are_replaced_wherever_they_were_and_the_rest_passes_spark_by(spark, lake, monkeypatch):
    monkeypatch.setattr(writer_module, "FAN_IN", 2)
    rows = sky(1500, 1, within_deg=3.0)
    _write(spark, lake, rows)
    # Some as they were, some moved, by little or to other partitions, and some that are new.
    fresh = rows.sample(120, random_state=1).assign(mag=15.0)
    moved = fresh.iloc[:40].assign(
        ra=lambda r: r["ra"] + np.where(r.index % 2, 1e-6, 2.0), dec=lambda r: r["dec"] + 1e-6
    )
    moved[HEALPIX_COLUMN] = healpix29(moved["ra"].to_numpy(), moved["dec"].to_numpy())
    fresh = pd.concat([moved, fresh.iloc[40:], sky(10, 2, within_deg=3.0)])
    what = Replace("source_id", _frame(spark, fresh).select("source_id").repartition(5))
    staged = []
    inner = TableWriter._staged
    monkeypatch.setattr(
        TableWriter, "_staged", lambda *given: staged.append(list(given[1].columns)) or inner(*given)
    )
    for run_id in ("run-2", "run-3"):
        written = _write(spark, lake, fresh, what=what, run_id=run_id)
        assert written.rows_new == 130
        _same(_content(lake), pd.concat([rows[~rows["source_id"].isin(fresh["source_id"])], fresh]))
        _check_layout(_snapshot(lake), 500)
    assert staged == [list(STARS.column_names), [HEALPIX_COLUMN, "source_id"]] * 2


def test_replacing_all_leaves_no_old_row(spark, lake):
    _write(spark, lake, sky(1000, 1, within_deg=20.0))
    rows = sky(300, 2, within_deg=5.0)
    _write(spark, lake, rows, run_id="run-2")
    _same(_content(lake), rows)
    assert len(_content(lake, 0)) == 1000


def test_the_same_rows_again_give_the_same_content_and_layout(spark, lake):
    rows = sky(1000, 1, within_deg=20.0)
    _write(spark, lake, rows)
    first = [(file.partition, file.rows) for file in _snapshot(lake).files]
    _write(spark, lake, rows.sample(frac=1.0, random_state=3), run_id="run-2")
    _same(_content(lake), _content(lake, 0))
    assert [(file.partition, file.rows) for file in _snapshot(lake).files] == first


def test_replacing_by_key_keeps_the_rows_of_other_owners(spark, lake):
    rows = sky(1500, 1, within_deg=20.0)
    _write(spark, lake, rows)
    mine = rows["tile"].isin([40, 41])
    better = rows[mine].assign(mag=15.0).iloc[5:]
    written = _write(spark, lake, better, what=_owning(spark, [40, 41]), run_id="run-2")
    _same(_content(lake), pd.concat([rows[~mine], better]))
    _check_layout(_snapshot(lake), 500)
    assert written.rows_new == len(better)
    assert written.rows_kept > 0


def test_kept_rows_keep_their_run(spark, lake):
    rows = sky(400, 1, within_deg=2.0)
    _write(spark, lake, rows)
    _write(spark, lake, rows[rows["tile"] == 40], what=_owning(spark, [40]), run_id="run-2")
    found = read_table(spark, lake, "stars").toPandas()
    assert (found["run_id"] == np.where(found["tile"] == 40, "run-2", "run-1")).all()


def test_replacing_by_key_leaves_other_partitions_alone(spark, lake):
    rows = sky(1500, 1, within_deg=30.0)
    _write(spark, lake, rows)
    before = set(_snapshot(lake).files)
    cells = Leaves.of(*np.array([(file.order, file.npix) for file in before], np.int64).T)
    mine = rows[rows["tile"] == 40]
    touched = {int(cells.npix[i]) for i in np.unique(cells.find(mine[HEALPIX_COLUMN].to_numpy()))}
    _write(spark, lake, mine, what=_owning(spark, [40]), run_id="run-2")
    after = set(_snapshot(lake).files)
    assert {file.npix for file in before - after} == touched
    assert len(before & after) == len(before) - len(touched)


def test_rows_of_a_new_owner_in_empty_sky_rewrite_nothing(spark, lake):
    _write(spark, lake, sky(500, 1, within_deg=5.0))
    before = set(_snapshot(lake).files)
    far = sky(100, 2, within_deg=1.0)
    far = far.assign(ra=far["ra"] + 180.0, dec=-far["dec"], tile=220)
    far[HEALPIX_COLUMN] = healpix29(far["ra"].to_numpy(), far["dec"].to_numpy())
    _write(spark, lake, far, what=_owning(spark, [220]), run_id="run-2")
    assert before < set(_snapshot(lake).files)
    assert len(_content(lake)) == 600


def test_an_owner_without_new_rows_is_deleted(spark, lake):
    rows = sky(1000, 1, within_deg=5.0)
    _write(spark, lake, rows)
    _write(spark, lake, rows[:0], what=_owning(spark, [38, 41]), run_id="run-2")
    _same(_content(lake), rows[~rows["tile"].isin([38, 41])])


def test_a_partition_that_loses_all_rows_is_gone(spark, lake):
    rows = pd.concat([sky(50, 1, within_deg=0.4), sky(50, 2, within_deg=0.4).assign(tile=7)])
    rows.loc[rows["tile"] == 7, "ra"] += 180.0
    rows[HEALPIX_COLUMN] = healpix29(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    _write(spark, lake, rows)
    n_files = len(_snapshot(lake).files)
    _write(spark, lake, rows[:0], what=_owning(spark, [7]), run_id="run-2")
    assert len(_snapshot(lake).files) < n_files
    assert len(_content(lake)) == 50


def test_a_partition_that_outgrows_the_limit_is_divided(spark, lake):
    rows = sky(400, 1, within_deg=1.0)
    _write(spark, lake, rows)
    assert len(_snapshot(lake).files) <= 2
    more = sky(900, 2, within_deg=1.0).assign(tile=99)
    _write(spark, lake, more, what=_owning(spark, [99]), run_id="run-2")
    _check_layout(_snapshot(lake), 500)
    assert min(file.order for file in _snapshot(lake).files) > 0
    _same(_content(lake), pd.concat([rows, more]))


def test_many_replacements_end_where_a_model_ends(spark, lake):
    """Four runs that replace random tiles by other rows, beside a data frame that does the same."""
    rng = np.random.default_rng(5)
    model = sky(800, 1, within_deg=6.0)
    _write(spark, lake, model, max_rows=150)
    for step in range(2, 6):
        fresh = sky(int(rng.integers(20, 400)), step, within_deg=float(rng.choice([1.0, 6.0, 40.0])))
        tiles = set(rng.choice(fresh["tile"].unique(), 2)) | set(rng.choice(model["tile"].unique(), 2))
        fresh = fresh[fresh["tile"].isin(tiles)]
        model = pd.concat([model[~model["tile"].isin(tiles)], fresh])
        _write(spark, lake, fresh, what=_owning(spark, tiles), run_id=f"run-{step}", max_rows=150)
        _check_layout(_snapshot(lake), 150)
    _same(_content(lake), model)


def test_no_rows_make_a_valid_empty_table(spark, lake):
    written = _write(spark, lake, sky(0, 1))
    assert (written.rows_new, _snapshot(lake).rows) == (0, 0)
    assert read_table(spark, lake, "stars").collect() == []
    assert read_table(spark, lake, "stars").columns == [*STARS.column_names, "Norder", "Dir", "Npix"]


def test_an_empty_table_takes_rows_of_an_owner(spark, lake):
    _write(spark, lake, sky(0, 1))
    rows = sky(20, 2)
    _write(spark, lake, rows, what=_owning(spark, rows["tile"].unique()), run_id="run-2")
    _same(_content(lake), rows)


def _growing(spark, folder, rows: pd.DataFrame) -> DataFrame:
    """A frame that has one row more each time it is computed, from 3 on."""
    counter = folder / "readings"
    counter.write_text("3")

    def reread(_):
        number = int(counter.read_text())
        counter.write_text(str(number + 1))
        yield rows[:number]

    return spark.range(1, numPartitions=1).mapInPandas(reread, _frame(spark, rows).schema)


def test_rows_that_change_from_reading_to_reading_are_read_once(spark, lake, tmp_path):
    written = _write(spark, lake, _growing(spark, tmp_path, sky(20, 1)), max_rows=1)
    assert (written.rows_new, len(_content(lake))) == (3, 3)


def test_a_write_that_finds_other_rows_than_were_counted_is_not_committed(spark, lake):
    writer = TableWriter(spark, lake, "run-1", "test", 500)
    staged = writer.stage(_frame(spark, sky(20, 1, within_deg=1.0)), STARS)
    more = replace(staged, counts=staged.counts + 1)
    with pytest.raises(PySparkException, match="got 20 rows where .* were counted"):
        writer.replace_staged(more, STARS)
    assert lake.tables() == []


@pytest.mark.filterwarnings("ignore:toPandas attempted")
def test_a_value_that_does_not_fit_its_column_fails_the_write(spark, lake):
    types = {"tile": "int32"}
    columns = tuple(replace(column, type=types.get(column.name, column.type)) for column in STARS.columns)
    table = replace(STARS, columns=columns)
    rows = _frame(spark, sky(3, 1).assign(tile=2**40))
    with pytest.raises(PySparkException, match="overflow"):
        _plan(spark, lake, rows, table)
    assert lake.tables() == []


def test_two_writers_of_one_partition_do_not_mix(spark, lake):
    rows = sky(200, 1, within_deg=1.0)
    _write(spark, lake, rows)
    plans = [
        _plan(spark, lake, rows[rows["tile"] == tile], what=_owning(spark, [tile]), run_id=f"run-{tile}")
        for tile in (39, 40)
    ]
    apply_commit(plans[0].commit)
    with pytest.raises(CommitConflict, match="run the job again"):
        apply_commit(plans[1].commit)
    _same(_content(lake), rows)


def test_two_writers_of_different_sky_both_keep_all_rows(spark, lake):
    rows = sky(600, 1)
    _write(spark, lake, rows)
    better = rows[rows["tile"].isin([40, 220])].assign(mag=15.0)
    plans = [
        _plan(spark, lake, better[better["tile"] == tile], what=_owning(spark, [tile]), run_id=f"run-{tile}")
        for tile in (40, 220)
    ]
    for plan in plans:
        apply_commit(plan.commit)
    _same(_content(lake), pd.concat([rows[~rows["tile"].isin([40, 220])], better]))


def test_rows_that_are_only_moved_keep_their_run(spark, lake):
    _write(spark, lake, sky(100, 1, within_deg=5.0))
    rows = read_table(spark, lake, "stars").drop("Norder", "Dir", "Npix")
    _write(spark, lake, rows, run_id="run-2")
    assert set(read_table(spark, lake, "stars").toPandas()["run_id"]) == {"run-1"}


def test_writing_withdraws_the_catalog_and_publishing_brings_it_back(spark, lake):
    rows = sky(100, 1, within_deg=5.0)
    _write(spark, lake, rows)
    properties = lake.table_storage("stars").path("hats.properties")
    publish_hats(lake, "stars", 0, NOW)
    assert lake.storage.fs.exists(properties)
    _plan(spark, lake, rows, run_id="run-2")
    assert not lake.storage.fs.exists(properties)
    publish_hats(lake, "stars", 0, NOW)
    assert lake.storage.fs.exists(properties)


def test_emptying_a_table_withdraws_the_catalog(spark, lake):
    _write(spark, lake, sky(30, 1, within_deg=5.0))
    publish_hats(lake, "stars", 0, NOW)
    _write(spark, lake, sky(0, 1), run_id="run-2")
    assert not lake.storage.fs.exists(lake.table_storage("stars").path("hats.properties"))


def test_duckdb_reads_the_delta_table_as_spark_does(spark, lake):
    rows = sky(700, 1, within_deg=20.0)
    _write(spark, lake, rows)
    _write(spark, lake, rows[rows["tile"] == 40].assign(mag=1.0), what=_owning(spark, [40]), run_id="run-2")
    select = "count(*), count(mag), sum(source_id), sum(mag), min(ra), max(dec), sum(Npix)"
    read_table(spark, lake, "stars").createOrReplaceTempView("stars_for_duckdb")
    ours = spark.sql(f"SELECT {select} FROM stars_for_duckdb").first()
    with duckdb.connect(config={"allow_unsigned_extensions": True}) as connection:
        connection.execute(f"LOAD '{extension_path('delta')}'")
        root = lake.delta_storage("stars").path()
        theirs = connection.execute(f"SELECT {select} FROM delta_scan('{root}')").fetchone()
    assert theirs == pytest.approx(tuple(ours), rel=1e-12)


KINDS = Table(
    "kinds",
    "a row",
    ("name",),
    (
        Column("name", "string", "name"),
        Column("flag", "bool", "flag"),
        Column("n", "int32", "number"),
        Column("x", "float32", "value"),
        Column("at", "timestamp", "time"),
        Column("curve", "list<float64>", "values"),
        Column("labels", "list<string>", "words"),
        Column("thumbnail", "binary", "bytes"),
        Column("run_id", "string", "run"),
    ),
)


def test_every_type_comes_back_as_it_went(spark, lake):
    moment = datetime(2025, 6, 1, 12, 30, 0, 123456)
    rows = [
        ("a", True, 2**31 - 1, 0.5, moment, [1.0, float("inf")], ["u", "é"], bytearray(b"\x00\xff")),
        ("b", None, None, None, None, None, None, None),
        ("c", False, -1, -0.0, datetime(1950, 1, 1), [], [None, ""], bytearray(b"")),
    ]
    fields = "name string, flag boolean, n int, x float, at timestamp, curve array<double>"
    fields += ", labels array<string>, thumbnail binary"
    frame = spark.createDataFrame(rows, fields)
    _write(spark, lake, frame, KINDS)
    found = read_table(spark, lake, "kinds").drop("run_id").orderBy("name").collect()
    assert [tuple(row) for row in found] == rows


def _rejects(spark, n: int, source: str = "file") -> DataFrame:
    rows = [("test", f"{source} {i}", "Bad", "bad", None) for i in range(n)]
    fields = "job string, source string, error_type string, message string, payload string"
    return spark.createDataFrame(rows, fields)


def _sources(spark, lake: Lake) -> list[str]:
    return sorted(row.source for row in read_table(spark, lake, "rejects").collect())


def test_an_append_leaves_what_is_there(spark, lake):
    for run_id, source in (("run-1", "a"), ("run-2", "b")):
        written = TableWriter(spark, lake, run_id, "test").append_rows(_rejects(spark, 2, source), REJECTS)
        apply_commit(written.commit)
    assert _sources(spark, lake) == ["a 0", "a 1", "b 0", "b 1"]
    assert {row.run_id for row in read_table(spark, lake, "rejects").collect()} == {"run-1", "run-2"}


def test_an_append_of_nothing_writes_no_file(spark, lake):
    written = TableWriter(spark, lake, "run-1", "test").append_rows(_rejects(spark, 0), REJECTS)
    assert (written.rows_new, written.commit.adds) == (0, ())


def test_appends_planned_at_the_same_time_both_land(spark, lake):
    plans = [
        TableWriter(spark, lake, run_id, "test").append_rows(_rejects(spark, 1, run_id), REJECTS)
        for run_id in ("run-1", "run-2")
    ]
    for plan in plans:
        apply_commit(plan.commit)
    assert _sources(spark, lake) == ["run-1 0", "run-2 0"]


def test_a_flat_table_is_replaced_by_key(spark, lake):
    _write(spark, lake, _rejects(spark, 4), REJECTS)
    mine = spark.createDataFrame([("file 1",), ("file 2",)], "source string")
    fresh = _rejects(spark, 2).replace({"file 0": "file 1", "file 1": "file 2"}, subset="source").limit(1)
    written = _write(spark, lake, fresh, REJECTS, Replace("source", mine), run_id="run-2")
    assert (written.rows_new, written.rows_kept) == (1, 2)
    assert _sources(spark, lake) == ["file 0", "file 1", "file 3"]


def test_a_large_flat_table_is_several_files_and_the_same_rows(spark, lake, monkeypatch):
    monkeypatch.setattr(writer_module, "_FLAT_ROWS", 10)
    _write(spark, lake, _rejects(spark, 35), REJECTS)
    assert 1 < len(_snapshot(lake, table="rejects").files) <= 4
    assert _sources(spark, lake) == sorted(f"file {i}" for i in range(35))


def test_a_flat_table_may_become_empty(spark, lake):
    _write(spark, lake, _rejects(spark, 3), REJECTS)
    _write(spark, lake, _rejects(spark, 0), REJECTS, run_id="run-2")
    assert _sources(spark, lake) == []


def test_rows_committed_while_others_are_staged_are_not_lost(spark, lake):
    _write(spark, lake, sky(300, 1))
    writer = TableWriter(spark, lake, "run-2", "test", 500)
    snapshot = writer.base("stars", positional=True)
    staged = writer.stage(frame_of(spark, snapshot).drop("Norder", "Dir", "Npix"), STARS)
    _write(spark, lake, sky(100, 2), what=_owning(spark, [-1]), run_id="run-3")
    with pytest.raises(CommitConflict, match="run the job again"):
        apply_commit(writer.replace_staged(staged, STARS).commit)
    assert len(_content(lake)) == 400


def test_rows_of_owners_that_came_later_are_not_ours_to_remove(spark, lake):
    """The write removes what its view of the owners does not know; a newer owner is no such row."""
    _write(spark, lake, sky(200, 1, within_deg=1.0))
    writer = TableWriter(spark, lake, "run-2", "test", 500)
    writer.stage_spec(STARS)
    later = sky(50, 2, within_deg=1.0).assign(ra=lambda rows: rows["ra"] + 100.0, tile=500)
    later[HEALPIX_COLUMN] = healpix29(later["ra"].to_numpy(), later["dec"].to_numpy())
    _write(spark, lake, later, what=_owning(spark, [500]), run_id="run-3")
    gone = replace(_owning(spark, [39, 41]), others=True)
    apply_commit(writer.replace_staged(Staged(), STARS, gone).commit)
    tiles = _content(lake)["tile"]
    assert set(tiles) == {39, 500}
    assert (tiles == 500).sum() == 50


def test_many_runs_are_joined_before_they_are_merged(spark, lake, monkeypatch):
    monkeypatch.setattr(writer_module, "FAN_IN", 3)
    rows = sky(600, 1)
    frame = _frame(spark, rows).repartition(20, "source_id")
    _write(spark, lake, frame, max_rows=100)
    _same(_content(lake), rows)


def test_a_table_whose_key_is_the_index_can_be_written(spark, lake):
    table = replace(STARS, key=(HEALPIX_COLUMN,))
    rows = pd.concat([sky(30, 1), sky(30, 1).assign(source_id=lambda r: r["source_id"] + 500)])
    _write(spark, lake, rows, table)
    assert len(_content(lake)) == 60


def test_rows_of_keys_come_to_a_table_that_holds_none(spark, lake):
    rows = sky(30, 1, within_deg=3.0)
    assert _write(spark, lake, rows[:0]).rows_new == 0
    what = Replace("source_id", _frame(spark, rows).select("source_id"))
    assert (_write(spark, lake, rows, what=what, run_id="run-2").rows_new, len(_content(lake))) == (30, 30)
    # all go and none comes: the table is there, and empty
    written = _write(spark, lake, rows[:0], what=what, run_id="run-3")
    assert (written.rows_new, written.rows_kept) == (0, 0)
    assert read_table(spark, lake, "stars").count() == 0


def test_rows_of_one_key_and_place_go_together_and_rows_without_it_stay(spark, lake):
    """Keys may repeat at one place, and a null is no key that any value names."""
    rows = sky(40, 1, within_deg=0.5)
    rows.loc[:19, ["ra", "dec", HEALPIX_COLUMN]] = rows.loc[0, ["ra", "dec", HEALPIX_COLUMN]].to_numpy()
    rows[HEALPIX_COLUMN] = rows[HEALPIX_COLUMN].astype(np.int64)
    rows["mag"] = np.where(np.arange(40) % 4 == 0, np.nan, np.arange(40) % 4)
    _write(spark, lake, rows)
    what = Replace("mag", spark.createDataFrame([(1.0,), (3.0,)], "mag float"))
    written = _write(spark, lake, rows[:0], what=what, run_id="run-2")
    assert written.rows_kept == 20
    _same(_content(lake), rows[rows["mag"].isna() | (rows["mag"] == 2)])
