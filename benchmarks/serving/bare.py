"""The limit: the stages in a loop on every lane, with no HTTP and no queue at all.

python -m benchmarks.serving.bare [PHOTO] [--lanes 2] [--jobs 200]

Prints jobs a second with a process a lane, with a thread a lane in one process (what our service
can at best do), and the provider that was chosen. Of that and of ONNX Runtime, by provider: the
median seconds of a photo on one lane alone, and the picture's sha256.
"""

import hashlib
import json
import multiprocessing
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.stages import EXAMPLE
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_on, open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.runtime.device import CPU

WARM_UP_JOBS = 5


def main(
    photo: Annotated[Path, typer.Argument()] = EXAMPLE,
    lanes: Annotated[int, typer.Option(min=1)] = 2,
    jobs: Annotated[int, typer.Option(min=20, help="Jobs of each measurement.")] = 200,
) -> None:
    """Measure the bare loop; one JSON line."""
    data = photo.read_bytes()
    pipeline = open_pipeline(Settings())
    pipelines = {"cpu": open_on(CPU, Settings()), pipeline.device.provider: pipeline}
    pictures = {name: each.cartoonize(data)[0] for name, each in pipelines.items()}
    alone = {name: np.diff(work(each, data, 30)) for name, each in pipelines.items()}
    spawn = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(lanes) as threads, ProcessPoolExecutor(lanes, spawn) as processes:
        figures = {
            "provider": pipeline.device.provider,
            "sha256": {name: hashlib.sha256(each).hexdigest() for name, each in pictures.items()},
            "unloaded_s": {name: float(np.median(seconds)) for name, seconds in alone.items()},
            "threads": measure(threads, lanes, pipeline, data, jobs),
            "processes": measure(processes, lanes, None, data, jobs),
        }
    print(json.dumps(figures))


def measure(
    executor: Executor, lanes: int, pipeline: Pipeline | None, photo: bytes, jobs: int
) -> float:
    """Jobs a second of `lanes` workers of `executor`, while all of them work."""
    share = -(-jobs // lanes)
    futures = [executor.submit(work, pipeline, photo, share) for _ in range(lanes)]
    return overlap_rate([future.result() for future in futures])


def work(pipeline: Pipeline | None, photo: bytes, jobs: int) -> list[float]:
    """Draw `jobs` times after a warm-up; when each was done (s, a clock that processes share)."""
    pipeline = pipeline or open_pipeline(Settings())
    done = []
    for _ in range(WARM_UP_JOBS + jobs):
        pipeline.cartoonize(photo)
        done.append(time.perf_counter())
    return done[WARM_UP_JOBS:]


def overlap_rate(lanes: list[list[float]]) -> float:
    """Jobs a second between the last lane's first job and the first lane's last job."""
    start, end = max(done[0] for done in lanes), min(done[-1] for done in lanes)
    return sum(start < moment <= end for done in lanes for moment in done) / (end - start)


if __name__ == "__main__":
    typer.run(main)
