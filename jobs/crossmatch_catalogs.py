"""Match two positional tables of the lake on the sky."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import cast

from astrolake.crossmatch.spark import MatchOptions, crossmatch_table, id_column, match_frame, split_counts
from astrolake.errors import BadArguments
from astrolake.job import Job, JobArgs, JobContext, Outcome, flag, main
from astrolake.sky.crossmatch import MODES, Mode


@dataclass(frozen=True, kw_only=True)
class CrossmatchCatalogsArgs(JobArgs):
    """Flags of crossmatch_catalogs."""

    left: str = flag(help="table whose rows look for partners")
    right: str = flag(help="table that offers them")
    radius_arcsec: float = flag(1.0, help="largest separation, inclusive")
    mode: str = flag("best", help="nearest, every, the n nearest, or rows without partner", choices=MODES)
    n: int = flag(1, help="number of partners in mode nearest-n")
    epoch: float = flag(0.0, help="Julian year to bring both sides to by proper motion (0: as they are)")

    def check(self) -> None:
        """Refuse radii and numbers out of range."""
        if not 0 <= self.radius_arcsec <= 648_000:
            raise BadArguments(f"--radius-arcsec {self.radius_arcsec}: give a radius in [0, 648000]")
        if self.n < 1:
            raise BadArguments(f"--n {self.n}: must be at least 1")


def run(args: CrossmatchCatalogsArgs, context: JobContext) -> Outcome:
    """Match cell by cell and replace the pair's table; units are left rows."""
    sides = [(name, context.snapshot(name)) for name in (args.left, args.right)]
    options = MatchOptions(args.radius_arcsec, cast(Mode, args.mode), args.n, args.epoch or None)
    found = context.persist(match_frame(context.spark, sides, options))
    matches, left_rows = split_counts(found)
    table = crossmatch_table(args.left, args.right, *(id_column(*side) for side in sides))
    written = context.writer.replace_rows(matches, table)
    return Outcome(sides[0][1].rows, left_rows, 0, [written])


JOB = Job("crossmatch_catalogs", CrossmatchCatalogsArgs, run, __doc__ or "")

if __name__ == "__main__" and (code := main(JOB)):
    sys.exit(code)
