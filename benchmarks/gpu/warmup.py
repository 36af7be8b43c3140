"""How long until the service is ready: what it loads, and each bucket's first run."""

import time
from dataclasses import replace
from typing import Annotated, get_args

import typer
from rich.table import Table

from benchmarks.gpu.generator import run_of
from benchmarks.gpu.networks import Asked, console, describe_model, open_device
from photo2cartoon.ground.settings import LITE
from photo2cartoon.pipeline.opening import open_fused
from photo2cartoon.runtime.device import ConvSearch
from photo2cartoon_models.manifest import load_manifest


def warmup(
    model: Annotated[str, typer.Argument(help="A generator: by name, or a file.")] = LITE,
    provider: Annotated[Asked, typer.Option()] = "auto",
    device_id: Annotated[int, typer.Option(min=0)] = 0,
    largest: Annotated[int, typer.Option(help="Largest batch.")] = 32,
) -> None:
    """Seconds to load the fused graph and ms of each bucket's first and second run, by search."""
    device = open_device(provider, device_id)
    manifest = load_manifest()
    table = Table("search", "batch", "first run, ms", "second, ms", "loaded in, s", box=None)
    searches = get_args(ConvSearch) if device.on_gpu else ("none",)
    for search in searches:
        chosen = replace(device, conv_search=search) if device.on_gpu else device
        start = time.perf_counter()
        network = open_fused(manifest["selfie"], describe_model(model), chosen, largest)
        loaded = f"{time.perf_counter() - start:.2f}"
        for size in (2**k for k in range(largest.bit_length())):
            work = run_of(network, size)
            times = []
            for _ in range(2):
                start = time.perf_counter()
                work()
                times.append(f"{(time.perf_counter() - start) * 1000:.1f}")
            table.add_row(search, str(size), *times, loaded)
            loaded = ""
    console.print(table)
