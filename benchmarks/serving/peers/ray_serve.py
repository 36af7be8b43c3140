"""Ray Serve: a replica a core; each works on one request and holds a second, the rest queue.

Beyond `max_queued_requests` 503, at once; 408 when the deadline is over. On stages that only sleep,
goodput at 2x overload is 1.00 of capacity with room for 8 in all and 0.80 for 10; holding one only,
0.42; in the throughput-optimized mode 0.99, and behind its HAProxy 0.24. Batches of 4 took 0.85
times the CPU a photo on a busy machine, Ray's own processes included, but four photos in turn on
one core take nearly the whole deadline: off.
"""

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request
from starlette.responses import Response

from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline

HELD = 2  # a replica: one worked on, one waiting beside it


class Cartoonist:
    """Bytes in, bytes out."""

    def __init__(self) -> None:
        self.pipeline = open_pipeline(Settings())
        self.lane = ThreadPoolExecutor(1)

    async def __call__(self, request: Request) -> Response:
        photo = await request.body()
        loop = asyncio.get_running_loop()
        (picture,) = await loop.run_in_executor(self.lane, self.pipeline.cartoonize, photo)
        return Response(picture, media_type="image/png")


def main(port: int, workers: int, deadline_ms: int, work_ms: int) -> None:
    ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    options = HTTPOptions(host="127.0.0.1", port=port, request_timeout_s=deadline_ms / 1000)
    serve.start(http_options=options)
    deployment = serve.deployment(
        Cartoonist,
        num_replicas=workers,
        max_ongoing_requests=HELD,
        max_queued_requests=workers * (round(deadline_ms / work_ms) - 1 - HELD),
        ray_actor_options={"num_cpus": 1},
    )
    serve.run(deployment.bind(), route_prefix="/cartoonize")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()


if __name__ == "__main__":
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    main(*map(int, sys.argv[1:]))
