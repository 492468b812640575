"""Memory of Spark's Python workers while something runs."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Self


class Sampler:
    """Calls `sample` again and again while something runs."""

    every_s = 0.1

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self.every_s):
            self.sample()

    def sample(self) -> None:
        """Look once."""
        raise NotImplementedError


class PeakOfWorkers(Sampler):
    """Samples the memory of the Python workers below this process; `mb` is the most they held together.

    Counted is the proportional set size: pages that forked workers share count once.
    """

    mb = 0.0

    def sample(self) -> None:
        """Look once."""
        held = [_pss_mb(path) for path in descendants(os.getpid()) if _is_worker(path)]
        self.mb = max(self.mb, sum(held))


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, of all below it, and of those of them that have ended."""
    ticks = 0
    for path in [Path(f"/proc/{os.getpid()}"), *descendants(os.getpid())]:
        try:
            ticks += sum(map(int, (path / "stat").read_text().rpartition(")")[2].split()[11:15]))
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def _is_worker(path: Path) -> bool:
    try:
        return b"worker_daemon" in (path / "cmdline").read_bytes().split(b"java", 1)[0]
    except OSError:
        return False


def _pss_mb(path: Path) -> float:
    try:
        found = re.search(r"^Pss:\s+(\d+)", (path / "smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found.group(1)) / 1024 if found else 0.0


def descendants(pid: int) -> list[Path]:
    """Return the /proc directories of all processes below one."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(path.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        todo += children
        found += [Path(f"/proc/{child}") for child in children]
    return found
