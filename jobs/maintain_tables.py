"""Compact tables and delete files that no current version uses."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.job.tables import chosen_tables
from astrolake.lake.maintain import compact_table, vacuum_staging, vacuum_table
from astrolake.lake.vacuum import check_hours


@dataclass(frozen=True, kw_only=True)
class MaintainTablesArgs(JobArgs):
    """Flags of maintain_tables."""

    tables: tuple[str, ...] = flag((), help="tables to maintain (all)")
    compact: bool = flag(False, help="lay partitions out anew where rows have grown or shrunk")
    vacuum_hours: float = flag(168.0, help="delete files unused this long; 0 only while nobody writes")
    dry_run: bool = flag(False, help="say what would be done, and do nothing")

    def check(self) -> None:
        """Refuse retention that is none."""
        check_hours("--vacuum-hours", self.vacuum_hours)


def run(args: MaintainTablesArgs, context: JobContext) -> Outcome:
    """Vacuum, then compact; units are tables."""
    names = chosen_tables(context.lake, args.tables)
    for name in names:
        vacuum_table(context.lake, name, args.vacuum_hours, dry_run=args.dry_run)
    vacuum_staging(context.lake, args.vacuum_hours, dry_run=args.dry_run)
    compacted = [compact_table(context.writer, name, dry_run=args.dry_run) for name in names if args.compact]
    written = [one for one in compacted if one is not None]
    return Outcome(len(names), len(names), 0, written)


JOB = Job("maintain_tables", MaintainTablesArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
