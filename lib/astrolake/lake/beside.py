"""What a published table has beside its rows when asked for: a skymap, a margin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import SparkSession

from astrolake.errors import BadArguments
from astrolake.lake.delta import Snapshot
from astrolake.lake.hats import PROPERTIES, SKYMAP_ORDER, remove_file, skymap_order_of
from astrolake.lake.margin import WIDEST_ARCSEC, write_margin
from astrolake.lake.partitioning import COUNT_ORDER
from astrolake.lake.skymap import count_map, write_skymap
from astrolake.lake.storage import Storage


def check_beside(skymap_order: int, margin_arcsec: float) -> None:
    """Raise BadArguments unless a skymap and a margin can be so."""
    if not -1 <= skymap_order <= COUNT_ORDER:
        raise BadArguments(f"--skymap-order {skymap_order}: give an order up to {COUNT_ORDER}, or -1")
    if not 0 <= margin_arcsec <= WIDEST_ARCSEC:
        raise BadArguments(f"--margin-arcsec {margin_arcsec}: give up to {WIDEST_ARCSEC:g}, 0 for none")


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
        """Write it for one table and return the properties that tell of it.

        What was made of this version before stays.
        """
        if self.margin_arcsec > 0:
            write_margin(self.spark, (table, root, snapshot), self.margin_arcsec, self.run_id, now)
        order = skymap_order_of(root)
        if self.skymap_order >= 0 and self.skymap_order != order:
            order = self.skymap_order
            # Until the new ones are written the old properties would tell of another map.
            for name in PROPERTIES:
                remove_file(root, root.path(name))
            write_skymap(root, count_map(self.spark, snapshot, order))
        return {} if order is None else {SKYMAP_ORDER: order}
