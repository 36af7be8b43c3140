"""Starting from weights that exist, and what the command line refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon_models.conversion.export import TOLERANCE, face_like, run_onnx
from photo2cartoon_models.manifest import load_manifest
from photo2cartoon_models.networks.generator import Generator
from photo2cartoon_models.networks.picture import Picture
from photo2cartoon_models.readers.weights import read_weights
from photo2cartoon_models.train import main
from photo2cartoon_models.training.checkpoint import read_run
from tests.train import files, nets, toy
from tests.train.toy import configured, into


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("toy"))


FROZEN = ["-o", "iterations=1", "lr_scheduler.learning_rate=1e-12"]


def first_weight(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return state["ConvBlock1.1.weight"]


def test_six_published_networks(data: Path, tmp_path: Path) -> None:
    a2b, b2a = nets.generator(seed=1, ngf=4), nets.generator(seed=2, ngf=4)
    discriminators = {
        name: nets.discriminator(5, seed=k).state_dict() for k, name in enumerate(files.NETS[2:])
    }
    path = tmp_path / "six.pt"
    six = {"genA2B": files.minivision(a2b), "genB2A": files.minivision(b2a), **discriminators}
    torch.save(six, path)
    sizes = ["-o", *(f"model.discriminator_{x}.{y}" for x in "gl" for y in ("ndf=8", "n_layers=5"))]
    arguments = [*configured("published", data, tmp_path), *into(tmp_path / "run"), *FROZEN, *sizes]
    assert main([*arguments, "--pretrained_weights", str(path)]) == 0
    state = read_run(tmp_path / "run" / "checkpoints" / "last.pt")
    for name, net in (("genA2B", a2b), ("genB2A", b2a)):
        torch.testing.assert_close(first_weight(state[name]), first_weight(net.state_dict()))
    for name, weights in discriminators.items():
        torch.testing.assert_close(state[name]["conv1x1.weight"], weights["conv1x1.weight"])


@pytest.mark.parametrize("kind", ["torch", "paddle"])
def test_one_published_network(
    kind: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = nets.generator(seed=3, ngf=4)
    path = tmp_path / "one.weights"
    if kind == "torch":
        torch.save(files.minivision(net), path)
    else:
        files.flat_pdparams(path, files.paddle(net), 4)
    arguments = [*configured("published", data, tmp_path), *into(tmp_path / "run"), *FROZEN]
    assert main([*arguments, "--load", str(path)]) == 0
    assert f"loaded genA2B from {path}" in capsys.readouterr().out
    state = read_run(tmp_path / "run" / "checkpoints" / "last.pt")
    torch.testing.assert_close(first_weight(state["genA2B"]), first_weight(net.state_dict()))


def test_fast_goes_on_from_any_generator(data: Path, tmp_path: Path) -> None:
    net = nets.generator(seed=3, ngf=4)
    torch.save(files.minivision(net), tmp_path / "x.pt")
    real = ["-o", "model.generator={ngf: 4}", "optimizer.learning_rate=1e-12",
            "stages.0.iterations=1", "stages.1.iterations=1"]  # fmt: skip
    arguments = [*configured("fast", data, tmp_path), *into(tmp_path / "run"), *real]
    assert main([*arguments, "--load", str(tmp_path / "x.pt")]) == 0
    state = read_run(tmp_path / "run" / "checkpoints" / "last.pt")
    for name in ("genA2B", "live"):
        torch.testing.assert_close(first_weight(state[name]), first_weight(net.state_dict()))


@pytest.mark.parametrize("recipe", ["published", "fast"])
def test_weights_of_another_size_are_refused(
    recipe: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(Generator(8).state_dict(), tmp_path / "x.pt")
    arguments = [*configured(recipe, data, tmp_path), *into(tmp_path / "run")]
    assert main([*arguments, "--load", str(tmp_path / "x.pt")]) == 2
    assert "another" in capsys.readouterr().err
    assert main([*arguments, "--load", str(tmp_path / "none.pt")]) == 2
    assert "cannot read" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_calls_that_cannot_work(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*configured("fast", data, tmp_path), *into(tmp_path / "run")]
    assert main([*arguments, "--evaluate-only"]) == 2
    assert "--load FILE or --resume" in capsys.readouterr().err
    assert main([*arguments, "-o", "dataset.train.dataroot_a=/nowhere"]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main([*arguments, "-o", "nonsense=1"]) == 2
    assert "no key 'nonsense'" in capsys.readouterr().err


def test_the_command_line_passes_everything_on(data: Path, tmp_path: Path) -> None:
    arguments = [*configured("fast", data, tmp_path), *into(tmp_path / "run")]
    short = ["-o", "stages.0.iterations=1", "stages.1.iterations=1"]
    result = CliRunner().invoke(commands, ["train", *arguments, *short])
    assert result.exit_code == 0, result.output
    assert "all steps done after step 2" in result.output
    assert CliRunner().invoke(commands, ["train", *arguments, "-o", "nonsense=1"]).exit_code == 2
    shown = CliRunner().invoke(commands, ["train", "--help"])
    assert shown.exit_code == 0
    assert "--max-minutes" in shown.output


@pytest.mark.parametrize("name", ["photo2cartoon", "photo2cartoon-lite"])
def test_the_networks_that_come_along_can_be_trained_on(name: str) -> None:
    """Their ONNX files give all of their weights back: they draw what the files draw."""
    path = load_manifest()[name].path
    photo = face_like(1, 256)
    with torch.no_grad():
        drawn = Picture(read_weights(path).generator())(torch.from_numpy(photo)).numpy()
    assert np.abs(drawn - run_onnx(path.read_bytes(), photo)).max() <= TOLERANCE
