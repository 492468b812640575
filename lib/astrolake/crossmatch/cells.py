"""One cell of a cross-match: read both sides, bring them to one epoch, match."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from astrolake.lake.cells import Cell
from astrolake.lake.reader import RegionReader
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.crossmatch import Matches, Mode, Positions, iter_match
from astrolake.sky.epoch import propagate

#: Columns that make proper motion known.
MOTION = ("pmra", "pmdec", "ref_epoch")


@dataclass(frozen=True)
class Side:
    """One table of the match: where its rows are, and whether they move.

    Parameters
    ----------
    reader : RegionReader
    id_column : str
    moves : bool
        Whether it has the columns `MOTION`.
    """

    reader: RegionReader
    id_column: str
    moves: bool

    def positions(self, rows: pa.Table, epoch: float | None) -> Positions:
        """Return the rows' positions, at the epoch (Julian year) when one is given."""
        ra, dec = _floats(rows, "ra"), _floats(rows, "dec")
        if self.moves and epoch is not None and rows.num_rows:
            pmra, pmdec, since = (_floats(rows, name) for name in MOTION)
            # Without an epoch of its own a row cannot be moved: it stays where the catalog has it.
            still = ~np.isfinite(since)
            pmra, pmdec = np.where(still, 0.0, pmra), np.where(still, 0.0, pmdec)
            ra, dec = propagate(ra, dec, pmra, pmdec, np.where(still, epoch, since), epoch)
        return Positions(ra, dec, rows.column(self.id_column).to_numpy())


@dataclass(frozen=True)
class MatchPlan:
    """What a task needs to know besides its cells.

    Parameters
    ----------
    margin_deg : float
        Radius plus the farthest that rows of either side move.
    """

    left: Side
    right: Side
    radius_arcsec: float
    mode: Mode
    n: int
    epoch: float | None
    margin_deg: float

    def match_cell(self, cell: Cell) -> Iterator[tuple[pa.Table, pa.Table, Matches]]:
        """Yield (left rows, right rows, matches) for a cell, in pieces of bounded size."""
        left = self.left.reader.read(cell.ranges)
        if not left.num_rows:
            return
        right = self.right.reader.read(cell.surroundings(self.margin_deg))
        sides = self.left.positions(left, self.epoch), self.right.positions(right, self.epoch)
        for matches in iter_match(*sides, self.radius_arcsec, self.mode, self.n):
            yield left, right, matches


def match_rows(left: pa.Table, right: pa.Table, matches: Matches, plan: MatchPlan) -> dict[str, pa.Array]:
    """Return the columns of the cross-match table for some matches."""
    ours = left.take(pa.array(matches.left_index))
    theirs = right.column(plan.right.id_column).combine_chunks()
    no_match = pa.array(matches.right_index < 0)
    at = pc.if_else(no_match, pa.scalar(None, pa.int64()), pa.array(matches.right_index))
    return {
        HEALPIX_COLUMN: ours.column(HEALPIX_COLUMN),
        "left_id": ours.column(plan.left.id_column),
        "right_id": theirs.take(at),
        "ra": ours.column("ra"),
        "dec": ours.column("dec"),
        "sep_arcsec": pc.if_else(no_match, pa.scalar(None, pa.float64()), pa.array(matches.sep_arcsec)),
        "rank": pc.if_else(no_match, pa.scalar(None, pa.int32()), pa.array(matches.rank)),
    }


def _floats(rows: pa.Table, name: str) -> np.ndarray:
    values = rows.column(name).cast(pa.float64()).to_numpy()
    return cast(np.ndarray, values)
