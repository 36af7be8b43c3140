"""A tiny world to evaluate: drawn portraits, their drawings, networks of a few nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image as Pillow

from photo2cartoon_models.conversion.export import face_like
from photo2cartoon_models.preprocess import to_image

Image = NDArray[np.uint8]


def portraits(count: int, seed: int = 0) -> list[Image]:
    return [to_image(face).astype(np.uint8) for face in face_like(count, 256, seed)]


def write(folder: Path, pictures: Sequence[Image], prefix: str = "p") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        Pillow.fromarray(picture).save(folder / f"{prefix}{number}.png")
    return folder


def network(path: Path, operator: str, shape: Sequence[int | str], **attributes: Any) -> Path:
    """An ONNX file of one operator from `input` to `output`."""
    node = helper.make_node(operator, ["input"], ["output"], **attributes)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def same(path: Path) -> Path:
    """A generator that draws the photo."""
    return network(path, "Identity", ("N", 3, 256, 256))


def negative(path: Path) -> Path:
    """A generator that draws the photo's negative."""
    return network(path, "Neg", ("N", 3, 256, 256))


def looker(path: Path) -> Path:
    """An identity network: colours of 8 x 8 areas of the face; two at once, as MobileFaceNet."""
    return network(path, "AveragePool", (2, 3, 112, 112), kernel_shape=[14, 14], strides=[14, 14])
