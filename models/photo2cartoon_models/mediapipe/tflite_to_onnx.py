"""Turn a .tflite network into ONNX: float32, NCHW in and out, any batch size.

The operators are those of the four MediaPipe networks that the project embeds (`mediapipe.wheel`);
any other is refused by name. Facts about them come from TensorFlow Lite's schema and its reference
kernels; `tests/models/mediapipe/test_tflite_to_onnx.py` holds each one against LiteRT.

Layout: tflite keeps images as NHWC, ONNX wants NCHW. Every 4-D activation lives as NCHW here, and
constants are moved once, at conversion. Only RESHAPE, whose meaning depends on the order of the
values in memory, needs a Transpose. Tensors of another rank keep their layout.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tflite
from onnx import TensorProto, helper, numpy_helper

from photo2cartoon_models.mediapipe.tflite_reader import Array, ConversionError, Operator, Source

OPSET = 14  # the first one with HardSwish
IR_VERSION = 8  # what came with opset 14 and 15: old runtimes read it too
PRODUCER = "photo2cartoon models.tflite_to_onnx"  # this module, when the files were made
TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
SMALLEST_HALF = 65  # values; for fewer the bytes saved are not worth one more node


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after one axis under TensorFlow's SAME: the odd one comes after.

    ONNX's SAME_UPPER means the same, but its attribute auto_pad is deprecated there.
    """
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


