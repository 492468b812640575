"""Work by cells of the sky: one task reads a cell and its surroundings straight from the files.

Nothing is shuffled: the layout already keeps neighbours together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from astrolake.lake.delta import Snapshot
from astrolake.sky.healpix import (
    KEY_ORDER,
    cell_center,
    cell_radius_deg,
    cell_range,
    cells_around,
    cone_cells,
)
from astrolake.sky.ranges import EVERYWHERE, cell_ranges, merge_ranges, overlap

#: Rows a cell should hold at most, which bounds the memory of a task.
CELL_ROWS = 500_000
#: A cell's narrow surroundings are its border in cells this many orders finer, a few hundred.
_BORDER = 6
#: Its wide surroundings are a cone in cells this many orders finer.
_FINER = 3
#: Wide surroundings are found with coarser cells: degrees times 2**order, a few thousand cells at most.
_FINEST_REACH = 2_000
#: From here on all of the sky is read: cdshealpix misses cells of cones wider than some 120 deg.
_HALF_SKY_DEG = 90.0
#: Many tasks let no core wait long for the last; in a large run several cells make one.
_TASKS_PER_CORE = 8
_CELLS_PER_TASK = 4
#: Cells are not divided beyond this order (0.2 arcsec): an even division gains nothing there.
DEEPEST = 20


@dataclass(frozen=True)
class Cell:
    """A HEALPix cell to work on, and about how much work it is."""

    order: int
    npix: int
    weight: int = field(default=0, compare=False)

    @property
    def span(self) -> tuple[int, int]:
        """Half-open range of order-29 indices."""
        return cell_range(self.order, self.npix)

    @property
    def ranges(self) -> np.ndarray:
        """The span as the ranges `RegionReader.read` takes: (1, 2) int64."""
        return np.array([self.span], dtype=np.int64)

    @property
    def center(self) -> tuple[float, float]:
        """Centre: ra, dec in degrees."""
        ra, dec = cell_center(self.order, np.array([self.npix]))
        return float(ra[0]), float(dec[0])

    @property
    def radius_deg(self) -> float:
        """Radius of a cone around the centre that holds the cell."""
        return cell_radius_deg(self.order, self.npix)

    def surroundings(self, margin_deg: float) -> np.ndarray:
        """Return ranges that hold every position within `margin_deg` of the cell (and some beyond)."""
        beside = cells_around(self.order, self.npix, margin_deg, min(self.order + _BORDER, KEY_ORDER))
        if beside is not None:
            return merge_ranges(np.concatenate([self.ranges, cell_ranges(*beside)]))
        return self.circle(margin_deg)

    def circle(self, margin_deg: float) -> np.ndarray:
        """Return ranges that hold the circle of `radius_deg` and a margin around the centre."""
        order = min(self.order + _FINER, KEY_ORDER)
        reach_deg = self.radius_deg + margin_deg
        if reach_deg >= _HALF_SKY_DEG:
            return EVERYWHERE
        while order > 0 and reach_deg * (1 << order) > _FINEST_REACH:
            order -= 1
        return cell_ranges(order, cone_cells(*self.center, reach_deg, order))

    def children(self) -> list[Cell]:
        """Return the four cells it consists of."""
        return [Cell(self.order + 1, 4 * self.npix + i) for i in range(4)]


def plan_cells(
    snapshot: Snapshot,
    cell_rows: int = CELL_ROWS,
    beside: Snapshot | None = None,
    region: np.ndarray = EVERYWHERE,
) -> list[Cell]:
    """Return disjoint cells that hold all rows of a snapshot in a region, at most about `cell_rows` each.

    A partition with more rows, or with four times as many of the table `beside`, is divided
    evenly; dense spots inside it may exceed the bound.
    """
    cells: list[Cell] = []
    density = _Density(beside)
    for file in snapshot.files:
        span = Cell(file.order, file.npix).span
        rows = max(file.rows, density(span) // 4)
        deeper = 0
        while rows > cell_rows << (2 * deeper) and file.order + deeper < DEEPEST:
            deeper += 1
        first = file.npix << (2 * deeper)
        weight = rows >> (2 * deeper)
        cells.extend(Cell(file.order + deeper, first + i, weight) for i in range(1 << (2 * deeper)))
    spans = np.array([cell.span for cell in cells], np.int64).reshape(-1, 2)
    return [cells[i] for i in np.flatnonzero(overlap(region, *spans.T))]


class _Density:
    """About how many rows of a table lie in a span of indices, taking partitions as evenly filled."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        files = snapshot.files if snapshot is not None else ()
        spans = np.array(sorted((*cell_range(f.order, f.npix), f.rows) for f in files), float).reshape(-1, 3)
        self._edges = spans[:, :2].ravel()
        total = np.cumsum(spans[:, 2])
        self._rows = np.stack([total - spans[:, 2], total], axis=1).ravel()

    def __call__(self, span: tuple[int, int]) -> int:
        if not len(self._edges):
            return 0
        low, high = np.interp(np.array(span, float), self._edges, self._rows)
        return int(high - low)


def map_cells(
    spark: SparkSession,
    cells: list[Cell],
    work: Callable[[Iterator[Cell]], Iterator[pa.RecordBatch]],
    fields: T.StructType,
) -> DataFrame:
    """Return what `work` makes of the cells; each task gets a few that lie side by side.

    Nothing is shuffled.
    """
    cores = spark.sparkContext.defaultParallelism
    tasks = max(1, min(len(cells), max(_TASKS_PER_CORE * cores, len(cells) // _CELLS_PER_TASK)))
    if tasks == len(cells):
        # The heaviest first, so that no core is left alone with one at the end.
        cells = sorted(cells, key=lambda cell: -cell.weight)
    order = np.array([cell.order for cell in cells], np.int8)
    npix = np.array([cell.npix for cell in cells], np.int64)
    shared = spark.sparkContext.broadcast((order, npix))

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        order, npix = shared.value
        numbers = (i for batch in batches for i in batch.column(0).to_pylist())
        yield from work(Cell(int(order[i]), int(npix[i])) for i in numbers)

    return spark.range(0, len(cells), 1, tasks).mapInArrow(run, fields)
