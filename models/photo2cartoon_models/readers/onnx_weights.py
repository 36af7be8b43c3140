"""Take a generator's weights out of an ONNX file that torch's old exporter made of it.

minivision publishes such a file (static batch 1). The exporter keeps the names of weights, which is
all that the light network needs. Of photo2cartoon's own there are two exceptions when the picture
is the only output: the biases of the attention's classifiers are not needed and gone, and their
weights were folded into nameless constants, found here by their place in the graph. Tried on files
exported from upstream's own code with torch 2.13, opset 9.
"""

import re
from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from photo2cartoon_models.readers.weights_error import WeightsError

Array = NDArray[np.float32]

# The first layers of both networks; what stands before such a name is a wrapper's prefix.
LANDMARKS = ("ConvBlock1.1.weight", "stem.0.weight")
NAMELESS = re.compile(r"\d+|onnx::\w+")  # constants that the exporter folded, old and new style
CLASSIFIERS = ("gap_fc", "gmp_fc")  # in the order in which the attention puts them side by side


def read_onnx(content: bytes) -> dict[str, Array]:
    """Return the named weights in an ONNX file, the classifiers' among them.

    Raises:
        WeightsError: not an ONNX file, weights outside of it, or none of the network's names.
    """
    try:
        graph = onnx.load_model_from_string(content).graph
    except DecodeError as error:
        raise WeightsError("neither a torch, Paddle or safetensors file nor ONNX") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        raise WeightsError("the ONNX file keeps its weights in another file; join them first")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    prefix = _prefix(constants)
    named = {
        name.removeprefix(prefix): array
        for name, array in constants.items()
        if name.startswith(prefix) and not NAMELESS.fullmatch(name)
    }
    for classifier, weight in zip(CLASSIFIERS, _folded_classifiers(graph, prefix), strict=False):
        named.setdefault(f"{classifier}.weight", constants[weight].reshape(1, -1))
        named.setdefault(f"{classifier}.bias", np.zeros(1, np.float32))  # nothing reads it
        named.pop(weight.removeprefix(prefix), None)
    return named


def static_side(content: bytes) -> int | None:
    """Side in px of the pictures that an ONNX file takes; None for anything but such a file."""
    try:
        graph = onnx.load_model_from_string(content).graph
    except DecodeError:
        return None
    sizes = [dim.dim_value for end in graph.input[:1] for dim in end.type.tensor_type.shape.dim]
    return sizes[-1] if len(sizes) == 4 and sizes[-1] == sizes[-2] > 0 else None


def _prefix(constants: dict[str, Array]) -> str:
    for name in constants:
        for landmark in LANDMARKS:
            if name.endswith(landmark):
                return name.removesuffix(landmark)
    raise WeightsError(
        f"the ONNX file has no weight {' or '.join(LANDMARKS)}: another network, "
        "or an export that renamed its weights (optimised files cannot be converted again)"
    )


def _folded_classifiers(graph: onnx.GraphProto, prefix: str) -> Iterator[str]:
    """The constants that multiply the two halves of what `conv1x1` reads, mean's first."""
    constants = {tensor.name for tensor in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type != "Conv" or node.input[1] != f"{prefix}conv1x1.weight":
            continue
        concat = maker.get(node.input[0])
        for half in concat.input if concat else ():
            product = maker.get(half)
            if product is not None and product.op_type == "Mul":
                yield from (name for name in product.input if name in constants)
