"""The Spark side of a cross-match: plan on the driver, one task for a few cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from astrolake.crossmatch.cells import MOTION, MatchPlan, Side, match_rows
from astrolake.errors import BadArguments
from astrolake.lake.cells import cell_frame, cells_of, plan_cells
from astrolake.lake.delta import Snapshot
from astrolake.lake.reader import RegionReader, frame_of, require_columns, spark_fields
from astrolake.schema import CROSSMATCH, REGISTRY, Column, Table
from astrolake.schema.arrow import arrow_schema, column_of
from astrolake.sky.crossmatch import Mode

_CELL_ROWS = "_left_rows"


@dataclass(frozen=True)
class MatchOptions:
    """Radius, mode (best, all, nearest-n, anti), n, and the common epoch in Julian years."""

    radius_arcsec: float
    mode: Mode = "best"
    n: int = 1
    epoch: float | None = None


def crossmatch_table(left: str, right: str, left_id: Column, right_id: Column) -> Table:
    """Return the declaration of the matches of two tables: the ids keep their own types."""
    types = {"left_id": left_id.type, "right_id": right_id.type}
    columns = tuple(replace(c, type=types.get(c.name, c.type)) for c in CROSSMATCH.columns)
    return replace(CROSSMATCH, name=f"crossmatches/{left}_x_{right}", columns=columns)


def id_column(table: str, snapshot: Snapshot) -> Column:
    """Return the key column of a positional table.

    Raises
    ------
    BadArguments
        When the table has no positions.
    MissingColumns
        When the table has no key column.
    """
    if not snapshot.is_positional:
        raise BadArguments(
            f"table {table} has no positions; cross-match works on objects, detections and catalogs"
        )
    name = REGISTRY[table].key[0] if table in REGISTRY else "source_id"
    require_columns(table, snapshot.stored_names, [name])
    return column_of(snapshot.schema.field(name))


def match_frame(
    spark: SparkSession, sides: Sequence[tuple[str, Snapshot]], options: MatchOptions
) -> DataFrame:
    """Return the matches of a left and a right table, and one row a cell with its left rows.

    Rows with `_left_rows` set count the left rows of a cell; all others are matches.
    """
    (left, left_snapshot), (right, right_snapshot) = sides
    table = crossmatch_table(left, right, id_column(left, left_snapshot), id_column(right, right_snapshot))
    plan = _plan(spark, sides, options)
    shared = spark.sparkContext.broadcast(plan)
    names = [name for name in table.column_names if name != "run_id"]
    schema = pa.schema([*(arrow_schema(table).field(name) for name in names), (_CELL_ROWS, pa.int64())])
    schema = pa.schema([pa.field(f.name, f.type) for f in schema])

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for cell in cells_of(batch):
                count = 0
                for ours, theirs, matches in shared.value.match_cell(cell):
                    count = ours.num_rows
                    if len(matches):
                        yield from _batches(match_rows(ours, theirs, matches, shared.value), schema)
                yield from _batches({_CELL_ROWS: pa.array([count], pa.int64())}, schema)

    cells = plan_cells(left_snapshot, beside=right_snapshot)
    return cell_frame(spark, cells).mapInArrow(work, spark_fields(schema))


def split_counts(found: DataFrame) -> tuple[DataFrame, int]:
    """Return the matches alone, and the number of left rows that were matched against."""
    total = found.agg(F.sum(_CELL_ROWS)).first()
    count = int(total[0] or 0) if total is not None else 0
    return found.where(F.col(_CELL_ROWS).isNull()).drop(_CELL_ROWS), count


def _batches(columns: dict[str, pa.Array], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the columns under the schema, absent ones as null."""
    size = len(next(iter(columns.values())))
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(size, f.type) for f in schema]
    yield from pa.Table.from_arrays(arrays, schema=schema).to_batches(max_chunksize=65_536)


def _plan(spark: SparkSession, sides: Sequence[tuple[str, Snapshot]], options: MatchOptions) -> MatchPlan:
    left, right = (_side(name, snapshot, options.epoch) for name, snapshot in sides)
    motion = sum(
        _farthest_motion_deg(spark, snapshot, options.epoch)
        for side, (_, snapshot) in zip((left, right), sides, strict=True)
        if side.moves and options.epoch is not None
    )
    return MatchPlan(
        left,
        right,
        radius_arcsec=options.radius_arcsec,
        mode=options.mode,
        n=options.n,
        epoch=options.epoch,
        # A little more than the radius, so that rounding never loses a row at its very edge.
        margin_deg=options.radius_arcsec / 3600 * (1 + 1e-9) + 1e-9 + motion * 1.001,
    )


def _side(table: str, snapshot: Snapshot, epoch: float | None) -> Side:
    key = id_column(table, snapshot).name
    names = snapshot.stored_names
    has_motion = {"pmra", "pmdec"} <= set(names)
    if epoch is not None and has_motion:
        require_columns(f"{table} (needed by --epoch beside pmra and pmdec)", names, ["ref_epoch"])
    moves = has_motion and epoch is not None
    columns = (key, "ra", "dec", *(MOTION if moves else ()))
    return Side(RegionReader(snapshot.storage, snapshot.files, columns), key, moves)


def _farthest_motion_deg(spark: SparkSession, snapshot: Snapshot, epoch: float | None) -> float:
    """Return the largest proper motion of a table times the years to the epoch."""
    years = F.abs(F.lit(epoch) - F.col("ref_epoch"))
    motion = F.hypot("pmra", "pmdec") * years
    row = frame_of(spark, snapshot).agg(F.max(F.when(motion < float("inf"), motion))).first()
    return float(row[0] or 0.0) / 3.6e6 if row is not None else 0.0
