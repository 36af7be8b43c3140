"""Every form of laying a picture on white is `preprocess.composite`: in torch and as ONNX nodes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.fuse import fuse
from photo2cartoon.runtime.device import CPU
from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon_models.conversion.pixels import PixelGenerator
from photo2cartoon_models.evaluation import pictures
from photo2cartoon_models.manifest import Model, TensorContract
from photo2cartoon_models.preprocess import composite
from photo2cartoon_models.training import augment, data

SIDE = 256


@pytest.fixture(scope="module")
def rgba() -> NDArray[np.uint8]:
    """Random pixels and mattes, `(256, 256, 4)`; and every alpha with black, white and grey."""
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    picture[:4, :, 3] = np.arange(SIDE)
    picture[:4, :, :3] = np.array([0, 1, 254, 255], np.uint8)[:, None, None]
    picture[4:6, :, 3] = [[0], [255]]
    return picture


@pytest.fixture(scope="module")
def on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return composite(rgba[:, :, :3], rgba[:, :, 3])


def test_every_reader_of_files_lays_on_white_alike(
    tmp_path: Path, rgba: NDArray[np.uint8], on_white: NDArray[np.uint8]
) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(rgba).save(path)
    np.testing.assert_array_equal(decode_image(path.read_bytes(), SIDE * SIDE), on_white)
    np.testing.assert_array_equal(data.read_picture(path), on_white)
    np.testing.assert_array_equal(pictures.read_picture(path), on_white)


def test_training_differs_by_the_truncation_alone(
    rgba: NDArray[np.uint8], on_white: NDArray[np.uint8]
) -> None:
    planes = torch.from_numpy(rgba).permute(2, 0, 1)[None]
    laid = augment.on_white(data.to_unit(planes[:, :3]), planes[:, 3:].float() / 255)
    levels = (laid[0].permute(1, 2, 0).numpy().astype(float) + 1) * 127.5
    lost = levels - on_white
    assert lost.min() > -1e-4
    assert lost.max() < 1 + 1e-4


def test_the_graph_with_bytes_at_both_ends_gives_equal_bytes(
    rgba: NDArray[np.uint8], on_white: NDArray[np.uint8]
) -> None:
    seen = []

    class Seer(torch.nn.Module):
        def forward(self, photo: torch.Tensor) -> torch.Tensor:
            seen.append(photo)
            return photo

    drawn = PixelGenerator(Seer())(torch.from_numpy(rgba)[None])[0].numpy()
    fed = ((seen[0][0].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(fed, on_white)
    # What was drawn lies on white once more; to bytes and back, half a level may have been lost.
    again = composite(on_white, rgba[:, :, 3]).astype(int)
    assert np.abs(drawn - again).max() <= 1


def network(path: Path, nodes: list[onnx.NodeProto], channels: int) -> Model:
    """A model of these nodes from `input` `(N, 3, 256, 256)`, 0..1 or -1..1, to `output`."""
    ends = {"input": 3, "output": channels}
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", count, SIDE, SIDE])
        for name, count in ends.items()
    ]
    numbers = {"from": 0, "to": 1, "axis": 1}
    constants = [numpy_helper.from_array(np.array([v]), n) for n, v in numbers.items()]
    graph = helper.make_graph(nodes, path.stem, infos[:1], infos[1:], constants)
    opset = [helper.make_opsetid("", 18)]
    content = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    path.write_bytes(content)
    ranges: tuple[float, float] = (0.0, 1.0) if channels == 1 else (-1.0, 1.0)
    contracts = [
        TensorContract(name, "float32", ("N", count, SIDE, SIDE), "NCHW", "RGB", ranges, "-")
        for name, count in ends.items()
    ]
    return Model(
        name=path.stem, role="matte" if channels == 1 else "generator", path=path,
        sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content),
        licence="-", source="-", made_by="-", inputs=(contracts[0],), outputs=(contracts[1],),
    )  # fmt: skip


def test_the_fused_graph_gives_equal_bytes(tmp_path: Path, rgba: NDArray[np.uint8]) -> None:
    red = helper.make_node("Slice", ["input", "from", "to", "axis"], ["output"])
    same = helper.make_node("Identity", ["input"], ["output"])
    matte = network(tmp_path / "red.onnx", [red], 1)
    model, content = fuse(matte, network(tmp_path / "same.onnx", [same], 3))
    # The red channel is the matte, so that any matte can be asked for. What does not hang on to the
    # face is removed, so an eighth of the pixels is asked for at a time; the others are 255.
    crops = np.repeat(rgba[None, :, :, [3, 0, 1]], 8, axis=0)
    for k, crop in enumerate(crops):
        mask = np.ones((SIDE, SIDE), bool)
        mask[k % 4 :: 4, k // 4 :: 2] = False
        crop[mask, 0] = 255
    drawn, _, alpha, _ = OnnxNetwork(model, CPU, content).run(crops)
    for k, crop in enumerate(crops):
        weight = crop[:, :, 0].astype(np.float32) * np.float32(1 / 255)
        np.testing.assert_array_equal(drawn[k], composite(crop, weight))
        np.testing.assert_array_equal(alpha[k], crop[:, :, 0])
