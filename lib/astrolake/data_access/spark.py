"""The Spark side of ingesting a catalog: schemas first, then slices of files, each read by one worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
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
from astrolake.data_access.schemas import empty_columns, fit_schema
from astrolake.data_access.surveys.file_vocabulary import FileVocabulary, SurveyFiles
from astrolake.errors import BadArguments, BadInput
from astrolake.lake.declared import declared
from astrolake.lake.keys import KeyStager, may_repeat
from astrolake.lake.reader import spark_fields
from astrolake.lake.replace import Replace
from astrolake.lake.staging import REPORT_FIELDS, Staged, Stager, StageSpec, collect_reports, report
from astrolake.lake.writer import TableWriter, Written
from astrolake.schema import HEALPIX_COLUMN, Table
from astrolake.schema.spark import spark_schema
from astrolake.sky.healpix import healpix29

#: Columns of a reject.
REJECT_SCHEMA = pa.schema([(name, pa.string()) for name in ("source", "error_type", "message", "payload")])
#: What workers count: rows read (and files that ended early), and those of them that were rejected.
_SEEN, _REJECTED = "seen", "rejected"
#: What a worker reports when a flag does not fit the files.
_BAD_ARGUMENTS = "BadArguments"
#: Rows of a slice: larger files are read by several workers.
_SLICE_ROWS = 1_000_000
#: With more, their rows may lie anywhere on the sky and their cells are added up by workers.
_FEW_SLICES = 16
_COMPRESSED = (".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class CatalogPlan:
    """What a worker needs to know to read any slice of a catalog.

    Parameters
    ----------
    table : Table
    schema : pa.Schema
        Columns as they are read.
    columns : ColumnMap
        From what is read or, with a vocabulary, from what that makes of it.
    options : ReadOptions
    vocabulary : FileVocabulary, optional
        How the columns of a survey become the lake's.
    translated : pa.Schema, optional
        What the vocabulary makes of `schema`.
    """

    table: Table
    schema: pa.Schema
    columns: ColumnMap
    options: ReadOptions
    vocabulary: FileVocabulary | None = None
    translated: pa.Schema | None = None

    def read_slice(
        self, file: InputFile, begin: int, end: int
    ) -> Iterator[tuple[pa.Table, list[Reject], int]]:
        """Yield rows, rejects and the number of rows read, batch by batch; end -1 is the whole file."""
        seen = 0
        rows = None if end < 0 else (begin, end)
        try:
            for batch in read_batches(file, self.schema, self.options, row_range=rows):
                size = batch.records.num_rows + len(batch.malformed)
                seen += size
                records, numbers = self._in_lake_words(batch.records, batch.row_numbers)
                left_out = batch.records.num_rows - records.num_rows
                good, bad = normalise_batch(records, numbers, self.columns, file.uri, file.label)
                bad += malformed_rejects(batch.malformed, file.uri)
                yield indexed(good), bad, size - left_out
            if rows is not None and seen != end - begin:
                raise BadInput(
                    f"{file.uri}: {seen} rows where the header promises {end - begin}", "Truncated"
                )
        except BadInput as error:
            # Other errors are no fault of the file: the run fails, and the table stays as it is.
            message = f"{error}; rows after number {begin + seen} were not read"
            yield pa.table({}), [Reject(file.uri, error.kind, message, "")], 1

    def _in_lake_words(
        self, records: pa.RecordBatch, numbers: NDArray[np.int64]
    ) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        """Return the rows in the vocabulary of the lake, without those that a cut leaves out."""
        if self.vocabulary is None or self.translated is None:
            return records, numbers
        rows, kept = self.vocabulary.translated(records)
        arrays = [
            column.cast(field.type) for column, field in zip(rows.columns, self.translated, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.translated), numbers[kept]


def indexed(rows: pa.RecordBatch) -> pa.Table:
    """Return rows with their HEALPix index."""
    index = healpix29(rows.column("ra").to_numpy(), rows.column("dec").to_numpy())
    return pa.Table.from_batches([rows]).append_column(HEALPIX_COLUMN, pa.array(index))


def plan_catalog(
    spark: SparkSession,
    files: Sequence[InputFile],
    options: ReadOptions,
    name: str,
    id_column: str | None,
    stored: Table | None = None,
    *,
    append: bool = False,
    survey: SurveyFiles | None = None,
) -> tuple[CatalogPlan, list[tuple[InputFile, int]], list[Reject]]:
    """Read the schemas of all files on the executors and settle on one table.

    Parameters
    ----------
    stored : Table, optional
        What the rows will be added to: columns are read in its types where these can hold them.
    append : bool
        Whether rows will be added to those the table has.
    survey : SurveyFiles, optional
        Names, units, null values and magnitudes are translated by what is known of it.

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
    BadArguments
        When a column to leave out is in no file, or rows to add have no identifier.
    """

    def probe(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for i in batch.column("i").to_pylist():
                yield pa.RecordBatch.from_pylist([_probe(i, files[i], options)], schema=_PROBE)

    numbers = spark.createDataFrame([(i,) for i in range(len(files))], "i int").repartition(len(files))
    probed = numbers.mapInArrow(
        probe, "i int, schema binary, rows long, kind string, message string, excluded array<string>"
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
    left_out = {name for row in good for name in row.excluded}
    if unknown := sorted({name for name in options.exclude if name.lower() not in left_out}):
        raise BadArguments(f"--exclude {' '.join(unknown)}: no input file has a column of that name")
    schemas = [(files[r.i].uri, pa.ipc.read_schema(pa.py_buffer(bytes(r.schema)))) for r in good]
    schema = merge_schemas(schemas)
    readable = [(files[r.i], int(r.rows)) for r in good]
    if survey is not None:
        return _survey_plan(survey, name, schema, options, stored), readable, rejects
    columns = resolve_columns(schema, options.ra, options.dec, id_column)
    if append and columns.id is None:
        raise BadArguments(
            "--append needs an identifier of the rows, to tell new ones from old: name one by --id-column"
        )
    if stored is not None:
        schema = fit_schema(schema, empty_columns([s for _, s in schemas]), dict(columns.extra), stored)
    plan = CatalogPlan(lake_table(name, schema, columns), schema, columns, options)
    return plan, readable, rejects


def _survey_plan(
    survey: SurveyFiles, name: str, schema: pa.Schema, options: ReadOptions, stored: Table | None
) -> CatalogPlan:
    """Return the plan for files of a survey, whose columns get the names that it has for them."""
    vocabulary = survey.vocabulary(schema)
    rows = vocabulary.lake_schema(schema)
    columns = resolve_columns(rows, "ra", "dec", "source_id")
    if stored is not None:
        rows = fit_schema(rows, set(), {field.name: field.name for field in rows}, stored)
    return CatalogPlan(lake_table(name, rows, columns), schema, columns, options, vocabulary, rows)


_PROBE = pa.schema(
    [
        ("i", pa.int32()),
        ("schema", pa.binary()),
        ("rows", pa.int64()),
        ("kind", pa.string()),
        ("message", pa.string()),
        ("excluded", pa.list_(pa.string())),
    ]
)


def _probe(number: int, file: InputFile, options: ReadOptions) -> dict[str, object]:
    options = replace(options, excluded=set())
    try:
        schema, rows = file_schema(file, options), row_count(file, options)
        if len(schema) and all(pa.types.is_null(field.type) for field in schema):
            problem = f"{file.uri}: the columns {schema.names} hold no value: a header without rows?"
            raise BadInput(f"{problem} There is nothing to ingest", "EmptyInput")
    except BadInput as error:
        return {"i": number, "kind": error.kind, "message": str(error)}
    except BadArguments as error:
        return {"i": number, "kind": _BAD_ARGUMENTS, "message": str(error)}
    excluded = sorted(options.excluded)
    stored = schema.serialize().to_pybytes()
    return {"i": number, "schema": stored, "rows": -1 if rows is None else rows, "excluded": excluded}


@dataclass(frozen=True)
class StagedCatalog:
    """What became of a catalog's files.

    Parameters
    ----------
    rows : Staged
        Each identifier once.
    rejects : DataFrame
        Columns `REJECT_SCHEMA`.
    seen, rejected : int
        Rows and files that cannot be read, all and those in `rejects`.
    """

    rows: Staged
    rejects: DataFrame
    seen: int
    rejected: int


def stage_catalog(
    spark: SparkSession,
    writer: TableWriter,
    plan: CatalogPlan,
    readable: Sequence[tuple[InputFile, int]],
    lost: Sequence[Reject],
) -> StagedCatalog:
    """Read all files on the executors and stage their rows.

    Raises
    ------
    BadInput
        When there are rows, but none can be used.
    """
    stages = (
        writer.stage_spec(plan.table),
        writer.stage_as("catalog-rejects", REJECT_SCHEMA),
        writer.stage_as("catalog-keys", pa.schema([])),
    )
    reports = _catalog_reports(spark, plan, readable, *stages)
    staged, counts = collect_reports(reports, scattered=len(_slices_of(readable)) > _FEW_SLICES)
    rows, bad, keys = (staged.get(stage.table, Staged()) for stage in stages)
    rejects = writer.staged_frame(bad, spark_fields(REJECT_SCHEMA))
    if lost:
        rejects = rejects.unionByName(spark.createDataFrame(_rejects_table(lost).to_pandas(), rejects.schema))
    seen, rejected = counts.get(_SEEN, 0) + len(lost), counts.get(_REJECTED, 0) + len(lost)
    if seen and seen == rejected:
        first = rejects.first()
        raise BadInput(f"no row of the input can be used, the first because: {first and first.message}")
    if may_repeat(spark, writer.lake.storage, keys.runs):
        single, later = _split_duplicates(writer.staged_frame(rows, spark_schema(plan.table)))
        rows, rejects = writer.stage(single, plan.table), rejects.unionByName(later)
        rejected += later.count()
    return StagedCatalog(rows, rejects, seen, rejected)


def stored_table(writer: TableWriter, name: str) -> Table | None:
    """Return the declaration of a catalog as the lake has it, None where it has none."""
    old = writer.base(name, positional=True)
    return None if old is None else declared(name, old)


def replace_catalog(
    writer: TableWriter, plan: CatalogPlan, found: StagedCatalog, *, append: bool = False
) -> Written:
    """Write what was staged in place of the table, or of its rows of the same identifiers."""
    what = None
    if append:
        ids = writer.staged_frame(found.rows, spark_schema(plan.table)).select("source_id")
        what = Replace("source_id", ids)
    return writer.replace_staged(found.rows, plan.table, what)


def _catalog_reports(
    spark: SparkSession,
    plan: CatalogPlan,
    readable: Sequence[tuple[InputFile, int]],
    stage: StageSpec,
    rejects: StageSpec,
    keys: StageSpec,
) -> DataFrame:
    """Stage all rows of the files, their identifiers and the rejects; tallies: `_SEEN` and `_REJECTED`."""
    slices = _slices_of(readable)
    shared = spark.sparkContext.broadcast((plan, [file for file, _ in readable], slices))

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        work, inputs, slices = shared.value
        good, bad, ids = Stager(stage), Stager(rejects), KeyStager(keys)
        for number in (i for batch in batches for i in batch.column(0).to_pylist()):
            file, begin, end = slices[number]
            for rows, lost, seen in work.read_slice(inputs[file], begin, end):
                yield report(_SEEN, seen)
                if rows.num_rows:
                    yield from ids.add(rows.column("source_id").combine_chunks())
                    yield from good.add(rows)
                if lost:
                    yield report(_REJECTED, len(lost))
                    yield from bad.add(_rejects_table(lost))
        for stager in (good, bad, ids):
            yield from stager.close()

    return spark.range(0, len(slices), 1, max(1, len(slices))).mapInArrow(read, REPORT_FIELDS)


def _rejects_table(rejects: Sequence[Reject]) -> pa.Table:
    """Return rejects as rows."""
    return pa.Table.from_pylist([asdict(reject) for reject in rejects], schema=REJECT_SCHEMA)


def _slices_of(readable: Sequence[tuple[InputFile, int]]) -> list[tuple[int, int, int]]:
    """Cut the files: (number, first row, row after the last), -1 for a file without a row count."""
    slices = []
    for i, (file, rows) in enumerate(readable):
        # Every slice of a compressed file would be decompressed from its start: one reads it all.
        step = max(rows, 1) if file.uri.endswith(_COMPRESSED) else _SLICE_ROWS
        starts = range(0, rows, step) if rows > 0 else ()
        whole = [(i, 0, -1 if rows else 0)]
        slices += [(i, begin, min(begin + step, rows)) for begin in starts] or whole
    return slices


def _split_duplicates(rows: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Return rows with each identifier once, and rejects: of several the first on the sky stays."""
    # The run differs from run to run: it must not choose among rows of one place.
    content = F.xxhash64(*(name for name in rows.columns if name != "run_id"))
    order = Window.partitionBy("source_id").orderBy(HEALPIX_COLUMN, "ra", "dec", content)
    repeated = rows.groupBy("source_id").count().where("count > 1").select("source_id")
    shared = rows.join(repeated, "source_id", how="left_semi")
    ranked = shared.withColumn("_rank", F.row_number().over(order))
    single = rows.join(repeated, "source_id", how="left_anti").select(*rows.columns)
    later = ranked.where("_rank > 1")
    text = F.col("source_id").cast("string")
    said = " occurs more than once; the first row on the sky was kept, choose another --id-column"
    rejects = later.select(
        F.concat(F.lit("source_id "), text).alias("source"),
        F.lit("DuplicateId").alias("error_type"),
        F.concat(F.lit("source_id "), text, F.lit(said)).alias("message"),
        F.to_json(F.struct("ra", "dec")).alias("payload"),
    )
    return single.unionByName(ranked.where("_rank = 1").select(*rows.columns)), rejects
