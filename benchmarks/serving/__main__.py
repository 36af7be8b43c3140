"""Our service, its peers and a bare loop over the same stages, under the same load, in turns.

python -m benchmarks.serving.install FOLDER
python -m benchmarks.serving --peers FOLDER --out RESULTS.jsonl [--resume]
python -m benchmarks.serving --out RESULTS.jsonl --print

A photo of a face is posted again and again; a good answer is the very picture that the stages draw
in sequence on the system's runtime, within a deadline of 5 times the bare loop's time alone on ONNX
Runtime, the same for all. Rates are shares of the bare loop's capacity, measured first. Every round
starts every system anew, and the order moves on by one.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.serving.load import Generator, Load, Photo
from benchmarks.serving.points import POINTS, Point
from benchmarks.serving.process import (
    Command,
    end_on_sigterm,
    free_port,
    memory_bytes,
    running,
)
from benchmarks.serving.results import Results
from benchmarks.serving.systems import BARE, OURS, list_systems, provider_of, start_command
from benchmarks.serving.table import print_report
from benchmarks.serving.tally import summarize
from benchmarks.stages import EXAMPLE
from photo2cartoon.ground.machine import available_cores

DEADLINE_FACTOR = 5  # of the bare loop's time for one photo alone
WARM_UP_REQUESTS = 12  # a lane: BentoML's batcher learns from its first eleven
SETTLE_S = 60  # longest wait for a system to get over a load
OVERHEAD_S = 15  # a system and round: start, warm-up, settling, end
console = Console(stderr=True)


def main(
    peers: Annotated[Path | None, typer.Option(help="Folder of `install`; none: no peers.")] = None,
    photo: Annotated[Path, typer.Option(help="A photo with a face.")] = EXAMPLE,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    requests: Annotated[int, typer.Option(min=20, help="A point, all rounds together.")] = 1000,
    systems: Annotated[list[str] | None, typer.Option("--system", help="Only these.")] = None,
    points: Annotated[list[str] | None, typer.Option("--point", help="Only these.")] = None,
    out: Annotated[Path, typer.Option(help="JSON lines, one a point.")] = Path("out/serving.jsonl"),
    resume: Annotated[bool, typer.Option(help="Go on with what `out` has.")] = False,
    only_print: Annotated[bool, typer.Option("--print", help="Print `out`, run nothing.")] = False,
    quick: Annotated[bool, typer.Option(help="One round of 40 requests: does it work?")] = False,
) -> None:
    """Run the benchmark and print its table."""
    end_on_sigterm()
    if quick:
        rounds, requests = 1, 40
    if out.exists() and not (resume or only_print):
        raise typer.BadParameter(f"{out} exists: --resume goes on with it, --print prints it.")
    results = Results(out)
    if not only_print:
        chosen = [point for point in POINTS if not points or point.name in points]
        names = [name for name in list_systems(peers) if not systems or name in systems]
        run = Run(peers, photo, -(-requests // rounds), results)
        run.announce(names, chosen, rounds)
        for number in range(rounds):
            shift = number % len(names)
            for name in [*names[shift:], *names[:shift]]:
                run.measure(name, number, chosen)
            run.measure_bare(number)
        run.generator.close()
    print_report(results)


class Run:
    """One interleaved run: the setting that all systems share."""

    def __init__(self, peers: Path | None, photo: Path, requests: int, results: Results) -> None:
        self.peers = peers
        self.photo = photo
        self.requests = requests
        self.results = results
        self.lanes = available_cores()
        self.generator = Generator()
        if not results.find("setting", 0):
            bare = self.run_bare()
            results.add("setting", 0, BARE, bare | {"lanes": self.lanes})
        (self.bare,) = results.find("setting", 0)
        self.capacity: float = max(self.bare["processes"], self.bare["threads"])
        self.deadline_s: float = DEADLINE_FACTOR * self.bare["unloaded_s"]["cpu"]

    def announce(self, names: list[str], points: list[Point], rounds: int) -> None:
        """Say what will happen and how long it will take."""
        bare_s = self.requests / self.capacity * 2 + 10
        round_s = OVERHEAD_S + sum(
            point.seconds(self.requests, self.capacity, self.lanes) for point in points
        )
        minutes = rounds * (len(names) * round_s + bare_s) / 60
        console.print(
            f"bare loop {self.capacity:.1f} photos/s on {self.lanes} lanes, "
            f"{self._alone_s(OURS) * 1000:.0f} ms alone; "
            f"deadline {self.deadline_s * 1000:.0f} ms"
        )
        console.print(f"{', '.join(names)}: {rounds} rounds, about {minutes:.0f} min")

    def run_bare(self) -> dict[str, Any]:
        """The bare loop in a process of its own, beside the idle generator."""
        count = max(40, self.requests)
        arguments = [str(self.photo), "--lanes", str(self.lanes), "--jobs", str(count)]
        command = [sys.executable, "-m", "benchmarks.serving.bare", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures

    def measure_bare(self, number: int) -> None:
        """The bare loop of one round."""
        if not self.results.find(BARE, number):
            self.results.add(BARE, number, BARE, self.run_bare())
            console.print(f"round {number + 1}: bare")

    def measure(self, system: str, number: int, points: list[Point]) -> None:
        """Every point of one system that the results lack in this round."""
        missing = [p for p in points if not self.results.find(system, number, p.name)]
        if not missing:
            return
        command = start_command(
            system, self.peers, free_port(), self.lanes, self.deadline_s, self._alone_s(system)
        )
        photo = self.photo.read_bytes()
        log = self.results.path.with_suffix(f".{system}.log")
        with log.open("ab") as lines, running(command, photo, lines) as process:
            self.settle(command, photo, WARM_UP_REQUESTS * self.lanes)
            for point in missing:
                seed = 100 * number + POINTS.index(point)
                figures = self.send(system, command, point, photo, seed)
                figures["memory_bytes"] = memory_bytes(process)
                self.results.add(system, number, point.name, figures)
                console.print(f"round {number + 1}: {system} {point.name} {figures['outcomes']}")
                self.settle(command, photo, 2)

    def send(
        self, system: str, command: Command, point: Point, photo: bytes, seed: int
    ) -> dict[str, Any]:
        """One point of the running system."""
        load = point.load(command, photo, self.requests, self.capacity, self.lanes, seed)
        result = self.generator.send(load)
        connections = None if load.arrivals else load.connections
        expected = self.bare["sha256"][provider_of(system, self.bare["provider"])]
        return summarize(result, expected, self.deadline_s, connections)

    def _alone_s(self, system: str) -> float:
        """Seconds of one photo alone in the bare loop, on the runtime of `system`."""
        seconds: float = self.bare["unloaded_s"][provider_of(system, self.bare["provider"])]
        return seconds

    def settle(self, command: Command, photo: bytes, requests: int) -> None:
        """Send one at a time until `requests` in a row come back at once."""
        load = Load(command.port, command.path, [Photo(photo)], command.headers, None, requests)
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end:
            answers = self.generator.send(load).answers
            if all(a.status == 200 and a.latency_s < self.deadline_s / 2 for a in answers):
                return
        console.print("it did not settle")


if __name__ == "__main__":
    typer.run(main)
