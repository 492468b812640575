import io
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from astrolake.job.progress import stage_progress


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Context:
    """A Spark context with two active stages, one of which has just gone."""

    def statusTracker(self):
        infos = {1: SimpleNamespace(numTasks=7, numCompletedTasks=2), 2: None}
        return SimpleNamespace(getActiveStageIds=lambda: list(infos), getStageInfo=infos.get)


def test_a_terminal_shows_the_tasks_of_the_active_stages(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with stage_progress(Context(), "ingest"):
        deadline = time.monotonic() + 10
        while "2/7" not in sys.stderr.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "ingest" in sys.stderr.getvalue()
    assert "2/7" in sys.stderr.getvalue()


def test_a_log_file_stays_free_of_bars(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with stage_progress(Context(), "ingest"):
        time.sleep(0.4)
    assert sys.stderr.getvalue() == ""


def test_a_job_that_fails_leaves_no_thread(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), stage_progress(Context(), "ingest"):
        raise ZeroDivisionError
    assert [thread for thread in set(threading.enumerate()) - before if "_watch" in str(thread)] == []
