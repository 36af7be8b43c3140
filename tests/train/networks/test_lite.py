"""The light network: its size, its ONNX file, and the way from a training checkpoint to serving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon_models.conversion.convert import Form, Provenance, convert
from photo2cartoon_models.conversion.export import run_onnx
from photo2cartoon_models.networks.lite import LiteGenerator
from photo2cartoon_models.readers.weights import read_weights
from photo2cartoon_models.readers.weights_error import WeightsError
from photo2cartoon_models.train import main
from tests.train import toy
from tests.train.nets import noise
from tests.train.toy import configured, into

pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")


def test_its_size_is_what_is_said() -> None:
    net = LiteGenerator()
    assert sum(p.numel() for p in net.parameters()) == 2_066_179
    macs = 0

    def count(layer: torch.nn.Conv2d, _: object, output: torch.Tensor) -> None:
        nonlocal macs
        macs += layer.weight.numel() * output.shape[2] * output.shape[3]

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        picture = net(noise(1, 256))
    assert picture.shape == (1, 3, 256, 256)
    assert macs == pytest.approx(3.3e9, rel=0.02)


@pytest.mark.parametrize("side", [31, 24, 36])
def test_sides_it_cannot_halve(side: int) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        LiteGenerator(4, 1)(noise(1, side))


@pytest.mark.parametrize("form", ["plain", "optimised", "pixels", "half"])
def test_it_converts_in_every_form(form: Form, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = LiteGenerator(4, 2).eval()
    torch.save({"genA2B": net.state_dict(), "training": {"step": 1}}, tmp_path / "x.pt")
    target = tmp_path / "x.onnx"
    done = convert(tmp_path / "x.pt", target, Provenance("x"), side=64, form=form)
    assert (done.weights.network, done.weights.ngf, done.weights.n_blocks) == (
        "lite",
        4,
        2,
    )
    if form in ("plain", "optimised"):
        photo = noise(2, 64)
        with torch.no_grad():
            expected = net(photo).numpy()
        np.testing.assert_allclose(
            run_onnx(target.read_bytes(), photo.numpy()), expected, atol=5e-4
        )


def test_wrong_light_weights_are_named(tmp_path: Path) -> None:
    state = LiteGenerator(4, 2).state_dict()
    del state["up2.mix.0.weight"]
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"missing: up2\.mix\.0\.weight"):
        read_weights(tmp_path / "x.pt")


@pytest.mark.parametrize("recipe", ["published", "fast"])
def test_a_trained_checkpoint_is_served(recipe: str, tmp_path: Path, photo: bytes) -> None:
    """Train, convert, serve: the three commands, one after the other."""
    data = toy.make(tmp_path / "toy")
    short = ["iterations=1", "model.generator.ngf=8"]
    if recipe == "fast":
        short = ["stages.0.iterations=1", "stages.1.iterations=1"]
    arguments = configured(recipe, data, tmp_path)
    assert main([*arguments, *into(tmp_path / "run"), "-o", *short]) == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "last.pt"
    convert(checkpoint, tmp_path / "mine.onnx", Provenance("mine"))
    settings = Settings(threads=1, generator=tmp_path / "mine.onnx")
    with TestClient(create_app(settings, open_pipeline)) as client:
        answer = client.post("/cartoonize", files={"photo": photo})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    tests = ["--evaluate-only", "--resume", str(checkpoint), "--accelerator", "cpu"]
    assert main(tests) == 0
    drawn = list((tmp_path / "run" / "test").iterdir())
    assert len(drawn) == (6 if recipe == "published" else 3)


def test_the_embedded_one_has_this_architecture() -> None:
    """As many weights in the file as in the network."""
    import onnx  # noqa: PLC0415

    from photo2cartoon.ground.settings import LITE  # noqa: PLC0415
    from photo2cartoon_models.manifest import load_manifest  # noqa: PLC0415

    model = onnx.load(str(load_manifest()[LITE].path))
    published = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    mine = sum(p.numel() for p in LiteGenerator().parameters())
    assert published == pytest.approx(mine, rel=0.01)
