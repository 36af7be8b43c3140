"""Do the pictures stay the same: by precision, by batch, by place in the batch."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.gpu.networks import Asked, Variant, console, describe_model, open_device
from benchmarks.gpu.networks import open_network as open_variant
from benchmarks.stages import list_photos
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.opening import open_fused, open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.runtime.binding import BoundNetwork
from photo2cartoon.runtime.device import CPU
from photo2cartoon_models.manifest import load_manifest

LEVELS = 127.5  # grey levels in a step of 1 on -1..1
MEAN_LIMIT, LARGEST_LIMIT = 1.0, 8.0  # grey levels: photo2cartoon_models.conversion.half's own gate


def pixels(
    full: Annotated[str, typer.Argument(help="The generator in float32: by name, or a file.")],
    half: Annotated[Path, typer.Argument(help="The same by `convert --half`.")],
    photos: Annotated[Path, typer.Argument(help="Folder of photos with faces.")],
    provider: Annotated[Asked, typer.Option()] = "auto",
    device_id: Annotated[int, typer.Option(min=0)] = 0,
    count: Annotated[int, typer.Option(min=1, help="Faces.")] = 200,
) -> None:
    """Grey levels between float32 on the CPU and every precision on the device.

    Exit code: 1 where a face is further off than the converter's gate allows.
    """
    device = open_device(provider, device_id)
    exact = replace(device, tf32=False)
    reference = open_variant(Variant("CPU", describe_model(full), CPU), 1)
    variants = {"float32": Variant("float32", describe_model(full), exact)}
    if device.on_gpu:
        variants["TF32"] = Variant("TF32", describe_model(full), device)
    variants["float16"] = Variant("float16", describe_model(half), device)
    networks = {name: open_variant(variant, 1) for name, variant in variants.items()}
    apart: dict[str, list[tuple[float, float]]] = {name: [] for name in networks}
    with_pipeline = open_pipeline(Settings(provider="cpu"))
    for tensor in islice(_tensors(with_pipeline, photos), count):
        (expected,) = reference.run(tensor[None])
        for name, network in networks.items():
            off = np.abs(network.run(tensor[None])[0] - expected) * LEVELS
            apart[name].append((float(off.mean()), float(off.max())))
    table = Table("precision", "faces", "mean", "worst mean", "largest", "too far", box=None)
    failed = 0
    for name, rows in apart.items():
        means, largest = np.array(rows).T
        far = int(((means > MEAN_LIMIT) | (largest > LARGEST_LIMIT) | np.isnan(means)).sum())
        failed += far
        figures = (f"{value:.3f}" for value in (means.mean(), means.max(), largest.max()))
        table.add_row(name, str(len(rows)), *figures, str(far))
    console.print(table)
    if failed:
        raise typer.Exit(1)


def invariance(
    photos: Annotated[Path, typer.Argument(help="Folder of photos with faces.")],
    provider: Annotated[Asked, typer.Option()] = "auto",
    device_id: Annotated[int, typer.Option(min=0)] = 0,
    count: Annotated[int, typer.Option(min=1, help="Faces.")] = 8,
    largest: Annotated[int, typer.Option(help="Largest batch.")] = 32,
) -> None:
    """One face alone, and in batches of every size at the first and last place, among others."""
    device = open_device(provider, device_id)
    manifest = load_manifest()
    network = open_fused(manifest["selfie"], describe_model(LITE), device, largest)
    pipeline = open_pipeline(Settings(provider="cpu"))
    faces = np.stack(list(islice(_crops(pipeline, photos), count)))
    alone = [network.run(face[None]) for face in faces]
    again = [network.run(face[None]) for face in faces]
    table = Table("batch", "place", "equal bytes", "pixels off", "largest, grey levels", box=None)
    table.add_row("1", "again", *_compare(alone, again))
    for size in (2**k for k in range(1, largest.bit_length())):
        for place in (0, size - 1):
            found = [_run_among(network, faces, k, size, place) for k in range(len(faces))]
            table.add_row(str(size), str(place), *_compare(alone, found))
    console.print(table)


def _run_among(
    network: BoundNetwork, faces: NDArray[np.uint8], k: int, size: int, place: int
) -> list[NDArray[np.uint8]]:
    """Face `k` at `place` of a batch of `size`, the others around it."""
    batch = faces[(np.arange(size) - place + k) % len(faces)]
    return [output[place : place + 1] for output in network.run(batch)]


def _compare(
    expected: list[list[NDArray[np.uint8]]], found: list[list[NDArray[np.uint8]]]
) -> list[str]:
    """How many faces' cartoons are equal, and how far the others are off."""
    pairs = [(a[0].astype(int), b[0].astype(int)) for a, b in zip(expected, found, strict=True)]
    off = np.stack([np.abs(a - b) for a, b in pairs])
    equal = sum(not each.any() for each in off)
    return [f"{equal} of {len(pairs)}", f"{(off > 0).mean():.3%}", str(off.max())]


def _crops(pipeline: Pipeline, folder: Path) -> Iterator[NDArray[np.uint8]]:
    """The largest face of each photo that has one, (S, S, 3) uint8 RGB."""
    for photo in list_photos([folder]):
        try:
            _, (cut,) = pipeline.cropper.crop(photo.read_bytes(), Options(), Ticket())
        except Problem:
            continue
        yield cut.crop.pixels


def _tensors(pipeline: Pipeline, folder: Path) -> Iterator[NDArray[np.float32]]:
    """The same faces as the generator sees them, (3, S, S)."""
    for photo in list_photos([folder]):
        try:
            _, (portrait,) = pipeline.prepare(photo.read_bytes(), Options(), Ticket())
        except Problem:
            continue
        yield portrait.tensor
