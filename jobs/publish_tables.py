"""Publish tables: HATS metadata for LSDB, registration for Athena."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.job.tables import chosen_tables, refused_tables
from astrolake.lake.beside import Beside, check_beside
from astrolake.lake.publish import publish_tables
from astrolake.lake.vacuum import check_hours


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
        if not self.hats and (self.skymap_order >= 0 or self.margin_arcsec > 0):
            raise BadArguments("--skymap-order and --margin-arcsec are part of HATS: leave out --hats false")
        check_hours("--retain-hours", self.retain_hours)
        check_beside(self.skymap_order, self.margin_arcsec)


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
    rejects = refused_tables(context.spark, refused, "NotPublishable")
    return Outcome(len(names), len(names) - len(refused), len(refused), (), rejects, versions)


JOB = Job("publish_tables", PublishTablesArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
