import gc
import socket

import pytest

from astrolake.lake import worker_daemon


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux has TCP_QUICKACK")
def test_a_task_acknowledges_at_once():
    """Else every task waits 40 ms for its second packet."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sock,
    ):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)

        def worker(given, authenticated):
            assert given.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
            return 7 if authenticated else 0

        assert worker_daemon._serve(worker, sock, True) == 7


def test_garbage_is_collected_now_and_then(monkeypatch):
    calls = []
    monkeypatch.setattr(gc, "collect", lambda: calls.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: calls.append("freeze"))
    collector = worker_daemon._Collector()
    collector.collect()
    assert calls == []
    monkeypatch.setattr(worker_daemon, "_COLLECT_EVERY_S", -1.0)
    collector.collect()
    assert calls == ["collect", "freeze"]


@pytest.mark.spark
def test_short_tasks_take_milliseconds(spark):
    """A task that waits for a delayed acknowledgement takes over 40 ms."""
    import time

    def same(batches):
        yield from batches

    def seconds(tasks: int) -> float:
        begin = time.perf_counter()
        assert len(spark.range(0, tasks, 1, tasks).mapInArrow(same, "id long").collect()) == tasks
        return time.perf_counter() - begin

    seconds(20)
    per_task = min(seconds(80) for _ in range(6)) * spark.sparkContext.defaultParallelism / 80
    assert per_task < 0.04
