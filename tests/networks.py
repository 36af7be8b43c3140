"""A generator of one node, where a test asks for the mechanics and not for the drawing."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, KERNEL = 256, 7


def write_generator(path: Path, gain: float = 0.5) -> Path:
    """Write a generator whose cartoon is the photo with `gain` of its contrast.

    It is a convolution, so that there is arithmetic to count: 58 MFLOP a picture.
    """
    shape: list[str | int] = ["N", 3, SIDE, SIDE]
    weights = np.zeros((3, 3, KERNEL, KERNEL), np.float32)
    weights[range(3), range(3), KERNEL // 2, KERNEL // 2] = gain
    node = helper.make_node("Conv", ["input", "weights"], ["output"], auto_pad="SAME_UPPER")
    graph = helper.make_graph(
        [node],
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "weights")],
    )
    return _save(graph, path)


def write_endless_generator(path: Path) -> Path:
    """Write a generator that has the contract of a generator and never answers: a loop."""
    shape: list[str | int] = ["N", 3, SIDE, SIDE]
    picture = TensorProto.FLOAT, shape
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still_on"]),
            helper.make_node("Neg", ["drawn"], ["redrawn"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("drawn", *picture),
        ],
        [
            helper.make_tensor_value_info("still_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("redrawn", *picture),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["", "true", "input"], ["output"], body=body)],
        path.stem,
        [helper.make_tensor_value_info("input", *picture)],
        [helper.make_tensor_value_info("output", *picture)],
        [numpy_helper.from_array(np.array(True), "true")],
    )
    return _save(graph, path)


def _save(graph: onnx.GraphProto, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
