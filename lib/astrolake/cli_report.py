"""Pictures and the report of a lake: what `astrolake plot` and the end of the demo show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from astrolake import __version__
from astrolake.lake.lake import Lake
from astrolake.lake.reader import table_snapshot
from astrolake.lake.sql import run_query
from astrolake.photometry.fits_io import read_pixels
from astrolake.visualization import (
    Provenance,
    ReportTable,
    build_report,
    lake_facts,
    lake_pictures,
    rejects_table,
    steps_table,
)


def write_report(
    lake: Lake, outdir: Path, truth: Path | None = None, tables: Sequence[ReportTable] = ()
) -> list[Path]:
    """Draw a lake's pictures, put them into one HTML page, and return the files written.

    Parameters
    ----------
    lake : Lake
    outdir : Path
        Directory of the pictures and of ``report.html``.
    truth : Path, optional
        Parquet file of the true sources.
    tables : sequence of ReportTable
        Tables to show beside those of every report.
    """

    def query(sql: str) -> pd.DataFrame:
        frame: pd.DataFrame = run_query(lake, sql, dialect="duckdb").to_pandas()
        return frame

    def read(uri: str, hdu: int) -> NDArray[np.float32]:
        return read_pixels(uri, hdu, storage_options=lake.storage.options)

    pictures = lake_pictures(query, read, outdir, truth)
    held = ReportTable("Tables of the lake", inventory(lake))
    page = build_report(
        pictures,
        [steps_table(query), *tables, held, rejects_table(query)],
        outdir / "report.html",
        title="From FITS images to a queryable sky",
        provenance=Provenance(__version__, lake.uri, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        facts=lake_facts(query),
    )
    return [*(picture.path for picture in pictures if picture.path is not None), page]


def inventory(lake: Lake) -> pd.DataFrame:
    """Return the tables of a lake with their rows, files and newest version."""
    found = [(name, table_snapshot(lake, name)) for name in lake.tables()]
    rows = [(name, one.rows, len(one.files), one.version) for name, one in found]
    return pd.DataFrame(rows, columns=["table", "rows", "files", "version"])
