"""Spark's Python worker daemon with what every astrolake task needs already imported.

The stock daemon forks bare interpreters, re-reads the zip files on sys.path several times for every
task, and runs a full garbage collection after it: 0.1 s a task. This one imports the heavy
libraries once (forked workers share their pages), freezes them out of the collector's sight,
and leaves zip files alone, which do not change under a running daemon.
"""

from __future__ import annotations

import gc
import importlib
import zipimport

#: What tasks import; those that are not installed are left to the task that needs them.
_LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pyspark.worker",
    "pyspark.sql.pandas.serializers",
    "astropy.io.fits",
    "astropy.wcs",
    "astropy.coordinates",
    "cdshealpix",
    "deltalake",
    "scipy.spatial",
    "sep",
)


def main() -> None:
    """Import, freeze, then serve Spark as its own daemon does."""
    for name in _LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    zipimport.zipimporter.invalidate_caches = _keep  # type: ignore[method-assign, assignment]
    gc.collect()
    gc.freeze()
    importlib.import_module("pyspark.daemon").manager()


def _keep(_: zipimport.zipimporter) -> None:
    """Do nothing: the zip files do not change while workers run."""


if __name__ == "__main__":
    main()
