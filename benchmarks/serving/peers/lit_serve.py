"""LitServe: one worker process a core, one API server process a worker, its default queue.

Its timeout (504) counts the wait for a worker only, and its queue has no limit. On stages that only
sleep, goodput at 2x overload is 0.96 of capacity where the timeout leaves time to work twice, 0.82
where it leaves it once, 0.06 where it is the deadline; with one API server the same. `fast_queue`
(ZMQ) changes nothing there and lost 12 of 300 answers, which then hang; the default lost none.
Batches of 4 take 1.08 times the CPU a photo.
"""

import sys
from typing import Annotated

import litserve
from fastapi import Body, Response

from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline


class Cartoonist(litserve.LitAPI):
    """Bytes in, bytes out."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        self.pipeline = open_pipeline(Settings())

    def decode_request(self, request: Annotated[bytes, Body()]) -> bytes:
        return request

    def predict(self, photo: bytes) -> bytes:
        (picture,) = self.pipeline.cartoonize(photo)
        return picture

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="image/png")


def main(port: int, workers: int, deadline_ms: int, work_ms: int) -> None:
    server = litserve.LitServer(
        Cartoonist(api_path="/cartoonize"),
        accelerator="cpu",
        workers_per_device=workers,
        timeout=(deadline_ms - 2 * work_ms) / 1000,
    )
    server.run(
        host="127.0.0.1", port=port, log_level="error", generate_client_file=False, access_log=False
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
