"""Small distillations that write every step's loss: `python -m tests.train.distilling FOLDER`.

Under torchrun its processes share each batch of two; afterwards the first of them takes the same
steps alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from photo2cartoon_models.training import distil
from photo2cartoon_models.training.data import find_pictures
from photo2cartoon_models.training.processes import joined, place
from tests.train import toy

SIZES = (48, 32)
STEPS = 50
PLAN = distil.Plan(
    steps=STEPS, batch=2, side=32, rate=1e-3, warm_up=5, dims=(8, 12, 16, 24), blocks=(1, 1, 1, 1)
)
# Precision, and Adam's epsilon: the recipe's own, and one that no rounding of float32 reaches.
KINDS = {"float64": (torch.float64, 1e-8), "float32": (torch.float32, 1e-3)}


def write_pairs(root: Path, count: int = 6) -> None:
    """Photos beside darker ones, which are learned in a few steps, as `training.pairs` does."""
    for size in SIZES:
        for k in range(count):
            photo = toy.portrait(k, size)
            both = np.hstack((photo, photo // 2))
            toy.write(root / "train" / str(size) / f"{k}.png", both)


def learn(root: Path, kind: str) -> None:
    """Take the steps; write the losses and the checkpoint, by process and their number."""
    dtype, epsilon = KINDS[kind]
    torch.set_default_dtype(dtype)
    paths = find_pictures(root / "train" / str(SIZES[-1]))
    student = distil.Student(PLAN)
    for group in student.optimiser.param_groups:
        group["eps"] = epsilon
    losses = []
    for step in range(1, STEPS + 1):
        seen, target = distil.take_batch(paths, PLAN, step)
        losses.append(student.learn(seen.to(dtype), target.to(dtype)))
    rank, world = place()
    (root / f"{kind}-{rank}of{world}.json").write_text(json.dumps(losses))
    student.save(root / f"{kind}-{rank}of{world}.pt")


def main(root: Path) -> None:
    distil.SIZES = SIZES  # type: ignore[assignment, attr-defined]
    with joined():
        first = place()[0] == 0
        for kind in KINDS:
            learn(root, kind)
    for kind in KINDS if first else ():
        learn(root, kind)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
