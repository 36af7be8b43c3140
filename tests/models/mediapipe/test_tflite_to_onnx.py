"""Every operator that the converter knows, held against LiteRT on networks of a few values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from ai_edge_litert import schema_py_generated as schema

from photo2cartoon_models.mediapipe.tflite_reader import ConversionError, Level, densify
from photo2cartoon_models.mediapipe.tflite_to_onnx import convert, same_padding
from photo2cartoon_models.mediapipe.verify import SQUARE, TOLERANCE, differences
from tests.models.mediapipe.net import TRANSPOSED, TYPES, Net, interpreter

Array = npt.NDArray[Any]

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


def litert(data: bytes, images: Array) -> list[Array]:
    """All outputs, image after image (the networks have batch size 1), in ONNX's layout."""
    runner = interpreter(data)
    runner.allocate_tensors()
    index, rows = runner.get_input_details()[0]["index"], []
    for image in images:
        runner.set_tensor(index, image[None])
        runner.invoke()
        rows.append([runner.get_tensor(o["index"]) for o in runner.get_output_details()])
    outputs = [np.concatenate(arrays) for arrays in zip(*rows, strict=True)]
    return [o.transpose(0, 3, 1, 2) if o.ndim == 4 else o for o in outputs]


def run(model: onnx.ModelProto, images: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    if images.ndim == 4:
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return [np.asarray(output) for output in session.run(None, {name: images})]


def check(net: Net, *outputs: int, **options: Any) -> onnx.ModelProto:
    return compare(net, net.build(*outputs), len(outputs), **options)


def compare(net: Net, data: bytes, outputs: int, **options: Any) -> onnx.ModelProto:
    """Batch 1 and 3 of the converted network against LiteRT, output by output."""
    names = ["image", *(f"out{k}" for k in range(outputs))]
    model = convert(data, names=names, **options)
    shape = net.tensors[net.input].shape[1:]
    images = np.random.default_rng(1).uniform(-8, 8, (3, *shape)).astype(np.float32)
    wanted = litert(data, images)
    for batch in (1, 3):
        for got, want in zip(run(model, images[:batch]), wanted, strict=True):
            want = want[:batch].reshape(got.shape)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)
            assert np.ptp(want) > 0  # a constant output would prove nothing
    return model


def conv_options(padding: int, stride: int = 1, dilation: int = 1, activation: int = 0) -> Any:
    return schema.Conv2DOptionsT(
        padding=padding,
        strideH=stride,
        strideW=stride,
        dilationHFactor=dilation,
        dilationWFactor=dilation,
        fusedActivationFunction=activation,
    )


def conv(net: Net, value: int, channels: tuple[int, int], options: Any, kernel: int = 3) -> int:
    before, after = channels
    weight = net.random(after, kernel, kernel, before)
    return net.op("CONV_2D", [value, weight, net.random(after)], options)


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 7), (8, 7), (9, 12)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (2, 2), (1, 3)])
def test_conv(padding: int, height: int, width: int, kernel: int, stride: int) -> None:
    net = Net(1, height, width, 3)
    check(net, conv(net, net.input, (3, 5), conv_options(padding, stride), kernel))


def test_conv_with_unequal_sides() -> None:
    net = Net(1, 9, 8, 3)
    options = schema.Conv2DOptionsT(padding=SAME, strideH=2, strideW=1)
    check(net, net.op("CONV_2D", [net.input, net.random(4, 3, 2, 3), net.random(4)], options))


@pytest.mark.parametrize("padding", [SAME, VALID])
def test_conv_with_dilation(padding: int) -> None:
    net = Net(1, 10, 9, 2)
    check(net, conv(net, net.input, (2, 3), conv_options(padding, dilation=2)))


def test_conv_without_bias_is_refused() -> None:
    net = Net(1, 5, 5, 2)
    out = net.op("CONV_2D", [net.input, net.random(3, 3, 3, 2)], conv_options(SAME))
    with pytest.raises(ConversionError, match="CONV_2D without bias"):
        convert(net.build_unchecked(out), names=["image", "out"])


