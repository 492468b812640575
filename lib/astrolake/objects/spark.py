"""The Spark side of building objects: cells with margins, objects by the cell of their seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from astrolake.errors import BadArguments, BadInput
from astrolake.lake.cells import Cell, map_cells, plan_cells
from astrolake.lake.declared import declared
from astrolake.lake.delta import Snapshot
from astrolake.lake.reader import RegionReader, frame_of, require_columns
from astrolake.lake.staging import REPORT_FIELDS, Stager, StageSpec, report
from astrolake.objects.associate import Association, associate, incomplete_components
from astrolake.objects.merge import INPUT_COLUMNS, merge_objects
from astrolake.objects.reddening import EbvSource, EbvTable
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.separation import separation_arcsec

MERGED = "merged"
_PRIORITY = ("flux_auto", "flux_auto_err")
#: First margin around a cell; chains of detections that reach its edge widen it.
_MARGIN_ARCSEC = 30.0
_WIDEST_ARCSEC = 3600.0


@dataclass(frozen=True)
class ObjectPlan:
    """What a task needs to know besides its cells."""

    reader: RegionReader
    bands: tuple[str, ...]
    radius_arcsec: float
    reddening: EbvSource | None = None

    def objects_of(self, cell: Cell) -> pa.Table | None:
        """Return the objects whose seed lies in the cell, None when it holds no detection.

        Raises
        ------
        BadInput
            When detections chain together over more than a degree.
        """
        margin = max(_MARGIN_ARCSEC, 4 * self.radius_arcsec)
        widest = max(_WIDEST_ARCSEC, 4 * margin)
        while margin <= widest:
            rows, distance = self._read(cell, margin)
            low, high = cell.span
            index = rows.column(HEALPIX_COLUMN).to_numpy()
            in_cell = (index >= low) & (index < high)
            if not in_cell.any():
                return None
            found = self._associate(rows)
            edge = cell.radius_deg * 3600 + margin - self.radius_arcsec
            if not len(incomplete_components(found.component, in_cell, distance > edge)):
                return self._merge(rows, found.seed_index, in_cell)
            # The widest margin is tried, too, before giving up.
            margin = widest if margin < widest < 4 * margin else 4 * margin
        ra, dec = cell.center
        raise BadInput(
            f"detections near ra={ra:.3f} dec={dec:.3f} chain together over more than "
            f"{widest / 3600:g} deg; use a smaller --match-radius-arcsec"
        )

    def _read(self, cell: Cell, margin_arcsec: float) -> tuple[pa.Table, np.ndarray]:
        """Return the detections of the cone around cell and margin, and their distance to its centre."""
        rows = self.reader.read(cell.circle(margin_arcsec / 3600))
        ra, dec = rows.column("ra").to_numpy(), rows.column("dec").to_numpy()
        distance = separation_arcsec(ra, dec, *cell.center)
        inside = distance <= cell.radius_deg * 3600 + margin_arcsec
        return rows.filter(pa.array(inside)), distance[inside]

    def _associate(self, rows: pa.Table) -> Association:
        flux, error = (rows.column(name).to_numpy() for name in _PRIORITY)
        with np.errstate(divide="ignore", invalid="ignore"):
            snr = np.asarray(flux, dtype=np.float64) / np.asarray(error, dtype=np.float64)
        ids = rows.column("detection_id").to_numpy()
        return associate(
            rows.column("ra").to_numpy(), rows.column("dec").to_numpy(), snr, ids, self.radius_arcsec
        )

    def _merge(self, rows: pa.Table, seed_index: np.ndarray, in_cell: np.ndarray) -> pa.Table:
        ours = np.flatnonzero(in_cell[seed_index])
        renumber = np.full(rows.num_rows, -1, dtype=np.int64)
        renumber[ours] = np.arange(len(ours))
        index = renumber[seed_index[ours]]
        return merge_objects(rows.take(pa.array(ours)), index, self.bands, reddening=self.reddening)


def object_reports(
    spark: SparkSession,
    detections: Snapshot,
    bands: Sequence[str],
    radius_arcsec: float,
    stage: StageSpec,
    reddening: EbvSource | None = None,
) -> DataFrame:
    """Stage the objects of a snapshot of `detections`; the tally `MERGED` counts the detections in them.

    With a source of E(B-V) they are dereddened, too.
    """
    needed = tuple(dict.fromkeys((*INPUT_COLUMNS, *_PRIORITY, "detection_id")))
    require_columns("detections", detections.stored_names, needed)
    reader = RegionReader(detections.storage, detections.files, needed)
    plan = spark.sparkContext.broadcast(ObjectPlan(reader, tuple(bands), radius_arcsec, reddening))

    def work(cells: Iterator[Cell]) -> Iterator[pa.RecordBatch]:
        stager = Stager(stage)
        for cell in cells:
            objects = plan.value.objects_of(cell)
            if objects is not None and objects.num_rows:
                yield report(MERGED, pc.sum(objects.column("n_det")).as_py())
                yield from stager.add(objects)
        yield from stager.close()

    return map_cells(spark, plan_cells(detections), work, REPORT_FIELDS)


def ebv_table(name: str, snapshot: Snapshot, column: str) -> EbvTable:
    """Return E(B-V) as a column of a positional table of the lake has it.

    Raises
    ------
    BadArguments
        When the table has no positions.
    MissingColumns
        When it has no such column.
    """
    if not snapshot.is_positional:
        raise BadArguments(f"--ebv-table {name} has no positions; give an ingested catalog")
    key = declared(name, snapshot).key[0]
    require_columns(name, snapshot.stored_names, (key, column))
    return EbvTable(RegionReader(snapshot.storage, snapshot.files, ("ra", "dec", key, column)), key, column)


def bands_of(spark: SparkSession, detections: Snapshot) -> list[str]:
    """Return the bands that occur, sorted; the unknown band (empty) is left out."""
    rows = frame_of(spark, detections).select("band").distinct().collect()
    return sorted(row.band for row in rows if row.band)
