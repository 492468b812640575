"""Maps of how many rows of a table lie in each HEALPix cell: the skymap of a HATS catalog."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from cdshealpix.skymap import SkymapImplicit
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from astrolake.lake.delta import Snapshot
from astrolake.lake.hats import SKYMAP
from astrolake.lake.reader import frame_of
from astrolake.lake.storage import Storage
from astrolake.schema.model import HEALPIX_COLUMN
from astrolake.sky.healpix import KEY_ORDER, N_BASE, Int64


def count_map(spark: SparkSession, snapshot: Snapshot, order: int) -> Int64:
    """Return the rows of each cell of an order (NESTED); what comes to the driver is bounded by the sky."""
    cell = F.shiftright(HEALPIX_COLUMN, 2 * (KEY_ORDER - order)).alias("cell")
    found = frame_of(spark, snapshot).select(cell).groupBy("cell").count().toPandas()
    counts = np.zeros(N_BASE << (2 * order), np.int64)
    counts[found["cell"].to_numpy(np.int64)] = found["count"].to_numpy(np.int64)
    return counts


def write_skymap(table_root: Storage, counts: Int64) -> None:
    """Write counts as HATS readers expect them: a FITS map, of its filled cells alone where they are few."""
    skymap = SkymapImplicit(counts, null_value=0)
    few = np.count_nonzero(counts) < len(counts) / 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SKYMAP
        (skymap.to_explicit() if few else skymap).to_fits(str(path))
        table_root.fs.pipe_file(table_root.path(SKYMAP), path.read_bytes())
