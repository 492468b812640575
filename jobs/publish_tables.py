"""Publish tables: HATS metadata for LSDB, registration for Athena."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.job.tables import chosen_tables
from astrolake.lake.beside import Beside
from astrolake.lake.margin import WIDEST_ARCSEC
from astrolake.lake.partitioning import COUNT_ORDER
from astrolake.lake.publish import publish_tables
from astrolake.lake.vacuum import MOST_HOURS


@dataclass(frozen=True, kw_only=True)
class PublishTablesArgs(JobArgs):
    """Flags of publish_tables."""

    tables: tuple[str, ...] = flag((), help="tables to publish (all)")
    hats: bool = flag(True, help="write HATS metadata beside positional tables")
    retain_hours: float = flag(0.0, help="keep superseded files this long; HATS waits until they are gone")
    skymap_order: int = flag(-1, help="write a HATS skymap, row counts in cells of this order (-1: none)")
    margin_arcsec: float = flag(
        0.0, help="write the HATS margin: rows this close to other partitions (0: none)"
    )
    glue: bool = flag(False, help="register the tables in the Glue catalog, for Athena")
    database: str = flag("", help="Glue database to register in")

    def check(self) -> None:
        """Refuse registration without a database."""
        if self.glue and not self.database:
            raise BadArguments("--glue needs --database")
        if not 0 <= self.retain_hours <= MOST_HOURS:
            raise BadArguments(f"--retain-hours {self.retain_hours}: give 0 to {MOST_HOURS:g}")
        if not self.hats and (self.skymap_order >= 0 or self.margin_arcsec > 0):
            raise BadArguments("--skymap-order and --margin-arcsec are part of HATS: leave out --hats false")
        if not -1 <= self.skymap_order <= COUNT_ORDER:
            raise BadArguments(
                f"--skymap-order {self.skymap_order}: give an order up to {COUNT_ORDER}, or -1"
            )
        if not 0 <= self.margin_arcsec <= WIDEST_ARCSEC:
            raise BadArguments(
                f"--margin-arcsec {self.margin_arcsec}: give up to {WIDEST_ARCSEC:g}, 0 for none"
            )


def run(args: PublishTablesArgs, context: JobContext) -> Outcome:
    """Publish each table; units are tables, one that must wait is rejected with its reason."""
    names = chosen_tables(context.lake, args.tables)

    versions, refused = publish_tables(
        context.lake,
        names,
        args.retain_hours if args.hats else None,
        args.database if args.glue else None,
        datetime.now(UTC),
        Beside(context.spark, context.run_id, args.skymap_order, args.margin_arcsec),
    )
    rejects = None
    if refused:
        rows = [(name, "NotPublishable", reason, None) for name, reason in refused.items()]
        fields = "source string, error_type string, message string, payload string"
        rejects = context.spark.createDataFrame(rows, fields)
    return Outcome(len(names), len(names) - len(refused), len(refused), (), rejects, versions)


JOB = Job("publish_tables", PublishTablesArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
