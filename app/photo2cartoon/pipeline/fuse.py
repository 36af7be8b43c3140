"""Matte, composite and generator as one ONNX graph, so that nothing leaves the GPU in between.

    image    uint8 (N, S, S, 3), RGB of the aligned crop
    drawn    uint8 (N, S, S, 3), RGB, 0..255, not composited: the caller knows the background
    coloured uint8 (N, S, S, 3), the same in the photo's colours (`pipeline.colours`)
    matte    uint8 (N, S, S), 0 background .. 255 person
    spread   float32 (N,), the generator's largest value minus its smallest; NaN if one of them is

One graph instead of three sessions that hand device memory to each other means one launch and one
CUDA graph per batch, one engine for TensorRT, and 0.7 MB instead of 2.6 MB per photo over the bus.
The operations around the networks are those of `pipeline.matte` and
`photo2cartoon_models.preprocess`, in the same order and in float32.

This needs the package `onnx`, which the extra `gpu` brings.
"""

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from photo2cartoon.pipeline.colour_graph import GraphCalculus, Value, add_recolour
from photo2cartoon.pipeline.matte import CELLS, EMBEDDED_SIZE, keep_attached
from photo2cartoon_models.manifest import ManifestError, Model, TensorContract

if TYPE_CHECKING:
    import onnx

PIXELS = (0.0, 255.0)


class NotFusable(Exception):
    """The two networks cannot become one graph; the message says why."""


def fuse(matte: Model, generator: Model) -> tuple[Model, bytes]:
    """Join two networks of the manifest.

    Returns:
        The entry and the content of the joined file. The entry's digest stands for both networks'.

    Raises:
        NotFusable: they take pictures of different sizes, or `onnx` cannot join them.
        ManifestError: a file differs from its entry.
    """
    if generator.takes_any_size or generator.portrait == "cutout":
        raise NotFusable("its portraits are of any size, or cut out on the CPU")
    size = generator.image_size
    if (matte.inputs[0].image_size or EMBEDDED_SIZE) != size:
        raise NotFusable(f"the matte network does not take pictures of {size} px")
    contents = matte.read_verified(), generator.read_verified()
    try:
        content = _join(matte, generator, contents)
    except ImportError as error:
        raise NotFusable("the package onnx is not installed") from error
    except ManifestError:
        raise
    except Exception as error:  # onnx refuses a graph in many ways
        raise NotFusable(f"onnx: {str(error).strip().partition(chr(10))[0]}") from error
    digest = hashlib.sha256(f"{matte.sha256} {generator.sha256}".encode()).hexdigest()
    return _describe(matte, generator, size, digest, len(content)), content


def _describe(matte: Model, generator: Model, size: int, digest: str, length: int) -> Model:
    crop = TensorContract("image", "uint8", ("N", size, size, 3), "NHWC", "RGB", PIXELS, "crop")
    return replace(
        generator,
        name=f"{matte.name}+{generator.name}",
        sha256=digest,
        size_bytes=length,
        inputs=(crop,),
        outputs=(
            replace(crop, name="drawn", meaning="as drawn"),
            replace(crop, name="coloured", meaning="recoloured"),
            replace(crop, name="matte", shape=("N", size, size), layout="-", meaning="matte"),
            TensorContract("spread", "float32", ("N",), "-", "-", (0, 2), "0 is no drawing"),
        ),
        golden=None,
    )


def _join(matte: Model, generator: Model, contents: tuple[bytes, bytes]) -> bytes:
    import onnx  # noqa: PLC0415 - only needed on a GPU

    parts = [onnx.load_from_string(content) for content in contents]
    opset = max(_opset(part) for part in parts)
    parts = [
        part if _opset(part) == opset else onnx.version_converter.convert_version(part, opset)
        for part in parts
    ]
    first, second = (
        onnx.compose.add_prefix(part, f"{role}/")
        for part, role in zip(parts, ("matte", "generator"), strict=True)
    )
    size = generator.image_size
    before, between, after = _surroundings(
        size,
        matte,
        (f"matte/{matte.inputs[0].name}", f"matte/{matte.outputs[0].name}"),
        (f"generator/{generator.inputs[0].name}", f"generator/{generator.outputs[0].name}"),
    )
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [*before.nodes, *first.graph.node, *between.nodes, *second.graph.node, *after.nodes],
        "matte_composite_generator",
        [info("image", onnx.TensorProto.UINT8, ["N", size, size, 3])],
        [
            info("drawn", onnx.TensorProto.UINT8, ["N", size, size, 3]),
            info("coloured", onnx.TensorProto.UINT8, ["N", size, size, 3]),
            info("matte", onnx.TensorProto.UINT8, ["N", size, size]),
            info("spread", onnx.TensorProto.FLOAT, ["N"]),
        ],
        [
            *(number for part in (before, between, after) for number in part.numbers.values()),
            *first.graph.initializer,
            *second.graph.initializer,
        ],
    )
    domains = {o.domain: o for part in (first, second) for o in part.opset_import}
    joined = onnx.helper.make_model(
        graph,
        opset_imports=list(domains.values()),
        functions=[*first.functions, *second.functions],
        ir_version=max(part.ir_version for part in (first, second)),
    )
    onnx.checker.check_model(joined, full_check=True)
    content: bytes = joined.SerializeToString()
    return content


