"""The Spark side of ingesting a catalog: schemas first, then slices of files, each read by one worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from astrolake.data_access.catalog_files import (
    InputFile,
    ReadOptions,
    file_schema,
    merge_schemas,
    read_batches,
    row_count,
)
from astrolake.data_access.column_map import ColumnMap
from astrolake.data_access.normalise import (
    Reject,
    lake_table,
    malformed_rejects,
    normalise_batch,
    resolve_columns,
)
from astrolake.errors import BadArguments, BadInput
from astrolake.lake.reader import spark_fields
from astrolake.schema import HEALPIX_COLUMN, Table
from astrolake.schema.arrow import arrow_schema
from astrolake.sky.healpix import healpix29

_REJECT = ("source", "error_type", "message", "payload")
_IS_REJECT = "_is_reject"
#: What a worker reports when a flag does not fit the files.
_BAD_ARGUMENTS = "BadArguments"
#: Rows of a slice: larger files are read by several workers.
_SLICE_ROWS = 1_000_000
_COMPRESSED = (".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class CatalogPlan:
    """What a worker needs to know to read any slice of a catalog."""

    table: Table
    schema: pa.Schema
    columns: ColumnMap
    options: ReadOptions

    @property
    def tagged_schema(self) -> pa.Schema:
        """The table's columns but run_id, then those of a reject and which of the two a row is."""
        fields = [pa.field(f.name, f.type) for f in arrow_schema(self.table) if f.name != "run_id"]
        rejects = [pa.field(f"_reject_{name}", pa.string()) for name in _REJECT]
        return pa.schema([*fields, *rejects, pa.field(_IS_REJECT, pa.bool_())])

    def read_slice(self, file: InputFile, begin: int, end: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows and rejects of a slice; end -1 is the whole file."""
        seen = 0
        rows = None if end < 0 else (begin, end)
        try:
            for batch in read_batches(file, self.schema, self.options, row_range=rows):
                seen += batch.records.num_rows + len(batch.malformed)
                good, bad = normalise_batch(
                    batch.records, batch.row_numbers, self.columns, file.uri, file.label
                )
                if good.num_rows:
                    yield self._tagged(good)
                rejects = [*bad, *malformed_rejects(batch.malformed, file.uri)]
                if rejects:
                    yield self._rejected(rejects)
            if rows is not None and seen != end - begin:
                raise BadInput(
                    f"{file.uri}: {seen} rows where the header promises {end - begin}", "Truncated"
                )
        except BadInput as error:
            # Other errors are no fault of the file: the run fails, and the table stays as it is.
            message = f"{error}; rows after number {begin + seen} were not read"
            yield self._rejected([Reject(file.uri, error.kind, message, "")])

    def _tagged(self, good: pa.RecordBatch) -> pa.RecordBatch:
        index = healpix29(good.column("ra").to_numpy(), good.column("dec").to_numpy())
        columns = {name: good.column(name) for name in good.schema.names} | {HEALPIX_COLUMN: pa.array(index)}
        columns[_IS_REJECT] = pa.repeat(pa.scalar(False), good.num_rows)
        return _under(columns, good.num_rows, self.tagged_schema)

    def _rejected(self, rejects: Sequence[Reject]) -> pa.RecordBatch:
        columns = {
            f"_reject_{name}": pa.array([getattr(r, name) for r in rejects], pa.string()) for name in _REJECT
        }
        columns[_IS_REJECT] = pa.repeat(pa.scalar(True), len(rejects))
        return _under(columns, len(rejects), self.tagged_schema)


def plan_catalog(
    spark: SparkSession, files: Sequence[InputFile], options: ReadOptions, name: str, id_column: str | None
) -> tuple[CatalogPlan, list[tuple[InputFile, int]], list[Reject]]:
    """Read the schemas of all files on the executors and settle on one table.

    Returns
    -------
    plan : CatalogPlan
    readable : list of (file, rows by its header or -1)
    rejects : list of Reject
        Files whose columns could not be read.

    Raises
    ------
    BadInput
        When no file can be read at all.
    """

    def probe(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for i in batch.column("i").to_pylist():
                yield pa.RecordBatch.from_pylist([_probe(i, files[i], options)], schema=_PROBE)

    numbers = spark.createDataFrame([(i,) for i in range(len(files))], "i int").repartition(len(files))
    probed = numbers.mapInArrow(
        probe, "i int, schema binary, rows long, kind string, message string"
    ).collect()
    probed = sorted(probed, key=lambda row: int(row.i))
    good = [row for row in probed if row.schema is not None]
    rejects = [Reject(files[r.i].uri, r.kind, r.message, "") for r in probed if r.schema is None]
    for reject in rejects:
        if reject.error_type == _BAD_ARGUMENTS:
            raise BadArguments(reject.message)
    if not good:
        raise BadInput(
            f"no input file can be read as a catalog; the first: {rejects[0].message}", rejects[0].error_type
        )
    schemas = [(files[r.i].uri, pa.ipc.read_schema(pa.py_buffer(bytes(r.schema)))) for r in good]
    schema = merge_schemas(schemas)
    columns = resolve_columns(schema, options.ra, options.dec, id_column)
    plan = CatalogPlan(lake_table(name, schema, columns), schema, columns, options)
    return plan, [(files[r.i], int(r.rows)) for r in good], rejects


_PROBE = pa.schema(
    [
        ("i", pa.int32()),
        ("schema", pa.binary()),
        ("rows", pa.int64()),
        ("kind", pa.string()),
        ("message", pa.string()),
    ]
)


def _probe(number: int, file: InputFile, options: ReadOptions) -> dict[str, object]:
    try:
        schema = file_schema(file, options).serialize().to_pybytes()
        rows = row_count(file, options)
    except BadInput as error:
        return {"i": number, "kind": error.kind, "message": str(error)}
    except BadArguments as error:
        return {"i": number, "kind": _BAD_ARGUMENTS, "message": str(error)}
    return {"i": number, "schema": schema, "rows": -1 if rows is None else rows}


def catalog_frame(
    spark: SparkSession,
    plan: CatalogPlan,
    readable: Sequence[tuple[InputFile, int]],
    rejects: Sequence[Reject],
) -> DataFrame:
    """Return all rows of the files, tagged as rows of the table or rejects."""
    files = [file for file, _ in readable]
    slices = []
    for i, (file, rows) in enumerate(readable):
        # Every slice of a compressed file would be decompressed from its start: one reads it all.
        step = max(rows, 1) if file.uri.endswith(_COMPRESSED) else _SLICE_ROWS
        starts = range(0, rows, step) if rows > 0 else ()
        whole = [(i, 0, -1 if rows else 0)]
        slices += [(i, begin, min(begin + step, rows)) for begin in starts] or whole
    shared = spark.sparkContext.broadcast((plan, files))

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        work, inputs = shared.value
        for batch in batches:
            for item in batch.to_pylist():
                yield from work.read_slice(inputs[item["i"]], item["begin"], item["end"])

    wanted = spark.createDataFrame(slices, "i int, begin long, end long").repartition(max(1, len(slices)))
    found = wanted.mapInArrow(read, spark_fields(plan.tagged_schema))
    if not rejects:
        return found
    schema = spark_fields(plan.tagged_schema)
    lost = [
        (*([None] * (len(schema) - 5)), r.source, r.error_type, r.message, r.payload, True) for r in rejects
    ]
    return found.unionByName(spark.createDataFrame(lost, schema))


def reject_duplicates(found: DataFrame) -> DataFrame:
    """Return tagged rows with each identifier once: of rows that share one, the first on the sky stays.

    The others become rejects. Costs one shuffle of the identifiers; rows move only where some repeat.
    """
    rows = found.where(~F.col(_IS_REJECT))
    repeated = rows.groupBy("source_id").count().where("count > 1").select("source_id")
    if repeated.isEmpty():
        return found
    order = Window.partitionBy("source_id").orderBy(HEALPIX_COLUMN, "ra", "dec", F.xxhash64(*rows.columns))
    ranked = rows.join(repeated, "source_id", how="left_semi").withColumn("_rank", F.row_number().over(order))
    first = ranked.where("_rank = 1").select(*found.columns)
    said = {
        "source": F.concat(F.lit("source_id "), F.col("source_id").cast("string")),
        "error_type": F.lit("DuplicateId"),
        "message": F.concat(
            F.lit("source_id "),
            F.col("source_id").cast("string"),
            F.lit(" occurs more than once; the first row on the sky was kept, choose another --id-column"),
        ),
        "payload": F.to_json(F.struct("ra", "dec")),
    }
    later = ranked.where("_rank > 1").select(
        *(
            F.lit(True).alias(name)
            if name == _IS_REJECT
            else said[name.removeprefix("_reject_")].alias(name)
            if name.startswith("_reject_")
            else F.lit(None).cast(found.schema[name].dataType).alias(name)
            for name in found.columns
        )
    )
    single = rows.join(repeated, "source_id", how="left_anti").select(*found.columns)
    return found.where(_IS_REJECT).unionByName(single).unionByName(first).unionByName(later)


def split_rejects(found: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Return the rows of the table, and the rejects."""
    rejects = found.where(_IS_REJECT).select(*(F.col(f"_reject_{name}").alias(name) for name in _REJECT))
    return found.where(~F.col(_IS_REJECT)), rejects


def _under(columns: dict[str, pa.Array], rows: int, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