class _Target:
    """The ONNX side: nodes and initializers in the order in which they were made."""

    def __init__(self, fp16_weights: bool) -> None:
        self.fp16_weights = fp16_weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, array: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        name = f"c{len(self.initializers)}"
        values = np.array(array, dtype, order="C")
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def weight(self, array: Array) -> str:
        """A float32 constant, stored as float16 plus Cast where that loses nothing.

        Runtimes fold the Cast when they load the file, so only the file gets smaller.
        """
        if self.fp16_weights and array.size >= SMALLEST_HALF:
            with np.errstate(over="ignore"):  # too large for float16 is "loses something"
                half = array.astype(np.float16)
            if np.array_equal(half.astype(np.float32), array):
                return self.emit("Cast", [self.constant(half, np.float16)], to=TensorProto.FLOAT)
        return self.constant(array, np.float32)

    def emit(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its only output."""
        output = output or f"n{len(self.nodes)}"
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name, **attributes))
        return output


class _Converter:
    """Walks the operators of a `Source` and writes their like into a `_Target`."""

    def __init__(self, source: Source, target: _Target, dynamic_hw: bool) -> None:
        self.source, self.target, self.dynamic_hw = source, target, dynamic_hw
        self.values: dict[int, str] = {}  # tflite tensor -> name of its value in ONNX

    def value(self, tensor: int) -> str:
        if tensor not in self.values:
            raise ConversionError(f"tensor {self.source.name(tensor)} is read but never computed")
        return self.values[tensor]

    def operand(self, tensor: int, rank: int) -> str:
        """An input of an operator on values of `rank`: an activation, or a constant moved to it."""
        if self.source.is_constant(tensor):
            array = self.source.constant(tensor)
            if rank == 4:
                array = array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(TO_NCHW)
            return self.target.weight(array)
        if len(self.source.shape(tensor)) != rank:
            raise ConversionError(f"tensor {self.source.name(tensor)}: rank {rank} expected")
        return self.value(tensor)

    def finish(self, name: str, activation: int, output: int) -> None:
        """Apply the fused activation and bind the result to the tflite tensor `output`."""
        kinds = tflite.ActivationFunctionType
        limits = {kinds.RELU_N1_TO_1: (-1.0, 1.0), kinds.RELU6: (0.0, 6.0)}
        if activation == kinds.RELU:
            name = self.target.emit("Relu", [name])
        elif activation in limits:
            low, high = (self.target.constant(x, np.float32) for x in limits[activation])
            name = self.target.emit("Clip", [name, low, high])
        elif activation != kinds.NONE:
            raise ConversionError(f"fused activation number {activation}")
        self.values[output] = name

    def pads(self, padding: int, axes: Iterable[tuple[int, ...]]) -> list[int]:
        """ONNX pads (top, left, bottom, right) of (size, kernel, stride[, dilation]) per axis.

        With free height and width they stay those of the declared size. That is right wherever
        every layer with a stride meets a map whose size the stride divides, as in the original.
        """
        if padding == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        (top, bottom), (left, right) = (same_padding(*axis) for axis in axes)
        return [top, left, bottom, right]

    # Operators: each binds the ONNX name of op.output.

    def fold(self, op: Operator) -> None:
        """DEQUANTIZE of float16 and DENSIFY work on constants only: done here, once."""
        values = self.source.constant(op.inputs[0])
        if values.dtype.kind != "f":
            raise ConversionError(f"{op.name} of {values.dtype}: quantized networks are not known")
        self.source.folded[op.output] = values.astype(np.float32)

    def conv_2d(self, op: Operator) -> None:
        weight = self.source.constant(op.inputs[1]).transpose(TO_NCHW)  # OHWI -> OIHW
        self._convolve(op, op.options(tflite.Conv2DOptions), weight)

    def depthwise_conv_2d(self, op: Operator) -> None:
        weight = self.source.constant(op.inputs[1]).transpose(3, 0, 1, 2)  # 1HWO -> O1HW
        self._convolve(op, op.options(tflite.DepthwiseConv2DOptions), weight)

    def _convolve(self, op: Operator, options: Any, weight: Array) -> None:
        if len(op.inputs) != 3 or op.inputs[2] < 0:
            raise ConversionError(f"{op.name} without bias")  # LiteRT refuses it too
        _, height, width, channels = self.source.shape(op.inputs[0])
        kernel = weight.shape[2:]
        strides = (options.StrideH(), options.StrideW())
        dilations = (options.DilationHFactor(), options.DilationWFactor())
        axes = zip((height, width), kernel, strides, dilations, strict=True)
        kernel_name = self.target.weight(weight)
        bias = self.target.weight(self.source.constant(op.inputs[2]))
        name = self.target.emit(
            "Conv",
            [self.value(op.inputs[0]), kernel_name, bias],
            kernel_shape=kernel,
            strides=strides,
            dilations=dilations,
            pads=self.pads(options.Padding(), axes),
            group=channels // weight.shape[1],
        )
        self.finish(name, options.FusedActivationFunction(), op.output)

    def transpose_conv_bias(self, op: Operator) -> None:
        """MediaPipe's own operator. Its options are int32 padding, stride width, stride height.

        Only kernel == stride is known: nothing overlaps there, so SAME and VALID are one.
        Source: mediapipe/util/tflite/operations/transpose_conv_bias.cc.
        """
        _, stride_w, stride_h = struct.unpack("<3i", bytes(op.table.CustomOptionsAsNumpy()))
        weight = self.source.constant(op.inputs[1]).transpose(3, 0, 1, 2)  # OHWI -> IOHW
        kernel, strides = weight.shape[2:], (stride_h, stride_w)
        if kernel != strides:
            raise ConversionError(f"{op.name} with kernel {kernel} and strides {strides}")
        bias = self.target.weight(self.source.constant(op.inputs[2]))
        inputs = [self.value(op.inputs[0]), self.target.weight(weight), bias]
        self.values[op.output] = self.target.emit(
            "ConvTranspose", inputs, kernel_shape=kernel, strides=strides
        )

    def pool(self, op: Operator) -> None:
        kind = "MaxPool" if op.name == "MAX_POOL_2D" else "AveragePool"
        options = op.options(tflite.Pool2DOptions)
        sizes = tuple(self.source.shape(op.inputs[0])[1:3])
        kernel = (options.FilterHeight(), options.FilterWidth())
        strides = (options.StrideH(), options.StrideW())
        attributes: dict[str, Any] = {}
        if kind == "AveragePool" and kernel == sizes and options.Padding() == tflite.Padding.VALID:
            kind = "GlobalAveragePool"  # still the whole map when height and width are free
        else:
            pads = self.pads(options.Padding(), zip(sizes, kernel, strides, strict=True))
            attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        name = self.target.emit(kind, [self.value(op.inputs[0])], **attributes)
        self.finish(name, options.FusedActivationFunction(), op.output)

    def pad(self, op: Operator) -> None:
        """Rows (before, after) per axis, channels too, turn into one list: first every before."""
        rows = self.source.constant(op.inputs[1])
        if rows[0].any():
            raise ConversionError("PAD of the batch")
        if len(rows) == 4:
            rows = rows[list(TO_NCHW)]
        pads = self.target.constant(rows.T.reshape(-1), np.int64)
        self.values[op.output] = self.target.emit("Pad", [self.value(op.inputs[0]), pads])

    def prelu(self, op: Operator) -> None:
        slope = self.operand(op.inputs[1], len(self.source.shape(op.output)))
        self.values[op.output] = self.target.emit("PRelu", [self.value(op.inputs[0]), slope])

    def unary(self, op: Operator) -> None:
        self.values[op.output] = self.target.emit(_UNARY[op.name], [self.value(op.inputs[0])])

    def binary(self, op: Operator) -> None:
        kind, options = _BINARY[op.name]
        rank = len(self.source.shape(op.output))
        name = self.target.emit(kind, [self.operand(i, rank) for i in op.inputs])
        self.finish(name, op.options(options).FusedActivationFunction(), op.output)

    def concatenation(self, op: Operator) -> None:
        options = op.options(tflite.ConcatenationOptions)
        rank = len(self.source.shape(op.output))
        axis = options.Axis() % rank
        if axis == 0:
            raise ConversionError("CONCATENATION along the batch")
        axis = TO_NCHW.index(axis) if rank == 4 else axis
        name = self.target.emit("Concat", [self.value(i) for i in op.inputs], axis=axis)
        self.finish(name, options.FusedActivationFunction(), op.output)

    def resize_bilinear(self, op: Operator) -> None:
        """Scales and not sizes, so that height and width may stay free.

        ONNX rounds size * scale down in float32, hence whole factors only.
        """
        options = op.options(tflite.ResizeBilinearOptions)
        if options.AlignCorners() or not options.HalfPixelCenters():
            raise ConversionError("RESIZE_BILINEAR without half_pixel_centers")
        old = self.source.shape(op.inputs[0])[1:3]
        new = [int(size) for size in self.source.constant(op.inputs[1])]
        if new[0] % old[0] or new[1] % old[1]:
            raise ConversionError(f"RESIZE_BILINEAR from {old} to {new}: not whole factors")
        scales = self.target.constant([1, 1, new[0] / old[0], new[1] / old[1]], np.float32)
        self.values[op.output] = self.target.emit(
            "Resize",
            [self.value(op.inputs[0]), "", scales],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def depth_to_space(self, op: Operator) -> None:
        block = op.options(tflite.DepthToSpaceOptions).BlockSize()
        self.values[op.output] = self.target.emit(
            "DepthToSpace", [self.value(op.inputs[0])], blocksize=block, mode="DCR"
        )

    def reshape(self, op: Operator) -> None:
        """Back to NHWC, where the order of the values is the meant one; the batch stays."""
        old, new = self.source.shape(op.inputs[0]), self.source.shape(op.output)
        if old[:1] != new[:1] or (self.dynamic_hw and len(new) != 3):
            raise ConversionError(f"RESHAPE from {old} to {new}")
        name = self.value(op.inputs[0])
        if len(old) == 4:
            name = self.target.emit("Transpose", [name], perm=TO_NHWC)
        # 0 copies the batch; with a free image size the number of anchors (-1) follows it.
        sizes = [0, -1, new[2]] if self.dynamic_hw else [0, *new[1:]]
        name = self.target.emit("Reshape", [name, self.target.constant(sizes, np.int64)])
        if len(new) == 4:
            name = self.target.emit("Transpose", [name], perm=TO_NCHW)
        self.values[op.output] = name

    # The whole graph

    def run(self, names: Sequence[str]) -> onnx.GraphProto:
        source = self.source
        count = len(source.inputs)
        if len(names) != count + len(source.outputs):
            raise ConversionError(f"{len(names)} names: {count} + {len(source.outputs)} expected")
        self.values.update(zip(source.inputs, names[:count], strict=True))
        for op in source.operators():
            if op.name not in _HANDLERS:
                raise ConversionError(f"tflite operator {op.name} is not known")
            _HANDLERS[op.name](self, op)
        inputs = [self.declare(*pair) for pair in zip(source.inputs, names[:count], strict=True)]
        outputs = [self.output(*pair) for pair in zip(source.outputs, names[count:], strict=True)]
        return helper.make_graph(
            self.target.nodes, "tflite", inputs, outputs, self.target.initializers
        )

    def output(self, tensor: int, name: str) -> onnx.ValueInfoProto:
        """Give an output its public name; (N,1,1,C) of a fixed-size network becomes (N,C)."""
        shape = self.source.shape(tensor)
        if len(shape) == 4 and shape[1:3] == [1, 1] and not self.dynamic_hw:
            self.target.emit("Flatten", [self.value(tensor)], name)
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", shape[3]])
        self.target.emit("Identity", [self.value(tensor)], name)
        return self.declare(tensor, name)

    def declare(self, tensor: int, name: str) -> onnx.ValueInfoProto:
        """Shape and type of a graph input or output, with words for the sizes that are free."""
        table = self.source.graph.Tensors(tensor)
        if table.Type() != tflite.TensorType.FLOAT32:
            raise ConversionError(f"input or output {name} is not float32")
        shape: list[int | str] = ["batch", *self.source.shape(tensor)[1:]]
        if len(shape) == 4:
            shape = [shape[axis] for axis in TO_NCHW]
        if self.dynamic_hw and len(shape) == 4:
            image = self.source.shape(self.source.inputs[0])
            prefix = "" if self.source.shape(tensor)[1:3] == image[1:3] else f"{name}_"
            shape[2:] = [f"{prefix}height", f"{prefix}width"]
        elif self.dynamic_hw and len(shape) == 3:
            shape[1] = "anchors"
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


_UNARY = {"HARD_SWISH": "HardSwish", "LOGISTIC": "Sigmoid", "RELU": "Relu"}
_BINARY = {"ADD": ("Add", tflite.AddOptions), "MUL": ("Mul", tflite.MulOptions)}
_HANDLERS: dict[str, Callable[[_Converter, Operator], None]] = {
    "AVERAGE_POOL_2D": _Converter.pool,
    "CONCATENATION": _Converter.concatenation,
    "CONV_2D": _Converter.conv_2d,
    "Convolution2DTransposeBias": _Converter.transpose_conv_bias,
    "DENSIFY": _Converter.fold,
    "DEPTHWISE_CONV_2D": _Converter.depthwise_conv_2d,
    "DEPTH_TO_SPACE": _Converter.depth_to_space,
    "DEQUANTIZE": _Converter.fold,
    "MAX_POOL_2D": _Converter.pool,
    "PAD": _Converter.pad,
    "PRELU": _Converter.prelu,
    "RESHAPE": _Converter.reshape,
    "RESIZE_BILINEAR": _Converter.resize_bilinear,
    **dict.fromkeys(_UNARY, _Converter.unary),
    **dict.fromkeys(_BINARY, _Converter.binary),
}


def convert(
    data: bytes,
    *,
    names: Sequence[str],
    dynamic_hw: bool = False,
    fp16_weights: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Convert one float network; the same arguments give the same bytes.

    Args:
        data: the .tflite file. Images are NHWC float32 with batch size 1.
        names: one per graph input, then one per graph output, in the file's order.
        dynamic_hw: leave height and width of images free ("height", "width", "anchors"). Only for
            fully convolutional networks, and for sizes that all strides divide (see `pads`).
        fp16_weights: store constants as float16 where that loses nothing.
        metadata: free key-value pairs for the file (`metadata_props`).

    Returns:
        A checked model, float32 at its ends: images (batch, C, H, W); (N, 1, 1, C) outputs of a
        fixed-size network are (batch, C); other ranks as in the file with a free batch.

    Raises:
        ConversionError: the file is no tflite network, or holds what the converter cannot express.
    """
    converter = _Converter(Source(data), _Target(fp16_weights), dynamic_hw)
    model = helper.make_model(
        converter.run(names),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
    )
    helper.set_model_props(model, dict(sorted((metadata or {}).items())))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"the result is not valid ONNX: {error}") from error
    return model
