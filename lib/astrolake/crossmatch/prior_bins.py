"""What workers count for magnitude priors: sure counterparts and field rows in fine bins of some columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from astrolake.crossmatch.cells import MatchPlan
from astrolake.crossmatch.columns import candidate_odds
from astrolake.lake.cells import Cell
from astrolake.sky.probability import p_single
from astrolake.sky.separation import Float64

#: What is reported of a bin that holds any row: number of the column, bin, and sums.
BINS = pa.schema(
    [("prior", pa.int32()), ("bin", pa.int32()), ("sure", pa.float64()), ("field", pa.float64())]
)
#: Matches more probable than this teach what counterparts are like; rows of matches less probable than the
#: other are none: NWAY's values.
_SURE, _POSSIBLE = 0.9, 0.01


@dataclass(frozen=True)
class FineBins:
    """Edges of the bins of each column."""

    names: tuple[str, ...]
    edges: tuple[Float64, ...]

    def of_all(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Count all rows of the right table as field."""
        for batch in batches:
            one, none = np.ones(batch.num_rows), np.zeros(batch.num_rows)
            for i, name in enumerate(self.names):
                values = np.asarray(batch.column(name).to_numpy(zero_copy_only=False), float)
                yield self._sums(i, values, none, one)

    def of_candidates(self, plan: MatchPlan, cells: Iterable[Cell]) -> Iterator[pa.RecordBatch]:
        """Count sure counterparts by their probability, and take what may be one out of the field."""
        for cell in (part for whole in cells for part in plan.parts(whole)):
            for left, right, matches in plan.match_cell(cell)[1]:
                p = p_single(candidate_odds(plan, left, right, matches)[0], plan.prior)
                possible = p > _POSSIBLE
                rows, first = np.unique(matches.right_index[possible], return_index=True)
                sure = np.where(p > _SURE, p, 0.0)[possible][first]
                for i, name in enumerate(self.names):
                    yield self._sums(i, right.floats(name)[rows], sure, -np.ones(len(rows)))

    def _sums(self, i: int, values: Float64, sure: Float64, field: Float64) -> pa.RecordBatch:
        edges = self.edges[i]
        known = np.isfinite(values) & (len(edges) > 1)
        at = np.searchsorted(edges, values[known], side="right") - 1
        filled, place = np.unique(np.clip(at, 0, max(len(edges) - 2, 0)), return_inverse=True)
        sums = (np.bincount(place, weight[known], len(filled)) for weight in (sure, field))
        columns = [np.full(len(filled), i, np.int32), filled.astype(np.int32), *sums]
        return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=BINS)
