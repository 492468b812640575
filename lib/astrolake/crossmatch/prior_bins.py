"""What workers count for magnitude priors: sure counterparts and field rows in fine bins of some columns.

A right row counts where it lies: once, with the most probable of all its pairs, however the tables are cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from astrolake.crossmatch.cells import MatchPlan
from astrolake.crossmatch.columns import candidate_odds
from astrolake.crossmatch.sides import Rows
from astrolake.lake.cells import Cell
from astrolake.sky.healpix import KEY_ORDER, Int64
from astrolake.sky.magnitude_prior import fine_bins
from astrolake.sky.matching import CHUNK_PAIRS
from astrolake.sky.probability import p_single
from astrolake.sky.ranges import merge_ranges
from astrolake.sky.search import Search
from astrolake.sky.separation import Float64

#: What is reported of a bin that holds any row: number of the column, bin, and sums.
BINS = pa.schema(
    [("prior", pa.int32()), ("bin", pa.int64()), ("sure", pa.float64()), ("field", pa.float64())]
)
#: Matches more probable than this teach what counterparts are like; rows of matches less probable than the
#: other are field: NWAY's values.
_SURE, _POSSIBLE = 0.9, 0.01
#: Only right rows in cells of this order (3.4 arcmin) with a left row count: what lies elsewhere on the sky
#: may be of another kind.
_FIELD_ORDER = 10
_SHIFT = 2 * (KEY_ORDER - _FIELD_ORDER)


def prior_counts(plan: MatchPlan, names: tuple[str, ...], cells: Iterable[Cell]) -> Iterator[pa.RecordBatch]:
    """Yield the counts of the right rows in some cells."""
    for cell in (part for whole in cells for part in plan.parts(whole)):
        left = plan.chosen(plan.left.read(_left_ranges(plan, cell)))
        if not len(left):
            continue
        right = plan.right.read(cell.ranges)
        right = right[np.isin(right.index >> _SHIFT, np.unique(left.index >> _SHIFT))]
        best = _most_probable(plan, left, right)
        sure, field = np.where(best > _SURE, best, 0.0), (best <= _POSSIBLE).astype(float)
        for i, name in enumerate(names):
            yield _sums(i, right.floats(name), sure, field)


def _left_ranges(plan: MatchPlan, cell: Cell) -> Int64:
    """Return where left rows of the right rows in a cell lie, and the cell of `_FIELD_ORDER` around it."""
    near = cell.surroundings(plan.margin_deg)
    above = max(0, cell.order - _FIELD_ORDER)
    return merge_ranges(np.concatenate([near, Cell(cell.order - above, cell.npix >> (2 * above)).ranges]))


def _most_probable(plan: MatchPlan, left: Rows, right: Rows) -> Float64:
    """Return the probability of the best pair of each right row, 0 where it has none."""
    best = np.zeros(len(right))
    search = Search(left.positions, right.positions, plan.options.radius_arcsec, CHUNK_PAIRS, plan.same)
    for _, found in search.pairs():
        p = p_single(candidate_odds(plan, left, right, found)[0], plan.prior)
        np.maximum.at(best, found.right_index, np.nan_to_num(p))
    return best


def _sums(i: int, values: Float64, sure: Float64, field: Float64) -> pa.RecordBatch:
    known = np.isfinite(values)
    filled, place = np.unique(fine_bins(values[known]), return_inverse=True)
    sums = (np.bincount(place, weight[known], len(filled)) for weight in (sure, field))
    columns = [np.full(len(filled), i, np.int32), filled, *sums]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=BINS)
