"""What a device can do at best, and what a network asks of it: the two axes of a roofline.

Both ceilings are measured through ONNX Runtime on the same provider: no torch is needed, and what
the runtime itself costs is in them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, shape_inference

from photo2cartoon.runtime.device import Device
from photo2cartoon.runtime.session import open_session

MIN_RUNS, MIN_SECONDS = 5, 0.5


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Of a device: `flops` a second of a large matrix product, `bytes` a second of a large copy."""

    flops: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Work:
    """Of one picture.

    Attributes:
        flops: a multiplication and an addition are two; convolutions and matrix products.
        bytes: what its nodes read and write, weights left out. Fused kernels move less: it is what
            a runtime moves that runs node by node.
    """

    flops: float
    bytes: float


def measure_ceiling(device: Device, side: int, *, half: bool) -> Ceiling:
    """Multiply matrices of `side` x `side`, and negate 64 of them, which fit no cache."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    size = 2 if half else 4
    product = _seconds(device, "MatMul", kind, [side, side])
    rows = 64 * side  # 64 matrices
    copy = _seconds(device, "Neg", kind, [rows, side])
    return Ceiling(2 * side**3 / product, 2 * rows * side * size / copy)


def _seconds(device: Device, op: str, kind: int, shape: list[int]) -> float:
    """Least seconds of one node on data that lie on the device."""
    names = ["a", "b"][: 2 if op == "MatMul" else 1]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"])],
        op,
        [helper.make_tensor_value_info(name, kind, shape) for name in names],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    opset = [helper.make_opsetid("", 18)]
    content = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    session = open_session(content, op, device)
    binding = session.io_binding()
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    place = device.memory, device.device_id if device.on_gpu else 0
    values = [session.create_ortvalue_from_shape_and_type(shape, dtype, *place) for _ in names]
    filler = np.random.default_rng(0).random(shape, np.float32).astype(dtype)
    for name, value in zip(names, values, strict=True):
        value.update_inplace(filler)
        binding.bind_ortvalue_input(name, value)
    output = session.create_ortvalue_from_shape_and_type(shape, dtype, *place)
    binding.bind_ortvalue_output("y", output)
    options = onnxruntime.RunOptions()
    session.run_with_iobinding(binding, options)
    seconds: list[float] = []
    while len(seconds) < MIN_RUNS or sum(seconds) < MIN_SECONDS:
        start = time.perf_counter()
        session.run_with_iobinding(binding, options)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def count_work(content: bytes) -> Work:
    """Count what one picture asks of an ONNX file whose only free size is the batch."""
    model = onnx.load_from_string(content)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: value.type.tensor_type for value in values}
    shapes = {name: [d.dim_value for d in kind.shape.dim] for name, kind in types.items()}
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    flops = moved = 0.0
    for node in graph.node:
        for name in (*node.input, *node.output):
            if name in shapes and name not in weights:
                itemsize = helper.tensor_dtype_to_np_dtype(types[name].elem_type).itemsize
                moved += float(np.prod(shapes[name])) * itemsize
        flops += _flops(node.op_type, shapes.get(node.output[0], [0]), node.input, weights, shapes)
    return Work(flops, moved)


def _flops(
    op: str,
    output: list[int],
    inputs: Sequence[str],
    weights: dict[str, list[int]],
    shapes: dict[str, list[int]],
) -> float:
    if op not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        return 0.0
    factor = weights.get(inputs[1]) or shapes.get(inputs[1], [0])
    if op == "Conv":  # (out, in / group, kernel...)
        return 2.0 * float(np.prod(output)) * float(np.prod(factor[1:]))
    if op == "ConvTranspose":  # (in, out / group, kernel...): each input value spreads
        return 2.0 * float(np.prod(shapes.get(inputs[0], [0]))) * float(np.prod(factor[1:]))
    return 2.0 * float(np.prod(output)) * factor[-2]