@pytest.mark.parametrize("name", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_fused_activation(name: str) -> None:
    activation = getattr(schema.ActivationFunctionType, name)
    net = Net(1, 6, 6, 2)
    check(net, conv(net, net.input, (2, 3), conv_options(SAME, activation=activation)))


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 2), (7, 2)])
def test_depthwise_conv(multiplier: int, size: int, stride: int) -> None:
    net = Net(1, size, size, 3)
    options = schema.DepthwiseConv2DOptionsT(
        padding=SAME, strideH=stride, strideW=stride, depthMultiplier=multiplier
    )
    weight, bias = net.random(1, 3, 3, 3 * multiplier), net.random(3 * multiplier)
    check(net, net.op("DEPTHWISE_CONV_2D", [net.input, weight, bias], options))


@pytest.mark.parametrize("padding", [1, 2])
def test_transposed_conv_with_bias(padding: int) -> None:
    net = Net(1, 4, 5, 6)
    inputs = [net.input, net.random(2, 2, 2, 6), net.random(2)]
    out = net.op(TRANSPOSED, inputs, np.array([padding, 2, 2], "<i4").tobytes())
    net.tensors[out].shape = [1, 8, 10, 2]
    compare(net, net.build_unchecked(out), 1)


def test_overlapping_transposed_conv_is_refused() -> None:
    net = Net(1, 4, 5, 6)
    inputs = [net.input, net.random(2, 3, 3, 6), net.random(2)]
    out = net.op(TRANSPOSED, inputs, np.array([1, 2, 2], "<i4").tobytes())
    with pytest.raises(ConversionError, match=TRANSPOSED):
        convert(net.build_unchecked(out), names=["image", "out"])


@pytest.mark.parametrize(
    "rows", [((0, 0), (1, 2), (3, 0), (0, 0)), ((0, 0), (0, 0), (0, 0), (1, 4))]
)
def test_pad(rows: tuple[tuple[int, int], ...]) -> None:
    net = Net(1, 4, 5, 2)
    check(net, net.op("PAD", [net.input, net.ints(*rows)], schema.PadOptionsT()))


def test_pad_of_the_batch_is_refused() -> None:
    net = Net(1, 4, 5, 2)
    rows = net.ints((0, 1), (0, 0), (0, 0), (0, 0))
    out = net.op("PAD", [net.input, rows], schema.PadOptionsT())
    with pytest.raises(ConversionError, match="PAD"):
        convert(net.build(out), names=["image", "out"])


@pytest.mark.parametrize("shape", [(1, 1, 3), (4, 5, 3)])
def test_prelu(shape: tuple[int, ...]) -> None:
    net = Net(1, 4, 5, 3)
    check(net, net.op("PRELU", [net.input, net.random(*shape)]))


@pytest.mark.parametrize("shape", [(3,), (1, 1, 1, 3), (1, 4, 5, 3), (5, 3)])
@pytest.mark.parametrize("kind", ["ADD", "MUL"])
def test_constant_operand(kind: str, shape: tuple[int, ...]) -> None:
    net = Net(1, 4, 5, 3)
    options = {"ADD": schema.AddOptionsT, "MUL": schema.MulOptionsT}[kind](
        fusedActivationFunction=schema.ActivationFunctionType.RELU
    )
    check(net, net.op(kind, [net.input, net.random(*shape)], options))


def test_gate_of_a_pooled_map() -> None:
    """Squeeze and excitation, as in the person mask: pool, logistic, multiply."""
    net = Net(1, 4, 4, 3)
    options = schema.Pool2DOptionsT(
        padding=VALID, strideH=4, strideW=4, filterHeight=4, filterWidth=4
    )
    gate = net.op("LOGISTIC", [net.op("AVERAGE_POOL_2D", [net.input], options)])
    check(net, net.op("MUL", [net.input, gate], schema.MulOptionsT()))


