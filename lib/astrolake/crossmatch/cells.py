"""One cell of a cross-match: read both sides, bring them to one epoch, match."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from astrolake.crossmatch.options import MatchOptions
from astrolake.crossmatch.sides import Rows, Side
from astrolake.errors import BadInput
from astrolake.lake.cells import DEEPEST, Cell
from astrolake.sky.exclusive import mutual_nearest, one_to_one
from astrolake.sky.magnitude_prior import MagnitudePrior
from astrolake.sky.matching import CHUNK_PAIRS, iter_match
from astrolake.sky.positions import Matches
from astrolake.sky.ranges import inside
from astrolake.sky.search import Search
from astrolake.sky.separation import Float64, Int64

#: Chains of pairs are followed this far from a cell, at most.
_WIDEST_DEG = 5.0

#: Left rows, right rows, and their matches.
Piece = tuple[Rows, Rows, Matches]


@dataclass(frozen=True)
class MatchPlan:
    """What a task needs to know besides its cells.

    Parameters
    ----------
    prior : float
        See `astrolake.sky.probability.prior_of_match`.
    region : (M, 2) int64
        Ranges of order-29 indices that hold the options' region.
    same : bool
        Whether a table is matched with itself: rows are no partners of their own.
    priors : tuple of (column, MagnitudePrior)
        Columns of the right table that weigh probabilities.
    """

    left: Side
    right: Side
    options: MatchOptions
    prior: float
    region: Int64
    same: bool
    priors: tuple[tuple[str, MagnitudePrior], ...] = ()

    @property
    def radius_deg(self) -> float:
        """A little more than the radius, so that rounding never loses a row at its very edge."""
        return self.options.radius_arcsec / 3600 * (1 + 1e-9) + 1e-9

    @property
    def margin_deg(self) -> float:
        """How far from a cell partners of its rows may be stored."""
        return self.radius_deg + self.left.reach_deg + self.right.reach_deg

    def parts(self, cell: Cell) -> Iterator[Cell]:
        """Yield a cell, or cells it consists of, that hold at most about `cell_rows` rows of both sides."""
        near = self.left.reader.rows_near(cell.ranges)
        if not near:
            return
        near += self.right.reader.rows_near(cell.surroundings(self.margin_deg))
        # Below the size of the margin, a finer cell reads hardly less.
        fine = cell.order >= DEEPEST or cell.radius_deg < self.margin_deg / 2
        if near <= 4 * self.options.cell_rows or fine:
            yield cell
            return
        for child in cell.children():
            yield from self.parts(child)

    def match_cell(self, cell: Cell) -> tuple[int, Iterator[Piece]]:
        """Return the number of left rows of a cell, and their matches in pieces."""
        left = self._chosen(self.left.read(cell.ranges))
        if not len(left):
            return 0, iter(())
        if self.options.mode == "best-symmetric":
            return len(left), iter([self._mutual(cell, left)])
        if self.options.mode == "one-to-one":
            return len(left), iter([self._one_to_one(cell, left)])
        right = self.right.read(cell.surroundings(self.margin_deg))
        found = self._all(left, right) if self.options.has_sigma else self._by_mode(left, right)
        return len(left), ((left, right, matches) for matches in found)

    def _by_mode(self, left: Rows, right: Rows) -> Iterator[Matches]:
        sides, asked = (left.positions, right.positions), self.options
        return iter_match(*sides, asked.radius_arcsec, asked.mode, asked.n, skip_self=self.same)

    def _all(self, left: Rows, right: Rows) -> Iterator[Matches]:
        """Yield all candidates of left rows, which tell how probable each is."""
        for rows, found in self._search(left, right).pairs():
            if self.options.mode == "left":
                yield Matches.join([found, Matches.alone(np.setdiff1d(rows, found.left_index))])
            else:
                yield found

    def _chosen(self, rows: Rows) -> Rows:
        """Return the left rows that lie in the region."""
        region = self.options.region
        if region is None or not len(rows):
            return rows
        return rows[region.contains(*(rows.floats(name) for name in ("ra", "dec")))]

    def _search(self, left: Rows, right: Rows) -> Search:
        return Search(left.positions, right.positions, self.options.radius_arcsec, CHUNK_PAIRS, self.same)

    def _mutual(self, cell: Cell, left: Rows) -> Piece:
        """Match the rows of a cell; rivals for their partners may lie two radii away."""
        right = self.right.read(cell.surroundings(self.margin_deg))
        around = self.left.read(cell.surroundings(2 * (self.radius_deg + self.left.reach_deg)))
        ours = np.flatnonzero(inside(cell.ranges, around.index))
        ours = ours[np.isin(around.positions.id[ours], left.positions.id)]
        return around, right, mutual_nearest(self._search(around, right), ours)

    def _one_to_one(self, cell: Cell, left: Rows) -> Piece:
        """Match the rows of a cell; what lies around it is read as far as it may decide on them."""
        margin = 3 * self.radius_deg + self.left.reach_deg
        widest = max(_WIDEST_DEG, 10 * margin)
        while True:
            around, right = self._circle(cell, self.left, margin), self._circle(cell, self.right, margin)
            known = (self._known(cell, rows, margin) for rows in (around, right))
            matches, settled = one_to_one(self._search(around, right), *known)
            ours = np.isin(around.positions.id, left.positions.id) & inside(cell.ranges, around.index)
            if settled[ours].all():
                return around, right, matches[ours[matches.left_index]]
            if margin >= widest:
                ra, dec = cell.center
                raise BadInput(
                    f"mode one-to-one: near ra={ra:.3f} dec={dec:.3f} the choice of pairs depends on rows "
                    f"more than {margin:g} deg away; use a smaller radius"
                )
            margin = min(2 * margin, widest)

    def _circle(self, cell: Cell, side: Side, margin_deg: float) -> Rows:
        """Return the rows of a side in the circle around cell and margin, at the epoch of the match."""
        rows = side.read(cell.circle(margin_deg + side.reach_deg))
        return rows[rows.distance_arcsec(*cell.center) <= (cell.radius_deg + margin_deg) * 3600]

    def _known(self, cell: Cell, rows: Rows, margin_deg: float) -> Float64:
        """Return how far around each row everything has been read, in arcsec."""
        edge = (cell.radius_deg + margin_deg) * 3600
        return np.asarray((edge - rows.distance_arcsec(*cell.center)) * (1 - 1e-9) - 1e-6)
