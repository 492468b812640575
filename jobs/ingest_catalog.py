"""Bring a catalog into the lake: checked, partitioned by HEALPix, all columns kept."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.data_access.catalog_files import FORMATS, ReadOptions, list_inputs, read_options
from astrolake.data_access.spark import plan_catalog, replace_catalog, stage_catalog, stored_table
from astrolake.data_access.surveys.file_vocabulary import SurveyFiles
from astrolake.data_access.surveys.registry import load_survey
from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main


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
    survey: str = flag(
        "", help="survey that the files are of, or its .toml file: translates columns and values"
    )
    release: str = flag("", help="release of the survey (the first it has)")
    survey_table: str = flag("", help="table of the survey (found by the columns)")
    cut: tuple[str, ...] = flag((), help="named cuts that rows of the survey must pass, such as clean")
    append: bool = flag(False, help="keep the table's other rows; those of equal source_id are replaced")

    def check(self) -> None:
        """Raise BadArguments for flags of a survey that do not go together."""
        if self.survey and (named := self.ra_column or self.dec_column or self.id_column):
            raise BadArguments(f"--survey tells position and identifier: leave out the column {named}")
        if not self.survey and (self.release or self.survey_table or self.cut):
            raise BadArguments("--release, --survey-table and --cut need --survey")

    @property
    def files_of(self) -> SurveyFiles | None:
        """Survey, release, table and cuts that were named."""
        if not self.survey:
            return None
        return SurveyFiles(load_survey(self.survey, self.release), self.survey_table, self.cut)

    @property
    def reading(self) -> ReadOptions:
        """How to read the files."""
        text = {"columns": self.columns, "delimiter": self.delimiter, "exclude": self.exclude}
        return read_options(
            self.ra_column, self.dec_column, self.hdu, storage_options=self.storage_options, **text
        )


def run(args: IngestCatalogArgs, context: JobContext) -> Outcome:
    """Read every file on the executors and write the table; units are rows and unreadable files."""
    spark, writer = context.spark, context.writer
    files = list_inputs(args.input, args.format, args.storage_options)
    stored = stored_table(writer, args.table) if args.append else None
    wanted = (args.reading, args.table, args.id_column or None, stored)
    plan, readable, lost = plan_catalog(spark, files, *wanted, append=args.append, survey=args.files_of)
    found = stage_catalog(spark, writer, plan, readable, lost)
    written = replace_catalog(writer, plan, found, append=args.append)
    rejects = found.rejects if found.rejected else None
    return Outcome(found.seen, written.rows_new, found.rejected, [written], rejects)


JOB = Job("ingest_catalog", IngestCatalogArgs, run, __doc__ or "", creates_lake=True)

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
