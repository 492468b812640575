"""The Spark side of estimates: the input table's files one after the other, staged for the same cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from astrolake.errors import BadArguments, BadInput
from astrolake.lake.conditions import meeting
from astrolake.lake.declared import declared
from astrolake.lake.delta import Snapshot
from astrolake.lake.reader import frame_of, require_columns, spark_fields
from astrolake.lake.replace import Replace
from astrolake.lake.staging import REPORT_FIELDS, Staged, Stager, StageSpec, report
from astrolake.lake.writer import TableWriter
from astrolake.photoz.model_store import Estimator, StoredModel, needed_columns
from astrolake.schema import HEALPIX_COLUMN, PHOTOZ, Table
from astrolake.schema.arrow import arrow_schema, delta_schema
from astrolake.schema.spark import spark_schema

ESTIMATED = "estimated"
#: Rows that are estimated together: enough for the kernels, and a bound on the memory of a task.
_ROWS = 32_768
#: Rows that tell what the columns hold.
_SAMPLE = 5_000


@dataclass(frozen=True)
class Request:
    """What is to be estimated.

    Parameters
    ----------
    table, key : str
        Table of the objects, and its key.
    method : str
        What the estimates are called.
    columns : tuple of str
        Photometry that the model reads.
    pdf_step : float
        Step of the column `pdf`, 0 leaves it out.
    """

    table: str
    key: str
    method: str
    columns: tuple[str, ...]
    pdf_step: float

    @property
    def input_columns(self) -> list[str]:
        """Columns to read."""
        return list(dict.fromkeys((HEALPIX_COLUMN, self.key, "ra", "dec", *self.columns)))

    def photometry_of(self, rows: pa.Table) -> dict[str, pa.ChunkedArray]:
        """Return the photometry of some rows."""
        return {name: rows.column(name) for name in self.columns}

    def rows_of(self, model: Estimator, version: str, rows: pa.Table) -> pa.Table:
        """Return the estimates of some rows as rows of `photoz`, but for run_id."""
        found = model.estimate(self.photometry_of(rows), self.pdf_step, whole=False)
        n = rows.num_rows
        arrays: dict[str, pa.Array] = {
            HEALPIX_COLUMN: rows.column(HEALPIX_COLUMN),
            "object_id": rows.column(self.key),
            "ra": rows.column("ra"),
            "dec": rows.column("dec"),
            "method": pa.repeat(self.method, n),
            "source_table": pa.repeat(self.table, n),
            "pdf": _lists(found["pdf"]) if self.pdf_step else pa.nulls(n, pa.list_(pa.float32())),
            "pdf_step": pa.array(np.full(n, self.pdf_step, np.float32), mask=np.full(n, not self.pdf_step)),
            "model_version": pa.repeat(version, n),
        }
        fields = [field for field in arrow_schema(PHOTOZ) if field.name != "run_id"]
        for field in fields:
            if field.name not in arrays:
                arrays[field.name] = pa.array(found[field.name], field.type, from_pandas=True)
        return pa.table({field.name: arrays[field.name] for field in fields})


def plan_request(
    table: str, snapshot: Snapshot, model: Estimator, method: str, pdf_step: float
) -> tuple[Request, Table]:
    """Return the request, and the declaration of the table that its estimates go to.

    Raises
    ------
    BadArguments
        When the table has no positions.
    MissingColumns
        When it lacks columns that the model reads.
    """
    if not snapshot.is_positional:
        raise BadArguments(f"--table {table} has no positions; give objects or an ingested catalog")
    declaration = declared(table, snapshot)
    key = declaration.key[0]
    columns = needed_columns(model)
    require_columns(table, snapshot.stored_names, columns)
    if pdf_step and not model.grid.step <= pdf_step <= model.grid.z_max - model.grid.z_min:
        raise BadArguments(
            f"--pdf-step {pdf_step}: finer than the grid's {model.grid.step}, or beyond its range up to "
            f"{model.grid.z_max}"
        )
    identifier = replace(PHOTOZ.column("object_id"), type=declaration.column(key).type)
    output = replace(
        PHOTOZ, columns=tuple(identifier if c.name == "object_id" else c for c in PHOTOZ.columns)
    )
    return Request(table, key, method, tuple(columns), pdf_step), output


def estimate_reports(rows: DataFrame, request: Request, model: StoredModel, stage: StageSpec) -> DataFrame:
    """Stage the estimates of rows; the tally `ESTIMATED` counts them.

    Rows come file by file, sorted, and are estimated in pieces of bounded size. Nothing is shuffled, and the
    model is read from the lake by each worker, once.
    """

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stager, estimator = Stager(stage), model.load()
        for piece in _pieces(batches):
            yield report(ESTIMATED, piece.num_rows)
            yield from stager.add(request.rows_of(estimator, model.model_id, piece))
        yield from stager.close()

    return rows.select(*request.input_columns).mapInArrow(work, REPORT_FIELDS)


def chosen_rows(spark: SparkSession, snapshot: Snapshot, where: str) -> tuple[DataFrame, int]:
    """Return the rows of a table that meet an SQL condition, and their number.

    BadInput where none does; BadArguments for a condition that is none.
    """
    rows = frame_of(spark, snapshot)
    if not where:
        return rows, snapshot.rows
    chosen = meeting(rows, where, "--where")
    if not (count := chosen.count()):
        raise BadInput(f"--where {where!r} selects no row: nothing is estimated, and nothing replaced")
    return chosen, count


def check_columns(rows: DataFrame, request: Request, model: Estimator) -> None:
    """Refuse columns that are wrong as a whole, by a sample of bounded size; BadInput names the column.

    A piece of the table that holds nothing but values that cannot be true is none of these: its rows are
    estimated as not observed, and flagged.
    """
    sample = rows.select(*request.columns).limit(_SAMPLE).toPandas()
    model.estimate(request.photometry_of(pa.Table.from_pandas(sample, preserve_index=False)))


def check_identifiers(writer: TableWriter, table: Table, request: Request) -> None:
    """Refuse identifiers of another type than those of other estimates in `photoz`; BadArguments."""
    old = writer.base(table.name, positional=True)
    if old is None:
        return
    there, here = (schema.field("object_id").type for schema in (old.schema, delta_schema(table)))
    if there == here:
        return
    mine = (F.col("method") == request.method) & (F.col("source_table") == request.table)
    if others := frame_of(writer.spark, old).where(~mine).select("method", "source_table").head(1):
        raise BadArguments(
            f"--table {request.table}: its key {request.key} is {here}, and {table.name} has {there} of "
            f"{others[0].source_table} (method {others[0].method}): give both keys one type"
        )


def replaced(writer: TableWriter, staged: Staged, table: Table, request: Request, *, some: bool) -> Replace:
    """Return what estimates replace: all of their method for their table, or, of `some` objects, theirs.

    Parameters
    ----------
    staged : Staged
        The estimates.
    table : Table
        Declaration of the table that they go to.
    """
    named = F.lit(request.method).alias("method"), F.lit(request.table).alias("source_table")
    if not some:
        return Replace(("method", "source_table"), writer.spark.range(1).select(*named), few=True)
    # Spark makes conditions on the rows that are there of the literals, and compares identifiers alone.
    mine = writer.staged_frame(staged, spark_schema(table)).select("object_id", *named)
    return Replace(("object_id", "method", "source_table"), mine)


def stored_models(models: DataFrame) -> list[dict[str, object]]:
    """Return what tells models apart, of all models of a lake."""
    names = ["model_id", "name", "sha256", "created"]
    return [row.asDict() for row in models.select(*names).collect()]


def model_frame(spark: SparkSession, row: pa.Table) -> DataFrame:
    """Return a row of `models` as a DataFrame."""
    return spark.createDataFrame(
        [tuple(values.values()) for values in row.to_pylist()], spark_fields(row.schema)
    )


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the rows of batches in tables of about `_ROWS`."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(b.num_rows for b in held) >= _ROWS:
            yield pa.Table.from_batches(held)
            held = []
    if held and sum(b.num_rows for b in held):
        yield pa.Table.from_batches(held)


def _lists(densities: np.ndarray) -> pa.Array:
    """Return densities (n, k) as lists, null where there is none."""
    n, k = densities.shape
    none = pa.array(np.isnan(densities).any(axis=1))
    values = pa.array(densities.ravel(), pa.float32())
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * k)
    return pa.ListArray.from_arrays(offsets, values, mask=none)
