"""Our service for a long time, with all that callers do: an hour, and one table of verdicts.

python -m benchmarks.serving.soak [--minutes 60] [--photo PHOTO]      or: make soak [MINUTES=60]

The phases follow each other until the time is up:

    good       mixed photos at 80 % of what the service can do
    bad        the same, one in ten bad
    hostile    half of that load, beside fuzzed uploads and raw bytes that mean harm
    leaving    half of that load, beside callers who leave at any moment
    overload   four times what it can do

At the end comes SIGTERM under load. The verdicts, each of which should be 0:

    lost     requests without an answer
    wrong    pictures other than `Pipeline.cartoonize` draws in sequence, in a process of its own
             beforehand; answers other than a bad input must get, or that no document allows; log
             lines that are no JSON
    slow     answers a second or more after their deadline; moments at which /livez takes a second
    grown    memory or file descriptors, with nothing in flight: medians of the first and the last
             third of the phases
    killed   the process ended by itself, or not with 0 after SIGTERM

The exit code is 1 if one of them is not 0.
"""

import hashlib
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Annotated

import httpx2
import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.serving.hostile import Callers, is_documented
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

LOAD = {"good": 0.8, "bad": 0.8, "hostile": 0.4, "leaving": 0.4, "overload": 4.0}
BAD_SHARE = 0.1
WARM_UP_REQUESTS = 300
CONNECTIONS = 6  # of the closed loop that warms up and measures the capacity
DEADLINE_S = 10
LATE_S = DEADLINE_S + 1
SILENT_S = 1
LAST_LOAD_S, SIGTERM_AFTER_S = 8, 4
STOP_S = 60
SETTLE_S = 3
REFUSALS = {503, 504}
MIB = 2**20
GROWN = 1.15, 64 * MIB, 16  # memory: factor, and bytes beyond it; descriptors


@dataclass
class Verdict:
    """What went wrong, in numbers."""

    lost: int = 0
    wrong: int = 0
    slow: int = 0
    grown: int = 0
    killed: int = 0

    @property
    def passed(self) -> bool:
        return not (self.lost or self.wrong or self.slow or self.grown or self.killed)


def main(
    minutes: Annotated[int, typer.Option(min=1)] = 60,
    photo: Annotated[Path, typer.Option(help="A photo with a face.")] = EXAMPLE,
    log: Annotated[Path, typer.Option(help="The server's log.")] = Path("out/soak.log"),
) -> None:
    """Soak the service and print the table of verdicts."""
    end_on_sigterm()
    data = photo.read_bytes()
    good, bad = good_inputs(data), bad_inputs(data)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as sequential:
        expected = sequential.submit(draw_all, [item.photo.body for item in good]).result()
    log.parent.mkdir(parents=True, exist_ok=True)
    command = our_command(free_port())
    with log.open("wb") as lines, running(command, data, lines) as process:
        soak = Soak(command, process, good, bad, expected, Generator())
        soak.run(minutes)
    soak.count_lines(log)
    soak.report()
    raise typer.Exit(0 if soak.verdict.passed else 1)


def draw_all(photos: list[bytes]) -> list[str]:
    """The sha256 of each photo's cartoon, drawn one after another in this process."""
    pipeline = open_pipeline(Settings())
    return [hashlib.sha256(pipeline.cartoonize(photo)[0]).hexdigest() for photo in photos]


