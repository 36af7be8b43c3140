"""The whole service beside the bare loop: photos a second, and what limits them."""

import contextlib
import multiprocessing
import re
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import httpx2
import psutil
import typer
from rich.table import Table

from benchmarks.decode import SIZES, make_jpeg
from benchmarks.gpu.networks import Asked, console, describe_model
from benchmarks.serving.bare import measure
from benchmarks.serving.load import Generator, Load, Photo
from benchmarks.serving.process import end_on_sigterm, free_port, our_command, running
from benchmarks.serving.tally import throughput
from benchmarks.stages import EXAMPLE
from photo2cartoon.ground.machine import available_cores
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.pipeline.opening import open_pipeline

MIB = 2**20
PATIENCE_MS = 60_000


def service(
    photo: Annotated[Path, typer.Argument(help="A photo with a face.")] = EXAMPLE,
    provider: Annotated[Asked, typer.Option()] = "auto",
    device_id: Annotated[int, typer.Option(min=0)] = 0,
    generator: Annotated[str, typer.Option(help="By name, or a file.")] = LITE,
    jobs: Annotated[int, typer.Option(min=20, help="Photos of each measurement.")] = 4000,
    senders: Annotated[int, typer.Option(min=1, help="Processes that send.")] = 2,
    as_it_is: Annotated[bool, typer.Option(help="Do not enlarge it to 2 MP.")] = False,
) -> None:
    """Send a 2 MP JPEG again and again, as many at a time as keep every batch full.

    In process: the same stages called by as many threads as the service has lanes, without HTTP,
    queue or limits. The event loop's share is the CPU time of its thread.
    """
    end_on_sigterm()
    own = describe_model(generator).path.resolve()
    data = photo.read_bytes() if as_it_is else make_jpeg(photo, SIZES["2 MP"], progressive=False)
    settings = Settings(provider=provider, device_id=device_id, generator=own)
    # In a process of its own, whose GPU memory is free again afterwards.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        bare, lanes, about = apart.submit(work_in_process, settings, data, jobs).result()
    console.print(f"{about.pop('device')}; {lanes} lanes; {len(data):,} bytes a photo")
    table = Table("what", "figure", box=None)
    for name, figure in about.items():
        table.add_row(name, figure)
    environment = {"P2C_PROVIDER": provider, "P2C_DEVICE_ID": str(device_id)}
    environment |= {"P2C_GENERATOR": str(own), "P2C_MAX_QUEUE": "512"}
    environment |= {"P2C_DEADLINE_MS": str(PATIENCE_MS)}
    rate, about = serve(data, environment, jobs, senders, 2 * lanes)
    table.add_row("over HTTP", f"{rate:.1f} photos/s")
    table.add_row("of in process", f"{rate / bare:.2f}")
    for name, figure in about.items():
        table.add_row(name, figure)
    console.print(table)


def work_in_process(
    settings: Settings, data: bytes, jobs: int
) -> tuple[float, int, dict[str, str]]:
    """Photos a second of the stages alone, how many threads called them, and rows of the table."""
    with contextlib.closing(open_pipeline(settings)) as pipeline:
        lanes = pipeline.lanes(available_cores())
        with ThreadPoolExecutor(lanes) as threads:
            rate = measure(threads, lanes, pipeline, data, jobs)
        rows = {"device": pipeline.device.describe(), "in process": f"{rate:.1f} photos/s"}
        for batcher in pipeline.batchers:
            mean = sum(k * n for k, n in batcher.sizes.items()) / sum(batcher.sizes.values())
            rows[f"photos in a batch, {batcher.model.name}"] = f"{mean:.1f}"
            rows[f"best rate of {batcher.model.name}"] = f"{1 / batcher.fastest_s:.0f} images/s"
        return rate, lanes, rows


def serve(
    data: bytes, environment: dict[str, str], jobs: int, senders: int, connections: int
) -> tuple[float, dict[str, str]]:
    """Start the service and load it: photos a second, and what it and its process say."""
    command = our_command(free_port())
    command.environment.update(environment)
    each = -(-connections // senders)
    share = max(-(-jobs // senders), 4 * each)  # the first and last `each` are not counted
    load = Load(command.port, command.path, [Photo(data)], requests=share, connections=each)
    with tempfile.TemporaryFile() as log, running(command, data, log) as process:
        with Senders(senders) as crowd:
            crowd.send(replace(load, requests=4 * each))  # what is predicted settles
            loop, start = _thread_seconds(process), time.perf_counter()
            rate, good = crowd.send(load)
            busy = (_thread_seconds(process) - loop) / (time.perf_counter() - start)
        metrics = httpx2.get(f"http://127.0.0.1:{command.port}/metrics").text
        memory = re.search(r"^p2c_gpu_memory_used_bytes (\S+)", metrics, re.M)
        return rate, {
            "good answers": f"{good} of {share * senders}",
            "event loop's share of a core": f"{busy:.0%}",
            "GPU memory": f"{float(memory[1]) / MIB:.0f} MiB" if memory else "none",
            "RSS": f"{process.memory_info().rss / MIB:.0f} MiB",
        }


class Senders:
    """Several processes that send at the same time: one alone may be slower than a GPU."""

    def __init__(self, count: int) -> None:
        self.generators = [Generator() for _ in range(count)]

    def __enter__(self) -> "Senders":
        return self

    def __exit__(self, *error: object) -> None:
        for generator in self.generators:
            generator.close()

    def send(self, load: Load) -> tuple[float, int]:
        """The same load from each; their photos a second together, and how many were good."""
        with ThreadPoolExecutor(len(self.generators)) as pool:
            results = list(pool.map(lambda generator: generator.send(load), self.generators))
        good = [[a.done_s for a in result.answers if a.status == 200] for result in results]
        rates = [throughput(done, load.connections) for done in good]
        return sum(rates), sum(map(len, good))


def _thread_seconds(process: psutil.Process) -> float:
    """CPU seconds of the first thread of a process, on which the event loop runs."""
    (first,) = (thread for thread in process.threads() if thread.id == process.pid)
    return float(first.user_time + first.system_time)
