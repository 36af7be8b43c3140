"""Several processes under torchrun, on the CPU with gloo: they learn what one process learns."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from photo2cartoon.cli.shards import write_shards
from photo2cartoon_models.train import main
from photo2cartoon_models.training import distil
from photo2cartoon_models.training.checkpoint import read_run
from photo2cartoon_models.training.config import load_config
from photo2cartoon_models.training.data import DataError, order
from photo2cartoon_models.training.fast import Fast
from photo2cartoon_models.training.loop import create_recipe
from photo2cartoon_models.training.published import Published
from tests.places import ROOT
from tests.train import distilling, toy
from tests.train.toy import configured, into

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def launch(processes: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [*LAUNCH, str(processes), "-m", *arguments]
    paths = os.pathsep.join(str(ROOT / part) for part in ("", "app", "models"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("recipe", ["published", "fast"])
def test_two_processes_train_one_network(recipe: str, tmp_path: Path) -> None:
    """From shards, and from the checkpoint of one process that took the first three steps."""
    write_shards(toy.make(tmp_path / "toy", count=6), 2)
    arguments = configured(recipe, tmp_path / "unpacked", tmp_path)
    arguments += ["-o", f"dataset.train.shards={tmp_path / 'toy' / 'shards' / '{0000..0001}.tar'}"]
    begin = {
        "published": ["iterations=3"],
        "fast": ["stages.0.iterations=2", "stages.1.iterations=1"],
    }
    assert main([*arguments, *into(tmp_path / "run"), *begin[recipe]]) == 0
    shutil.rmtree(tmp_path / "unpacked")
    train = ["photo2cartoon_models.train", *arguments]
    done = launch(2, [*train, *into(tmp_path / "run"), "--resume", "auto"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("continuing after step 3") == 1
    assert done.stdout.count("all steps done after step 6") == 1  # only the first speaks
    state = read_run(tmp_path / "run" / "checkpoints" / "last.pt")
    assert state["training"]["step"] == 6
    for name, value in state["genA2B"].items():
        assert torch.isfinite(value).all(), name
        assert not name.startswith("module.")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "3", "4", "6"]


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `distilling` writes: two processes, and one of them alone after that."""
    root = tmp_path_factory.mktemp("distilled")
    distilling.write_pairs(root)
    done = launch(2, ["tests.train.distilling", str(root)])
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize(("kind", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_two_processes_learn_in_fifty_steps_what_one_does(
    distilled: Path, kind: str, tolerance: float
) -> None:
    """Batches of two, shared by two processes, or all of one: the same losses, but for rounding.

    In float32 only while Adam does not divide rounding by itself (docs/training.md).
    """
    one, *two = (
        json.loads((distilled / f"{kind}-{name}.json").read_text())
        for name in ("0of1", "0of2", "1of2")
    )
    assert len(one) == distilling.STEPS
    assert two[0] == two[1]  # both know the mean
    assert two[0] == pytest.approx(one, rel=tolerance, abs=0)
    assert max(one[-5:]) < 0.6 * one[0]  # it learns
    first, second = (
        torch.load(distilled / f"{kind}-{rank}of2.pt", weights_only=True)["net"]
        for rank in range(2)
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_batch_that_cannot_be_shared_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distil, "place", lambda: (0, 2))
    with pytest.raises(DataError, match="2 processes cannot share batches of 3 equally"):
        distil.take_batch([tmp_path], replace(distilling.PLAN, batch=3), 1)


Recipe = Fast | Published


@pytest.fixture(params=["published", "fast"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    """A recipe whose networks stand still, in float64 where the published one needs it."""
    arguments = configured(request.param, toy.make(tmp_path / "toy", count=6), tmp_path)
    config = load_config(arguments[1], ["stages.0.img_size=64"] * (request.param == "fast"))
    made = create_recipe(config, Fabric(accelerator="cpu", devices=1, precision=config.precision))
    assert isinstance(made, Fast | Published)
    for network in made.networks.values():
        network.eval()
        if isinstance(made, Published):  # its toy maps are of few pixels: rounding grows fast
            network.double()
    return made


def terms(recipe: Recipe, rank: int, world: int) -> dict[str, Tensor]:
    """Every term of both losses in step 4, for one process's share of two pictures of a kind."""
    stand_in: Any = SimpleNamespace(
        global_rank=rank, world_size=world, device=torch.device("cpu"), is_global_zero=rank == 0
    )
    if isinstance(recipe, Published):
        recipe.fabric, recipe.batch = stand_in, 2 // world
        a, b = (pictures.double() for pictures in recipe._batch(4))
        return {
            "d": recipe.discriminator_terms(a, b)["total"],
            **recipe.generator_terms(a, b),
        }
    recipe.batches.fabric = stand_in
    stage = recipe.batches.enter_stage(1).model_copy(update={"batch_size": 2 // world})
    batch = recipe.batches.take(stage, 4)
    made = recipe.picture(batch.inputs)
    seen = recipe._see(batch, made)
    return {
        "d": recipe.discriminator_terms(batch, seen)["total"],
        **recipe.generator_terms(batch, made, seen),
    }


@torch.no_grad()
def test_shares_have_the_mean_loss_of_their_batch(recipe: Recipe) -> None:
    """The same pictures, changed alike, and losses that are means: so gradients average too."""
    whole = terms(recipe, 0, 1)
    shares = [terms(recipe, rank, 2) for rank in range(2)]
    assert len(whole) >= 5
    for name, value in whole.items():
        first, second = (share[name] for share in shares)
        assert float((first - second).abs()) > 1e-4 * float(value.abs())  # of different pictures
        torch.testing.assert_close((first + second) / 2, value, rtol=1e-5, atol=0)


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
