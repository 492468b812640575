"""The Spark side of a cross-match: plan on the driver, one task for a few cells."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from astrolake.crossmatch.cells import MatchPlan
from astrolake.crossmatch.columns import match_rows
from astrolake.crossmatch.options import MatchOptions
from astrolake.crossmatch.prior_bins import BINS, FineBins
from astrolake.crossmatch.sides import PERSPECTIVE, Side, side_of
from astrolake.errors import BadArguments, BadInput
from astrolake.lake.cells import Cell, map_cells, plan_cells
from astrolake.lake.declared import declared
from astrolake.lake.delta import Snapshot
from astrolake.lake.partitioning import COUNT_ORDER
from astrolake.lake.reader import frame_of, require_columns
from astrolake.lake.staging import REPORT_FIELDS, Stager, StageSpec, report
from astrolake.schema import HEALPIX_COLUMN, Table
from astrolake.sky.epoch import farthest_motion_deg, perspective
from astrolake.sky.healpix import KEY_ORDER
from astrolake.sky.magnitude_prior import MagnitudePrior, fine_edges, learn_prior, read_prior
from astrolake.sky.probability import SKY_DEG2, prior_of_match
from astrolake.sky.ranges import EVERYWHERE

LEFT = "left"
#: The area of a table is that of the cells it fills, as fine as leaves this many rows in a cell.
_ROWS_OF_A_CELL = 20
#: Fine bins of a magnitude hold equal shares of the right table, or equal parts of its range.
_QUANTILES = 501
_LOG = logging.getLogger("astrolake")


@dataclass(frozen=True)
class Matching:
    """A cross-match of two tables, planned.

    Parameters
    ----------
    left, right : Table
        Declarations.
    snapshot, beside : Snapshot
        Of the left and the right table.
    """

    left: Table
    right: Table
    snapshot: Snapshot
    beside: Snapshot
    plan: MatchPlan


def plan_match(
    spark: SparkSession, left: tuple[str, Snapshot], right: tuple[str, Snapshot], options: MatchOptions
) -> Matching:
    """Plan the match of two positional tables.

    Raises
    ------
    BadArguments
        When a table has no positions, or the options do not go with the tables.
    MissingColumns
        When a table lacks a column that is needed.
    """
    ours, theirs = _positional(*left), _positional(*right)
    same = left[0] == right[0]
    if same and options.mode == "one-to-one":
        raise BadArguments("mode one-to-one of a table with itself is not defined; use best-symmetric")
    priors = tuple(name for name, _ in options.priors)
    require_columns(theirs.name, right[1].stored_names, priors)
    for column in (theirs.column(name) for name in priors):
        if not column.is_number:
            raise BadArguments(f"--magnitude-prior right:{column.name}: it is {column.type}, not a number")
    asked = (*options.right_columns, *priors)
    sides = (
        side_of(ours, left[1], options.epoch, options.left_columns, options.left_sigma),
        side_of(theirs, right[1], options.epoch, asked, options.right_sigma),
    )
    prior = np.nan
    if options.has_sigma:
        density = options.density_deg2 or measured_density_deg2(spark, right[1])
        prior = prior_of_match(density, options.completeness)
    region = EVERYWHERE if options.region is None else options.region.ranges()
    plan = MatchPlan(
        _moving(spark, left[1], sides[0]), _moving(spark, right[1], sides[1]), options, prior, region, same
    )
    matching = Matching(ours, theirs, left[1], right[1], plan)
    if options.priors:
        matching = replace(matching, plan=replace(plan, priors=magnitude_priors(spark, matching)))
    return matching


def match_reports(spark: SparkSession, matching: Matching, stage: StageSpec) -> DataFrame:
    """Stage the matches; the tally `LEFT` counts the left rows looked at."""
    plan = spark.sparkContext.broadcast(matching.plan)

    def work(cells: Iterator[Cell]) -> Iterator[pa.RecordBatch]:
        stager = Stager(stage)
        for cell in (part for whole in cells for part in plan.value.parts(whole)):
            count, pieces = plan.value.match_cell(cell)
            yield report(LEFT, count)
            for piece in pieces:
                yield from stager.add(match_rows(plan.value, piece))
        yield from stager.close()

    cells = plan_cells(
        matching.snapshot, matching.plan.options.cell_rows, matching.beside, matching.plan.region
    )
    return map_cells(spark, cells, work, REPORT_FIELDS)


def magnitude_priors(spark: SparkSession, matching: Matching) -> tuple[tuple[str, MagnitudePrior], ...]:
    """Return the priors that the options ask for: read from their files, or learned from sure matches."""
    asked = matching.plan.options.priors
    given = {name: read_prior(path) for name, path in asked if path}
    learned = _learned_priors(spark, matching, [name for name, path in asked if not path])
    return tuple((name, (given | learned)[name]) for name, _ in asked)


def _learned_priors(spark: SparkSession, matching: Matching, names: list[str]) -> dict[str, MagnitudePrior]:
    if not names:
        return {}
    plan, options = matching.plan, matching.plan.options
    # NaN and infinite values are no magnitudes.
    finite = (F.when(F.abs(name) < np.inf, F.col(name)).cast("double").alias(name) for name in names)
    right = frame_of(spark, matching.beside).select(*finite)
    steps = np.linspace(0, 1, _QUANTILES).tolist()
    quantiles = right.approxQuantile(names, steps, 0.2 / _QUANTILES)
    bins = FineBins(tuple(names), tuple(fine_edges(np.array(q)) for q in quantiles))
    shared = spark.sparkContext.broadcast(replace(plan, options=replace(options, mode="all", priors=())))

    def candidates(cells: Iterator[Cell]) -> Iterator[pa.RecordBatch]:
        return bins.of_candidates(shared.value, cells)

    cells = plan_cells(matching.snapshot, options.cell_rows, matching.beside, plan.region)
    fields = from_arrow_schema(BINS)
    both = right.mapInArrow(bins.of_all, fields).unionByName(map_cells(spark, cells, candidates, fields))
    counted = both.groupBy("prior", "bin").agg(F.sum("sure").alias("sure"), F.sum("field").alias("field"))
    return dict(zip(names, _priors(bins, counted.toPandas()), strict=True))


def _priors(bins: FineBins, counted: pd.DataFrame) -> Iterator[MagnitudePrior]:
    for i, (name, edges) in enumerate(zip(bins.names, bins.edges, strict=True)):
        mine = counted[counted["prior"] == i]
        sure, field = np.zeros((2, max(len(edges) - 1, 1)))
        sure[mine["bin"]], field[mine["bin"]] = mine["sure"], np.maximum(mine["field"], 0)
        try:
            prior = learn_prior(edges, sure, field)
        except BadInput as error:
            raise BadInput(f"--magnitude-prior right:{name}: {error}") from None
        lows, ratios = (np.array2string(v, precision=3) for v in (prior.edges, 10**prior.log10_ratio))
        _LOG.info("prior of %s: edges %s, counterparts over field %s", name, lows, ratios)
        yield prior


def measured_density_deg2(spark: SparkSession, snapshot: Snapshot) -> float:
    """Return the rows of a table per square degree of the cells that it fills."""
    if not snapshot.rows:
        return 1.0 / SKY_DEG2  # as if it had one row
    cell = F.shiftright(HEALPIX_COLUMN, 2 * (KEY_ORDER - COUNT_ORDER)).alias("cell")
    found = frame_of(spark, snapshot).select(cell).distinct().toPandas()
    cells, order = found["cell"].to_numpy(np.int64), COUNT_ORDER
    while order > 0 and snapshot.rows < _ROWS_OF_A_CELL * len(cells):
        cells, order = np.unique(cells >> 2), order - 1
    return snapshot.rows / (len(cells) * SKY_DEG2 / (12 << (2 * order)))


def _positional(name: str, snapshot: Snapshot) -> Table:
    if not snapshot.is_positional:
        raise BadArguments(
            f"table {name} has no positions; cross-match works on objects, detections and catalogs"
        )
    return declared(name, snapshot)


def _moving(spark: SparkSession, snapshot: Snapshot, side: Side) -> Side:
    """Return the side with the farthest motion of its rows."""
    if not side.motion or side.epoch is None:
        return side
    epoch, names, factors = side.epoch, side.motion, side.factors

    def farthest(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        reach = 0.0
        for batch in batches:
            pmra, pmdec, since, *distance = (
                batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False) * factors[name]
                for name in names
            )
            zeta = perspective(*distance) if len(distance) == len(PERSPECTIVE) else 0.0
            reach = max(reach, farthest_motion_deg(pmra, pmdec, epoch - since, zeta))
        yield pa.RecordBatch.from_pydict({"reach": [reach]})

    found = frame_of(spark, snapshot).select(*names).mapInArrow(farthest, "reach double").collect()
    return replace(side, reach_deg=max((row.reach for row in found), default=0.0) * 1.001)
