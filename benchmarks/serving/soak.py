"""Our service for a long time: mixed photos, one in ten bad, at 80 % of what it can do.

python -m benchmarks.serving.soak [--minutes 30] [--photo PHOTO]

Every picture must be the very one that `Pipeline.cartoonize` draws in sequence, in a process of its
own beforehand; every bad input must get its own problem. Says also whether memory and file
descriptors grow after the warm-up (a closed loop that measures the capacity, then three minutes of
the load, until the largest photos have met on all lanes). Both are read each minute, with nothing
in flight; memory goes up and down by what the allocator happens to hold, so the medians of the
first and the last third of the minutes are compared.
"""

import hashlib
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.serving.inputs import Input, bad_inputs, good_inputs, mix
from benchmarks.serving.load import LOST, Answer, Generator, Load, LoadResult, poisson
from benchmarks.serving.process import (
    Command,
    end_on_sigterm,
    free_port,
    memory_bytes,
    open_files,
    our_command,
    running,
)
from benchmarks.serving.tally import percentile_ms, throughput
from benchmarks.stages import EXAMPLE
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline

LOAD_SHARE = 0.8
BAD_SHARE = 0.1
WARM_UP_REQUESTS = 300
WARM_UP_MINUTES = 3
CONNECTIONS = 6  # of the closed loop that warms up and measures the capacity
REFUSALS = {503, 504}
MINUTE_S = 60
MIB = 2**20


def main(
    minutes: Annotated[int, typer.Option(min=1)] = 30,
    photo: Annotated[Path, typer.Option(help="A photo with a face.")] = EXAMPLE,
    log: Annotated[Path, typer.Option(help="The server's log.")] = Path("out/soak.log"),
) -> None:
    """Soak the service and print a line a minute."""
    end_on_sigterm()
    data = photo.read_bytes()
    good, bad = good_inputs(data), bad_inputs(data)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as sequential:
        expected = sequential.submit(draw_all, [item.photo.body for item in good]).result()
    log.parent.mkdir(parents=True, exist_ok=True)
    command = our_command(free_port())
    with log.open("wb") as lines, running(command, data, lines) as process:
        soak = Soak(command, process, good + bad, expected, Generator())
        passed = soak.run(mix(good, bad, BAD_SHARE, 20 * len(good), seed=1), minutes)
    raise typer.Exit(0 if passed else 1)


def draw_all(photos: list[bytes]) -> list[str]:
    """The sha256 of each photo's cartoon, drawn one after another in this process."""
    pipeline = open_pipeline(Settings())
    return [hashlib.sha256(pipeline.cartoonize(photo)[0]).hexdigest() for photo in photos]


@dataclass
class Soak:
    """A running service and what it must answer. `expected` are the good inputs' sha256."""

    command: Command
    process: psutil.Process
    inputs: list[Input]
    expected: list[str]
    generator: Generator
    wrong: Counter[str] = field(default_factory=Counter)

    def run(self, order: list[int], minutes: int) -> bool:
        """Warm up, then one load a minute; whether nothing was wrong."""
        table = Table("minute", "requests", "right", "refused", "wrong", "p50 ms", "p99 ms")
        for name in ("PSS MiB", "descriptors"):
            table.add_column(name)
        first = self.send(order, requests=WARM_UP_REQUESTS)
        self.count(first, order)
        rate = LOAD_SHARE * throughput([answer.done_s for answer in first.answers], CONNECTIONS)
        for minute in range(minutes + 1, minutes + 1 + WARM_UP_MINUTES):
            self.count(self.send(order, self.arrivals(rate, minute)), order)
        read: list[tuple[int, int]] = []
        for minute in range(1, minutes + 1):
            result = self.send(order, self.arrivals(rate, minute))
            outcomes = self.count(result, order)
            memory, files = self.resources()
            read.append((memory, files))
            seconds = [answer.latency_s for answer in result.answers if answer.status == 200]
            times = [f"{percentile_ms(seconds, percent) or 0:.0f}" for percent in (50, 99)]
            counts = [outcomes[name] for name in ("right", "refused", "wrong")]
            cells = [minute, len(result.answers), *counts, *times, round(memory / MIB), files]
            table.add_row(*map(str, cells))
            print(*cells, sep="\t", flush=True)
        self.generator.close()
        self.report(table, rate, read)
        return not self.wrong

    @staticmethod
    def arrivals(rate: float, minute: int) -> list[float]:
        """A minute's arrivals."""
        return poisson(rate, round(rate * MINUTE_S), seed=minute)

    def send(
        self, order: list[int], arrivals: list[float] | None = None, requests: int = 0
    ) -> LoadResult:
        """Send the inputs in the order's turn."""
        photos = [self.inputs[place].photo for place in order]
        command = self.command
        load = Load(command.port, command.path, photos, {}, arrivals, requests, CONNECTIONS)
        return self.generator.send(load)

    def count(self, result: LoadResult, order: list[int]) -> Counter[str]:
        """How many answers were right, refused, wrong; what was wrong is kept by name."""
        outcomes: Counter[str] = Counter()
        for answer in result.answers:
            place = order[answer.number % len(order)]
            digest = self.expected[place] if place < len(self.expected) else ""
            outcome = judge(answer, self.inputs[place], digest)
            outcomes[outcome] += 1
            if outcome == "wrong":
                self.wrong[f"{self.inputs[place].name}: {answer.status} {answer.code}"] += 1
        return outcomes

    def resources(self) -> tuple[int, int]:
        """Memory (PSS, bytes) and file descriptors, now that nothing is in flight."""
        return memory_bytes(self.process), open_files(self.process)

    def report(self, table: Table, rate: float, read: list[tuple[int, int]]) -> None:
        """Print the minutes and what grew."""
        console = Console(width=100)
        console.print(table)
        console.print(f"{rate:.1f} requests/s, {LOAD_SHARE:.0%} of the measured capacity")
        console.print(f"wrong: {sum(self.wrong.values())} {dict(self.wrong) or ''}")
        third = max(1, len(read) // 3)
        first, last = (
            [median(values) for values in zip(*part, strict=True)]
            for part in (read[:third], read[-third:])
        )
        console.print(
            f"PSS {first[0] / MIB:.0f} MiB in the first {third} minutes, "
            f"{last[0] / MIB:.0f} in the last: {last[0] / first[0] - 1:+.1%}"
        )
        console.print(f"file descriptors {first[1]:.0f}, in the last minutes {last[1]:.0f}")


def judge(answer: Answer, item: Input, digest: str) -> str:
    """Say whether an answer is right, refused (503, 504) or wrong; no answer is wrong."""
    if answer.status in REFUSALS:
        return "refused"
    if answer.status == LOST or (answer.status, answer.code) != (item.status, item.code):
        return "wrong"
    return "right" if item.status != 200 or answer.digest == digest else "wrong"


if __name__ == "__main__":
    typer.run(main)
