"""mosec: a Rust front, one process a core behind it, its queue no longer than the deadline allows.

Capacity: beyond it 429, at once. Timeout: 408 when the deadline is over.
"""

import os
import sys

from mosec import Server, Worker

from app.pipeline import open_pipeline
from app.settings import Settings


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
        "CAPACITY": workers * (round(deadline_ms / work_ms) - 1),
        "TIMEOUT": deadline_ms,
        "LOG_LEVEL": "error",
    }
    os.environ.update({f"MOSEC_{name}": str(value) for name, value in settings.items()})
    server = Server()
    server.append_worker(Cartoonist, num=workers, route="/cartoonize")
    server.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
