"""A progress bar over the Spark stages that are running, on a terminal's stderr."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import SparkContext
from tqdm import tqdm

_EVERY_S = 0.25


@contextmanager
def stage_progress(context: SparkContext, label: str) -> Iterator[None]:
    """Show the tasks of the active stages while the block runs; silent when stderr is no terminal."""
    with tqdm(total=0, desc=label, unit="task", leave=False, disable=None) as bar:
        if bar.disable:
            yield
            return
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(context, bar, done), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _watch(context: SparkContext, bar: tqdm, done: threading.Event) -> None:
    tracker = context.statusTracker()
    while not done.wait(_EVERY_S):
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        infos = [info for info in stages if info is not None]
        if infos:
            bar.total = sum(info.numTasks for info in infos)
            bar.n = sum(info.numCompletedTasks for info in infos)
            bar.refresh()
