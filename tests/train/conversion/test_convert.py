"""Files in, ONNX out: equal pictures, free batch, metadata; nothing written when refused."""

import copy
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon_models.conversion import convert as conversion
from photo2cartoon_models.conversion.convert import Conversion, Provenance, convert
from photo2cartoon_models.conversion.export import (
    MULTIPLE,
    TOLERANCE,
    allowed_error,
    errors,
    face_like,
    parity,
    run_onnx,
    run_torch,
)
from photo2cartoon_models.conversion.optimize import FastGenerator
from photo2cartoon_models.manifest import find_generator, load_manifest, load_model
from photo2cartoon_models.networks.picture import Picture
from photo2cartoon_models.readers.weights import read_weights
from photo2cartoon_models.readers.weights_error import WeightsError
from tests.train import files, nets

WHERE = Provenance("mine", "my own", "MIT", "ink")
SIDE = 64

# torch's exporters warn about themselves.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "photo2cartoon_weights.pt"
    torch.save(files.minivision(nets.generator(ngf=8)), path)
    return path


@dataclass(frozen=True)
class Converted:
    path: Path
    done: Conversion
    form: str


@pytest.fixture(scope="module", params=["optimised", "plain"])
def converted(
    request: pytest.FixtureRequest, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Converted:
    """Exporting takes one to three minutes of two AVX2 cores, so both files are made once."""
    path = tmp_path_factory.mktemp(request.param) / "out.onnx"
    done = convert(weights, path, WHERE, side=SIDE, form=request.param)
    return Converted(path, done, request.param)


def test_converted_file_draws_the_same(converted: Converted, weights: Path) -> None:
    assert converted.done.distance <= TOLERANCE
    assert sorted(path.name for path in converted.path.parent.iterdir()) == ["out.json", "out.onnx"]
    session = onnxruntime.InferenceSession(converted.path, providers=["CPUExecutionProvider"])
    ends = [*session.get_inputs(), *session.get_outputs()]
    assert [end.name for end in ends] == ["input", "output"]
    assert all(end.shape == ["batch", 3, SIDE, SIDE] for end in ends)
    assert all(end.type == "tensor(float)" for end in ends)
    net = read_weights(weights).generator()
    for batch in (1, 2, 5):
        photo = nets.noise(batch, SIDE)
        with torch.no_grad():
            expected = net(photo).image.numpy()
        (found,) = session.run(None, {"input": photo.numpy()})
        assert abs(found - expected).max() <= TOLERANCE


def test_converted_file_says_what_it_is(converted: Converted) -> None:
    model = onnx.load(converted.path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    metadata = {p.key: p.value for p in model.metadata_props}
    assert metadata["name"] == "mine"
    assert metadata["licence"] == "MIT"
    assert metadata["source"] == "my own"
    assert metadata["checkpoint_sha256"] == converted.done.weights.sha256
    assert metadata["network_version"] == "1"
    assert metadata["form"] == converted.form
    assert os.fsencode(Path(conversion.__file__).parent) not in converted.path.read_bytes()


def test_the_entry_beside_the_file_is_its_contract(converted: Converted) -> None:
    model = load_model(converted.path)
    assert (model.name, model.source, model.licence, model.style) == (
        "mine", "my own", "MIT", "ink",
    )  # fmt: skip
    assert model.made_by.startswith("photo2cartoon convert, torch")
    assert model.precision == "float32"
    assert model.image_size == SIDE
    ours = load_manifest()["photo2cartoon"]
    for mine, theirs in zip(model.inputs + model.outputs, ours.inputs + ours.outputs, strict=True):
        assert replace(mine, shape=theirs.shape) == theirs
    assert find_generator(load_manifest(), converted.path) == model
    OnnxNetwork(model)  # digest and contract hold, or it raises


def test_parity_sees_a_wrong_network(converted: Converted, weights: Path) -> None:
    net = read_weights(weights).generator()
    content = converted.path.read_bytes()
    assert parity(content, Picture(net), SIDE) <= TOLERANCE
    with torch.no_grad():
        net.get_parameter("UpBlock2.3.rho").add_(0.05)
    assert parity(content, Picture(net), SIDE) > TOLERANCE


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


@pytest.fixture
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversions in no time, of everything but the network: the file only passes its input on."""
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3, "h", "w"])
        for name in ("input", "output")
    ]
    node = onnx.helper.make_node("Identity", ["input"], ["output"])
    graph = onnx.helper.make_graph([node], "nothing", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    monkeypatch.setattr(conversion, "export_onnx", lambda *_: model)


@pytest.mark.usefixtures("without_export")
def test_a_failing_parity_writes_nothing(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match=r"differ from the network by .*; nothing was written"):
        convert(weights, tmp_path / "out.onnx", WHERE, side=SIDE)
    monkeypatch.setattr(conversion, "errors", lambda *_: [float("nan")])
    with pytest.raises(WeightsError, match="nothing was written"):
        convert(weights, tmp_path / "out.onnx", WHERE, side=SIDE)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(conversion, "errors", lambda *_: [TOLERANCE])
    assert convert(weights, tmp_path / "out.onnx", WHERE, side=SIDE).distance == TOLERANCE
    with pytest.raises(WeightsError, match="cannot write"):
        convert(weights, tmp_path / "none" / "out.onnx", WHERE, side=SIDE)


@pytest.mark.usefixtures("without_export")
@pytest.mark.parametrize(("own", "off", "allowed"), [(2.2e-5, 5.5e-4, True), (2.2e-5, 8e-4, False)])
def test_a_file_is_judged_by_what_float32_loses_anyhow(
    tmp_path: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    own: float,
    off: float,
    allowed: bool,
) -> None:
    """What a network loses in float32 depends on the processor; a right file is never refused."""
    found = iter([[own], [off]])
    monkeypatch.setattr(conversion, "errors", lambda *_: next(found))
    if allowed:
        done = convert(weights, tmp_path / "out.onnx", WHERE, side=SIDE)
        assert (done.distance, done.own) == (off, own)
        said = conversion.report(done, tmp_path / "out.onnx")
        assert "in float64 it is 5.5e-04 away, torch's float32 2.2e-05" in said
    else:
        with pytest.raises(WeightsError, match=r"by 0.0008, .* own float32 is 2.2e-05 away"):
            convert(weights, tmp_path / "out.onnx", WHERE, side=SIDE)


@torch.no_grad()
def test_errors_are_counted_from_float64() -> None:
    net = Picture(nets.generator(ngf=8)).eval()
    photo = nets.noise(1, 32).numpy()
    exact = copy.deepcopy(net).double()(torch.from_numpy(photo).double()).numpy()
    own, shifted, broken = errors(
        net, [photo], [run_torch(net), lambda _: exact + 0.25, lambda _: exact * np.nan]
    )
    assert 0 < own < 1e-3
    assert shifted == pytest.approx(0.25)
    assert broken == np.inf
    assert next(net.parameters()).dtype == torch.float32
    assert allowed_error(1e-6) == TOLERANCE
    assert allowed_error(2 * TOLERANCE) == MULTIPLE * 2 * TOLERANCE
    assert allowed_error(np.inf) == TOLERANCE


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
@pytest.mark.usefixtures("without_export")
@pytest.mark.parametrize("picture_only", [True, False])
def test_published_onnx(
    tmp_path: Path, picture_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = nets.generator(ngf=8)
    path = published_onnx(tmp_path / "published.onnx", net, SIDE, picture_only)
    weights = read_weights(path)
    unseen = {"gap_fc.bias", "gmp_fc.bias"} if picture_only else set()
    for name, value in net.state_dict().items():
        if name not in unseen:
            assert weights.tensors[name].tobytes() == value.numpy().tobytes(), name
    monkeypatch.setattr(conversion, "_check", lambda *_: (b"", 0.0, 0.0))
    done = convert(path, tmp_path / "out.onnx", WHERE, side=SIDE)
    assert "differs from the ONNX file it came from by" in done.notes[-1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("without_export")
def test_onnx_that_draws_something_else_is_refused(tmp_path: Path) -> None:
    """The names fit, the graph does not: a sign was changed behind the weights."""
    path = published_onnx(tmp_path / "published.onnx", nets.generator(ngf=8), SIDE, True)
    model = onnx.load(path)
    tanh = next(node for node in model.graph.node if node.op_type == "Tanh")
    tanh.op_type = "Sin"
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="draws something else"):
        convert(path, tmp_path / "out.onnx", WHERE, side=SIDE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("without_export")
def test_an_onnx_file_that_does_not_run_is_refused(tmp_path: Path) -> None:
    path = published_onnx(tmp_path / "published.onnx", nets.generator(ngf=8), SIDE, True)
    model = onnx.load(path)
    tanh = next(node for node in model.graph.node if node.op_type == "Tanh")
    tanh.op_type = "NoSuchOperator"
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="does not run"):
        convert(path, tmp_path / "out.onnx", WHERE, side=SIDE)
    assert not (tmp_path / "out.onnx").exists()


def test_paddle_file_by_the_command(tmp_path: Path) -> None:
    source = files.flat_pdparams(
        tmp_path / "photo2cartoon_genA2B_weight.pdparams", files.paddle(nets.generator(ngf=8)), 4
    )
    target = tmp_path / "out.onnx"
    call = [str(source), str(target), "--size", "64", "--no-optimize", "--origin", "a friend"]
    done = CliRunner().invoke(commands, ["convert", *call])
    assert done.exit_code == 0, done.output
    assert "read: Paddle names, pickle, one network" in done.stdout
    assert load_model(target).source == "a friend"
    photo = face_like(2, SIDE)
    net = read_weights(source).generator()
    with torch.no_grad():
        expected = net(torch.from_numpy(photo)).image.numpy()
    assert abs(np.asarray(run_onnx(target.read_bytes(), photo)) - expected).max() <= TOLERANCE


def test_each_step_is_told_before_it_is_done(weights: Path, tmp_path: Path) -> None:
    said: list[str] = []
    convert(weights, tmp_path / "out.onnx", WHERE, side=SIDE, say=said.append)
    assert said == [
        f"reading {weights}",
        "exporting the network as ONNX",
        "comparing the file with the network",
    ]


def test_refusals_of_the_command(tmp_path: Path) -> None:
    source = tmp_path / "w.pt"
    source.write_bytes(b"no weights")
    refused = CliRunner().invoke(commands, ["convert", str(source), str(tmp_path / "out.onnx")])
    assert refused.exit_code == 2
    assert "neither a torch, Paddle or safetensors file nor ONNX" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


@pytest.mark.usefixtures("without_export")
def test_both_files_are_written_or_none(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "errors", lambda *_: [0.0])
    (tmp_path / "out.json.part").mkdir()  # the entry cannot be written
    with pytest.raises(WeightsError, match="cannot write"):
        convert(weights, tmp_path / "out.onnx", WHERE, side=SIDE)
    assert [path.name for path in tmp_path.iterdir()] == ["out.json.part"]


def test_full_variant_keeps_its_side(tmp_path: Path) -> None:
    path = tmp_path / "full.pt"
    state: Any = nets.generator(ngf=8, img_size=32, light=False).state_dict()
    torch.save(state, path)
    with pytest.raises(WeightsError, match="works at 32 px only, not 64"):
        convert(path, tmp_path / "out.onnx", WHERE, side=SIDE)
