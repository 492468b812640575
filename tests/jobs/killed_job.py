"""Runs a job in a process of its own in which something goes wrong at a named moment.

    python killed_job.py MOMENT JOB --lake LAKE [flags]

Moments: "at work" (SIGKILL while workers work), "before commit", "after commit" (SIGKILL), "killed worker" (SIGKILL
to the Python workers), "terminated" (SIGTERM while workers work), "full disk" (no file grows beyond 200 kB).
"""

from __future__ import annotations

import glob
import importlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_LITTLE = 200_000
_DAEMON = ["-m", "astrolake.lake.worker_daemon"]


def drive(moment: str, job: str, lake: Path, *flags: object) -> subprocess.Popen[bytes]:
    """Start this script; the process leads a session of its own."""
    command = [sys.executable, "-W", "ignore", __file__, moment, job, "--lake", str(lake), *map(str, flags)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def workers() -> Iterator[int]:
    """Yield the daemon's children, of this session alone: other tests have workers, too."""
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(path[6:])
        try:
            parent = Path(path, "stat").read_text().rpartition(")")[2].split()[1]
            command = Path(f"/proc/{parent}/cmdline").read_text().split("\0")
            if command[1:3] == _DAEMON and os.getsid(pid) == os.getsid(0):
                yield pid
        except OSError:
            continue


def once_at_work(act: Callable[[list[int]], None]) -> None:
    """Do something a moment after workers have begun."""

    def watch() -> None:
        for _ in range(1200):
            if found := list(workers()):
                time.sleep(0.3)
                act(found)
                return
            time.sleep(0.1)
        os._exit(99)

    threading.Thread(target=watch, daemon=True).start()


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def main() -> int:
    from astrolake.job import runner

    moment, name, *flags = sys.argv[1:]
    job = importlib.import_module(f"astrolake.jobs.{name}").JOB
    commit = runner.apply_commit

    def after_commit(pending: object) -> None:
        commit(pending)
        kill([os.getpid()])

    if moment == "before commit":
        runner.apply_commit = lambda *_: kill([os.getpid()])
    if moment == "after commit":
        runner.apply_commit = after_commit
    at_work: dict[str, Callable[[list[int]], None]] = {
        "at work": lambda _: kill([os.getpid()]),
        "killed worker": kill,
        "terminated": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    }
    if moment == "full disk":
        # Inherited by Spark and its workers; a write beyond it fails as one to a full disk does.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LITTLE, _LITTLE))
    if moment in at_work:
        once_at_work(at_work[moment])
    return runner.main(job, flags)


if __name__ == "__main__":
    sys.exit(main())
