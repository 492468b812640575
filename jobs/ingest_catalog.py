"""Bring a catalog into the lake: checked, partitioned by HEALPix, all columns kept."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pyarrow as pa

from astrolake.data_access.catalog_files import FORMATS, ReadOptions, list_inputs
from astrolake.data_access.spark import (
    FEW_SLICES,
    REJECT_SCHEMA,
    REJECTED,
    SEEN,
    catalog_reports,
    plan_catalog,
    rejects_table,
    slices_of,
    split_duplicates,
)
from astrolake.errors import BadArguments, BadInput
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.lake.keys import may_repeat
from astrolake.lake.reader import spark_fields
from astrolake.lake.staging import Staged, collect_reports
from astrolake.lake.writer import Replace
from astrolake.schema.spark import spark_schema


@dataclass(frozen=True, kw_only=True)
class IngestCatalogArgs(JobArgs):
    """Flags of ingest_catalog."""

    input: tuple[str, ...] = flag(help="files, globs, directories or s3:// prefixes")
    table: str = flag(help="name of the table: lower case letters, digits and _")
    format: str = flag("auto", help="format of the files", choices=FORMATS)
    ra_column: str = flag("", help="column of right ascension (found by UCD or name)")
    dec_column: str = flag("", help="column of declination (found by UCD or name)")
    id_column: str = flag("", help="column of the identifier (found by UCD or name, else generated)")
    columns: tuple[str, ...] = flag((), help="column names of delimited text that has no header line")
    delimiter: str = flag("", help="separator of delimited text; a blank stands for any run of blanks")
    hdu: str = flag("", help="index or name of the FITS HDU or VOTable table")
    exclude: tuple[str, ...] = flag((), help="columns to leave out")
    append: bool = flag(False, help="keep the table's other rows; those of equal source_id are replaced")

    @property
    def reading(self) -> ReadOptions:
        """How to read the files."""
        hdu = int(self.hdu) if self.hdu.isdecimal() and self.hdu.isascii() else self.hdu or None
        return ReadOptions(
            self.ra_column or None, self.dec_column or None, self.columns, self.delimiter,
            hdu=hdu, exclude=self.exclude, storage_options=self.storage_options,
        )  # fmt: skip


def run(args: IngestCatalogArgs, context: JobContext) -> Outcome:
    """Read every file on the executors and write the table; units are rows and unreadable files."""
    spark, writer = context.spark, context.writer
    files = list_inputs(args.input, args.format, args.storage_options)
    plan, readable, lost = plan_catalog(spark, files, args.reading, args.table, args.id_column or None)
    if args.append and plan.columns.id is None:
        raise BadArguments(
            "--append needs an identifier of the rows, to tell new ones from old: name one by --id-column"
        )
    stages = (
        writer.stage_spec(plan.table),
        writer.stage_as("catalog-rejects", REJECT_SCHEMA),
        writer.stage_as("catalog-keys", pa.schema([])),
    )
    reports = catalog_reports(spark, plan, readable, *stages)
    staged, counts = collect_reports(reports, scattered=len(slices_of(readable)) > FEW_SLICES)
    rows, bad, keys = (staged.get(stage.table, Staged()) for stage in stages)
    rejects = writer.staged_frame(bad, spark_fields(REJECT_SCHEMA))
    if lost:
        rejects = rejects.unionByName(spark.createDataFrame(rejects_table(lost).to_pandas(), rejects.schema))
    total, rejected = counts.get(SEEN, 0) + len(lost), counts.get(REJECTED, 0) + len(lost)
    if total and total == rejected:
        first = rejects.first()
        raise BadInput(f"no row of the input can be used, the first because: {first and first.message}")
    if may_repeat(spark, context.lake.storage, keys.runs):
        single, later = split_duplicates(writer.staged_frame(rows, spark_schema(plan.table)))
        rows, rejects = writer.stage(single, plan.table), rejects.unionByName(later)
        rejected += later.count()
    what = None
    if args.append:
        ids = writer.staged_frame(rows, spark_schema(plan.table)).select("source_id")
        what = Replace("source_id", ids)
    written = writer.replace_staged(rows, plan.table, what)
    return Outcome(total, written.rows_new, rejected, [written], rejects if rejected else None)


JOB = Job("ingest_catalog", IngestCatalogArgs, run, __doc__ or "", creates_lake=True)

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
