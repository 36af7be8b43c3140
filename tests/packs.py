"""Model packs as InsightFace lays them out, of networks of a few nodes."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
MARK = (255, 0, 255)  # RGB of what the little detector takes for a face
HALF_BOX = 2.1  # of the largest stride: from a mark's cell to its box's edges
KEYPOINTS = ((-0.58, -0.45), (0.6, -0.4), (0.0, 0.0), (-0.4, 0.5), (0.5, 0.5))  # of half a box
OUTPUTS = ("score", "bbox", "kps")


def write_detector(path: Path, *, keypoints: bool = True, side: int | None = None) -> Path:
    """Write a detector with SCRFD's inputs and outputs that sees a face at every mark.

    A magenta pixel fires its cell of the largest stride; the smaller strides stay silent. Each box
    has one size, and lies around the corner of its cell, where SCRFD's anchors are.
    """
    kinds = OUTPUTS if keypoints else OUTPUTS[:2]
    nodes, values, outputs = _purple(), [], []
    for kind in kinds:
        for stride in STRIDES:
            name = f"{kind}_{stride}"
            more, constants = _output(name, kind, stride)
            nodes += more
            values += constants
            width = {"score": 1, "bbox": 4, "kps": 10}[kind]
            count = 2 * (640 // stride) ** 2  # the real ones state this too, for any input size
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [count, width]))
    size = [side, side] if side else ["height", "width"]
    return _write(path, nodes, values, [1, 3, *size], outputs)


def _purple() -> list[onnx.NodeProto]:
    """How much a pixel is like the mark: 3 for the mark itself, -1..1 for gray."""
    weights = np.array([1.0, -1.0, 1.0], np.float32).reshape(1, 3, 1, 1)
    return [
        _constant("weights", weights),
        helper.make_node("Conv", ["input", "weights"], ["purple"]),
    ]


def _output(
    name: str, kind: str, stride: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """One output `(2 * cells, width)`: two anchors a cell, rows before columns."""
    pool = helper.make_node(
        "MaxPool",
        ["purple"],
        [f"{name}_cells"],
        kernel_shape=[stride, stride],
        strides=[stride, stride],
    )
    nodes = [pool, _constant(f"{name}_column", np.array([-1, 1], np.int64))]
    nodes.append(helper.make_node("Reshape", [f"{name}_cells", f"{name}_column"], [f"{name}_1"]))
    nodes.append(helper.make_node("Concat", [f"{name}_1"] * 2, [f"{name}_2"], axis=1))
    if kind == "score":
        # .8 for the mark, below .3 for half a mark; 1e-3, because no output may be flat.
        scale, shift = (0.8, -1.6) if stride == STRIDES[-1] else (1e-3, 0.0)
        row = np.array([[scale]], np.float32), np.array([shift], np.float32)
    else:
        offsets = HALF_BOX * (np.ones(4) if kind == "bbox" else np.ravel(KEYPOINTS))
        row = np.full((1, offsets.size), 1e-3, np.float32), offsets.astype(np.float32)
    nodes.append(_constant(f"{name}_shape", np.array([-1, 1], np.int64)))
    nodes.append(helper.make_node("Reshape", [f"{name}_2", f"{name}_shape"], [f"{name}_3"]))
    nodes.append(helper.make_node("MatMul", [f"{name}_3", f"{name}_scale"], [f"{name}_4"]))
    nodes.append(helper.make_node("Add", [f"{name}_4", f"{name}_shift"], [name]))
    constants = [
        numpy_helper.from_array(row[0], f"{name}_scale"),
        numpy_helper.from_array(row[1], f"{name}_shift"),
    ]
    return nodes, constants


def write_landmarks(path: Path, points: NDArray[np.float64]) -> Path:
    """Write a landmark network that always gives `points` `(106, 2)`, -1..1 of its region."""
    nodes = [
        _constant("nothing", np.zeros(1, np.float32)),
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Unsqueeze", ["zero"], ["one"], axes=[1]),
        helper.make_node("Add", ["one", "points"], ["fc1"]),
    ]
    values = [numpy_helper.from_array(points.astype(np.float32).reshape(1, -1), "points")]
    output = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, points.size])
    return _write(path, nodes, values, [None, 3, 192, 192], [output])


def _constant(name: str, value: NDArray[np.generic]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    values: list[onnx.TensorProto],
    shape: list[int | str | None],
    outputs: list[onnx.ValueInfoProto],
) -> Path:
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, path.stem, [given], outputs, values)
    # Opset 11, which InsightFace exports: axes are attributes.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
