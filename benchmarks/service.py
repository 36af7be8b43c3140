"""One server under one caller: start, memory, disk, and time per request over HTTP.

python -m benchmarks.service [PHOTO_OR_FOLDER...] [--requests 500]
P2C_PROVIDER=cpu taskset -c 0 python -m benchmarks.service    # ONNX Runtime on one core
"""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import httpx2
import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.stages import EXAMPLE, list_photos

MIB = 2**20


def main(
    sources: Annotated[list[Path] | None, typer.Argument()] = None,
    requests: Annotated[int, typer.Option(min=20)] = 500,
    port: Annotated[int, typer.Option(help="A free port for the server.")] = 8042,
) -> None:
    """Send sequential requests to a fresh server."""
    url = f"http://127.0.0.1:{port}"
    photos = itertools.cycle(list_photos(sources or [EXAMPLE]))
    environment = os.environ | {"P2C_PORT": str(port), "P2C_LOG_LEVEL": "warning"}
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "photo2cartoon", "serve"], env=environment
    ) as server:
        try:
            ready_s = wait_until_ready(url, server) - start
            process = psutil.Process(server.pid)
            idle = process.memory_info().rss
            busy_s = core_seconds(process)
            times, memory, statuses, written = send(url, process, photos, requests)
            busy_s = core_seconds(process) - busy_s
        finally:
            server.terminate()
    early, late = memory[len(memory) // 5], memory[-1]
    table = Table("what", "figure")
    table.add_row("start to ready", f"{ready_s:.2f} s")
    table.add_row("RSS idle", f"{idle / MIB:.0f} MiB")
    table.add_row("requests", ", ".join(f"{n} x {s}" for s, n in sorted(statuses.items())))
    table.add_row("RSS after 20 % / 100 % of them", f"{early / MIB:.0f} / {late / MIB:.0f} MiB")
    table.add_row("RSS growth between", f"{late / early - 1:+.1%}")
    table.add_row("bytes written to disk", str(written))
    table.add_row("core time a request", f"{busy_s / requests * 1000:.1f} ms")
    table.add_row("request, median", f"{np.median(times) * 1000:.1f} ms")
    table.add_row("request, p95", f"{np.percentile(times, 95) * 1000:.1f} ms")
    Console().print(table)


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> float:
    """Return when `/readyz` first answered, on `time.perf_counter`."""
    while server.poll() is None:
        try:
            httpx2.get(f"{url}/readyz").raise_for_status()
            return time.perf_counter()
        except httpx2.TransportError:
            time.sleep(0.01)
    raise RuntimeError("the server stopped")


def core_seconds(process: psutil.Process) -> float:
    """Seconds for which cores have worked for the process: they do not grow on a busy machine."""
    times = process.cpu_times()
    return float(times.user + times.system)


def send(
    url: str, process: psutil.Process, photos: "itertools.cycle[Path]", requests: int
) -> tuple[list[float], list[int], dict[int, int], int]:
    """Post photos one after another: seconds, RSS, statuses, bytes that reached the disk."""
    times, memory = [], []
    statuses: dict[int, int] = {}
    before = process.io_counters().write_bytes
    with httpx2.Client(timeout=60) as client:
        for photo in itertools.islice(photos, requests):
            data = photo.read_bytes()
            start = time.perf_counter()
            answer = client.post(f"{url}/cartoonize", content=data)
            times.append(time.perf_counter() - start)
            memory.append(process.memory_info().rss)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    return times, memory, statuses, process.io_counters().write_bytes - before


if __name__ == "__main__":
    typer.run(main)
