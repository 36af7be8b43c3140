"""Steps and pictures per second of a recipe, by batch size: one table.

`python -m benchmarks.training --recipe fast --network photo2cartoon --minutes 3`

Pictures are drawn, so that no data is needed, and packed and augmented like real ones. The minutes
are shared by the batch sizes; a batch that does not fit into the memory ends the table. `GFLOP` is
counted by torch's own counter over one step (a multiply-add counts two); `of peak` compares with
a large matrix product in the same precision on the same device, so it is an estimate of how much of
the arithmetic is used (MFU).
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.flop_counter import FlopCounterMode

from photo2cartoon_models.conversion.export import face_like
from photo2cartoon_models.training.config import parse_config
from photo2cartoon_models.training.loop import create_recipe, open_fabric
from photo2cartoon_models.training.recipe import Recipe

PICTURES = 64
WARM_UP = 3  # steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--recipe", choices=("fast", "published"), default="fast")
    parser.add_argument("--network", choices=("photo2cartoon", "lite"), default="photo2cartoon")
    parser.add_argument("--size", type=int, default=256, help="px")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 32, 64])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--precision", choices=("bf16-mixed", "32-true"), default="bf16-mixed")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--accelerator", default="auto")
    options = parser.parse_args()
    print("| batch | steps/s | pictures/s | GFLOP a step | TFLOP/s | of peak | memory, GiB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        draw_pictures(Path(name), options.size)
        peak = None
        for batch in options.batches:
            settings = configuration(Path(name), options, batch)
            fabric = open_fabric(parse_config(settings), options.accelerator, 1)
            peak = peak or matmul_peak(fabric, options.precision)
            try:
                row(fabric, settings, batch, 60 * options.minutes / len(options.batches), peak)
            except torch.cuda.OutOfMemoryError:
                print(f"| {batch} | does not fit | | | | | |")
                return


def draw_pictures(root: Path, size: int) -> None:
    """Photos, drawings and pairs, all the same drawn portraits."""
    portraits = (face_like(PICTURES, size).transpose(0, 2, 3, 1) + 1) * 127.5
    for k, portrait in enumerate(portraits.astype(np.uint8)):
        for folder, image in (
            ("trainA", portrait),
            ("trainB", portrait),
            ("trainP", np.hstack((portrait, portrait))),
        ):
            (root / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(root / folder / f"{k:03}.png"), image)


def configuration(root: Path, options: argparse.Namespace, batch: int) -> dict[str, Any]:
    train = {"dataroot_a": root / "trainA", "dataroot_b": root / "trainB"}
    common = {"recipe": options.recipe, "precision": options.precision,
              "channels_last": options.channels_last}  # fmt: skip
    if options.recipe == "published":
        load = options.size * 286 // 256
        return {
            **common,
            "iterations": 10**6,
            "dataset": {"train": {**train, "batch_size": batch, "load_size": load}},
            "model": {"faceid_weight": 0, "generator": {"img_size": options.size}},
        }
    lite = {"name": "LiteGenerator", "ngf": 16, "n_blocks": 6}
    return {
        **common,
        "dataset": {"train": {**train, "dataroot_p": root / "trainP"}},
        "model": {"generator": lite if options.network == "lite" else {}},
        "stages": [{"img_size": options.size, "iterations": 10**6, "batch_size": batch}],
    }


def row(fabric: Fabric, settings: dict[str, Any], batch: int, seconds: float, peak: float) -> None:
    recipe = create_recipe(parse_config(settings), fabric)
    for step in range(1, WARM_UP + 1):
        recipe.step(step)
    work = count_flop(recipe, WARM_UP + 1)
    wait(fabric)
    start, steps = time.monotonic(), 0
    while steps < 3 or (time.monotonic() - start < seconds and steps < 1000):
        recipe.step(WARM_UP + 2 + steps)
        steps += 1
        if steps % 10 == 0:
            wait(fabric)
    wait(fabric)
    speed = steps / (time.monotonic() - start)
    memory = torch.cuda.max_memory_allocated() / 2**30 if fabric.device.type == "cuda" else 0
    print(
        f"| {batch} | {speed:.2f} | {speed * batch:.1f} | {work / 1e9:.0f} | "
        f"{work * speed / 1e12:.2f} | {work * speed / peak:.0%} | {memory:.1f} |",
        flush=True,
    )


def count_flop(recipe: Recipe, step: int) -> int:
    with FlopCounterMode(display=False) as counter:
        recipe.step(step)
    return int(counter.get_total_flops())


def matmul_peak(fabric: Fabric, precision: str) -> float:
    """FLOP/s of a large matrix product, the best of several."""
    cuda = fabric.device.type == "cuda"
    size = 8192 if cuda else 1024
    kind = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    matrix = torch.randn(size, size, device=fabric.device, dtype=kind)
    best = float("inf")
    for _ in range(8):
        wait(fabric)
        start = time.monotonic()
        matrix @ matrix
        wait(fabric)
        best = min(best, time.monotonic() - start)
    return 2.0 * size**3 / best


def wait(fabric: Fabric) -> None:
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
