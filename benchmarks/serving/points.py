"""The points of the table: how hard each presses, and how long it takes."""

from dataclasses import dataclass

from benchmarks.serving.load import Load, Photo, poisson
from benchmarks.serving.process import Command

UNLOADED_REQUESTS = 30
CONNECTIONS_PER_LANE = 3  # of the closed loop: one worked on, two waiting, none past its deadline


@dataclass(frozen=True)
class Point:
    """One load. `share` is of the bare loop's capacity: None for a closed loop.

    `connections_per_lane` is that of the closed loop, 0 for one connection in all.
    """

    name: str
    share: float | None = None
    connections_per_lane: int = 0

    def requests(self, requests: int) -> int:
        """How many to send where a point below capacity takes `requests`.

        Overload takes as long as the same number at capacity would, not a fraction of it.
        """
        if self.name == "unloaded":
            return min(UNLOADED_REQUESTS, requests)
        return round(requests * max(1.0, self.share or 1.0))

    def connections(self, lanes: int) -> int:
        """Connections of the closed loop."""
        return max(1, self.connections_per_lane * lanes)

    def seconds(self, requests: int, capacity: float, lanes: int) -> float:
        """About how long it takes where `lanes` lanes do `capacity` photos a second."""
        if self.share is not None:
            return self.requests(requests) / (capacity * self.share)
        return self.requests(requests) / capacity * (1 if self.connections_per_lane else lanes)

    def load(
        self, command: Command, photo: bytes, requests: int, capacity: float, lanes: int, seed: int
    ) -> Load:
        """The load to send. The same `seed` gives every system the same arrivals."""
        count = self.requests(requests)
        arrivals = poisson(capacity * self.share, count, seed) if self.share else None
        return Load(
            command.port,
            command.path,
            [Photo(photo)],
            command.headers,
            arrivals,
            count,
            self.connections(lanes),
        )


POINTS = [
    Point("unloaded"),
    Point("saturation", connections_per_lane=CONNECTIONS_PER_LANE),
    Point("30 %", 0.3),
    Point("60 %", 0.6),
    Point("80 %", 0.8),
    Point("2x", 2.0),
    Point("4x", 4.0),
]
