"""The Spark side of building objects: cells with margins, objects by the cell of their seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from astrolake.errors import BadInput
from astrolake.lake.cells import Cell, cell_frame, cells_of, plan_cells
from astrolake.lake.delta import Snapshot
from astrolake.lake.reader import RegionReader, frame_of, require_columns, spark_fields
from astrolake.objects.associate import Association, associate, incomplete_components
from astrolake.objects.merge import INPUT_COLUMNS, merge_objects, objects_table
from astrolake.schema.arrow import arrow_schema
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.separation import separation_arcsec

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
        rows = self.reader.read(cell.surroundings(margin_arcsec / 3600))
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
        return merge_objects(rows.take(pa.array(ours)), renumber[seed_index[ours]], self.bands)


def objects_frame(
    spark: SparkSession, detections: Snapshot, bands: Sequence[str], radius_arcsec: float
) -> DataFrame:
    """Return the objects of a snapshot of `detections`, without run_id."""
    needed = tuple(dict.fromkeys((*INPUT_COLUMNS, *_PRIORITY, "detection_id")))
    require_columns("detections", detections.stored_names, needed)
    reader = RegionReader(detections.storage, detections.files, needed)
    plan = spark.sparkContext.broadcast(ObjectPlan(reader, tuple(bands), radius_arcsec))
    table = objects_table(bands)
    schema = pa.schema([pa.field(f.name, f.type) for f in arrow_schema(table) if f.name != "run_id"])

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for cell in cells_of(batch):
                objects = plan.value.objects_of(cell)
                if objects is not None and objects.num_rows:
                    rows = objects.select(schema.names).cast(schema)
                    yield from rows.to_batches(max_chunksize=65_536)

    return cell_frame(spark, plan_cells(detections)).mapInArrow(work, spark_fields(schema))


def bands_of(spark: SparkSession, detections: Snapshot) -> list[str]:
    """Return the bands that occur, sorted; the unknown band (empty) is left out."""
    rows = frame_of(spark, detections).select("band").distinct().collect()
    return sorted(row.band for row in rows if row.band)
