"""A small distillation that writes every step's loss: `python -m tests.train.distilling PAIRS OUT`.

Under torchrun its processes share each batch of two.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from photo2cartoon_models.training import distil
from photo2cartoon_models.training.data import find_pictures
from photo2cartoon_models.training.processes import joined, place
from tests.train import toy

SIZES = (96, 64)
STEPS = 50
PLAN = distil.Plan(
    steps=STEPS, batch=2, side=64, rate=3e-3, warm_up=5, dims=(8, 12, 16, 24), blocks=(1, 1, 1, 1)
)


def write_pairs(root: Path, count: int = 6) -> None:
    """Photos beside drawings of them, as `training.pairs` writes them."""
    for size in SIZES:
        for k in range(count):
            both = np.hstack((toy.portrait(k, size), toy.cartoon(k, size)))
            toy.write(root / "train" / str(size) / f"{k}.png", both)


def main(pairs: Path, out: Path) -> None:
    distil.SIZES = SIZES  # type: ignore[assignment, attr-defined]
    paths = find_pictures(pairs / "train" / str(SIZES[-1]))
    with joined():
        student = distil.Student(PLAN)
        batches = (distil.take_batch(paths, PLAN, step) for step in range(1, STEPS + 1))
        losses = [student.learn(*batch) for batch in batches]
        out.mkdir(exist_ok=True)
        rank, world = place()
        (out / f"{rank}of{world}.json").write_text(json.dumps(losses))
        student.save(out / f"{rank}of{world}.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
