"""The simulation held against a real run: three instances behind nginx, one killed, one drained.

    python -m benchmarks.fleet_check --rate 5

Requests arrive as a Poisson process, whatever the fleet does. After a third of the time one
instance is killed, after two thirds another one gets SIGTERM, and the last one serves alone. The
simulation gets the same arrivals, and service times of one caller at a time, measured just before.
"""

import math
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Timer
from typing import Annotated

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.fleet import DEADLINE_S, Outcome, Pod, pick_least, simulate
from benchmarks.gateway import Gateway
from benchmarks.serving.load import LOST, REFUSALS, Answer, Generator, Load, Photo, poisson
from benchmarks.serving.process import ROOT, end_on_sigterm, free_port, our_command, running

EXAMPLE = ROOT / "examples" / "photos" / "astronaut.jpg"
SETTINGS = {"P2C_GENERATOR": "photo2cartoon-lite", "P2C_STYLES": "", "P2C_THREADS": "1"}
DRAIN_S = 1.0  # P2C_DRAIN_DELAY_S: how long an instance goes on after SIGTERM
INSTANCES, TRIES = 3, 3  # of examples/gateway/nginx.conf
ALONE = 100  # requests of the one caller
PHASES = ("all three", "one was killed", "another was drained")


@contextmanager
def fleet(photo: bytes, folder: Path) -> Iterator[tuple[Gateway, list[psutil.Process]]]:
    """Run the instances and nginx before them; the instances' logs lie in `folder`."""
    with ExitStack() as stack:
        instances, addresses = [], []
        for number in range(INSTANCES):
            command = our_command(free_port())
            command.environment.update(SETTINGS, P2C_DRAIN_DELAY_S=str(DRAIN_S))
            log = stack.enter_context((folder / f"instance-{number}").open("wb"))
            instances.append(stack.enter_context(running(command, photo, log)))
            addresses.append(f"127.0.0.1:{command.port}")
        yield stack.enter_context(Gateway(folder, addresses)), instances


def observe(
    load: Load, instances: list[psutil.Process], seconds: float
) -> tuple[list[float], list[Answer]]:
    """Measure one caller, then send the load, kill an instance and drain another one.

    Args:
        load: what to send, with its arrivals.
        instances: the first is killed, the second is drained.
        seconds: of each phase.

    Returns:
        How long the requests of the one caller took, s, and the answers to the load.
    """
    generator = Generator()
    try:
        alone = Load(load.port, load.path, load.photos, load.headers, requests=ALONE)
        services = [answer.latency_s for answer in generator.send(alone).answers]
        events = [
            Timer(seconds, instances[0].kill),
            Timer(2 * seconds, instances[1].send_signal, [signal.SIGTERM]),
        ]
        for event in events:
            event.start()
        return services, generator.send(load).answers
    finally:
        generator.close()


def predict(arrivals: list[float], services: list[float], seconds: float, seed: int) -> Outcome:
    """Simulate the same fleet and the same arrivals.

    Args:
        arrivals: when requests come, s.
        services: measured service times, s, of which each request gets one by chance.
        seconds: of each phase.
        seed: of that chance.
    """
    typical = float(np.median(services))
    pods = [Pod(lanes=[0.0], typical=typical) for _ in range(INSTANCES)]
    pods[0].dies = seconds
    pods[1].out = (2 * seconds + DRAIN_S, math.inf)
    drawn = np.random.default_rng(seed).choice(services, len(arrivals)).tolist()
    return simulate(pods, arrivals, pick_least, TRIES, seed, drawn)


def compare(
    arrivals: list[float], real: dict[int, float], simulated: dict[int, float], seconds: float
) -> Iterator[tuple[str, ...]]:
    """Yield a row for each phase: requests, then answers in time, p50 and p99 of both, ms.

    Args:
        arrivals: when requests came, s.
        real: by its number, how long each request took that was answered in time, s.
        simulated: likewise.
        seconds: of each phase.
    """
    phase = np.minimum(np.array(arrivals) // seconds, len(PHASES) - 1)
    for place, name in enumerate(PHASES):
        numbers = np.flatnonzero(phase == place).tolist()
        cells = []
        for good in (real, simulated):
            times = [good[number] for number in numbers if number in good]
            figures = np.percentile(times, [50, 99]) * 1000 if times else (math.nan, math.nan)
            cells += [str(len(numbers) - len(times)), *(f"{figure:.0f}" for figure in figures)]
        yield (name, str(len(numbers)), *cells)


def main(
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Of each of the three phases.")] = 60,
    photo: Annotated[Path, typer.Option(exists=True, dir_okay=False)] = EXAMPLE,
    seed: int = 1,
) -> None:
    """Print the table; exit code 1 if a request failed, neither drawn nor refused."""
    end_on_sigterm()
    arrivals = poisson(rate, round(rate * seconds * len(PHASES)), seed)
    data = photo.read_bytes()
    with (
        tempfile.TemporaryDirectory(prefix="fleet") as name,
        fleet(data, Path(name)) as (gateway, instances),
    ):
        headers = {"X-Request-Timeout-Ms": str(round(DEADLINE_S * 1000))}
        load = Load(gateway.port, "/cartoonize", [Photo(data)], headers, arrivals)
        services, answers = observe(load, instances, seconds)
    real = {
        answer.number: answer.latency_s
        for answer in answers
        if answer.status == 200 and answer.latency_s <= DEADLINE_S
    }
    outcome = predict(arrivals, services, seconds, seed)
    table = Table("fleet", "requests")
    for kind in ("real", "sim."):
        for figure in ("not in time", "p50 ms", "p99 ms"):
            table.add_column(f"{kind} {figure}")
    for row in compare(arrivals, real, outcome.good, seconds):
        table.add_row(*row)
    middle, high = np.percentile(services, [50, 95]) * 1000
    console = Console(width=120)
    console.print(f"one caller at a time: median {middle:.0f} ms, 95th percentile {high:.0f} ms")
    console.print(table)
    console.print(
        f"simulated: {outcome.refused} refused, {outcome.late} late, {outcome.failed} failed"
    )
    statuses = Counter(answer.status for answer in answers)
    console.print(f"HTTP status of the real ones, {LOST} where there was none: {dict(statuses)}")
    if statuses.keys() - {200} - REFUSALS:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
