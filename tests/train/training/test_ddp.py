"""Several processes under torchrun, on the CPU with gloo."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from photo2cartoon_models.training.checkpoint import read_run
from photo2cartoon_models.training.data import order
from tests.places import ROOT
from tests.train import toy
from tests.train.toy import configured, into

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def launch(processes: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [*LAUNCH, str(processes), "-m", "photo2cartoon_models.train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("recipe", ["published", "fast"])
def test_two_processes_train_one_network(recipe: str, tmp_path: Path) -> None:
    data = toy.make(tmp_path / "toy", count=6)
    arguments = configured(recipe, data, tmp_path)
    done = launch(2, [*arguments, *into(tmp_path / "run")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("all steps done after step 6") == 1  # only the first speaks
    state = read_run(tmp_path / "run" / "checkpoints" / "last.pt")
    assert state["training"]["step"] == 6
    for name, value in state["genA2B"].items():
        assert torch.isfinite(value).all(), name
        assert not name.startswith("module.")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4", "6"]
    again = launch(2, [*arguments, *into(tmp_path / "run"), "--resume", "auto"])
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout


def test_processes_share_the_pictures() -> None:
    """Two processes with batch 3: every picture once before any comes again."""
    seen = [
        place
        for step in range(2)
        for rank in range(2)
        for place in order(12, 0, "x", (step * 2 + rank) * 3, 3)
    ]
    assert sorted(seen) == list(range(12))
    assert seen != list(range(12))
    assert order(12, 0, "x", 12, 12) != seen
    assert order(12, 1, "x", 0, 12) != seen
