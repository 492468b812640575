"""Adaptive HEALPix partitions: the coarsest cells that hold at most a threshold of rows.

The leaves depend on the row counts alone, so the same rows give the same layout
whatever the order of writing (Calabretta & Roukema cells, HATS rule).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrolake.sky.healpix import KEY_ORDER, Int64

#: Order at which rows are counted, hence the finest partition (3.4 arcmin cells, at most 12.6 M of them).
COUNT_ORDER = 10
#: Coarsest and finest order of partitions.
ANY_ORDER = (0, COUNT_ORDER)
#: Default of the greatest number of rows in a partition.
MAX_ROWS = 1_000_000


@dataclass(frozen=True)
class Leaves:
    """Disjoint HEALPix cells, sorted by the sky they cover.

    Parameters
    ----------
    order, npix : (N,) int64
    """

    order: Int64
    npix: Int64

    @classmethod
    def of(cls, order: Int64, npix: Int64) -> Leaves:
        """Return the cells sorted along the order-29 index."""
        order, npix = np.asarray(order, dtype=np.int64), np.asarray(npix, dtype=np.int64)
        by_sky = np.argsort(npix << (2 * (KEY_ORDER - order)), kind="stable")
        return cls(order[by_sky], npix[by_sky])

    @property
    def starts(self) -> Int64:
        """First order-29 index inside each cell."""
        return self.npix << (2 * (KEY_ORDER - self.order))

    @property
    def ends(self) -> Int64:
        """First order-29 index after each cell."""
        return (self.npix + 1) << (2 * (KEY_ORDER - self.order))

    def __len__(self) -> int:
        return len(self.npix)

    def find(self, index29: Int64) -> NDArray[np.int64]:
        """Return the position of the cell that holds each order-29 index, -1 where none does."""
        if not len(self):
            return np.full(len(index29), -1, dtype=np.int64)
        at = np.searchsorted(self.starts, index29, side="right") - 1
        inside = (at >= 0) & (index29 < self.ends[np.maximum(at, 0)])
        return np.where(inside, at, -1).astype(np.int64)


def plan_leaves(
    cells: Int64,
    counts: Int64,
    fixed: Leaves,
    max_rows: int = MAX_ROWS,
    orders: tuple[int, int] = ANY_ORDER,
) -> Leaves:
    """Return the partitions for rows counted at `COUNT_ORDER`.

    Parameters
    ----------
    cells, counts : (N,) int64
        Occupied cells at `COUNT_ORDER` (each once) and their rows.
    fixed : Leaves
        Partitions that stay as they are; no new one overlaps them.
    max_rows : int
        A partition holds at most this many rows, except where one cell of the
        finest order alone holds more.
    orders : (int, int)
        The coarsest and the finest order wanted. Finer ones may come beside fixed partitions.

    Raises
    ------
    ValueError
        When a cell lies inside a fixed partition, `max_rows` < 1, or the orders are none.
    """
    if not 0 <= orders[0] <= orders[1] <= COUNT_ORDER:
        raise ValueError(f"orders {orders}: give a coarsest and a finest one within [0, {COUNT_ORDER}]")
    if max_rows < 1:
        raise ValueError(f"max_rows must be at least 1, not {max_rows}")
    by_cell = np.argsort(cells)
    cells, counts = np.asarray(cells, dtype=np.int64)[by_cell], np.asarray(counts, dtype=np.int64)[by_cell]
    if len(fixed) and (fixed.find(cells << (2 * (KEY_ORDER - COUNT_ORDER))) >= 0).any():
        raise ValueError("a row lies inside a partition that was to stay as it is")
    total = np.concatenate([[0], np.cumsum(counts)])
    taken = np.zeros(len(cells), dtype=bool)
    of_leaves: list[Int64] = []
    leaves: list[Int64] = []
    for order in range(orders[0], COUNT_ORDER + 1):
        open_cells = np.unique(cells[~taken] >> (2 * (COUNT_ORDER - order)))
        most = max_rows if order < orders[1] else np.iinfo(np.int64).max
        fits = open_cells[_fits(open_cells, order, cells, total, fixed, int(most))]
        leaves.append(fits)
        of_leaves.append(np.full(len(fits), order, dtype=np.int64))
        taken |= np.isin(cells >> (2 * (COUNT_ORDER - order)), fits)
    return Leaves.of(np.concatenate(of_leaves), np.concatenate(leaves))


def _fits(
    at: Int64, order: int, cells: Int64, total: Int64, fixed: Leaves, max_rows: int
) -> NDArray[np.bool_]:
    """Tell which cells of an order hold few enough rows and no fixed partition."""
    if order == COUNT_ORDER:
        return np.ones(len(at), dtype=bool)
    shift = 2 * (COUNT_ORDER - order)
    first = np.searchsorted(cells, at << shift, side="left")
    last = np.searchsorted(cells, (at + 1) << shift, side="left")
    few = total[last] - total[first] <= max_rows
    if not len(fixed):
        return np.asarray(few)
    wide = 2 * (KEY_ORDER - order)
    begin = np.searchsorted(fixed.starts, at << wide, side="left")
    end = np.searchsorted(fixed.starts, (at + 1) << wide, side="left")
    return np.asarray(few & (begin == end))
