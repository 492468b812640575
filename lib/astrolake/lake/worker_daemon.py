"""Spark's Python worker daemon with what every astrolake task needs already imported.

The stock daemon forks bare interpreters, re-reads the zip files on sys.path several times for every
task, and runs a full garbage collection after it: 0.1 s a task. This one imports the heavy
libraries once (forked workers share their pages), freezes them out of the collector's sight,
and leaves zip files alone, which do not change under a running daemon.
"""

from __future__ import annotations

import functools
import gc
import importlib
import socket
import time
import zipimport
from collections.abc import Callable
from typing import Any

_COLLECT_EVERY_S = 10.0
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
    "astrolake.lake.merge",
    "astrolake.lake.sink",
    "astrolake.crossmatch.columns",
    "astrolake.data_access.spark",
    "astrolake.objects.spark",
    "astrolake.photometry.spark",
    "astrolake.photoz.spark",
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
    daemon: Any = importlib.import_module("pyspark.daemon")
    daemon.gc = _Collector()
    daemon.worker = functools.partial(_serve, daemon.worker)
    daemon.manager()


def _serve(worker: Callable[[socket.socket, bool], int], sock: socket.socket, authenticated: bool) -> int:
    """Run one task with acknowledgements at once.

    Spark sends a task in two pieces and, by Nagle's algorithm, holds the second back until the first is
    acknowledged, which the kernel delays by 40 ms. The option holds for a while only, hence at each task.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return worker(sock, authenticated)


class _Collector:
    """What the daemon takes for the module gc: collects after a task only when the last time is long ago.

    Python's own collector runs all the while; a full collection costs as much as 30 ms.
    """

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def collect(self) -> None:
        """Collect, now and then; what the first tasks imported is frozen, too."""
        if time.monotonic() - self._last_s > _COLLECT_EVERY_S:
            gc.collect()
            gc.freeze()
            self._last_s = time.monotonic()


def _keep(_: zipimport.zipimporter) -> None:
    """Do nothing: the zip files do not change while workers run."""


if __name__ == "__main__":
    main()
