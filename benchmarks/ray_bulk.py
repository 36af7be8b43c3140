"""Bulk on Ray: a cluster of two workers on this machine, S3 on both sides, and kills half-way.

    python -m benchmarks.ray_bulk PHOTOS --count 1000

It draws `count` photos of a folder, made small, with `bulk --engine local` and with `--engine ray`,
and says the throughput of each. Then it draws them once more with Ray, kills a worker after a third
and the driver after two thirds, starts the driver again, and compares every byte. The programs are
those of `.venv-ray`, which `make test-ops` builds.
"""

import os
import subprocess
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import psutil
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.ray_cluster import PROGRAMS, Store, cluster, drawers

WORKERS = 2
SIDE = 384  # px of a photo's longer side


def start_bulk(store: Store, target: str, *options: str) -> subprocess.Popen[str]:
    """Start `bulk` from the store's photos to one of its folders."""
    command: list[str | Path] = [PROGRAMS / "python", "-m", "photo2cartoon", "bulk"]
    return subprocess.Popen(
        [*command, "s3://bucket/in", f"s3://bucket/{target}", *options],
        env=store.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def watch(store: Store, process: subprocess.Popen[str], target: str, count: int) -> None:
    """Wait until a folder has `count` pictures.

    Raises:
        RuntimeError: `bulk` ended before.
    """
    while len(store.names(target)) < count:
        if process.poll() is not None:
            raise RuntimeError("".join(process.communicate()))
        time.sleep(0.2)


def measure(store: Store, target: str, count: int, *options: str) -> tuple[float, str]:
    """Run `bulk` to its end; return photos a second from its first tenth on, and what it said."""
    process = start_bulk(store, target, *options)
    watch(store, process, target, first := count // 10)
    start = time.perf_counter()
    out, err = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(out + err)
    return (count - first) / (time.perf_counter() - start), out.strip()


def draw_under_fire(
    store: Store, target: str, count: int, nodes: list[psutil.Process], *options: str
) -> tuple[int, str]:
    """Draw with Ray, kill a worker after a third of the photos and the driver after two thirds.

    Returns:
        How many pictures there were when the driver was dead, and what its successor said.
    """
    process = start_bulk(store, target, *options)
    watch(store, process, target, count // 3)
    drawers(nodes)[0].kill()
    watch(store, process, target, 2 * count // 3)
    process.kill()
    process.communicate()
    there = len(store.names(target))
    out, err = (second := start_bulk(store, target, *options)).communicate()
    if second.returncode != 0:
        raise RuntimeError(out + err)
    return there, out.strip()


def make_photos(source: Path, folder: Path, count: int) -> None:
    """Write `count` small JPEGs of the photos in `source`, all different from each other."""
    photos = sorted(source.glob("*.jpg"))
    for number in range(count):
        with Image.open(photos[number % len(photos)]) as photo:
            photo.thumbnail((SIDE, SIDE))
            quality = 90 - number // len(photos)
            photo.convert("RGB").save(folder / f"{number:05}.jpg", quality=quality)


def digest(folder: Path) -> dict[str, str]:
    """Return the pictures of a folder and the hash of each."""
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}


def main(
    source: Annotated[Path, typer.Argument(metavar="PHOTOS", exists=True, file_okay=False)],
    count: Annotated[int, typer.Option(min=30)] = 1000,
    style: Annotated[str, typer.Option()] = "comic",
) -> None:
    """Measure, kill and compare; exit code 1 if a picture differs or is missing."""
    options: tuple[str, ...] = ("--on-no-face", "centre", "--style", style)
    console, table = Console(soft_wrap=True), Table("what", "figure")
    with tempfile.TemporaryDirectory(prefix="bulk") as name, Store() as store:
        folder = Path(name)
        (folder / "in").mkdir()
        make_photos(source, folder / "in", count)
        store.transfer("put", f"{folder / 'in'}/", "bucket/in/")
        os.environ["P2C_THREADS"] = str(WORKERS)
        local, said = measure(store, "local", count, *options)
        table.add_row("local", f"{local:.2f} photos/s; {said}")
        del os.environ["P2C_THREADS"]
        with cluster(store) as (address, nodes):
            options += ("--engine", "ray", "--address", address)
            ray, said = measure(store, "ray", count, *options)
            table.add_row("Ray", f"{ray:.2f} photos/s; {said}")
            table.add_row("Ray / local", f"{ray / local:.2f}")
            there, said = draw_under_fire(store, "fire", count, nodes, *options)
        table.add_row("pictures when the driver was killed", str(there))
        table.add_row("the driver after it", said)
        pictures = {}
        for target in ("local", "ray", "fire"):
            store.transfer("get", f"bucket/{target}/", f"{folder / target}/")
            pictures[target] = digest(folder / target)
    same = sum(pictures["fire"].get(name) == hash_ for name, hash_ in pictures["local"].items())
    table.add_row("pictures after the kills", f"{len(pictures['fire'])}, {same} as local")
    console.print(table)
    if not pictures["local"] == pictures["ray"] == pictures["fire"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
