"""Files in, ONNX out: equal pictures, free batch, metadata; nothing written when refused."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models import convert as conversion
from models.checkpoint import read_checkpoint
from models.convert import Provenance, convert
from models.export import TOLERANCE, Picture, face_like, parity, run_onnx
from models.optimize import FastGenerator
from models.weights_error import WeightsError
from tests.train import files, nets

WHERE = Provenance("mine", "my own", "MIT")
SIDE = 64

# torch's exporters and the old pickle format warn about themselves.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:onnxscript.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:copyreg"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "photo2cartoon_weights.pt"
    torch.save(files.minivision(nets.generator(ngf=8)), path)
    return path


@pytest.mark.parametrize("optimize", [True, False], ids=["optimised", "plain"])
def test_converted_file(tmp_path: Path, weights: Path, optimize: bool) -> None:
    target = tmp_path / "out.onnx"
    done = convert(weights, target, WHERE, side=SIDE, optimize=optimize)
    assert done.distance <= TOLERANCE
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]

    model = onnx.load(target)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    metadata = {p.key: p.value for p in model.metadata_props}
    assert metadata["name"] == "mine"
    assert metadata["licence"] == "MIT"
    assert metadata["source"] == "my own"
    assert metadata["checkpoint_sha256"] == done.checkpoint.sha256
    assert metadata["network_version"] == "1"
    assert metadata["form"] == ("optimised" if optimize else "plain")
    assert os.fsencode(Path(conversion.__file__).parent) not in target.read_bytes()

    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    for end, name in zip((*session.get_inputs(), *session.get_outputs()), ("input", "output"),
                         strict=True):  # fmt: skip
        assert (end.name, end.shape, end.type) == (name, ["batch", 3, SIDE, SIDE], "tensor(float)")
    net = read_checkpoint(weights).generator()
    for batch in (1, 2, 5):
        photo = nets.noise(batch, SIDE)
        with torch.no_grad():
            expected = net(photo).image.numpy()
        (found,) = session.run(None, {"input": photo.numpy()})
        assert abs(found - expected).max() <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize(("ngf", "side", "light"), [(32, 64, True), (8, 96, True), (8, 32, False)])
def test_rewrites_are_exact(ngf: int, side: int, light: bool) -> None:
    net = nets.generator(ngf=ngf, img_size=side, light=light).double()
    photo = nets.noise(2, side, dtype=torch.float64)
    expected = net(photo).image
    assert float((FastGenerator(net)(photo) - expected).abs().max()) <= 1e-9


@torch.no_grad()
def test_rewrites_hold_on_flat_pictures() -> None:
    """Where variances vanish, a careless formula loses all digits."""
    net = nets.generator(ngf=8)
    white = torch.ones(1, 3, 64, 64)
    white[..., 20:30, 20:30] = 0.99
    exact = net.double()(white.double()).image
    net.float()
    ours = float((FastGenerator(net).eval()(white) - exact).abs().max())
    plain = float((net(white).image - exact).abs().max())
    assert ours <= 2 * plain + 1e-5


def test_a_failing_parity_writes_nothing(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.onnx"
    monkeypatch.setattr(conversion, "parity", lambda *_: 6e-4)
    with pytest.raises(WeightsError, match=r"differ from the network by 0\.0006"):
        convert(weights, target, WHERE, side=SIDE)
    monkeypatch.setattr(conversion, "parity", lambda *_: float("nan"))
    with pytest.raises(WeightsError, match="nothing was written"):
        convert(weights, target, WHERE, side=SIDE)
    assert list(tmp_path.iterdir()) == []


def test_parity_sees_a_wrong_network(tmp_path: Path, weights: Path) -> None:
    target = tmp_path / "out.onnx"
    convert(weights, target, WHERE, side=SIDE, optimize=False)
    net = read_checkpoint(weights).generator()
    assert parity(target.read_bytes(), Picture(net), SIDE) <= TOLERANCE
    with torch.no_grad():
        net.get_parameter("UpBlock2.3.rho").add_(0.05)
    assert parity(target.read_bytes(), Picture(net), SIDE) > TOLERANCE


def published_onnx(path: Path, net: torch.nn.Module, side: int, picture_only: bool) -> Path:
    """As minivision's: torch's old exporter, operator set 9, batch 1."""
    torch.onnx.export(
        Picture(net) if picture_only else net,
        (torch.zeros(1, 3, side, side),),
        path,
        opset_version=9,
        dynamo=False,
        input_names=["input"],
        output_names=["output"],
    )
    return path


@pytest.mark.filterwarnings("ignore")  # the old exporter warns of itself, tracing, and much else
@pytest.mark.parametrize("picture_only", [True, False])
def test_published_onnx(tmp_path: Path, picture_only: bool) -> None:
    net = nets.generator(ngf=8)
    path = published_onnx(tmp_path / "published.onnx", net, SIDE, picture_only)
    checkpoint = read_checkpoint(path)
    unseen = {"gap_fc.bias", "gmp_fc.bias"} if picture_only else set()
    for name, value in net.state_dict().items():
        if name not in unseen:
            assert checkpoint.weights[name].tobytes() == value.numpy().tobytes(), name
    done = convert(path, tmp_path / "out.onnx", WHERE, side=SIDE, optimize=False)
    assert "differs from the ONNX file it came from by" in done.notes[-1]


@pytest.mark.filterwarnings("ignore")
def test_onnx_that_draws_something_else_is_refused(tmp_path: Path) -> None:
    """The names fit, the graph does not: a sign was changed behind the weights."""
    path = published_onnx(tmp_path / "published.onnx", nets.generator(ngf=8), SIDE, True)
    model = onnx.load(path)
    tanh = next(node for node in model.graph.node if node.op_type == "Tanh")
    tanh.op_type = "Sin"
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="draws something else"):
        convert(path, tmp_path / "out.onnx", WHERE, side=SIDE)


def test_paddle_file_by_the_command(tmp_path: Path) -> None:
    source = files.flat_pdparams(
        tmp_path / "photo2cartoon_genA2B_weight.pdparams", files.paddle(nets.generator(ngf=8)), 4
    )
    target = tmp_path / "out.onnx"
    command = [sys.executable, "-m", "models.convert", str(source), str(target), "--size", "64"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "read: Paddle names, pickle, one network" in done.stdout
    photo = face_like(2, SIDE)
    net = read_checkpoint(source).generator()
    with torch.no_grad():
        expected = net(torch.from_numpy(photo)).image.numpy()
    assert abs(np.asarray(run_onnx(target.read_bytes(), photo)) - expected).max() <= TOLERANCE


def test_refusals_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "w.pt"
    source.write_bytes(b"no weights")
    assert conversion.main([str(source), str(tmp_path / "out.onnx")]) == 2
    assert "neither a torch or Paddle file nor ONNX" in capsys.readouterr().err


def test_full_variant_keeps_its_side(tmp_path: Path) -> None:
    path = tmp_path / "full.pt"
    state: Any = nets.generator(ngf=8, img_size=32, light=False).state_dict()
    torch.save(state, path)
    with pytest.raises(WeightsError, match="works at 32 px only, not 64"):
        convert(path, tmp_path / "out.onnx", WHERE, side=SIDE)
    assert convert(path, tmp_path / "out.onnx", WHERE, side=32).distance <= TOLERANCE
