"""The generator by precision, provider option and bucket."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.gpu.networks import (
    Asked,
    Variant,
    console,
    describe_model,
    list_variants,
    open_device,
    open_network,
)
from benchmarks.gpu.roofline import Ceiling, Work, count_work, measure_ceiling
from photo2cartoon.ground.settings import LITE
from photo2cartoon.runtime.binding import BoundNetwork
from photo2cartoon.runtime.checks import StartRefused

MIN_ROUNDS = 3


def generator(
    full: Annotated[str, typer.Argument(help="float32: by name, or a file.")] = LITE,
    half: Annotated[Path | None, typer.Option(help="The same by `convert --half`.")] = None,
    provider: Annotated[Asked, typer.Option()] = "auto",
    device_id: Annotated[int, typer.Option(min=0)] = 0,
    tensorrt: Annotated[bool, typer.Option(help="TensorRT too: its engines take minutes.")] = False,
    buckets: Annotated[str, typer.Option(help="Sizes of batches.")] = "1,2,4,8,16,32",
    matrix: Annotated[int, typer.Option(help="Side of the matrix that tells the peak.")] = 8192,
    minutes: Annotated[float, typer.Option(min=0.01, help="For all of the timing.")] = 4,
) -> None:
    """Print ms a batch, images a second, and the shares of what the device can do.

    Variants take turns in every round, so that a busy or hot machine slows all alike. The time is a
    batch's whole way: host to device, network, device to host.
    """
    device = open_device(provider, device_id)
    sizes = [int(size) for size in buckets.split(",")]
    models = describe_model(full), describe_model(half) if half else None
    ceilings = {
        name: measure_ceiling(device, matrix, half=name == "float16")
        for name in (["float32", "float16"] if device.on_gpu else ["float32"])
    }
    for name, ceiling in ceilings.items():
        console.print(
            f"{name}: {ceiling.flops / 1e12:.2f} TFLOP/s of a matrix product, "
            f"{ceiling.bytes / 1e9:.0f} GB/s of a copy"
        )
    best = ceilings.get("float16", ceilings["float32"])
    networks: dict[Variant, BoundNetwork] = {}
    for variant in list_variants(*models, device, tensorrt=tensorrt):
        try:
            networks[variant] = open_network(variant, sizes[-1])
        except StartRefused as problem:
            console.print(f"{variant.name}: {problem}", markup=False)
    table = Table("variant", "batch", "ms", "images/s", "of matrix rate", "of bandwidth", box=None)
    budget_s = minutes * 60 / len(sizes)
    for size in sizes:
        seconds = take_turns([run_of(network, size) for network in networks.values()], budget_s)
        for variant, each in zip(networks, np.median(seconds, axis=0), strict=True):
            work = count_work(variant.model.read_verified())
            table.add_row(variant.name, str(size), *cells(float(each), size, work, best))
    console.print(table)


def cells(seconds: float, size: int, work: Work, ceiling: Ceiling) -> list[str]:
    """One row's figures."""
    rate = size / seconds
    return [
        f"{seconds * 1000:.2f}",
        f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}",
        f"{rate * work.flops / ceiling.flops:.1%}",
        f"{rate * work.bytes / ceiling.bytes:.1%}",
    ]


def run_of(network: BoundNetwork, size: int) -> Callable[[], object]:
    """One batch of one network."""
    batch = network.place(size)
    batch[:] = np.repeat(network.probe(), size, axis=0)
    return lambda: network.run(batch)


def take_turns(works: list[Callable[[], object]], budget_s: float) -> NDArray[np.float64]:
    """Seconds, (rounds, works): every round does each once; two rounds before are not counted."""
    rows: list[list[float]] = []
    end = time.perf_counter() + budget_s
    while len(rows) < MIN_ROUNDS + 2 or time.perf_counter() < end:
        row = []
        for work in works:
            start = time.perf_counter()
            work()
            row.append(time.perf_counter() - start)
        rows.append(row)
    return np.array(rows[2:])
