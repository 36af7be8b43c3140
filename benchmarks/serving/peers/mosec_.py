"""mosec: a Rust front, one process a core behind it, its queue no longer than the deadline allows.

Beyond `capacity` 429, at once. `capacity` does not count what the workers hold, and work for a
request that timed out (408) is done all the same, so a timeout at the deadline sheds good work once
the queue is too long: the timeout keeps its default of 3 s. On stages that only sleep, goodput at
2x overload is 0.99 of capacity with room for 6, 0.85 for 8, 0.06 for 10; with the deadline as
timeout 0.99, 0.89, 0.19, and 0.08 with the default capacity of 1024. Batches of 4 take 1.11 times
the CPU a photo.
"""

import os
import sys

from mosec import Server, Worker

from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline


class Cartoonist(Worker):
    """Bytes in, bytes out."""

    resp_mime_type = "image/png"

    def __init__(self) -> None:
        super().__init__()
        self.pipeline = open_pipeline(Settings())

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> bytes:
        (picture,) = self.pipeline.cartoonize(data)
        return picture

    def serialize(self, data: bytes) -> bytes:
        return data


def main(port: int, workers: int, deadline_ms: int, work_ms: int) -> None:
    settings = {
        "ADDRESS": "127.0.0.1",
        "PORT": port,
        "CAPACITY": workers * (round(deadline_ms / work_ms) - 2),
        "LOG_LEVEL": "error",
    }
    os.environ.update({f"MOSEC_{name}": str(value) for name, value in settings.items()})
    server = Server()
    server.append_worker(Cartoonist, num=workers, route="/cartoonize")
    server.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
