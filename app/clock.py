"""StageClock: how long each stage of one request took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Adds up seconds by stage, in the order in which the stages first ran."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside to stage `name`, also when it ends in an error."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def milliseconds(self) -> dict[str, float]:
        """Return the stages' times in ms, rounded for a log line."""
        return {name: round(seconds * 1000, 2) for name, seconds in self.seconds.items()}
