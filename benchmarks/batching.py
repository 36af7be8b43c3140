"""Policies of batching, on real lanes and threads before a pretended GPU. Prints two tables.

The network sleeps 3.0 + 0.6 ms per place of the batch, which stands for a GPU on which a batch of
16 costs little more than one photo (up to 1,270 photos/s). Arrivals are Poisson, latency counts
from the scheduled arrival. `gathers itself` is what the service does; the others are what servers
in the field do: wait a little for company, or close batches by a timer before the network is free.

    python -m benchmarks.batching --seconds 10
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from photo2cartoon.engine.lanes import Lanes
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.runtime.batcher import Batcher
from photo2cartoon_models.manifest import Model, load_manifest

MAX_BATCH = 16
LOADS = (30, 250, 500, 800, 1100)
OVERLOADS = (2540, 5080)
DEADLINE_MS = 100.0
Tensor = NDArray[np.float32]


class PretendedGpu:
    """Takes as long as the curve says, and nothing of the CPU."""

    nodes: Mapping[str, int] = {}
    precision = "float32"

    @property
    def model(self) -> Model:
        """Any: nothing of it is used."""
        return load_manifest()["selfie"]

    def probe(self) -> Tensor:
        """One number is enough."""
        return np.zeros((1, 1), np.float32)

    def run(self, batch: Tensor, ticket: Ticket | None = None) -> list[Tensor]:  # noqa: ARG002
        """Sleep for the batch's time."""
        time.sleep(0.003 + 0.0006 * len(batch))
        return [batch]

    def place(self, size: int) -> None:
        """Any will do."""

    def warm_up(self) -> None:
        """Nothing is cold."""


class Collector(Batcher):
    """Closes a batch by a timer, then lets it wait for the network: a common shape."""

    def __init__(self, network: PretendedGpu, max_batch: int, timer_s: float) -> None:
        self._free = threading.Lock()
        super().__init__(network, max_batch, timer_s)

    def _run_together(self, items: list) -> None:  # type: ignore[type-arg]
        def run() -> None:
            with self._free:
                Batcher._run_together(self, items)

        threading.Thread(target=run).start()


POLICIES: dict[str, Callable[[], Batcher]] = {
    "gathers itself": lambda: Batcher(PretendedGpu(), MAX_BATCH),
    "waits 2 ms": lambda: Batcher(PretendedGpu(), MAX_BATCH, 0.002),
    "waits 10 ms": lambda: Batcher(PretendedGpu(), MAX_BATCH, 0.010),
    "timer 10 ms, then queue": lambda: Collector(PretendedGpu(), MAX_BATCH, 0.010),
}


async def load(
    batcher: Batcher, rate: float, seconds: float, timeout_s: float | None, max_queue: int
) -> tuple[list[float], int]:
    """Send Poisson arrivals; latencies of the answered, ms, and how many were refused or late."""
    batcher.warm_up()
    lanes = Lanes(2 + 2 * MAX_BATCH, max_queue, cores=2, fastest_s=lambda: batcher.fastest_s)
    latencies: list[float] = []
    refused = 0

    async def one(due: float) -> None:
        nonlocal refused
        ticket = Ticket(timeout_s)
        try:
            await lanes.run(lambda: batcher.run(np.zeros((1, 1), np.float32), ticket), ticket)
        except Problem:
            refused += 1
        else:
            latencies.append((time.perf_counter() - due) * 1000)

    chance = random.Random(0)
    due = time.perf_counter()
    end = due + seconds
    tasks = []
    while due < end:
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        tasks.append(asyncio.create_task(one(due)))
        due += chance.expovariate(rate)
    await asyncio.gather(*tasks)
    lanes.close()
    batcher.close()
    return latencies, refused


def main(seconds: Annotated[float, typer.Option(help="Per point.")] = 10) -> None:
    """Measure every policy at every load, then the refusals above capacity."""
    table = Table("policy", *(f"{rate}/s" for rate in LOADS), title="p50 / p99, ms")
    for name, make in POLICIES.items():
        cells = []
        for rate in LOADS:
            latencies, _ = asyncio.run(load(make(), rate, seconds, None, 100_000))
            p50, p99 = np.percentile(latencies, [50, 99])
            cells.append(f"{p50:.1f} / {p99:.1f}")
        table.add_row(name, *cells)
    Console().print(table)
    table = Table("door", *(f"{rate}/s" for rate in OVERLOADS))
    table.title = f"in time per second, of which the deadline is {DEADLINE_MS:.0f} ms; refused"
    for name, timeout_s in (("deadline known", DEADLINE_MS / 1000), ("queue of 1,000", None)):
        cells = []
        for rate in OVERLOADS:
            make = POLICIES["gathers itself"]
            latencies, refused = asyncio.run(load(make(), rate, seconds, timeout_s, 1000))
            good = sum(latency <= DEADLINE_MS for latency in latencies) / seconds
            cells.append(f"{good:.0f}; {refused / seconds:.0f}")
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