@pytest.mark.parametrize("kind", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_pool(kind: str, padding: int, kernel: int, stride: int) -> None:
    net = Net(1, 7, 8, 3)
    options = schema.Pool2DOptionsT(
        padding=padding, strideH=stride, strideW=stride, filterHeight=kernel, filterWidth=kernel
    )
    check(net, net.op(kind, [net.input], options))


@pytest.mark.parametrize("kind", ["HARD_SWISH", "LOGISTIC", "RELU"])
def test_activation(kind: str) -> None:
    net = Net(1, 4, 5, 3)
    check(net, net.op(kind, [net.input]))


@pytest.mark.parametrize("size", [(8, 10), (12, 5)])
def test_resize_bilinear(size: tuple[int, int]) -> None:
    net = Net(1, 4, 5, 3)
    options = schema.ResizeBilinearOptionsT(halfPixelCenters=True)
    check(net, net.op("RESIZE_BILINEAR", [net.input, net.ints(*size)], options))


@pytest.mark.parametrize(
    ("size", "half_pixel"), [((8, 10), False), ((6, 10), True)], ids=["corners", "factor"]
)
def test_resize_bilinear_that_is_refused(size: tuple[int, int], half_pixel: bool) -> None:
    net = Net(1, 4, 5, 3)
    options = schema.ResizeBilinearOptionsT(halfPixelCenters=half_pixel)
    out = net.op("RESIZE_BILINEAR", [net.input, net.ints(*size)], options)
    with pytest.raises(ConversionError, match="RESIZE_BILINEAR"):
        convert(net.build(out), names=["image", "out"])


def test_depth_to_space() -> None:
    net = Net(1, 3, 2, 12)
    check(net, net.op("DEPTH_TO_SPACE", [net.input], schema.DepthToSpaceOptionsT(blockSize=2)))


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_concatenation_of_images(axis: int) -> None:
    net = Net(1, 4, 5, 3)
    options = schema.ConcatenationOptionsT(axis=axis)
    check(net, net.op("CONCATENATION", [net.input, net.op("RELU", [net.input])], options))


def test_concatenation_along_the_batch_is_refused() -> None:
    net = Net(1, 4, 5, 3)
    options = schema.ConcatenationOptionsT(axis=0)
    out = net.op("CONCATENATION", [net.input, net.input], options)
    with pytest.raises(ConversionError, match="CONCATENATION"):
        convert(net.build(out), names=["image", "out"])


def reshape(net: Net, value: int, *shape: int) -> int:
    return net.op(
        "RESHAPE", [value, net.ints(*shape)], schema.ReshapeOptionsT(newShape=list(shape))
    )


@pytest.mark.parametrize("shape", [(1, 20, 3), (1, 60), (1, 5, 4, 3), (1, 2, 2, 15)])
def test_reshape(shape: tuple[int, ...]) -> None:
    net = Net(1, 4, 5, 3)
    check(net, reshape(net, net.op("RELU", [net.input]), *shape))


def test_reshape_across_the_batch_is_refused() -> None:
    net = Net(1, 4, 5, 3)
    with pytest.raises(ConversionError, match="RESHAPE"):
        convert(net.build(reshape(net, net.input, 4, 15)), names=["image", "out"])


def detector(size: int) -> tuple[Net, list[int]]:
    """Two strides with two heads, concatenated: the shape of a face detector."""
    net = Net(1, size, size, 3)
    large = conv(net, net.input, (3, 4), conv_options(SAME, 2))
    small = conv(net, large, (4, 4), conv_options(SAME, 2))
    up = schema.ResizeBilinearOptionsT(halfPixelCenters=True)
    back = net.op("RESIZE_BILINEAR", [small, net.ints(size // 2, size // 2)], up)
    large = net.op("ADD", [large, back], schema.AddOptionsT())
    heads = [reshape(net, large, 1, size**2 // 4, 4), reshape(net, small, 1, size**2 // 16, 4)]
    boxes = net.op("CONCATENATION", heads, schema.ConcatenationOptionsT(axis=1))
    return net, [boxes, large]


def test_two_heads_with_free_size() -> None:
    """A network declared for 8x8 gives at 16x16 what its twin declared for 16x16 gives."""
    net, outputs = detector(8)
    model = check(net, *outputs, dynamic_hw=True)
    ends = [*model.graph.input, *model.graph.output]
    dims = [end.type.tensor_type.shape.dim for end in ends]
    assert [[d.dim_param or d.dim_value for d in shape] for shape in dims] == [
        ["batch", 3, "height", "width"],
        ["batch", "anchors", 4],
        ["batch", 4, "out1_height", "out1_width"],
    ]
    twin, outputs = detector(16)
    images = np.random.default_rng(2).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    wanted = litert(twin.build(*outputs), images)
    for got, want in zip(run(model, images), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("dynamic_hw", "rank"), [(False, 2), (True, 4)])
def test_map_of_one_cell_becomes_a_vector_at_a_fixed_size(dynamic_hw: bool, rank: int) -> None:
    net = Net(1, 3, 3, 2)
    out = conv(net, net.input, (2, 7), conv_options(VALID))
    model = check(net, out, dynamic_hw=dynamic_hw)
    assert len(model.graph.output[0].type.tensor_type.shape.dim) == rank


def half_net() -> tuple[Net, int]:
    net = Net(1, 5, 5, 4)
    weight = net.constant(net.rng.uniform(-1, 1, (6, 3, 3, 4)).astype(np.float16))
    bias = net.constant(net.rng.uniform(-1, 1, 6).astype(np.float16))
    inputs = [net.op("DEQUANTIZE", [tensor]) for tensor in (weight, bias)]
    return net, net.op("CONV_2D", [net.input, *inputs], conv_options(SAME))


@pytest.mark.parametrize("fp16_weights", [False, True])
def test_half_precision_constants(fp16_weights: bool) -> None:
    net, out = half_net()
    model = check(net, out, fp16_weights=fp16_weights)
    stored = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert stored == {onnx.TensorProto.FLOAT16 if fp16_weights else onnx.TensorProto.FLOAT}


def test_weights_that_half_precision_would_change_stay_float32() -> None:
    net = Net(1, 5, 5, 4)
    model = check(net, conv(net, net.input, (4, 6), conv_options(SAME)), fp16_weights=True)
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.FLOAT}


# Sparse constants

DENSE = np.array([[1, 0, 0, 2], [0, 0, 3, 0], [0, 0, 0, 0]], np.float32)
SEGMENTS, INDICES = np.array([0, 2, 3, 3]), np.array([0, 3, 2])


def test_densify_rows_of_compressed_columns() -> None:
    values = np.array([1, 2, 3], np.float32)
    got = densify(values, (3, 4), [0, 1], [], [3, (SEGMENTS, INDICES)])
    np.testing.assert_array_equal(got, DENSE)
    assert got.dtype == np.float32


def test_densify_columns_first() -> None:
    values = np.array([1, 3, 2], np.float16)
    levels: list[Level] = [4, (np.array([0, 1, 1, 2, 3], np.uint8), np.array([0, 1, 0], np.uint8))]
    np.testing.assert_array_equal(densify(values, (3, 4), [1, 0], [], levels), DENSE)


def test_densify_dense_levels_only() -> None:
    np.testing.assert_array_equal(densify(DENSE.ravel(), (3, 4), [0, 1], [], [3, 4]), DENSE)


def test_densify_blocks() -> None:
    """2x2 blocks of a 4x4 matrix, of which (0, 1) and (1, 0) are stored."""
    values = np.arange(1, 9, dtype=np.float32)
    levels: list[Level] = [2, (np.array([0, 1, 2]), np.array([1, 0])), 2, 2]
    got = densify(values, (4, 4), [0, 1, 2, 3], [0, 1], levels)
    np.testing.assert_array_equal(got, [[0, 0, 1, 2], [0, 0, 3, 4], [5, 6, 0, 0], [7, 8, 0, 0]])


@pytest.mark.parametrize(
    ("count", "levels"),
    [
        (2, [3, (SEGMENTS, INDICES)]),
        (4, [3, (SEGMENTS, INDICES)]),
        (3, [2, (SEGMENTS, INDICES)]),
        (3, [3, (SEGMENTS, INDICES + 2)]),
        (3, [3]),
    ],
    ids=["few values", "many values", "segments", "outside", "levels"],
)
def test_densify_refuses_what_does_not_fit(count: int, levels: list[Any]) -> None:
    with pytest.raises(ConversionError, match="sparse constant"):
        densify(np.ones(count, np.float32), (3, 4), [0, 1], [], levels)


@pytest.mark.parametrize("kind", ["Int32Vector", "Uint16Vector", "Uint8Vector"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_sparse_weights(kind: str, dtype: type) -> None:
    """A 3x1x1x4 kernel of which the last level is compressed, as in the full range detector."""
    levels = [schema.DimensionMetadataT(denseSize=size) for size in (3, 1, 1)]
    number, vector = getattr(schema.SparseIndexVector, kind), getattr(schema, f"{kind}T")
    levels.append(
        schema.DimensionMetadataT(
            format=schema.DimensionType.SPARSE_CSR,
            arraySegmentsType=number,
            arraySegments=vector(SEGMENTS.tolist()),
            arrayIndicesType=number,
            arrayIndices=vector(INDICES.tolist()),
        )
    )
    sparsity = schema.SparsityParametersT(traversalOrder=[0, 1, 2, 3], dimMetadata=levels)
    net = Net(1, 4, 4, 4)
    weight = net.constant(np.array([1, 2, 3], dtype), (3, 1, 1, 4), sparsity)
    weight = net.op("DENSIFY", [weight], schema.DensifyOptionsT())
    if dtype is np.float16:
        net.tensors[weight].type = TYPES["float16"]
        weight = net.op("DEQUANTIZE", [weight])
    check(net, net.op("CONV_2D", [net.input, weight, net.random(3)], conv_options(VALID)))


# The whole file


def test_unknown_operator_is_named() -> None:
    net = Net(1, 4, 4, 2)
    with pytest.raises(ConversionError, match="TANH"):
        convert(net.build(net.op("TANH", [net.input])), names=["image", "out"])


def test_unknown_custom_operator_is_named() -> None:
    net = Net(1, 4, 4, 2)
    data = net.build_unchecked(net.op("TransformLandmarks", [net.input]))
    with pytest.raises(ConversionError, match="TransformLandmarks"):
        convert(data, names=["image", "out"])


def test_unknown_fused_activation_is_refused() -> None:
    net = Net(1, 4, 4, 2)
    tanh = schema.ActivationFunctionType.TANH
    out = conv(net, net.input, (2, 3), conv_options(SAME, activation=tanh))
    with pytest.raises(ConversionError, match="activation"):
        convert(net.build_unchecked(out), names=["image", "out"])


def test_weights_must_be_constant() -> None:
    net = Net(1, 3, 3, 2)
    out = net.op("CONV_2D", [net.input, net.input, net.random(1)], conv_options(SAME))
    with pytest.raises(ConversionError, match="t0 must be a constant"):
        convert(net.build(out), names=["image", "out"])


def test_wrong_number_of_names_is_refused() -> None:
    net = Net(1, 4, 4, 2)
    with pytest.raises(ConversionError, match="3 names: 1 \\+ 1"):
        convert(net.build(net.op("RELU", [net.input])), names=["image", "a", "b"])


@pytest.mark.parametrize("data", [b"", b"not a network at all"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ConversionError, match="not a tflite file"):
        convert(data, names=["image", "out"])


def test_same_input_gives_the_same_bytes() -> None:
    net, out = half_net()
    data = net.build(out)
    files = {
        convert(
            data, names=["image", "out"], fp16_weights=True, metadata=metadata
        ).SerializeToString()
        for metadata in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    }
    assert len(files) == 1


def test_metadata_is_in_the_file() -> None:
    net, out = half_net()
    model = convert(net.build(out), names=["image", "out"], metadata={"licence": "Apache-2.0"})
    assert [(p.key, p.value) for p in model.metadata_props] == [("licence", "Apache-2.0")]


def test_verification_sees_a_changed_weight(tmp_path: Path) -> None:
    net = Net(1, SQUARE, SQUARE, 3)
    data = net.build(conv(net, net.input, (3, 2), conv_options(SAME, 2)))
    model, path = convert(data, names=["image", "out"]), tmp_path / "net.onnx"
    onnx.save(model, path)
    assert differences(data, path)["out"] < TOLERANCE
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]) + np.float32(0.1)
    name = model.graph.initializer[0].name
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, name))
    onnx.save(model, path)
    assert differences(data, path)["out"] > TOLERANCE


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "wanted"),
    [(8, 3, 2, 1, (0, 1)), (7, 3, 2, 1, (1, 1)), (8, 3, 1, 2, (2, 2)), (6, 1, 3, 1, (0, 0))],
)
def test_same_padding(
    size: int, kernel: int, stride: int, dilation: int, wanted: tuple[int, int]
) -> None:
    assert same_padding(size, kernel, stride, dilation) == wanted
