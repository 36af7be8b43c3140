"""The other forms of the file: bytes at both ends, half precision convolutions."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon_models.conversion.convert import Form, Provenance, choose_form, convert
from photo2cartoon_models.conversion.export import run_onnx
from photo2cartoon_models.conversion.pixels import TOLERANCE, PixelGenerator, draw, drawn_rgba
from photo2cartoon_models.manifest import load_manifest, load_model
from photo2cartoon_models.networks.picture import Picture
from photo2cartoon_models.readers.weights import GeneratorWeights
from photo2cartoon_models.readers.weights_error import WeightsError
from tests.train import files, nets

SIDE = 64
pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")


def converted(folder: Path, form: Form) -> tuple[GeneratorWeights, bytes, float]:
    source = folder / "w.pt"
    torch.save(files.minivision(nets.generator(ngf=8)), source)
    done = convert(source, folder / "out.onnx", Provenance("x"), side=SIDE, form=form)
    return done.weights, (folder / "out.onnx").read_bytes(), done.distance


@torch.no_grad()
def test_bytes_in_bytes_out(tmp_path: Path) -> None:
    weights, content, distance = converted(tmp_path, "pixels")
    assert distance <= TOLERANCE
    entry = load_model(tmp_path / "out.onnx")
    assert entry.precision == "float32"
    OnnxNetwork(entry)  # digest and contract hold, or it raises
    rgba = drawn_rgba(2, SIDE, seed=5)
    found = run_onnx(content, rgba)
    assert found.dtype == np.uint8
    assert found.shape == (2, SIDE, SIDE, 3)
    net = Picture(weights.generator())
    expected = np.stack([draw(picture, net) for picture in rgba])
    assert abs(found.astype(int) - expected).max() <= TOLERANCE
    assert (found == expected).mean() > 0.99
    assert (found[rgba[..., 3] == 0] == 255).all()
    assert found[rgba[..., 3] == 255].std() > 10


@torch.no_grad()
def test_the_matte_hides_what_is_behind_it() -> None:
    net = PixelGenerator(Picture(nets.generator(ngf=8)))
    rgba = torch.from_numpy(drawn_rgba(1, SIDE))
    hidden = rgba.clone()
    hidden[..., :3][rgba[..., 3] == 0] = 7
    assert not torch.equal(rgba, hidden)
    assert torch.equal(net(rgba), net(hidden))


def test_half_precision_is_in_the_convolutions_only(tmp_path: Path) -> None:
    _, content, used = converted(tmp_path, "half")
    assert used <= 1
    assert load_model(tmp_path / "out.onnx").precision == "float16"
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(content))
    kinds = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    nodes = model.graph.node
    half = {n.op_type for n in nodes if kinds.get(n.output[0]) == onnx.TensorProto.FLOAT16}
    assert half == {"Conv", "Cast"}
    ends = [*model.graph.input, *model.graph.output]
    assert {end.type.tensor_type.elem_type for end in ends} == {onnx.TensorProto.FLOAT}


@torch.no_grad()
def test_half_precision_is_measured(tmp_path: Path) -> None:
    """A network that overflows float16 must not pass: the first layer is 1e6 times as large."""
    net = nets.generator(ngf=8)
    with torch.no_grad():
        net.HourGlass1.Conv1.weight.mul_(1e6)
    source = tmp_path / "w.pt"
    torch.save(net.state_dict(), source)
    with pytest.raises(WeightsError, match="would differ from the network by inf"):
        convert(source, tmp_path / "out.onnx", Provenance("x"), side=SIDE, form="half")
    assert not (tmp_path / "out.onnx").exists()


def test_switches() -> None:
    assert choose_form(True, False, False) == "optimised"
    assert choose_form(False, False, False) == "plain"
    assert choose_form(True, True, False) == "pixels"
    assert choose_form(True, False, True) == "half"
    for two in ((True, True, True), (False, True, False), (False, False, True)):
        with pytest.raises(WeightsError, match="exclude each other"):
            choose_form(*two)


def test_the_network_that_comes_along_becomes_half(tmp_path: Path) -> None:
    """Trained weights pass the gate; random ones say nothing of a picture without contrast."""
    source = load_manifest()["photo2cartoon"].path
    done = convert(source, tmp_path / "half.onnx", Provenance("half"), form="half")
    assert done.distance < 0.5
