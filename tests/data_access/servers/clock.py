"""A clock that only sleeping moves."""

import threading


class FakeClock:
    """To be given as `clock`, and its `sleep` as `sleep`; what was slept is in `waits`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.waits.append(seconds)