def _opset(model: "onnx.ModelProto") -> int:
    return next(int(o.version) for o in model.opset_import if o.domain == "")


class Part:
    """Nodes in the order in which they run, and the constants they read."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.numbers: dict[str, onnx.TensorProto] = {}

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        import onnx  # noqa: PLC0415

        output = output or f"{self.prefix}/{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def number(self, value: float | list[int] | NDArray[np.float32]) -> str:
        """Add a constant, float32 for a float and int64 for a list, and return its name."""
        import onnx  # noqa: PLC0415

        array = np.array(value, np.int64 if isinstance(value, list) else np.float32)
        label = array.tolist() if array.size < 10 else f"{array.shape}, {len(self.numbers)}"
        name = f"{self.prefix}/={label}"
        self.numbers[name] = onnx.numpy_helper.from_array(array, name)
        return name


def _give_picture(part: Part, levels: str, output: str) -> None:
    """Round `(N, 3, S, S)` 0..255 to the bytes of an output `(N, S, S, 3)`."""
    whole = part.add("Cast", part.add("Round", levels), to=2)
    part.add("Transpose", whole, perm=[0, 2, 3, 1], output=output)


def _mirror(part: Part, pictures: str) -> str:
    """Return `(., ., S, S)` from right to left."""
    first, beyond_last = part.number([-1]), part.number([np.iinfo(np.int64).min])
    axis, step = part.number([3]), part.number([-1])
    return part.add("Slice", pictures, first, beyond_last, axis, step)


def _surroundings(
    size: int, matte: Model, matte_names: tuple[str, str], generator_names: tuple[str, str]
) -> tuple[Part, Part, Part]:
    """Make what comes before the matte network, between the networks, and after the generator."""
    source, target = matte.inputs[0], matte.outputs[0]
    a = Part("before")
    colours = a.add("Cast", a.add("Transpose", "image", perm=[0, 3, 1, 2]), to=1)  # (N, 3, S, S)
    low, high = source.range
    scaled = a.add("Mul", colours, a.number(float(np.float32((high - low) / 255))))
    shifted = a.add("Add", scaled, a.number(float(low)))
    mirrored = matte.views == "mirrored"  # then the mirror images follow, as many more pictures
    if mirrored:
        shifted = a.add("Concat", shifted, _mirror(a, shifted), axis=0)
    if source.layout == "NHWC":
        shifted = a.add("Transpose", shifted, perm=[0, 2, 3, 1])
    a.add("Identity", shifted, output=matte_names[0])

    b = Part("between")
    mask = matte_names[1]
    if target.layout == "NHWC":
        mask = b.add("Transpose", mask, perm=[0, 3, 1, 2])
    k = target.channel
    mask = b.add("Slice", mask, b.number([k]), b.number([k + 1]), b.number([1]))
    low, high = target.range
    mask = b.add("Div", b.add("Sub", mask, b.number(float(low))), b.number(float(high - low)))
    mask = b.add("Clip", mask, b.number(0.0), b.number(1.0))
    if mirrored:
        pairs = b.add("Reshape", mask, b.number([2, -1, size, size]))  # (2, N, S, S)
        halves = [b.add("Gather", pairs, b.number([k]), axis=0) for k in (0, 1)]  # (1, N, S, S)
        both = b.add("Add", halves[0], _mirror(b, halves[1]))
        mask = b.add("Reshape", b.add("Div", both, b.number(2.0)), b.number([-1, 1, size, size]))
    alpha = keep_attached(GraphCalculus(b, size, CELLS), Value(b, mask)).name  # (N, 1, S, S)
    paper = b.add("Mul", b.add("Sub", b.number(1.0), alpha), b.number(255.0))
    photo = b.add("Floor", b.add("Add", b.add("Mul", colours, alpha), paper))
    photo = b.add("Div", photo, b.number(127.5))
    b.add("Sub", photo, b.number(1.0), output=generator_names[0])

    c = Part("after")
    drawn = generator_names[1]  # (N, 3, S, S), -1..1
    levels = c.add("Mul", c.add("Add", drawn, c.number(1.0)), c.number(127.5))
    levels = c.add("Clip", levels, c.number(0.0), c.number(255.0))
    _give_picture(c, levels, "drawn")
    unit = c.number(1 / 255)
    crop, picture = c.add("Mul", colours, unit), c.add("Mul", levels, unit)
    coloured = add_recolour(c, size, crop, picture, alpha)
    _give_picture(c, c.add("Mul", coloured, c.number(255.0)), "coloured")
    levels = c.add("Round", c.add("Mul", alpha, c.number(255.0)))
    c.add("Squeeze", c.add("Cast", levels, to=2), c.number([1]), output="matte")
    axes = c.number([1, 2, 3])
    extremes = [c.add(op, drawn, axes, keepdims=0) for op in ("ReduceMax", "ReduceMin")]
    nothing = c.add("Mul", drawn, c.number(0.0))  # NaN where it is not finite
    nothing = c.add("ReduceSum", nothing, axes, keepdims=0)
    c.add("Add", c.add("Sub", *extremes), nothing, output="spread")
    return a, b, c
