"""Catalogs put into a lake without Spark, in as many partitions as a test wants."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from partition_files import write_partitions

from astrolake.lake.delta import Commit, apply_commit
from astrolake.lake.lake import Lake
from astrolake.lake.partitioning import ANY_ORDER, COUNT_ORDER, Leaves, plan_leaves
from astrolake.lake.sink import SinkSpec
from astrolake.schema import CATALOG, HEALPIX_COLUMN, Column
from astrolake.schema.arrow import arrow_schema, delta_schema
from astrolake.sky.healpix import healpix29

PutCatalog = Callable[..., None]
_TYPES = {"O": "string", "i": "int64", "f": "float64"}


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake.create(str(tmp_path / "my lake"))


@pytest.fixture(scope="session")
def put_catalog() -> PutCatalog:
    """put_catalog(lake, name, rows, max_rows, orders): rows with source_id, ra, dec and any others."""

    def put(
        lake: Lake,
        name: str,
        rows: pd.DataFrame,
        max_rows: int = 1_000_000,
        orders: tuple[int, int] = ANY_ORDER,
    ) -> None:
        known = {column.name for column in CATALOG.columns}
        extra = [Column(n, _TYPES[rows[n].dtype.kind], "") for n in rows.columns if n not in known]
        table = CATALOG.with_columns(tuple(extra), name)
        id_type = _TYPES[rows["source_id"].dtype.kind]
        columns = (replace(c, type=id_type) if c.name == "source_id" else c for c in table.columns)
        table = replace(table, columns=tuple(columns))
        storage = lake.delta_storage(name, positional=True)
        spec = SinkSpec(storage, arrow_schema(table), "run-1")
        adds = tuple(write_partitions(*_sorted_parts(rows, spec, max_rows, orders)))
        apply_commit(Commit(storage, delta_schema(table), adds, (), None, "run-1", "test"))

    return put


def _sorted_parts(rows: pd.DataFrame, spec: SinkSpec, max_rows: int, orders: tuple[int, int]) -> tuple:
    """Arguments of `write_partitions` for rows in their planned partitions."""
    nothing = Leaves.of(np.array([], np.int64), np.array([], np.int64))
    index = healpix29(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    cells, counts = np.unique(index >> (2 * (29 - COUNT_ORDER)), return_counts=True)
    leaves = plan_leaves(cells, counts, nothing, max_rows, orders)
    tags = {HEALPIX_COLUMN: index, "run_id": "run-1", "_part": leaves.find(index).astype(np.int32)}
    rows = rows.assign(**tags)
    batches = pa.Table.from_pandas(rows.sort_values(HEALPIX_COLUMN), preserve_index=False).to_batches()
    parts = zip(leaves.order.tolist(), leaves.npix.tolist(), strict=True)
    return iter(batches), spec, {i: (order, 0, npix) for i, (order, npix) in enumerate(parts)}
