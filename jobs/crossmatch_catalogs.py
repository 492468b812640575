"""Match two positional tables of the lake on the sky."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.crossmatch.columns import crossmatch_table
from astrolake.crossmatch.options import match_options
from astrolake.crossmatch.spark import LEFT, match_reports, plan_match
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.lake.cells import CELL_ROWS
from astrolake.lake.staging import Staged, collect_reports
from astrolake.sky.matching import MODES
from astrolake.sky.region import FORMS


@dataclass(frozen=True, kw_only=True)
class CrossmatchCatalogsArgs(JobArgs):
    """Flags of crossmatch_catalogs."""

    left: str = flag(help="table whose rows look for partners")
    right: str = flag(help="table that offers them; the same as --left leaves out a row's match with itself")
    radius_arcsec: float = flag(1.0, help="largest separation, inclusive")
    mode: str = flag("best", help="which pairs (docs/crossmatch.md)", choices=MODES)
    n: int = flag(1, help="number of partners in mode nearest-n")
    select: tuple[str, ...] = flag((), help="columns carried along: left:a,b right:c")
    epoch: float = flag(0.0, help="Julian year to bring both sides to by proper motion (0: as they are)")
    region: str = flag("", help=f"match left rows in a region only: {FORMS}")
    sigma_column: tuple[str, ...] = flag((), help="errors, columns or arcsec, left:ra_err,dec_err right:0.1")
    completeness: float = flag(1.0, help="share of left rows with a counterpart, for the probabilities")
    density_deg2: float = flag(0.0, help="right rows per square degree, for the probabilities (0: measured)")
    magnitude_prior: tuple[str, ...] = flag(
        (), help="columns that tell counterparts from others: right:rmag (learned) or right:rmag=FILE"
    )
    cell_rows: int = flag(CELL_ROWS, help="rows a task holds at a time, about: lower it for less memory")

    def check(self) -> None:
        """Refuse what no match could use, before Spark starts."""
        match_options(self)


def run(args: CrossmatchCatalogsArgs, context: JobContext) -> Outcome:
    """Match cell by cell and replace the pair's table; units are left rows (of the region)."""
    options = match_options(args)
    left, right = ((name, context.snapshot(name)) for name in (args.left, args.right))
    matching = plan_match(context.spark, left, right, options)
    table = crossmatch_table(matching.left, matching.right, options)
    staged, counts = collect_reports(match_reports(context.spark, matching, context.writer.stage_spec(table)))
    written = context.writer.replace_staged(staged.get(table.name, Staged()), table)
    seen = counts.get(LEFT, 0)
    return Outcome(seen if args.region else left[1].rows, seen, 0, [written])


JOB = Job("crossmatch_catalogs", CrossmatchCatalogsArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
