"""What the CPU does around the networks, in stages and fused: the part that a GPU does not take."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.gpu.networks import console
from benchmarks.stages import EXAMPLE
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.drawer import Cut, Drawer, FusedDrawer, StagedDrawer
from photo2cartoon.pipeline.opening import open_fused, open_pipeline
from photo2cartoon.pipeline.pipeline import finish
from photo2cartoon.runtime.device import CPU
from photo2cartoon.runtime.network import Array, OnnxNetwork
from photo2cartoon_models.manifest import load_manifest

BATCH = 16


class Remembered(OnnxNetwork):
    """A network that answers at once what it answered before."""

    def __init__(self, network: OnnxNetwork, outputs: list[Array]) -> None:
        self.model = network.model
        self.outputs = outputs

    def run(self, batch: Array, ticket: Ticket | None = None) -> list[Array]:  # noqa: ARG002
        """Cost nothing."""
        return self.outputs


def host(
    photo: Annotated[Path, typer.Argument(help="A photo with a face.")] = EXAMPLE,
    rounds: Annotated[int, typer.Option(min=3)] = 100,
) -> None:
    """Least ms of a core a photo from crop to finished picture, the networks left out."""
    manifest = load_manifest()
    fused = open_fused(manifest["selfie"], manifest[LITE], CPU, 1)
    pipeline = open_pipeline(Settings(provider="cpu"))
    image, (cut,) = pipeline.cropper.crop(photo.read_bytes(), Options(), Ticket())
    matte, generator = (OnnxNetwork(manifest[name]) for name in ("selfie", LITE))
    staged = StagedDrawer(
        Remembered(matte, matte.run(matte.probe())),
        Remembered(generator, generator.run(generator.probe())),
    )
    whole = FusedDrawer(Remembered(fused, fused.run(fused.probe())), manifest[LITE])
    drawings = [work_of(drawer, image, cut) for drawer in (staged, whole)]
    floats, pixels = ([np.zeros_like(net.probe()[0])] * BATCH for net in (generator, fused))
    place = np.stack(pixels)
    gathers: list[Callable[[], object]] = [
        lambda: np.stack(floats),
        lambda: np.stack(pixels, out=place),
    ]
    table = Table("what", "in stages, ms", "fused, ms", box=None)
    table.add_row("a photo, crop to picture", *least(drawings, rounds))
    table.add_row(f"a batch of {BATCH} gathered", *least(gathers, rounds))
    console.print(table)


def work_of(drawer: Drawer, image: NDArray[np.uint8], cut: Cut) -> Callable[[], object]:
    """Draw and finish one face."""
    return lambda: finish(image, [cut], [drawer.draw(image, cut, Ticket())], Options())


def least(works: list[Callable[[], object]], rounds: int) -> list[str]:
    """Ms of each, taking turns."""
    seconds = np.zeros((rounds, len(works)))
    for row in seconds:
        for k, work in enumerate(works):
            start = time.perf_counter()
            work()
            row[k] = time.perf_counter() - start
    return [f"{value * 1000:.2f}" for value in seconds.min(axis=0)]