@dataclass
class Soak:
    """A running service and what it must answer. `expected` are the good inputs' sha256."""

    command: Command
    process: psutil.Process
    good: list[Input]
    bad: list[Input]
    expected: list[str]
    generator: Generator
    verdict: Verdict = field(default_factory=Verdict)
    rows: list[tuple[object, ...]] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)
    read: list[tuple[int, int]] = field(default_factory=list)

    def run(self, minutes: int) -> None:
        """Warm up and measure the capacity, then all phases, then SIGTERM."""
        inputs = self.good + self.bad
        orders = {name: mix(self.good, self.bad, BAD_SHARE, 200, seed=1) for name in LOAD}
        orders["good"] = mix(self.good, self.bad, 0, 200, seed=1)
        requests = min(WARM_UP_REQUESTS, 30 * minutes)
        first = self.send(orders["good"], requests=requests)
        self.count(first, orders["good"])
        capacity = throughput([answer.done_s for answer in first.answers], CONNECTIONS)
        rounds = max(1, minutes // len(LOAD))
        seconds = minutes * 60 / (rounds * len(LOAD))
        bodies = [item.photo.body for item in inputs if item.photo.body]
        callers = Callers(self.command.port, 1, bodies)
        for number in range(rounds * len(LOAD)):
            phase = list(LOAD)[number % len(LOAD)]
            if self.process.status() == psutil.STATUS_ZOMBIE:
                self.verdict.killed += 1
                return
            self.phase(phase, callers, orders[phase], capacity * LOAD[phase], seconds, number)
        self.end(orders["good"], capacity * LOAD["good"])
        self.generator.close()

    def phase(
        self,
        name: str,
        callers: Callers,
        order: list[int],
        rate: float,
        seconds: float,
        number: int,
    ) -> None:
        """Send one phase's load, with what stands beside it, and note its row."""
        beside: dict[str, AbstractContextManager[None]] = {
            "hostile": callers.sending(callers.harm),
            "leaving": callers.sending(callers.leave),
        }
        callers.answers.clear()
        with self.watched() as silences, beside.get(name, nullcontext()):
            arrivals = poisson(rate, max(1, round(rate * seconds)), seed=number)
            result = self.send(order, arrivals)
        outcomes = self.count(result, order)
        undocumented = Counter(
            {f"hostile: {status} {code}": count
             for (status, code), count in callers.answers.items()
             if not is_documented(status, code)}
        )  # fmt: skip
        self.odd += undocumented
        self.verdict.wrong += undocumented.total()
        self.verdict.slow += sum(silence > SILENT_S for silence in silences)
        memory, files = self.resources()
        self.read.append((memory, files))
        times = [answer.latency_s for answer in result.answers if answer.status == 200]
        counts = (outcomes[name] for name in ("right", "refused", "lost", "wrong", "slow"))
        p99 = f"{percentile_ms(times, 99) or 0:.0f}"
        livez = f"{max(silences, default=0) * 1000:.0f}"
        sent = f"{len(result.answers)} + {callers.answers.total()}"
        self.rows.append((name, sent, *counts, p99, livez, round(memory / MIB), files))
        print(*self.rows[-1], sep="\t", flush=True)

    def end(self, order: list[int], rate: float) -> None:
        """Send SIGTERM under load. What was sent well before it must be answered."""
        arrivals = poisson(rate, max(1, round(rate * LAST_LOAD_S)), seed=0)
        with ThreadPoolExecutor(1) as beside:
            sending = beside.submit(self.send, order, arrivals)
            time.sleep(SIGTERM_AFTER_S)
            self.process.terminate()
            answers = sending.result().answers
        sure = [answer for answer in answers if answer.due_s < SIGTERM_AFTER_S / 2]
        kept = [answer for answer in answers if answer.status == 200 and answer not in sure]
        outcomes = self.count(LoadResult([*sure, *kept], 0, 0), order)
        counts = (outcomes[name] for name in ("right", "refused", "lost", "wrong", "slow"))
        self.rows.append(("SIGTERM", len(answers), *counts, "", "", "", ""))
        try:
            self.verdict.killed += self.process.wait(STOP_S) != 0
        except psutil.TimeoutExpired:
            self.verdict.killed += 1

    def send(
        self, order: list[int], arrivals: list[float] | None = None, requests: int = 0
    ) -> LoadResult:
        """Send the inputs in the order's turn."""
        photos = [(self.good + self.bad)[place].photo for place in order]
        headers = {"X-Request-Timeout-Ms": str(DEADLINE_S * 1000)}
        command = self.command
        load = Load(
            command.port, command.path, photos, headers, arrivals, requests, CONNECTIONS, 6 * LATE_S
        )
        return self.generator.send(load)

    def count(self, result: LoadResult, order: list[int]) -> Counter[str]:
        """How many answers were right, refused, lost, wrong; and how many of them slow."""
        outcomes: Counter[str] = Counter()
        inputs = self.good + self.bad
        for answer in result.answers:
            place = order[answer.number % len(order)]
            digest = self.expected[place] if place < len(self.expected) else ""
            outcome = judge(answer, inputs[place], digest)
            outcomes[outcome] += 1
            outcomes["slow"] += answer.latency_s > LATE_S and outcome != "lost"
            if outcome in ("lost", "wrong"):
                self.odd[f"{inputs[place].name}: {answer.status} {answer.code}"] += 1
        self.verdict.lost += outcomes["lost"]
        self.verdict.wrong += outcomes["wrong"]
        self.verdict.slow += outcomes["slow"]
        return outcomes

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Inside, /livez is asked four times a second; the list gets how long each answer took."""
        over, silences = Event(), list[float]()
        url = f"http://127.0.0.1:{self.command.port}/livez"

        def watch() -> None:
            while not over.wait(0.25):
                start = time.monotonic()
                try:
                    httpx2.get(url, timeout=60)
                except httpx2.TransportError:
                    self.odd["/livez does not answer"] += 1
                silences.append(time.monotonic() - start)

        watcher = Thread(target=watch)
        watcher.start()
        try:
            yield silences
        finally:
            over.set()
            watcher.join()

    def resources(self) -> tuple[int, int]:
        """Memory (PSS, bytes) and file descriptors, now that nothing is in flight."""
        time.sleep(SETTLE_S)
        try:
            return memory_bytes(self.process), open_files(self.process)
        except psutil.NoSuchProcess:
            return 0, 0

    def count_lines(self, log: Path) -> None:
        """Count the lines of the server's log that are no JSON as wrong."""
        for line in log.read_text().splitlines():
            try:
                json.loads(line)
            except ValueError:
                self.odd[f"log: {line[:60]}"] += 1
                self.verdict.wrong += 1

    def report(self) -> None:
        """Print the phases and the verdicts."""
        names = ("phase", "sent + hostile", "right", "refused", "lost", "wrong", "slow", "p99 ms")
        table = Table(*names, "/livez ms", "PSS MiB", "descriptors")
        for row in self.rows:
            table.add_row(*map(str, row))
        self.verdict.grown = grown(self.read)
        verdict = self.verdict
        table.add_section()
        numbers = (verdict.lost, verdict.wrong, verdict.slow)
        end = (f"grown {verdict.grown}", f"killed {verdict.killed}")
        word = "passed" if verdict.passed else "FAILED"
        table.add_row(word, "", "", "", *map(str, numbers), "", "", *end)
        console = Console(width=120)
        console.print(table)
        for what, count in self.odd.most_common(20):
            console.print(f"{count} x {what}", markup=False)


def grown(read: list[tuple[int, int]]) -> int:
    """How many of memory and descriptors grew, from the first to the last third of the phases."""
    if len(read) < 3:
        return 0
    third = len(read) // 3
    (memory, files), (last_memory, last_files) = (
        [median(values) for values in zip(*part, strict=True)]
        for part in (read[:third], read[-third:])
    )
    factor, more, descriptors = GROWN
    return sum([last_memory > memory * factor + more, last_files > files + descriptors])


def judge(answer: Answer, item: Input, digest: str) -> str:
    """Say whether an answer is right, refused (503, 504), wrong, or lost."""
    if answer.status == LOST:
        return "lost"
    if answer.status in REFUSALS:
        return "refused"
    if (answer.status, answer.code) != (item.status, item.code):
        return "wrong"
    return "right" if item.status != 200 or answer.digest == digest else "wrong"


if __name__ == "__main__":
    typer.run(main)
