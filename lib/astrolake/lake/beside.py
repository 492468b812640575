"""What a published table has beside its rows when asked for: a skymap, a margin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import SparkSession

from astrolake.lake.delta import Snapshot
from astrolake.lake.margin import write_margin
from astrolake.lake.skymap import count_map, write_skymap
from astrolake.lake.storage import Storage


@dataclass(frozen=True)
class Beside:
    """Writes it; see `astrolake.lake.publish.WriteBeside`.

    Parameters
    ----------
    skymap_order : int
        Negative for none.
    margin_arcsec : float
        0 for none.
    """

    spark: SparkSession
    run_id: str
    skymap_order: int
    margin_arcsec: float

    def __call__(self, table: str, root: Storage, snapshot: Snapshot, now: datetime) -> dict[str, object]:
        """Write it for one table and return the properties that tell of it."""
        if self.margin_arcsec > 0:
            write_margin(self.spark, (table, root, snapshot), self.margin_arcsec, self.run_id, now)
        if self.skymap_order < 0:
            return {}
        write_skymap(root, count_map(self.spark, snapshot, self.skymap_order))
        return {"hats_skymap_order": self.skymap_order}
