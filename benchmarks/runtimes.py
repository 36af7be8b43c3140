"""Both runtimes of a CPU beside each other: how fast each network runs, and how alike they answer.

python -m benchmarks.runtimes speed [--seconds 20]
python -m benchmarks.runtimes reuse [--seconds 20]
python -m benchmarks.runtimes parity PHOTOS [--count 200] [--style photo2cartoon-lite]

Every network runs on one thread, batch 1, on ONNX Runtime, on OpenVINO in float32 and, where the
processor has it, in bfloat16; for `reuse`, on ONNX Runtime with and without planned memory reuse.
They take turns, and the processor's time is counted, not the
clock's, so that a busy machine slows all alike. Parity finds the faces of each photo on both, draws
the same portraits on both, and ends with an error if a face is found by one only, or if drawings
are further apart than the gate.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.processor import describe_processor
from benchmarks.stages import list_photos
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.faces.warp import apply
from photo2cartoon.pipeline.opening import open_on
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.runtime.device import CPU, Device
from photo2cartoon.runtime.network import LoadedNetwork, OnnxNetwork
from photo2cartoon.runtime.openvino import OpenVinoNetwork, has_bfloat16
from photo2cartoon_models.manifest import Model, load_manifest

SIDES = {"face_short": (128,), "face_full": (384,), "selfie": (256,), "comic": (256, 512)}
GATE_MEAN, GATE_LARGEST = 0.5, 8.0  # grey levels
SQUARE = 256  # px
LEVELS = 127.5  # grey levels in a step of 1 on -1..1

Run = Callable[[NDArray[np.float32]], object]

app = typer.Typer()
console = Console()


@app.command()
def speed(seconds: Annotated[float, typer.Option(help="For each network.")] = 20) -> None:
    """Print the best and the median time of each network on each runtime, ms."""
    console.print(describe_processor(), markup=False)
    table = Table("network", "px", *(f"{name}, ms" for name in runtimes()), "times ONNX Runtime")
    for model in load_manifest().values():
        for side in SIDES.get(model.name) or (model.image_size,):
            runs = [open_it(model).run for open_it in runtimes().values()]
            times = measure(runs, side, seconds)
            best, median = times.min(axis=0) * 1000, np.median(times, axis=0) * 1000
            cells = (f"{low:.2f} ({middle:.2f})" for low, middle in zip(best, median, strict=True))
            ratios = ", ".join(f"{best[0] / other:.2f}" for other in best[1:])
            table.add_row(model.name, str(side), *cells, ratios)
    console.print(table)


@app.command()
def reuse(seconds: Annotated[float, typer.Option(help="For each network.")] = 20) -> None:
    """Print what planned memory reuse costs ONNX Runtime in time, ms."""
    console.print(describe_processor(), markup=False)
    table = Table("network", "px", "reuse, ms", "no reuse, ms", "median ratio")
    for model in load_manifest().values():
        for side in SIDES.get(model.name) or (model.image_size,):
            times = measure(
                [open_plain(model, planned) for planned in (True, False)], side, seconds
            )
            cells = (f"{middle:.2f}" for middle in np.median(times, axis=0) * 1000)
            ratio = np.median(times[:, 0] / times[:, 1])
            table.add_row(model.name, str(side), *cells, f"{ratio:.2f}")
    console.print(table)


@app.command()
def parity(
    source: Annotated[Path, typer.Argument(help="Folder of photos.")],
    count: Annotated[int, typer.Option(min=1)] = 200,
    style: Annotated[str, typer.Option(help="The generator.")] = "photo2cartoon-lite",
) -> None:
    """Compare drawings of one portrait, and faces found in one photo, between the runtimes."""
    console.print(describe_processor(), markup=False)
    settings = Settings(threads=1, generator=Path(style), styles=())
    first, second = open_on(CPU, settings), open_on(best_openvino(), settings)
    photos = list_photos([source])
    photos = photos[:: max(1, len(photos) // count)][:count]
    apart, moved, unlike = [], [], []
    for path in track(photos, "photos", transient=True):
        data = path.read_bytes()
        found = [find(pipeline, data) for pipeline in (first, second)]
        if (found[0] is None) != (found[1] is None):
            unlike.append(path.name)
        if found[0] is None or found[1] is None:
            continue
        moved.append(np.abs(found[0][1] - found[1][1]).max())
        tensor = found[0][0][None]  # the same for both: what the generators alone do to it
        drawn = [pipeline.networks[-1].run(tensor)[0] for pipeline in (first, second)]
        apart.append(np.abs(drawn[0] - drawn[1]) * LEVELS)
    mean, largest = float(np.mean(apart)), float(np.max(apart))
    console.print(f"{second.device.describe()} against {first.device.describe()}, {style}:")
    console.print(f"{len(photos)} photos; a face in one runtime only: {unlike or 'none'}")
    corners = f"mean {np.mean(moved):.4f}, largest {np.max(moved):.4f}"
    console.print(f"corners of the squares, px apart: {corners}")
    console.print(f"{len(apart)} portraits, grey levels: mean {mean:.4f}, largest {largest:.3f}")
    if unlike or mean > GATE_MEAN or largest > GATE_LARGEST:
        raise typer.Exit(1)


def runtimes() -> dict[str, Callable[[Model], LoadedNetwork]]:
    """How to open a network on each runtime, by its name."""
    plain = Device("openvino")
    found: dict[str, Callable[[Model], LoadedNetwork]] = {
        "ONNX Runtime": OnnxNetwork,
        "OpenVINO float32": lambda model: OpenVinoNetwork(model, plain),
    }
    if has_bfloat16():
        half = replace(plain, precision="bfloat16")
        found["OpenVINO bfloat16"] = lambda model: OpenVinoNetwork(model, half)
    return found


def best_openvino() -> Device:
    """OpenVINO as `auto` takes it."""
    return replace(Device.choose(Settings(provider="openvino")), streams=1)


def open_plain(model: Model, planned_reuse: bool) -> Run:
    """Open a session as the service does, but for the one switch; return what runs it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_reuse = planned_reuse
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.read_verified(), options, providers=providers)
    return lambda batch: session.run(None, {model.inputs[0].name: batch})


def measure(runs: Sequence[Run], side: int, seconds: float) -> NDArray[np.float64]:
    """Seconds of the processor for a run, (rounds, runs), after two rounds to warm up."""
    batch = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    rows: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(rows) < 5 or time.perf_counter() < end:
        row = []
        for run in runs:
            start = time.process_time()
            run(batch)
            row.append(time.process_time() - start)
        rows.append(row)
    return np.array(rows[2:])


def find(pipeline: Pipeline, data: bytes) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """The generator's input `(3, S, S)` and the square's corners `(4, 2)` px; None: no face."""
    try:
        _, (portrait, *_) = pipeline.prepare(data, Options(), Ticket())
    except Problem:
        return None
    corners = np.array([[0, 0], [SQUARE, 0], [SQUARE, SQUARE], [0, SQUARE]])
    return portrait.tensor, apply(portrait.cut.alignment.to_photo(SQUARE), corners)


if __name__ == "__main__":
    app()
