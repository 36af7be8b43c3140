"""A generator of one node, where a test asks for the mechanics and not for the drawing."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

SIDE = 256
GAIN = 0.5


def write_generator(path: Path) -> Path:
    """Write a generator whose cartoon is the photo with `GAIN` of its contrast."""
    shape = ["N", 3, SIDE, SIDE]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["input", "gain"], ["output"])],
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [helper.make_tensor("gain", TensorProto.FLOAT, [], [GAIN])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
